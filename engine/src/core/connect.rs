//! The life of connections and associations: this room feeds the pure machines that decide it, and
//! carries out what they say.
//!
//! An [`Association`] per peer decides when to dial and which connection carries the link; the
//! `Acceptor` holds incoming connections until they have shown who they are.
//!
//! [`Association`]: ringmesh_proto::association::Association

use std::rc::Rc;

use ringmesh_proto::address::{Address, CoreId};
use ringmesh_proto::association::{Association, Status};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::{ConnKey, Context, Effect, Outbox, Standing};
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::frame::{Frame, Parse, parse};
use ringmesh_proto::handshake::{Acceptor, Introduction};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::FRAME_BYTES_BEFORE_ACCEPT;
use ringmesh_proto::preface::{Preface, Role};
use ringmesh_proto::slab::Slab;
use ringmesh_transport::contract::{ConnectionId, Detached, Transport};

use super::door::Guest;
use super::link::{Connection, End, Link};
use super::peers::PeerIndex;
use super::{Core, Errand, NodeIndex, Token};
use crate::error::ResolveError;

impl Core {
    /// The index of a core of the node at `address`.
    pub(crate) fn peer(
        self: &Rc<Self>,
        address: &Address,
        core: CoreId,
    ) -> Result<PeerIndex, ResolveError> {
        self.peer_on(address, (core, Lane::Ordinary))
    }

    /// The same on a lane. When there are as many as may be, a link that rests makes room.
    pub(crate) fn peer_on(
        self: &Rc<Self>,
        address: &Address,
        at: (CoreId, Lane),
    ) -> Result<PeerIndex, ResolveError> {
        let found = self.find_peer(address, at);
        let lacks_room = found.is_err() && self.peers.borrow().lacks_room(address, at);
        if lacks_room && self.end_a_resting_link(at.1) {
            return self.find_peer(address, at);
        }
        found
    }

    fn find_peer(&self, address: &Address, at: (CoreId, Lane)) -> Result<PeerIndex, ResolveError> {
        let mut peers = self.peers.borrow_mut();
        let found = peers.find_or_add(address, at, &self.shared);
        if let Some(forgotten) = peers.take_forgotten() {
            self.tell_of_forgotten(forgotten);
        }
        found
    }

    /// The number of the node that a peer is a core of.
    pub(crate) fn number_of(&self, node: PeerIndex) -> NodeIndex {
        self.peers.borrow_mut().at(node).node
    }

    /// Has the peer dialled, now and whenever its link is lost, until it says goodbye.
    pub(crate) fn want_link(self: &Rc<Self>, node: PeerIndex) {
        self.associate(node, |association, cx| association.handle_dial_wanted(cx));
    }

    /// A deadline of the association with a peer may have passed.
    pub(super) fn peer_timeout(self: &Rc<Self>, node: PeerIndex) {
        self.peers.borrow_mut().at(node).timer = None;
        self.associate(node, |association, cx| association.handle_timeout(cx));
    }

    /// A deadline of an incoming connection may have passed.
    pub(super) fn acceptor_timeout(self: &Rc<Self>) {
        self.acceptor_timer.set(None);
        self.accept(|acceptor, cx| acceptor.handle_timeout(cx));
    }

