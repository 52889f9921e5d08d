//! Messages that actors laid aside: taken over with their questions, given back, and accounted for.
//!
//! Such a message was delivered once, and stays so in the books. It has an account of its own:
//! `stashed` = `unstashed` + `dead_stashed` + `stash_waiting`.

use std::rc::Rc;

use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::limits::{EXTENSION_BYTES, HEADER_BYTES};
use ringmesh_proto::message::Message;

use super::letters::Described;
use super::user_code::Contained;
use super::watch::Place;
use super::{Asker, Core, Extra, Link};
use crate::actor::{
    ActorCell, Arrived, Content, Letter, LocalMessage, LocalValue, ReplyTo, StashFull, StashLimit,
};
use crate::dead_letter::DeadLetterReason;
use crate::message::Msg;

impl Core {
    /// Lays message number `index` of an actor's protocol aside. If nobody asked it, it came on
    /// `link`, and is told for whoever the present one is.
    pub(crate) fn stash<M: Message>(
        &self,
        actor: Place,
        (index, link, told): (u16, &Rc<Link>, Extra),
        (message, reply): (Msg<M>, ReplyTo<M>),
        limit: StashLimit,
    ) -> Result<(), StashFull<M>> {
        let extension_bytes = if reply.is_asked() { EXTENSION_BYTES } else { 0 };
        let bytes = HEADER_BYTES + extension_bytes + message.bytes().len();
        let cell = self.cell_at(actor);
        let port = cell.as_ref().and_then(|cell| cell.port());
        let Some(port) = port.filter(|port| port.has_stash_room(bytes, limit)) else {
            return Err(StashFull { message, reply });
        };
        let (link, extra) = match reply.into_question() {
            Some((link, question)) => (link, Extra::Question(question)),
            None => (Rc::clone(link), told),
        };
        self.tally.frames_copied_other.add(1);
        self.tally.stashed.add(1);
        self.tally.stash_waiting.add(1);
        port.stash(Letter {
            arrived: Arrived {
                index,
                content: Content::Archived(message.into_validated()),
            },
            link,
            extra,
            bytes,
            charged: false,
            again: true,
        });
        Ok(())
    }

    /// The same with a local message.
    pub(crate) fn stash_local<M: LocalMessage + Send>(
        &self,
        actor: Place,
        (index, link): (u16, &Rc<Link>),
        message: M,
        limit: StashLimit,
    ) -> Result<(), M> {
        let cell = self.cell_at(actor);
        let port = cell.as_ref().and_then(|cell| cell.port());
        let Some(port) = port.filter(|port| port.has_stash_room(0, limit)) else {
            return Err(message);
        };
        self.tally.stashed.add(1);
        self.tally.stash_waiting.add(1);
        port.stash(Letter {
            arrived: Arrived {
                index,
                content: Content::Local(LocalValue::new(message)),
            },
            link: Rc::clone(link),
            extra: Extra::None,
            bytes: 0,
            charged: false,
            again: true,
        });
        Ok(())
    }

    /// A message that was laid aside has its turn, and is handled.
    pub(super) fn unstashed(&self) {
        self.tally.stash_waiting.take(1);
        self.tally.unstashed.add(1);
    }

    /// A message that was laid aside is not handled any more: its actor has ended, or its time is
    /// over. Whoever asked is told.
    pub(super) fn bury_stashed(
        self: &Rc<Self>,
        cell: Option<&ActorCell>,
        letter: Letter,
        code: ErrorCode,
    ) {
        let Letter {
            arrived,
            link,
            extra,
            ..
        } = letter;
        self.tally.stash_waiting.take(1);
        let index = arrived.index;
        let of_actor = |cell| Described::of_actor(cell, index);
        let describe = |_: &Self| cell.map_or_else(Described::default, of_actor);
        self.bury(DeadLetterReason::Stashed, 1, &link, describe);
        if let Some(correlation) = extra.correlation() {
            Asker::new(self, &link, correlation).fail(code);
        }
        drop(arrived.into_local().map(Contained::new));
    }
}
