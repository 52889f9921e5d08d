//! Messages whose recipient has to be looked up: the first of each pair of a recipient and a type,
//! and those that have none.

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;

use super::actors::Way;
use super::payload::Payload;
use super::receive::Batch;
use super::routes::Found;
use super::upgrade::NotUpgraded;
use super::{Asker, Extra, NoRoute};
use crate::dead_letter::DeadLetterReason;

impl Batch<'_> {
    /// The first message of a (recipient, type) pair, and every one that has no recipient.
    #[cold]
    pub(super) fn dispatch_first(
        &self,
        numbers: (u32, u16),
        extra: Extra,
        start: usize,
        end: usize,
    ) -> Result<(), CloseReason> {
        let found = self.core.look_up(self.link, numbers)?;
        self.core.tally.received.add(1);
        match found {
            Ok(Way::On(relay, heading)) => {
                let heading = heading.with_extension(extra.is_some(), &self.front[..start]);
                let payload = &self.front[start..end];
                self.core.hop(&relay, numbers.0, heading, payload);
                Ok(())
            }
            Ok(Way::Here(found)) => {
                let payload = self.payload(start, end);
                let Some(older) = found.older else {
                    return self.deliver_to(&found, (numbers, extra), payload);
                };
                match self
                    .core
                    .upgrade(older, payload.bytes(), self.link.body_cap)
                {
                    Ok(upgraded) => {
                        let payload = Payload::whole(&upgraded);
                        self.deliver_to(&found, (numbers, extra), payload)
                    }
                    Err(problem) => self.not_upgraded(problem, numbers, extra),
                }
            }
            Err(no_route) => {
                self.no_route(no_route, numbers, extra);
                Ok(())
            }
        }
    }

    fn deliver_to(
        &self,
        found: &Found,
        (numbers, extra): ((u32, u16), Extra),
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        // An upgrade may have stopped it.
        if !found.actor.is_alive() {
            self.no_route(NoRoute::NoRecipient, numbers, extra);
            return Ok(());
        }
        let turn = self.deliver(&found.actor, found.index, (numbers.0, extra), payload);
        self.finish(&found.actor, turn)
    }

    fn no_route(&self, no_route: NoRoute, numbers: (u32, u16), extra: Extra) {
        self.core.bury_unrouted(no_route, self.link, numbers);
        if let Some(correlation) = extra.correlation() {
            Asker::new(self.core, self.link, correlation).refuse(no_route);
        }
    }

    /// A message in an older version that did not become one in the current version.
    fn not_upgraded(
        &self,
        problem: NotUpgraded,
        numbers: (u32, u16),
        extra: Extra,
    ) -> Result<(), CloseReason> {
        let reason = match problem {
            NotUpgraded::Invalid => DeadLetterReason::Invalid,
            NotUpgraded::Failed => DeadLetterReason::NotUpgraded,
        };
        let link = self.link;
        self.core
            .bury(reason, 1, link, |core| core.describe(link, numbers));
        match problem {
            NotUpgraded::Invalid => Err(CloseReason::Archive),
            NotUpgraded::Failed => {
                if let Some(correlation) = extra.correlation() {
                    Asker::new(self.core, self.link, correlation).fail(ErrorCode::Failed);
                }
                Ok(())
            }
        }
    }
}