    pub(super) fn handle_preface(self: &Rc<Self>, id: ConnectionId, bytes: &[u8; 64]) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if let Some(core) = self.wanted_elsewhere(bytes) {
            return self.pass_on(&connection, core, *bytes);
        }
        self.accept(|acceptor, cx| acceptor.handle_preface(cx, connection.key, bytes));
        if !connection.closing.get() {
            self.io.borrow_mut().start_receiving(id);
        }
    }

    /// The other core of this node that a preface asks for.
    fn wanted_elsewhere(&self, bytes: &[u8; 64]) -> Option<CoreId> {
        let preface = Preface::parse(bytes).ok()?;
        let wanted = preface.wanted_core?;
        if self.is_closing() && preface.role != Role::Inquirer {
            // A node that stops refuses here.
            return None;
        }
        // Whoever does not belong here is refused here: strangers cost other cores nothing.
        (wanted != self.id && self.local().admits(&preface)).then_some(wanted)
    }

    /// Hands a connection over to the core it asks for. Nothing behind its preface was received
    /// here, and no request is pending on it, so it moves as it is.
    fn pass_on(self: &Rc<Self>, connection: &Rc<Connection>, to: CoreId, preface: [u8; 64]) {
        let id = connection.id;
        self.accept(|acceptor, _| acceptor.handle_closed(connection.key));
        let detached = self.io.borrow_mut().detach(id);
        let guest = connection.guest.take();
        self.clear_deadline(connection);
        connection.closing.set(true);
        let Some(detached) = detached else {
            return self.io.borrow_mut().close(id);
        };
        self.connections.borrow_mut()[id.slot as usize] = None;
        let errand: Errand = Box::new(move |core| core.take_over(detached, &preface, guest));
        if self.send_errand(to, errand).is_err() {
            // It was dropped, and the connection with it.
            self.note_close(connection, CloseReason::Overloaded);
        }
    }

    /// Takes over a connection that the control core accepted for this one.
    fn take_over(self: &Rc<Self>, detached: Detached, preface: &[u8; 64], guest: Option<Guest>) {
        let adopted = self.io.borrow_mut().adopt(detached);
        match adopted {
            Ok(id) => {
                let connection = self.add_connection(id, None);
                connection.guest.replace(guest);
                self.accept(|acceptor, cx| acceptor.handle_accepted(cx, connection.key));
                self.handle_preface(id, preface);
            }
            Err(error) => {
                self.count_close(CloseReason::Overloaded);
                tracing::warn!(%error, "a connection could not be taken over");
            }
        }
    }

    pub(super) fn handle_connected(self: &Rc<Self>, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(node) = connection.node.get() else {
            return self.inquiry_connected(&connection);
        };
        self.associate(node, |association, cx| {
            association.handle_connected(cx, connection.key)
        });
        if !connection.closing.get() {
            self.io.borrow_mut().start_receiving(id);
        }
    }

    /// Reads frames of the handshake until there is a link, or no whole frame.
    ///
    /// # Errors
    /// When the bytes are not frames.
    pub(super) fn read_handshake(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
    ) -> Result<(), CloseReason> {
        const CAP: u32 = FRAME_BYTES_BEFORE_ACCEPT;
        while !connection.closing.get() && connection.link().is_none() {
            let mut intake = connection.intake.borrow_mut();
            if intake.is_partial() && !intake.assemble(0, CAP) {
                return Ok(());
            }
            let Some(chunk) = intake.front().cloned() else {
                return Ok(());
            };
            match parse(&chunk, CAP)? {
                Parse::Complete(frame) => {
                    intake.consume(frame.wire_bytes);
                    drop(intake);
                    self.handle_handshake_frame(connection, &frame);
                }
                Parse::Incomplete { needed } => {
                    drop(chunk);
                    if !intake.assemble(needed, CAP) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn handle_handshake_frame(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Frame<'_>) {
        let key = connection.key;
        if let Some(node) = connection.node.get() {
            if self.is_collision(frame) {
                let reason = CloseReason::Refusing(RefuseReason::Collision);
                return self.connection_fault(connection, reason);
            }
            if self.is_quarantined_answer(connection, node, frame) {
                return;
            }
            return self.associate(node, |association, cx| {
                association.handle_frame(cx, key, frame);
            });
        }
        if self.inquiry_frame(connection, frame) {
            return;
        }
        let introduced = self.accept(|acceptor, cx| acceptor.handle_frame(cx, key, frame));
        if let Some(introduction) = introduced
            && let Err(reason) = self.introduce(connection, &introduction)
        {
            self.accept(|acceptor, cx| acceptor.refuse(cx, key, reason));
        }
    }

    /// Brings a dialler to the association with its node.
    pub(super) fn admit(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        self.check_quarantine(&introduction.peer)?;
        self.check_role(introduction)?;
        connection.of_client.set(introduction.is_of_client());
        let address = &introduction.peer.address;
        let at = (introduction.sending_core, introduction.lane);
        let node = self
            .find_peer(address, at)
            .or_else(|_| {
                let gives_way = self.give_up_a_lost_link(introduction);
                self.peers.borrow_mut().give_way(gives_way);
                let found = self.find_peer(address, at);
                self.peers.borrow_mut().give_way(None);
                found
            })
            .map_err(|_| RefuseReason::Overloaded)?;
        connection.node.set(Some(node));
        let accepted = self.associate(node, |association, cx| {
            association.handle_incoming(cx, introduction)
        });
        if accepted.is_err() {
            connection.node.set(None);
        } else if connection.link().is_none() {
            self.doubt_former_links(self.number_of(node), introduction.peer.uid);
        }
        accepted
    }

    /// Turns a dialler away that an association let wait.
    fn refuse(self: &Rc<Self>, conn: ConnKey, reason: RefuseReason) {
        if let Some(connection) = self.connection_of(conn) {
            connection.node.set(None);
        }
        self.accept(|acceptor, cx| acceptor.refuse(cx, conn, reason));
    }

    /// Something came on a connection whose link is in doubt: it lives.
    pub(super) fn heard(self: &Rc<Self>, connection: &Connection) {
        if let Some(node) = connection.node.get() {
            let key = connection.key;
            self.associate(node, |association, cx| association.handle_heard(cx, key));
        }
    }

    /// Says goodbye to every peer.
    pub(super) fn say_goodbye(self: &Rc<Self>) {
        let nodes: Vec<PeerIndex> = self.peers.borrow().others().collect();
        for node in nodes {
            self.associate(node, |association, cx| association.handle_stop(cx));
        }
    }

    /// Whether every association is over and the core has nothing left to say to itself.
    pub(super) fn all_said(&self) -> bool {
        let mut peers = self.peers.borrow_mut();
        let nodes: Vec<PeerIndex> = peers.others().collect();
        let over = |node| peers.at(node).association.status() == Status::Stopped;
        let idle = |end: &End| end.link.outbound.borrow().is_idle();
        nodes.into_iter().all(over) && self.ends.iter().all(idle) && self.tunnels_are_idle()
    }

    /// Calls the association with a peer and carries out what it says.
    pub(super) fn associate<R>(
        self: &Rc<Self>,
        node: PeerIndex,
        call: impl FnOnce(&mut Association, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let result = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            let (association, lane) = (&mut peer.association, peer.lane);
            let in_line = !peer.line.is_empty();
            Link::with_halves(peer.link.as_ref(), in_line, |link| {
                call(association, &mut self.context(lane, link, &mut out))
            })
        };
        self.carry_out(Some(node), out);
        self.arm_peer_timer(node);
        result
    }

    /// Calls the acceptor and carries out what it says.
    pub(super) fn accept<R>(
        self: &Rc<Self>,
        call: impl FnOnce(&mut Acceptor, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let mut context = self.context(Lane::Ordinary, None, &mut out);
        let result = call(&mut self.acceptor.borrow_mut(), &mut context);
        self.carry_out(None, out);
        self.arm_acceptor_timer();
        result
    }

    pub(super) fn context<'a>(
        &'a self,
        lane: Lane,
        link: Option<Standing<'a>>,
        out: &'a mut Outbox,
    ) -> Context<'a> {
        let random = crate::random::number();
        Context {
            now: self.clock.now(),
            random,
            local: self.local_of(lane),
            link,
            out,
        }
    }

    pub(super) fn carry_out(self: &Rc<Self>, node: Option<PeerIndex>, mut out: Outbox) {
        while let Some(effect) = out.pop() {
            match effect {
                Effect::Write { conn, bytes } => self.write(conn, &bytes),
                Effect::Close { conn, reason } => {
                    if let Some(connection) = self.connection_of(conn) {
                        self.close_connection(&connection, reason);
                    }
                }
                Effect::Refuse { conn, reason } => self.refuse(conn, reason),
                Effect::QuarantinedByPeer { peer } => self.quarantined_by_peer(&peer),
                effect => {
                    if let Some(node) = node {
                        self.carry_out_for(node, effect);
                    }
                }
            }
        }
    }

    /// Effects that only an association has.
    fn carry_out_for(self: &Rc<Self>, node: PeerIndex, effect: Effect) {
        match effect {
            Effect::Dial { address } => self.dial(node, &address),
            Effect::LinkUp(up) => self.link_up(node, &up),
            Effect::LinkLost { conn, peer, reason } => {
                tracing::info!(%peer, %reason, "link lost; it waits for another connection");
                self.link_lost(node, conn, reason);
            }
            Effect::LinkRested { conn, peer } => {
                tracing::info!(%peer, "nothing goes over a link; it rests");
                self.link_rested(node, conn);
            }
            Effect::LinkResumed { conn, peer, grant } => {
                tracing::info!(%peer, received_to = grant.received_to, "link resumed");
                self.link_resumed(node, conn, grant);
            }
            Effect::LinkDown { peer, reason, .. } => {
                tracing::info!(%peer, %reason, "link ended");
                self.link_down(node, reason);
            }
            Effect::FormingOver { peer, reason } => {
                tracing::info!(%peer, %reason, "sends waited in vain for a link");
                self.forming_over(node, reason);
            }
            Effect::PeerRestarted { old, new } => {
                let address = self.address_of_peer(node);
                tracing::info!(?address, %old, %new, "a peer was restarted");
                self.tell_of_restart(node, old, new);
                self.start_followed(node, old);
                self.peer_changed(node);
            }
            Effect::Unreachable {
                attempt,
                reason,
                retry_after,
            } => {
                let address = self.address_of_peer(node);
                tracing::debug!(?address, attempt, %reason, ?retry_after, "a dial failed");
                self.tell_of_failed_dial(node, reason);
                self.peers.borrow_mut().at(node).problem = Some(reason);
                self.far_dial_failed(node, reason);
                self.peer_changed(node);
            }
            Effect::Ping { conn, nonce } => {
                if let Some(connection) = self.connection_of(conn) {
                    connection.doubted.set(true);
                }
                self.with_link(conn, |link| link.outbound.borrow_mut().queue_ping(nonce));
            }
            Effect::Pong { conn, nonce } => {
                self.with_link(conn, |link| link.outbound.borrow_mut().queue_pong(nonce));
            }
            Effect::Rest { conn } => {
                self.with_link(conn, |link| link.outbound.borrow_mut().queue_rest());
            }
            Effect::Bye { conn, reason } => {
                self.with_link(conn, |link| link.outbound.borrow_mut().queue_bye(reason));
            }
            Effect::Stopped => self.peer_changed(node),
            _ => {}
        }
    }

    fn with_link(&self, conn: ConnKey, change: impl FnOnce(&Link)) {
        if let Some(link) = self
            .connection_of(conn)
            .and_then(|connection| connection.link())
        {
            change(&link);
            self.enqueue(&link);
        }
    }

    /// Sends bytes of a handshake.
    pub(super) fn write(&self, conn: ConnKey, bytes: &[u8]) {
        let Some(connection) = self.connection_of(conn) else {
            return;
        };
        if connection.closing.get() {
            return;
        }
        let mut slab = Slab::with_capacity(bytes.len());
        slab.tail_mut().copy_from_slice(bytes);
        slab.advance(bytes.len());
        connection.sending.set(true);
        self.io
            .borrow_mut()
            .send(connection.id, &mut vec![slab.freeze().into()]);
    }

    fn arm_peer_timer(&self, node: PeerIndex) {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(node);
        let due = peer.association.poll_timeout();
        if peer.timer.map(|(deadline, _)| deadline) == due {
            return;
        }
        if let Some((_, key)) = peer.timer.take() {
            self.cancel_timer(key);
        }
        peer.timer = due.and_then(|due| Some((due, self.set_timer(due, Token::Peer(node))?)));
    }

    fn arm_acceptor_timer(&self) {
        let due = self.acceptor.borrow().poll_timeout();
        if self.acceptor_timer.get().map(|(deadline, _)| deadline) == due {
            return;
        }
        if let Some((_, key)) = self.acceptor_timer.take() {
            self.cancel_timer(key);
        }
        let timer = due.and_then(|due| Some((due, self.set_timer(due, Token::Acceptor)?)));
        self.acceptor_timer.set(timer);
    }
}
