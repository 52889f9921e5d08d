//! What happens to the links of a core, told to whoever subscribed.
//!
//! Called from wherever it happens, also while cells of the core are borrowed: the event is posted
//! at once, and those who wait for it are woken when the turn has nothing borrowed any more.

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::FrameError;

use super::link::{Connection, Link};
use super::peers::PeerIndex;
use super::shared::Shared;
use super::{Core, Stage};
use crate::event::{Events, LinkEnds, NodeEvent};

impl Shared {
    /// Subscribes to the events of all cores. On any thread.
    pub(crate) fn subscribe_to_events(&self) -> Events {
        let first = self.listening().map(|(id, bound)| NodeEvent::Listening {
            address: id.address,
            bound,
        });
        Events::new(self.events.subscribe(), first)
    }
}

impl Core {
    /// Tells an event of a link; `event` is made only if somebody wants it.
    #[cold]
    pub(super) fn tell_of(&self, link: &Link, event: impl FnOnce(LinkEnds) -> NodeEvent) {
        if link.within_process || !self.shared.events.is_read() {
            return;
        }
        self.tell_event(event(LinkEnds {
            core: self.id,
            peer: link.node.clone(),
            peer_core: link.to_core,
            lane: link.lane,
        }));
    }

    #[cold]
    fn tell_event(&self, event: NodeEvent) {
        let woken = self.shared.events.post(event);
        let mut waiting = self.event_readers.borrow_mut();
        // At most one for each subscription.
        waiting.extend(woken.into_iter().map(|(_, waker)| waker));
    }

    /// Wakes who waited for an event. No cell may be borrowed.
    #[inline]
    pub(super) fn wake_event_readers(&self) {
        if !self.event_readers.borrow().is_empty() {
            let woken = self.event_readers.take();
            woken.into_iter().for_each(|waker| self.wake(waker));
        }
    }

    /// A link takes sends before its first connection.
    pub(super) fn tell_of_forming(&self, link: &Link) {
        self.tell_of(link, |link| NodeEvent::Forming { link });
    }

    /// A link is up.
    pub(super) fn tell_of_link(&self, link: &Link, dialled: bool) {
        self.tell_of(link, |link| NodeEvent::Associated { link, dialled });
    }

    /// A link has no connection any more; `over`: and gets no other.
    pub(super) fn tell_of_loss(&self, link: &Link, reason: CloseReason, over: bool) {
        if matches!(reason, CloseReason::Frame(FrameError::TooLong { .. })) {
            self.tell_of(link, |link| NodeEvent::Oversize {
                link,
                received: true,
            });
        }
        let reason = reason.label();
        self.tell_of(link, |link| NodeEvent::Lost { link, reason, over });
    }

    /// A link has given its connection up, for want of anything to send.
    pub(super) fn tell_of_rest(&self, link: &Link) {
        self.tell_of(link, |link| NodeEvent::Rested { link });
    }

    /// A link goes on over another connection.
    pub(super) fn tell_of_resume(&self, link: &Link) {
        self.tell_of(link, |link| NodeEvent::Resumed { link });
    }

    /// A peer takes nothing over.
    pub(super) fn tell_of_stall(&self, link: &Link) {
        let in_flight_bytes = link.outbound.borrow().in_flight_bytes();
        self.tell_of(link, |link| NodeEvent::Stalled {
            link,
            in_flight_bytes,
        });
    }

    /// Messages went with a link.
    pub(super) fn tell_of_dropped(&self, link: &Link, messages: u64, received: bool) {
        if messages > 0 {
            self.tell_of(link, |link| NodeEvent::Dropped {
                link,
                messages,
                received,
            });
        }
    }

    /// The first message on a link that is too long for it.
    #[cold]
    pub(super) fn tell_of_oversize(&self, link: &Link) {
        if !link.vitals.told_oversize.replace(true) {
            self.tell_of(link, |link| NodeEvent::Oversize {
                link,
                received: false,
            });
        }
    }

    /// A peer was met in another start of its process.
    pub(super) fn tell_of_restart(&self, node: PeerIndex, old: Uid, new: Uid) {
        if let Some(address) = self.address_of_peer(node)
            && self.shared.events.is_read()
        {
            self.tell_event(NodeEvent::Restarted {
                core: self.id,
                address,
                old,
                new,
            });
        }
    }

    /// This node has quarantined another, or was told that another has quarantined it.
    pub(super) fn tell_of_quarantine(&self, event: impl FnOnce(CoreId) -> NodeEvent) {
        if self.shared.events.is_read() {
            self.tell_event(event(self.id));
        }
    }

    /// A node counts as gone, or lives on.
    pub(super) fn tell_of_node(&self, event: NodeEvent) {
        if self.shared.events.is_read() {
            self.tell_event(event);
        }
    }

    /// A core does not turn, or turns again.
    pub(super) fn tell_of_core(&self, event: NodeEvent) {
        if self.shared.events.is_read() {
            self.tell_event(event);
        }
    }

    /// A peer gave its place to another.
    pub(super) fn tell_of_forgotten(&self, (address, peer_core): (Address, CoreId)) {
        if self.shared.events.is_read() {
            self.tell_event(NodeEvent::Forgotten {
                core: self.id,
                address,
                peer_core,
            });
        }
    }

    /// A dial failed; an event if the peer refused it.
    pub(super) fn tell_of_failed_dial(&self, node: PeerIndex, reason: CloseReason) {
        if matches!(reason, CloseReason::Refused(_)) && self.shared.events.is_read() {
            self.tell_event(NodeEvent::Refused {
                core: self.id,
                by: self.address_of_peer(node),
                reason: reason.label(),
            });
        }
    }

    /// A connection is closed; an event if that is because this node refuses it.
    pub(super) fn tell_of_refusal(&self, connection: &Connection, reason: CloseReason) {
        let has_no_link = matches!(*connection.stage.borrow(), Stage::Opening);
        let is_refusal = matches!(reason, CloseReason::Refusing(_) | CloseReason::Preface(_));
        if has_no_link && is_refusal && self.shared.events.is_read() {
            self.tell_event(NodeEvent::Refused {
                core: self.id,
                by: None,
                reason: reason.label(),
            });
        }
    }
}
