//! Links between two connections.
//!
//! A link that loses its connection stays where it is: its peer's slot, numbers, routes, tunnels
//! and questions, and what it retains. Sends go on into its window. When the association has found
//! another connection, what the peer has not received leaves again, and what control frames said is
//! said anew.

use std::rc::Rc;

use ringmesh_proto::association::Status;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::{ConnKey, Standing};
use ringmesh_proto::frame::body::{Grant, Notice};
use ringmesh_proto::handshake::Introduction;

use super::Core;
use super::link::{Link, Stage};
use super::peers::PeerIndex;

impl Link {
    /// Whether it waits for a connection.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        !self.within_process && self.connection.get().is_none()
    }

    /// Calls a machine that looks at its halves. `in_line`: somebody waits for room on it.
    pub(super) fn with_halves<R>(
        link: Option<&Rc<Self>>,
        in_line: bool,
        call: impl FnOnce(Option<Standing<'_>>) -> R,
    ) -> R {
        let Some(link) = link else {
            return call(None);
        };
        let (outbound, inbound) = (link.outbound.borrow(), link.inbound.borrow());
        call(Some(Standing {
            outbound: &*outbound,
            inbound: &inbound,
            awaits: in_line || link.awaits(),
        }))
    }

    /// Has no connection from now on.
    pub(super) fn part(&self) {
        self.connection.set(None);
        self.sending.set(false);
        self.owes_grant.set(false);
        self.resume_wanted.set(false);
        // Nothing leaves in the middle of a turn.
        self.flush_at.set(u64::MAX);
    }

    /// Queues what the peer has to hear on a new connection: how far it may send, and which
    /// recipients have no room. What finds no room here follows the next message for them.
    fn restate(&self) {
        let mut outbound = self.outbound.borrow_mut();
        outbound.queue_grant(self.inbound.borrow_mut().restate());
        self.owes_grant.set(false);
        self.ready_owed.borrow_mut().clear();
        self.told_busy.borrow_mut().retain(|number, _| {
            outbound.queue_notice(Notice {
                target_number: *number,
                busy: true,
            })
        });
    }
}

impl Core {
    /// The link with a peer has no connection any more, and waits for another.
    pub(super) fn link_lost(self: &Rc<Self>, node: PeerIndex, conn: ConnKey, reason: CloseReason) {
        if let Some(connection) = self.connection_of(conn) {
            *connection.stage.borrow_mut() = Stage::Parted;
        }
        let Some(link) = self.peers.borrow_mut().at(node).link.clone() else {
            return;
        };
        self.tally.links.take(1);
        self.tell_of_loss(&link, reason, false);
        link.part();
        link.outbound.borrow_mut().handle_lost();
        self.pings_lost(&link);
        self.far_link_lost(&link, reason);
        self.end_if_followed(&link);
    }

    /// Ends a link that waits for its next connection when another lane, or core, met the next
    /// start of its peer's process.
    fn end_if_followed(self: &Rc<Self>, link: &Rc<Link>) {
        let (number, waits) = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(link.peer);
            // Else it goes on already.
            let waits = !matches!(peer.association.status(), Status::Associated(_));
            (peer.node, waits)
        };
        let met = self.shared.met_start(number);
        if waits && met.is_some_and(|uid| uid != link.uid) {
            self.link_fault(link, CloseReason::Restarted);
        }
    }

    /// The link with a peer goes on over another connection.
    pub(super) fn link_resumed(self: &Rc<Self>, node: PeerIndex, conn: ConnKey, grant: Grant) {
        let Some(connection) = self.connection_of(conn) else {
            return;
        };
        let link = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            peer.problem = None;
            peer.places.found();
            peer.meetings += 1;
            peer.link.clone()
        };
        let Some(link) = link else {
            return;
        };
        let resumed = link
            .outbound
            .borrow_mut()
            .resume(grant, &mut self.slabs_of(&link).borrow_mut());
        *connection.stage.borrow_mut() = Stage::Linked(Rc::clone(&link));
        link.connection.set(Some(connection.id));
        self.pace(&link, &connection);
        self.tally.links.add(1);
        connection.settle();
        match resumed {
            Ok(freed) => self.tally.acknowledged.add(freed.messages),
            // The association asked the link first.
            Err(violation) => return self.connection_fault(&connection, violation.into()),
        }
        self.tally.resumed.add(1);
        self.shared.connected(self.number_of(node), link.uid);
        link.rests_since.set(None);
        link.stillness.take();
        self.watch_for_idle();
        self.tell_of_resume(&link);
        // The answer to the dial may still be on its way out.
        link.sending.set(connection.sending.get());
        link.flush_behind(link.outbound.borrow().positions().tail);
        link.progress.take();
        self.retime_questions(&link);
        link.restate();
        self.enqueue(&link);
        self.peer_changed(node);
        self.far_room_came(&link);
        self.memory_came();
    }

    /// Something is to be sent on a link without a connection: this side dials too.
    pub(super) fn want_resume(self: &Rc<Self>, link: &Rc<Link>) {
        let has_more = link.wants_connection();
        if has_more && !link.ended.get() && !link.resume_wanted.replace(true) {
            self.associate(link.peer, |association, cx| {
                association.handle_resume_wanted(cx);
            });
        }
    }

    /// Makes room for another peer: one that is gone, and may come back, has less of a claim to its
    /// place than one that is here, and one that was not there yet the least. Of the others, links
    /// with nothing under way go first, those last that rest. A client takes the place of a client
    /// alone. Says whose link it was.
    pub(super) fn give_up_a_lost_link(
        self: &Rc<Self>,
        newcomer: &Introduction,
    ) -> Option<PeerIndex> {
        let may_go = |link: &Rc<Link>| {
            let is_lost = link.lane == newcomer.lane && link.is_lost();
            is_lost && (!newcomer.is_of_client() || link.of_client.get())
        };
        let lost = self.linked().filter(may_go);
        let rank = |link: &Rc<Link>| {
            let is_idle = link.outbound.borrow().is_idle();
            (!link.forming.get(), !is_idle, link.rests_since.get())
        };
        let link = lost.min_by_key(rank)?;
        self.link_fault(&link, CloseReason::Overloaded);
        Some(link.peer)
    }

    /// The peer of a link is at fault, whether or not the link has a connection.
    pub(super) fn link_fault(self: &Rc<Self>, link: &Rc<Link>, reason: CloseReason) {
        let connection = link.connection.get().and_then(|id| self.connection(id));
        if let Some(connection) = connection {
            self.connection_fault(&connection, reason);
        } else if link.is_lost() && !link.ended.get() {
            self.associate(link.peer, |association, cx| {
                association.handle_link_fault(cx, reason);
            });
        }
    }
}
