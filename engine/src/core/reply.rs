//! Answers to questions, on the link they came from.

use std::fmt;
use std::rc::Rc;

use ringmesh_proto::frame::Extension;
use ringmesh_proto::message::{Message, Reply, ReplySink};

use super::link::Link;
use super::send::Encoded;
use super::{Core, NoRoute};
use crate::actor::Mismatch;
use crate::error::AskError;

/// Whoever asked the question that is being handled.
pub struct Asker<'a> {
    core: &'a Rc<Core>,
    link: &'a Rc<Link>,
    correlation: u64,
}

impl<'a> Asker<'a> {
    pub(super) fn new(core: &'a Rc<Core>, link: &'a Rc<Link>, correlation: u64) -> Self {
        Self { core, link, correlation }
    }

    /// Sends the handler's answer. A handler that answers nothing was asked by mistake: the asker is
    /// told that its message is none that is answered.
    #[inline]
    pub(crate) fn answer<R: Reply>(self, reply: &R) {
        if reply.send_to(Sink(&self)).is_none() {
            self.fail(&AskError::UnknownMessage);
        }
    }

    /// Says that the question reached no handler.
    pub(super) fn refuse(self, no_route: NoRoute) {
        self.fail(&match no_route {
            NoRoute::NoRecipient => AskError::NotRunning,
            NoRoute::Mismatch(Mismatch::UnknownMessage) => AskError::UnknownMessage,
            NoRoute::Mismatch(Mismatch::Schema) => AskError::SchemaMismatch,
        });
    }

    /// Answers with an error.
    pub(super) fn fail(&self, error: &AskError) {
        let extension = self.extension(error.to_wire());
        let mut slabs = self.core.slabs.borrow_mut();
        self.link.outbound.borrow_mut().push_error(&mut slabs, extension);
        drop(slabs);
        self.pushed();
    }

    fn extension(&self, code: u32) -> Extension {
        Extension { correlation: self.correlation, deadline_us: 0, code }
    }

    fn pushed(&self) {
        self.core.tally.sent.add(1);
        self.core.enqueue(self.link);
    }
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("correlation", &self.correlation).finish_non_exhaustive()
    }
}

struct Sink<'a, 'b>(&'a Asker<'b>);

impl ReplySink for Sink<'_, '_> {
    type Output = ();

    #[inline]
    fn send<M: Message>(self, reply: &M) {
        let asker = self.0;
        let extension = asker.extension(0);
        let mut slabs = asker.core.slabs.borrow_mut();
        let pushed = asker.link.outbound.borrow_mut().push_reply(
            &mut slabs,
            &M::TYPE,
            extension,
            &Encoded(reply),
        );
        drop(slabs);
        match pushed {
            Ok(()) => asker.pushed(),
            Err(error) => {
                tracing::error!(message = M::NAME, %error, "an answer could not be sent");
                asker.fail(&AskError::Failed);
            }
        }
    }
}
