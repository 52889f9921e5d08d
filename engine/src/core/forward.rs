//! Messages and answers that are passed on in the bytes they came in.
//!
//! Up to [`COPIED_BYTES_MAX`] bytes are copied into the slab of their link, as everything else is
//! written there; more leave from where they lie, and hold the receive buffer until the next node
//! has taken them over. They are copied all the same where other memory is at stake:
//! * while more than a quarter of the receive buffers is held: what a slow node does not take must
//!   not keep this one from receiving;
//! * out of far more memory than they fill, in which a longer frame was put together before: the
//!   budget of what is on its way counts the bytes, not what keeps them;
//! * within the node: the counts of receive buffers are of one thread;
//! * out of another core's slab: that core would wait for a peer that it does not know.

use std::rc::Rc;

use ringmesh_proto::address::Uid;
use ringmesh_proto::frame::Extension;
use ringmesh_proto::limits::COPIED_BYTES_MAX;
use ringmesh_proto::link::{Answered, SendHead};
use ringmesh_proto::message::MessageType;
use ringmesh_transport::buffer::Chunk;

use super::Core;
use super::link::Link;
use super::reply::PASSED_ON;
use crate::error::Refusal;
use crate::reference::Recipient;

/// Bytes of memory outside the receive buffers that each byte passed on may hold: a buffer grows to
/// up to twice of what is in it.
const HELD_PER_BYTE_MAX: usize = 4;

impl Core {
    /// Sends a received message on.
    pub(crate) fn tell_archived(
        &self,
        to: &Recipient,
        message: &MessageType,
        bytes: &Chunk,
    ) -> Result<(), Refusal> {
        let target = to.target();
        self.tell_bytes(to, SendHead::Tell { message, target }, bytes)
    }

    /// Tells an actor of this core what a node published.
    pub(super) fn tell_published(
        &self,
        to: &Recipient,
        message: &MessageType,
        (bytes, publisher): (&Chunk, Uid),
    ) -> Result<(), Refusal> {
        let target = to.target();
        let head = if publisher == self.identity().uid {
            SendHead::Tell { message, target }
        } else {
            SendHead::TellFor {
                message,
                target,
                sender: publisher,
            }
        };
        self.tell_bytes(to, head, bytes)
    }

    fn tell_bytes(&self, to: &Recipient, head: SendHead<'_>, bytes: &Chunk) -> Result<(), Refusal> {
        let peers = self.peers.borrow();
        let (link, held_up) = peers.link_to(to, None)?;
        let position = self.push_archived(link, held_up, head, bytes)?;
        if position >= link.flush_at.get() {
            let link = Rc::clone(link);
            drop(peers);
            self.flush_early(&link);
        }
        Ok(())
    }

    /// The same as [`push`](Self::push) for a received message.
    pub(super) fn push_archived(
        &self,
        link: &Rc<Link>,
        held_up: bool,
        head: SendHead<'_>,
        bytes: &Chunk,
    ) -> Result<u64, Refusal> {
        let way = self.way_of(link, bytes);
        if way != PassOn::Shared {
            let pushed = self.push(link, held_up, head, &bytes[..])?;
            self.count_passed_on(way);
            return Ok(pushed);
        }
        let pushed = self.push_by(link, held_up, head, &bytes[..], |outbound, slabs| {
            outbound.push_shared(slabs, head, bytes)
        })?;
        self.count_passed_on(way);
        Ok(pushed)
    }

    /// Answers with what another node answered.
    pub(super) fn answer_archived(
        &self,
        link: &Rc<Link>,
        correlation: u64,
        message: &MessageType,
        bytes: &Chunk,
    ) -> bool {
        let way = self.way_of(link, bytes);
        let extension = Extension {
            correlation,
            ..Extension::default()
        };
        let mut slabs = self.slabs_of(link).borrow_mut();
        let mut outbound = link.outbound.borrow_mut();
        let pushed = match way {
            PassOn::Shared => outbound.push_reply_shared(&mut slabs, message, extension, bytes),
            _ => outbound.push_reply(&mut slabs, message, extension, &bytes[..]),
        };
        drop((slabs, outbound));
        if pushed == Ok(Answered::Written) {
            self.count_passed_on(way);
        }
        self.answer_tried(link, correlation, PASSED_ON, pushed)
    }

    /// How received bytes may leave on `link`.
    fn way_of(&self, link: &Link, bytes: &Chunk) -> PassOn {
        if bytes.len() <= COPIED_BYTES_MAX || link.within_process || bytes.is_slab() {
            return PassOn::Copied;
        }
        let is_costly = || bytes.held_bytes() / HELD_PER_BYTE_MAX > bytes.len();
        match bytes.is_pooled() {
            true if self.is_pool_short() => PassOn::CopiedForWant,
            false if is_costly() => PassOn::Copied,
            _ => PassOn::Shared,
        }
    }

    /// Counts what was sent on.
    fn count_passed_on(&self, way: PassOn) {
        match way {
            PassOn::Shared => self.tally.forwarded_by_reference.add(1),
            PassOn::CopiedForWant => self.tally.frames_copied_pinned.add(1),
            PassOn::Copied => {}
        }
    }
}

/// How received bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassOn {
    /// From where they lie.
    Shared,
    Copied,
    /// Copied, because too many receive buffers are held.
    CopiedForWant,
}
