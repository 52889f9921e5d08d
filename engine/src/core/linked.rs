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
        peer.link = Some(Rc::clone(&link));
        peer.meetings += 1;
        peer.problem = None;
        peer.places.found();
        let number = peer.node;
        let uid = up.peer.uid;
        connection.settle();
        self.shared.linked(number, uid, connection.from());
        self.shared.parted.handle_link_up(&up.peer);
        self.shared.connected(number, uid);
        let former = self.shared.met_start(number);
        let (matrix, is_client) = (up.matrix, connection.of_client.get());
        let met = Met {
            uid,
            matrix,
            is_client,
        };
        let met = self.shared.learn(number, met);
        // Of two roles that were let in at once the lesser one holds.
        link.of_client.set(is_client || met.is_client);
        peers.learn(number, met);
        drop(peers);
        self.end_former_links(number, met.uid);
        self.watch_for_idle();
        if former.is_some_and(|former| former != met.uid) {
            self.tell_cores(move |core| core.hear_of_start(number, met.uid));
        }
        self.peer_changed(node);
        self.far_link_up(number, node);
    }

    /// Another core met a start of a peer's process.
    fn hear_of_start(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        // The number may be another node's by now, and that start may be over.
        if self.shared.met_start(number) == Some(uid) {
            self.end_former_links(number, uid);
        }
    }

    /// A dialler that was let in, but not at once, says it is of another start of a peer's process
    /// than the links there are: all of those are asked whether they live, those of other lanes and
    /// cores too. They may have nothing to send, and never find out by themselves.
    pub(super) fn doubt_former_links(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        self.probe_former_links(number, uid);
        self.tell_cores(move |core| core.probe_former_links(number, uid));
    }

    fn probe_former_links(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        for link in self.links_with(number, |link| link.uid != uid && !link.is_lost()) {
            self.associate(link.peer, |association, cx| association.handle_doubt(cx));
        }
    }

    /// Ends what waits for former starts of a peer's process: this lane met another. That proves
    /// nothing, so a link with a connection is only asked whether it lives, and one that rests
    /// dials to find out.
    fn end_former_links(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        for link in self.links_with(number, |link| link.uid != uid) {
            if link.rests_since.get().is_some() {
                self.find_out(&link);
            } else if link.is_lost() {
                self.link_fault(&link, CloseReason::Restarted);
            } else {
                self.associate(link.peer, |association, cx| association.handle_doubt(cx));
            }
        }
    }

    /// The links of all lanes with a node that are `wanted`.
    fn links_with(&self, number: NodeIndex, wanted: impl Fn(&Link) -> bool) -> Vec<Rc<Link>> {
        let mut peers = self.peers.borrow_mut();
        let of_node = peers.of_node(number).into_iter();
        let links = of_node.filter_map(|peer| peers.at(peer).link.clone());
        links.filter(|link| wanted(link)).collect()
    }

    /// What the end of a link shows of its peer's process start: a goodbye and a restart are of the
    /// whole node, so what one lane knows to be over is so for all lanes, and for all cores.
    pub(super) fn judge_start(self: &Rc<Self>, link: &Link, reason: CloseReason) {
        let (number, is_over) = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(link.peer);
            (peer.node, peer.association.is_over(link.uid))
        };
        match reason {
            CloseReason::Bye if is_over => self.start_over(number, link.uid, reason),
            CloseReason::Restarted => self.start_over(number, link.uid, reason),
            _ if is_over => self.start_over(number, link.uid, CloseReason::Restarted),
            _ => {}
        }
    }

    /// A process start of a peer is over: whatever waits for a first link with it, on whatever lane
    /// of whatever core, waits in vain.
    fn start_over(self: &Rc<Self>, number: NodeIndex, uid: Uid, reason: CloseReason) {
        if self.shared.end_start(number, uid) {
            self.hear_of_end(number, uid, reason);
            self.tell_cores(move |core| core.hear_of_end(number, uid, reason));
        }
    }

    fn hear_of_end(self: &Rc<Self>, number: NodeIndex, uid: Uid, reason: CloseReason) {
        self.far_start_over(uid, reason);
        let of_node = self.peers.borrow().of_node(number);
        for peer in of_node {
            self.associate(peer, |association, cx| {
                association.handle_start_over(cx, uid, reason);
            });
            self.peer_changed(peer);
        }
        // Nobody says goodbye on a link that rests.
        let rests = |link: &Link| link.uid == uid && link.rests_since.get().is_some();
        for link in self.links_with(number, rests) {
            self.find_out(&link);
        }
    }

    /// This lane met another start of a peer's process than before. The former is over, unless
    /// another lane has a connection with it: that is asked first.
    pub(super) fn start_followed(self: &Rc<Self>, node: PeerIndex, former: Uid) {
        let number = self.number_of(node);
        let lives = |link: &Link| link.uid == former && !link.is_lost();
        if self.links_with(number, lives).is_empty() {
            self.start_over(number, former, CloseReason::Restarted);
        }
    }

    /// Has every other core do something that it may as well not hear of.
    fn tell_cores(&self, act: impl Fn(&Rc<Self>) + Clone + Send + 'static) {
        for core in self.cores().filter(|core| *core != self.id()) {
            // One that has too much to do finds it out by itself, later.
            let _ = self.send_errand(core, Box::new(act.clone()));
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
            if let Some(by) = reason.quarantined_by() {
                self.end_unsent_questions(&link, by);
            }
            self.end_link(&link, reason.fault() == Fault::Nobody);
            self.judge_start(&link, reason);
        }
        self.peer_changed(node);
    }
}
