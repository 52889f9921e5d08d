//! What the transport reports, brought to the connection it is about.

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::limits;
use ringmesh_transport::contract::{ConnectionId, Event, Transport};

use super::budget::Budget;
use super::link::{Connection, Link, Stage, id_of};
use super::peers::PeerIndex;
use super::receive::{self, Left};
use super::{Core, Token};

impl Core {
    /// The oldest event that nobody has handled.
    pub(super) fn next_event(&self) -> Option<Event> {
        self.events.borrow_mut().pop_front()
    }

    pub(super) fn handle_event(self: &Rc<Self>, event: Event) {
        match event {
            Event::Received { connection, chunk } => {
                if let Some(connection) = self.connection(connection)
                    && !connection.closing.get()
                {
                    connection.last_byte.set(self.clock.now());
                    if connection.doubted.take() {
                        self.heard(&connection);
                    }
                    connection.intake.borrow_mut().push(chunk);
                    self.make_readable(&connection);
                }
            }
            Event::Sent { connection } => self.connection_sent(connection),
            Event::Incoming { connection, peer } => self.handle_incoming(connection, peer),
            Event::Preface { connection, bytes } => self.handle_preface(connection, &bytes),
            Event::Connected { connection } => self.handle_connected(connection),
            Event::Closed { connection, reason } => self.handle_closed(connection, &reason),
            Event::AcceptPaused { error } => {
                tracing::warn!(%error, "accepting connections paused");
            }
            Event::Terminate => self.terminate(),
            Event::Doorbell => {
                self.tasks.collect_foreign();
                self.follow_stop();
            }
        }
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let is_meant = |connection: &&Rc<Connection>| connection.id == id;
        let connections = self.connections.borrow();
        let place = connections.get(id.slot as usize)?;
        if let Some(connection) = place.as_ref().filter(is_meant) {
            return Some(Rc::clone(connection));
        }
        self.draining.borrow().iter().find(is_meant).map(Rc::clone)
    }

    /// The connection that the pure machines mean.
    pub(super) fn connection_of(&self, key: ConnKey) -> Option<Rc<Connection>> {
        self.connection(id_of(key))
    }

    pub(super) fn add_connection(
        &self,
        id: ConnectionId,
        node: Option<PeerIndex>,
    ) -> Rc<Connection> {
        let connection = Rc::new(Connection::new(id, node, Stage::Opening));
        let mut connections = self.connections.borrow_mut();
        let slot = id.slot as usize;
        if connections.len() <= slot {
            connections.resize(slot + 1, None);
        }
        // The transport may give a slot away before the end of its last owner is handled here.
        if let Some(former) = connections[slot].replace(Rc::clone(&connection)) {
            self.draining.borrow_mut().push(former);
        }
        connection
    }

    /// The transport has forgotten a connection.
    pub(super) fn forget_connection(&self, connection: &Connection) {
        let mut connections = self.connections.borrow_mut();
        if let Some(place) = connections.get_mut(connection.id.slot as usize) {
            place.take_if(|other| other.id == connection.id);
        }
        drop(connections);
        self.forget_draining(connection);
    }

    /// Puts a connection on the list of those with bytes to parse.
    pub(super) fn make_readable(&self, connection: &Rc<Connection>) {
        if !connection.readable.replace(true) {
            let list = if connection.urgent.get() {
                &self.urgent
            } else {
                &self.readable
            };
            list.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Parses and dispatches what waits, each connection in turn, until the budget is spent. Says
    /// whether anything waited.
    pub(super) fn dispatch_waiting(self: &Rc<Self>, budget: &mut Budget) -> bool {
        let mut waiting = self.kept.reading.take();
        std::mem::swap(&mut waiting, &mut self.readable.borrow_mut());
        let any = !waiting.is_empty();
        for connection in waiting.drain(..) {
            let connection = &connection;
            self.read_in_turn(connection, |core| core.read_connection(connection, budget));
        }
        self.kept.reading.set(waiting);
        // Whoever used the budget up goes behind those that got nothing of it.
        let mut left = self.readable.borrow_mut();
        if left.len() > 1 {
            left.rotate_left(1);
        }
        any
    }

    /// Reads a connection that is on the list no more.
    pub(super) fn read_in_turn(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        read: impl FnOnce(&Rc<Self>),
    ) {
        connection.readable.set(false);
        if !connection.closing.get() {
            read(self);
        }
        if connection.closing.get() {
            self.discard_unread(connection);
        } else if let Some(reason) = connection.over.get()
            && !connection.readable.get()
        {
            self.end_draining(connection, reason);
        }
    }

    fn read_connection(self: &Rc<Self>, connection: &Rc<Connection>, budget: &mut Budget) {
        // The handshake may turn into a link with frames already behind it.
        if connection.link().is_none()
            && let Err(reason) = self.read_handshake(connection)
        {
            return self.connection_fault(connection, reason);
        }
        if connection.closing.get() {
            return;
        }
        let Some(link) = connection.link() else {
            return;
        };
        if link.is_pressing() {
            // It has just become one: what is behind its handshake is served in its place.
            return self.make_readable(connection);
        }
        if link.outbound.borrow().has_said_bye() {
            if let Err(reason) = self.overhear(connection, &link) {
                self.connection_fault(connection, reason);
            }
            return;
        }
        let before = self.tally.received.total();
        let drained = receive::drain(self, connection, &link, budget);
        link.vitals
            .count_received(self.tally.received.total() - before);
        match drained {
            Ok(left) => {
                if left == Left::More && !connection.closing.get() {
                    self.owe_grant(&link);
                    return self.make_readable(connection);
                }
                self.read_so_far(connection, &link);
            }
            Err(reason) => self.connection_fault(connection, reason),
        }
    }

    /// Everything whole that came on a connection is read.
    pub(super) fn read_so_far(&self, connection: &Rc<Connection>, link: &Rc<Link>) {
        if connection.closing.get() {
            return;
        }
        self.owe_grant(link);
        if connection.over.get().is_none() && connection.intake.borrow().is_within_frame() {
            self.watch_for_stall(connection);
        }
    }

    /// Bounds the time of a connection's current stage.
    pub(super) fn set_deadline(&self, connection: &Rc<Connection>, span: std::time::Duration) {
        self.clear_deadline(connection);
        let deadline = self.clock.now() + span;
        connection
            .deadline
            .set(self.set_timer(deadline, Token::Connection(connection.id)));
    }

    pub(super) fn clear_deadline(&self, connection: &Connection) {
        if let Some(key) = connection.deadline.take() {
            self.cancel_timer(key);
        }
    }

    /// A frame has begun and must go on.
    fn watch_for_stall(&self, connection: &Rc<Connection>) {
        if connection.deadline.get().is_none() {
            self.set_deadline(connection, limits::FRAME_STALL_TIMEOUT);
        }
    }

    /// A connection's deadline passed. A frame that got new bytes since has a new one.
    pub(super) fn connection_overdue(self: &Rc<Self>, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.deadline.set(None);
        if connection.closing.get() {
            // Its last bytes do not leave.
            return self.io.borrow_mut().close(id);
        }
        if !connection.intake.borrow().is_within_frame() {
            return;
        }
        let silent = self
            .clock
            .now()
            .saturating_since(connection.last_byte.get());
        match limits::FRAME_STALL_TIMEOUT.checked_sub(silent) {
            Some(left) if !left.is_zero() => self.set_deadline(&connection, left),
            _ => self.connection_fault(&connection, CloseReason::FrameStall),
        }
    }
}
