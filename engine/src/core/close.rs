//! How connections end: for a fault, by their peer, or because an association wants it.

use std::rc::Rc;

use ringmesh_proto::close_reason::{CloseReason, Fault};
use ringmesh_proto::limits::HANDSHAKE_TIMEOUT;
use ringmesh_transport::contract::{self, ConnectionId, Transport};

use super::Core;
use super::link::Connection;

impl Core {
    /// Closes a connection for what its peer did, or did not do in time.
    pub(super) fn connection_fault(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        reason: CloseReason,
    ) {
        let key = connection.key;
        match connection.node.get() {
            Some(node) => {
                self.associate(node, |association, cx| {
                    association.handle_fault(cx, key, reason)
                });
            }
            None => self.accept(|acceptor, cx| acceptor.handle_fault(cx, key, reason)),
        }
        // Whoever the machines think it belongs to, nothing good comes from it any more.
        self.close_connection(connection, reason);
    }

    /// The transport reports the end of a connection.
    pub(super) fn handle_closed(self: &Rc<Self>, id: ConnectionId, why: &contract::CloseReason) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.intake.borrow_mut().clear();
        self.clear_deadline(&connection);
        self.connections.borrow_mut()[id.slot as usize] = None;
        if connection.closing.replace(true) {
            return;
        }
        let reason = match why {
            contract::CloseReason::PeerClosed => CloseReason::PeerClosed,
            contract::CloseReason::DialFailed(_) => CloseReason::DialFailed,
            _ => CloseReason::Broken,
        };
        tracing::debug!(connection = ?id, ?why, "connection ended");
        let key = connection.key;
        match connection.node.get() {
            Some(node) => {
                self.associate(node, |association, cx| {
                    association.handle_closed(cx, key, reason)
                });
            }
            None => self.accept(|acceptor, _| acceptor.handle_closed(key)),
        }
    }

    /// Closes a connection once what was written is sent; what it still brings is ignored.
    pub(super) fn close_connection(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        reason: CloseReason,
    ) {
        if connection.closing.replace(true) {
            return;
        }
        self.note_close(connection, reason);
        self.clear_deadline(connection);
        let last_words = connection.link().filter(|_| reason == CloseReason::Bye);
        if let Some(link) = last_words {
            // The peer waits for its last bytes to be acknowledged.
            self.send_on(&link);
            connection.sending.set(link.sending.get());
        }
        if connection.sending.get() {
            self.set_deadline(connection, HANDSHAKE_TIMEOUT);
        } else {
            self.io.borrow_mut().close(connection.id);
        }
    }

    /// The kernel has taken a send.
    pub(super) fn connection_sent(&self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.sending.set(false);
        if connection.closing.get() {
            self.io.borrow_mut().close(id);
        } else if let Some(link) = connection.link() {
            self.handle_sent(&link);
        }
    }

    /// Counts the reason, and logs it when somebody has to act; a flood of them is only counted.
    fn note_close(&self, connection: &Connection, reason: CloseReason) {
        self.closes.borrow_mut().count(reason.label());
        let fault = reason.fault();
        if fault == Fault::Nobody || matches!(reason, CloseReason::PeerClosed) {
            return;
        }
        if fault == Fault::Peer {
            self.tally.closed_for_fault.add(1);
        }
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!(connection = ?connection.id, label = reason.label(), %reason,
                "closing a connection");
        }
    }
}
