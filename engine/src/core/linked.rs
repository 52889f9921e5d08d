//! What follows when a link comes up or is over: whoever waits is woken, and the node's cores learn
//! of the peer.

use std::rc::Rc;

use ringmesh_proto::address::Uid;
use ringmesh_proto::close_reason::{CloseReason, Fault};
use ringmesh_proto::effect::LinkUp;
use ringmesh_proto::lane::Lane;
use ringmesh_transport::contract::Transport;

use super::link::{Connection, Link, Stage};
use super::peers::PeerIndex;
use super::{Core, Met, NodeIndex};

impl Core {
    pub(super) fn link_up(self: &Rc<Self>, node: PeerIndex, up: &LinkUp) {
        let Some(connection) = self.connection_of(up.conn) else {
            return;
        };
        let link = self.begin_link(up, &connection, node);
        self.pace(&link, &connection);
        // The answer to the dial may still be on its way out.
        link.sending.set(connection.sending.get());
        *connection.stage.borrow_mut() = Stage::Linked(Rc::clone(&link));
        self.tally.links.add(1);
        tracing::info!(peer = %up.peer, dialled = up.dialled, "link up");
        link.vitals.since.set(self.clock.now());
        self.tell_of_link(&link, up.dialled);
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(node);
        peer.link = Some(link);
        peer.meetings += 1;
        peer.problem = None;
        peer.places.found();
        let number = peer.node;
        let (uid, matrix) = (up.peer.uid, up.matrix);
        connection.settle();
        self.shared.linked(number, uid, connection.from());
        self.shared.connected(number, uid);
        let met = self.shared.learn(number, Met { uid, matrix });
        peers.learn(number, met);
        drop(peers);
        self.end_former_links(number, met.uid);
        self.watch_for_idle();
        self.peer_changed(node);
        self.far_link_up(number, node);
    }

    /// Ends what waits for former starts of a peer's process: this lane met another. That proves
    /// nothing, so a link with a connection is only asked whether it lives, and one that rests
    /// dials to find out.
    fn end_former_links(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        let of_node = self.peers.borrow().of_node(number);
        for peer in of_node {
            let link = self.peers.borrow_mut().at(peer).link.clone();
            match link.filter(|link| link.uid != uid) {
                Some(link) if link.rests_since.get().is_some() => {
                    self.associate(peer, |association, cx| association.handle_resume_wanted(cx));
                }
                Some(link) if link.is_lost() => self.link_fault(&link, CloseReason::Restarted),
                Some(_) => self.associate(peer, |association, cx| association.handle_doubt(cx)),
                None => {}
            }
        }
    }

    /// Keeps a connection of another lane than the ordinary one from holding up others, and has it
    /// served as its lane is.
    pub(super) fn pace(&self, link: &Link, connection: &Connection) {
        connection.urgent.set(link.is_pressing());
        if link.lane != Lane::Ordinary {
            self.io.borrow_mut().pace(connection.id);
        }
    }

    /// Wakes whoever waits for something to change at a peer.
    pub(super) fn peer_changed(&self, node: PeerIndex) {
        let watchers = self.peers.borrow_mut().take_watchers(node);
        watchers.into_iter().for_each(|waker| self.wake(waker));
        self.room_came(node);
        self.recipients_came(node);
    }

    pub(super) fn link_down(self: &Rc<Self>, node: PeerIndex, reason: CloseReason) {
        let link = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            peer.problem = Some(reason);
            peer.link.take()
        };
        if let Some(link) = link {
            let number = self.number_of(node);
            self.shared.unlinked(number);
            self.far_link_down(number, &link, reason);
            self.tell_of_loss(&link, reason, true);
            self.pings_lost(&link);
            self.end_link(&link, reason.fault() == Fault::Nobody);
        }
        self.peer_changed(node);
    }
}
