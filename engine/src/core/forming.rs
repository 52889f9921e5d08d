//! Links before their first connection.
//!
//! The first send to a core that there is no link with makes one, as if it had lost its connection
//! before it had one: it takes sends into what every peer lets another send, and its association
//! has the peer dialled. When the process start that the sends are for answers, the link goes on
//! with its first connection; otherwise it ends, and what it took is accounted for.

use std::rc::Rc;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::close_reason::{CloseReason, Fault};
use ringmesh_proto::effect::LinkUp;
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::quarantine::By;
use ringmesh_transport::contract::ConnectionId;

use super::link::{Connection, Link, LinkAt};
use super::peers::Peer;
use super::{Core, PeerIndex, Place};
use crate::error::{AskError, AskPhase};
use crate::reference::Recipient;

impl Core {
    /// Makes a link with a process start of a peer, unless there is one or the peer is known to be
    /// out of reach. Says whether a send may be tried again.
    pub(super) fn form(self: &Rc<Self>, node: PeerIndex, uid: Uid) -> bool {
        let link = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            if let Some(link) = &peer.link {
                return link.uid == uid;
            }
            if !peer.association.may_form(uid) || self.shared.is_client(peer.node, uid) {
                return false;
            }
            let address = peer.address.clone();
            let window = self.settings.of_lane(peer.lane).window_bytes;
            let halves = (Outbound::forming(window), Inbound::new(window));
            let (id, at) = (self.take_link_id(), self.link_at(peer, None));
            let mut link = Link::new(id, node, NodeId { address, uid }, at, halves.0, halves.1);
            link.within_process = false;
            link.forming.set(true);
            // Nothing leaves in the middle of a turn.
            link.flush_at.set(u64::MAX);
            let link = Rc::new(link);
            peer.link = Some(Rc::clone(&link));
            link
        };
        self.tell_of_forming(&link);
        self.associate(node, |association, cx| {
            association.handle_form_wanted(cx, uid);
        });
        true
    }

    /// The link of a peer that has its first connection: the one that waited for it, or a new one.
    pub(super) fn begin_link(&self, up: &LinkUp, at: &Connection, node: PeerIndex) -> Rc<Link> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(node);
        if let Some(link) = peer.link.as_ref().filter(|link| link.forming.get()) {
            let mut outbound = link.outbound.borrow_mut();
            outbound.open(up.body_cap, up.limit);
            link.flush_behind(outbound.positions().tail);
            link.connection.set(Some(at.id));
            link.forming.set(false);
            drop(outbound);
            self.retime_questions(link);
            link.resume_wanted.set(false);
            self.enqueue(link);
            return Rc::clone(link);
        }
        let window = self.settings.of_lane(peer.lane).window_bytes;
        let outbound = Outbound::new(up.body_cap, up.limit, window);
        let inbound = Inbound::new(window);
        let (id, at) = (self.take_link_id(), self.link_at(peer, Some(at.id)));
        Rc::new(Link::new(id, node, up.peer.clone(), at, outbound, inbound))
    }

    fn link_at(&self, peer: &Peer, connection: Option<ConnectionId>) -> LinkAt {
        LinkAt {
            connection,
            to_core: peer.core,
            lane: peer.lane,
            body_cap: self.settings.of_lane(peer.lane).body_cap,
        }
    }

    /// The link that a peer was to have is over before it had a connection.
    pub(super) fn forming_over(self: &Rc<Self>, node: PeerIndex, reason: CloseReason) {
        let link = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            // What came of the last dial says more than that it was the last.
            if reason != CloseReason::DialTimeout {
                peer.problem = Some(reason);
            }
            peer.given_up += 1;
            peer.link.take_if(|link| link.forming.get())
        };
        if let Some(link) = link {
            self.tell_of_loss(&link, reason, true);
            let error = match reason {
                CloseReason::Restarted | CloseReason::Bye => AskError::NotRunning,
                CloseReason::Stopping => AskError::Stopping,
                CloseReason::Quarantined(by) => AskError::Quarantined {
                    by_peer: by == By::Peer,
                },
                _ => AskError::Unreachable {
                    phase: AskPhase::Queued,
                },
            };
            // Whoever still asks was not heard, and has this as its answer.
            self.end_questions(&link, 0, |_| error.clone());
            self.end_link(&link, reason.fault() == Fault::Nobody);
            self.judge_start(&link, reason);
        }
        self.peer_changed(node);
    }

    /// Whether a send that waits for a peer waits in vain: the peer is a client, refuses this node
    /// for good, was not found while the send waited, or has no place in the table of this core.
    pub(crate) fn waits_in_vain(&self, place: Option<&Place>, to: Recipient) -> bool {
        let mut peers = self.peers.borrow_mut();
        let Some(node) = peers.awaited(to) else {
            return true;
        };
        let peer = peers.at(node);
        let is_refused = matches!(
            peer.problem,
            Some(CloseReason::Refused(reason)) if reason.is_permanent()
        );
        let given_up = peer.given_up;
        let saw = place.and_then(|place| place.saw_given_up(node, &peer.line));
        is_refused
            || saw.is_some_and(|saw| saw != given_up)
            || self.shared.is_client(to.node, to.uid)
    }
}
