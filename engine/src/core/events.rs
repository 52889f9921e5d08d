//! What the transport reports, brought to the connection it is about.

use std::net::SocketAddr;
use std::rc::Rc;

use ringmesh_proto::limits;
use ringmesh_transport::contract::{CloseReason, ConnectionId, Event, Transport};

use super::budget::Budget;
use super::fault::Fault;
use super::link::{Connection, Stage};
use super::receive::{self, Left};
use super::{Core, Token};

impl Core {
    pub(super) fn handle_event(self: &Rc<Self>, event: Event) {
        match event {
            Event::Received { connection, chunk } => {
                if let Some(connection) = self.connection(connection)
                    && !connection.closing.get()
                {
                    connection.last_byte.set(self.clock.now());
                    connection.intake.borrow_mut().push(chunk);
                    self.make_readable(&connection);
                }
            }
            Event::Sent { connection } => {
                if let Some(link) = self.connection(connection).and_then(|found| found.link()) {
                    self.handle_sent(&link);
                }
            }
            Event::Incoming { connection, peer } => self.handle_incoming(connection, peer),
            Event::Preface { connection, bytes } => self.handle_preface(connection, &bytes),
            Event::Connected { connection } => self.handle_connected(connection),
            Event::Closed { connection, reason } => self.handle_closed(connection, &reason),
            Event::AcceptPaused { error } => {
                tracing::warn!(%error, "accepting connections paused");
            }
            Event::Terminate => self.begin_stopping(),
            Event::Doorbell => self.tasks.collect_foreign(),
        }
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        let connection = connections.get(id.slot as usize)?.as_ref()?;
        (connection.id == id).then(|| Rc::clone(connection))
    }

    pub(super) fn add_connection(&self, id: ConnectionId, stage: Stage) -> Rc<Connection> {
        let connection = Rc::new(Connection::new(id, stage));
        let mut connections = self.connections.borrow_mut();
        let slot = id.slot as usize;
        if connections.len() <= slot {
            connections.resize(slot + 1, None);
        }
        connections[slot] = Some(Rc::clone(&connection));
        connection
    }

    /// Puts a connection on the list of those with bytes to parse.
    pub(super) fn make_readable(&self, connection: &Rc<Connection>) {
        if !connection.readable.replace(true) {
            self.readable.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Parses and dispatches what waits, each connection in turn, until the budget is spent. Says
    /// whether anything waited.
    pub(super) fn dispatch_waiting(self: &Rc<Self>, budget: &mut Budget) -> bool {
        let waiting = std::mem::take(&mut *self.readable.borrow_mut());
        let any = !waiting.is_empty();
        for connection in &waiting {
            connection.readable.set(false);
            if !connection.closing.get() {
                self.read_connection(connection, budget);
            }
        }
        any
    }

    fn read_connection(self: &Rc<Self>, connection: &Rc<Connection>, budget: &mut Budget) {
        // The handshake may turn into a link with frames already behind it.
        if connection.link().is_none()
            && let Err(fault) = self.read_handshake(connection)
        {
            return self.close_for(connection, fault);
        }
        let Some(link) = connection.link() else { return self.watch_for_stall(connection) };
        match receive::drain(self, connection, &link, budget) {
            Ok(left) => {
                self.owe_grant(&link);
                if left == Left::More {
                    self.make_readable(connection);
                } else if connection.intake.borrow().is_within_frame() {
                    self.watch_for_stall(connection);
                }
            }
            Err(fault) => self.close_for(connection, fault),
        }
    }

    fn handle_incoming(self: &Rc<Self>, id: ConnectionId, peer: SocketAddr) {
        if self.half_open.get() >= self.settings.half_open_max || self.is_closing() {
            self.tally.half_open_shed.add(1);
            self.io.borrow_mut().close(id);
            return;
        }
        tracing::debug!(%peer, "incoming connection");
        self.half_open.set(self.half_open.get() + 1);
        let connection = self.add_connection(id, Stage::Preface);
        self.set_deadline(&connection, limits::PREFACE_TIMEOUT);
    }

    /// Bounds the time of a connection's current stage.
    pub(super) fn set_deadline(&self, connection: &Rc<Connection>, span: std::time::Duration) {
        self.clear_deadline(connection);
        let deadline = self.clock.now() + span;
        connection.deadline.set(self.set_timer(deadline, Token::Connection(connection.id)));
    }

    pub(super) fn clear_deadline(&self, connection: &Connection) {
        if let Some(key) = connection.deadline.take() {
            self.cancel_timer(key);
        }
    }

    /// A frame has begun and must go on.
    fn watch_for_stall(&self, connection: &Rc<Connection>) {
        let linked = connection.link().is_some();
        if linked && connection.deadline.get().is_none() {
            self.set_deadline(connection, limits::FRAME_STALL_TIMEOUT);
        }
    }

    /// A connection's deadline passed. A frame that got new bytes since has a new one.
    pub(super) fn connection_overdue(self: &Rc<Self>, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        connection.deadline.set(None);
        if connection.link().is_none() {
            return self.close_for(&connection, Fault::TooSlow);
        }
        if !connection.intake.borrow().is_within_frame() {
            return;
        }
        let silent = self.clock.now().saturating_since(connection.last_byte.get());
        match limits::FRAME_STALL_TIMEOUT.checked_sub(silent) {
            Some(left) if !left.is_zero() => self.set_deadline(&connection, left),
            _ => self.close_for(&connection, Fault::FrameStalled),
        }
    }

    /// Closes a connection for what its peer did.
    pub(super) fn close_for(self: &Rc<Self>, connection: &Rc<Connection>, fault: Fault) {
        if connection.closing.get() {
            return;
        }
        self.tally.closed_for_fault.add(1);
        tracing::warn!(connection = ?connection.id, reason = %fault, "closing a connection");
        self.close_connection(connection);
    }

    /// Closes a connection; what it still brings is ignored.
    pub(super) fn close_connection(self: &Rc<Self>, connection: &Rc<Connection>) {
        if !connection.closing.replace(true) {
            connection.intake.borrow_mut().clear();
            self.clear_deadline(connection);
            self.io.borrow_mut().close(connection.id);
        }
    }

    fn handle_closed(self: &Rc<Self>, id: ConnectionId, reason: &CloseReason) {
        let Some(connection) = self.connection(id) else { return };
        connection.closing.set(true);
        connection.intake.borrow_mut().clear();
        self.clear_deadline(&connection);
        self.connections.borrow_mut()[id.slot as usize] = None;
        self.connection_closed(&connection, reason);
    }
}
