//! How connections end: for a fault, by their peer, or because an association wants it.

use std::io::ErrorKind;
use std::rc::Rc;

use ringmesh_proto::close_reason::{CloseReason, Fault};
use ringmesh_proto::limits::HANDSHAKE_TIMEOUT;
use ringmesh_proto::quarantine::By;
use ringmesh_transport::contract::{self, ConnectionId, Piece, Transport};

use super::Core;
use super::link::{Connection, Link};

impl Core {
    /// Closes a connection for what its peer did, or did not do in time.
    pub(super) fn connection_fault(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        reason: CloseReason,
    ) {
        if let Some(link) = connection.link().filter(|link| link.passage.is_some()) {
            return self.tunnel_fault(&link, reason);
        }
        let key = connection.key;
        match connection.node.get() {
            Some(node) => {
                self.associate(node, |association, cx| {
                    association.handle_fault(cx, key, reason)
                });
            }
            None => {
                self.accept(|acceptor, cx| acceptor.handle_fault(cx, key, reason));
                self.inquiry_over(key, reason);
            }
        }
        // Whoever the machines think it belongs to, nothing good comes from it any more.
        self.close_connection(connection, reason);
    }

    /// The transport reports the end of a connection. What came before it is parsed first.
    pub(super) fn handle_closed(self: &Rc<Self>, id: ConnectionId, why: &contract::CloseReason) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        self.clear_deadline(&connection);
        self.forget_connection(&connection);
        if connection.closing.get() {
            return self.discard_unread(&connection);
        }
        let reason = match why {
            contract::CloseReason::PeerClosed => CloseReason::PeerClosed,
            contract::CloseReason::DialFailed(error)
                if error.kind() == ErrorKind::ConnectionRefused =>
            {
                CloseReason::DialRefused
            }
            contract::CloseReason::DialFailed(_) => CloseReason::DialFailed,
            _ => CloseReason::Broken,
        };
        tracing::debug!(connection = ?id, ?why, "connection ended");
        if connection.intake.borrow().is_within_frame() {
            connection.over.set(Some(reason));
            self.make_readable(&connection);
            return self.draining.borrow_mut().push(connection);
        }
        self.connection_over(&connection, reason);
    }

    /// A connection that the transport has forgotten has brought all it can.
    pub(super) fn end_draining(self: &Rc<Self>, connection: &Rc<Connection>, reason: CloseReason) {
        if connection.link().is_some_and(|link| link.passage.is_some()) {
            return self.tunnel_over(connection);
        }
        self.forget_draining(connection);
        self.connection_over(connection, reason);
    }

    fn connection_over(self: &Rc<Self>, connection: &Rc<Connection>, reason: CloseReason) {
        connection.closing.set(true);
        self.discard_unread(connection);
        let key = connection.key;
        let found_nobody = matches!(reason, CloseReason::DialFailed | CloseReason::DialRefused);
        match connection.node.get() {
            Some(node) if found_nobody && self.redial(node, key) => {}
            Some(node) => {
                self.associate(node, |association, cx| {
                    association.handle_closed(cx, key, reason)
                });
            }
            None => {
                self.accept(|acceptor, _| acceptor.handle_closed(key));
                self.inquiry_over(key, reason);
            }
        }
    }

    pub(super) fn forget_draining(&self, connection: &Connection) {
        let mut draining = self.draining.borrow_mut();
        draining.retain(|other| other.id != connection.id);
    }

    /// Drops what a connection brought and nobody parsed, and counts the messages in it.
    pub(super) fn discard_unread(&self, connection: &Connection) {
        let mut intake = connection.intake.borrow_mut();
        if let Some(link) = connection.link() {
            let messages = intake.count_messages(link.body_cap);
            self.tally.dropped_unread.add(messages);
            self.tell_of_dropped(&link, messages, true);
        }
        intake.clear();
    }

    /// The same for all connections, when the core ends.
    pub(super) fn discard_all_unread(&self) {
        let (connections, draining) = (self.connections.borrow(), self.draining.borrow());
        let others = connections.iter().flatten().chain(&*draining);
        let all = others.chain(self.ends.iter().map(|end| &end.connection));
        all.for_each(|connection| self.discard_unread(connection));
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
        if connection.over.get().is_some() {
            // The transport has forgotten it: there is nothing to send or to close.
            return self.forget_draining(connection);
        }
        if let Some(link) = connection.link()
            && reason == CloseReason::Quarantined(By::Us)
        {
            self.say_quarantine(connection, &link);
        } else if let Some(link) = connection.link()
            && (reason == CloseReason::Bye || link.outbound.borrow().says_rest())
        {
            self.say_last_words(connection, &link);
        }
        if connection.sending.get() {
            self.set_deadline(connection, HANDSHAKE_TIMEOUT);
        } else {
            self.io.borrow_mut().close(connection.id);
        }
    }

    /// The peer of a link said goodbye, and waits to hear how much of its stream was taken over; or
    /// the link rests, and the peer is to hear that.
    fn say_last_words(&self, connection: &Connection, link: &Rc<Link>) {
        // What came right before the goodbye is not on the list of grants yet.
        link.owes_grant.set(true);
        if link.sending.get() {
            self.attach_grant(link);
            let last = link.outbound.borrow_mut().gather_control();
            connection
                .last_words
                .borrow_mut()
                .extend(last.map(Piece::from));
        } else {
            self.send_on(link);
        }
        connection.sending.set(link.sending.get());
    }

    /// The peer of a link is quarantined: it hears how far it was heard, and that, in front of all
    /// that waits for it.
    fn say_quarantine(&self, connection: &Connection, link: &Rc<Link>) {
        link.owes_grant.set(true);
        self.attach_grant(link);
        let mut outbound = link.outbound.borrow_mut();
        let words = outbound.gather_control().into_iter();
        let mut words: Vec<Piece> = words
            .chain(outbound.gather_bye())
            .map(Piece::from)
            .collect();
        if link.sending.get() {
            connection.last_words.borrow_mut().append(&mut words);
        } else if !words.is_empty() {
            link.sending.set(true);
            self.io.borrow_mut().send(connection.id, &mut words);
        }
        connection.sending.set(link.sending.get());
    }

    /// The kernel has taken a send.
    pub(super) fn connection_sent(&self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.sending.set(false);
        if connection.closing.get() {
            let mut last = connection.last_words.take();
            let mut io = self.io.borrow_mut();
            if last.is_empty() {
                return io.close(id);
            }
            connection.sending.set(true);
            io.send(id, &mut last);
        } else if let Some(link) = connection.link() {
            self.handle_sent(&link);
        }
    }

    /// Counts why a connection ended.
    pub(super) fn count_close(&self, reason: CloseReason) {
        self.tally.closes.count(reason.label());
    }

    /// Counts the reason, and logs it when somebody has to act; a flood of them is only counted.
    pub(super) fn note_close(&self, connection: &Connection, reason: CloseReason) {
        self.count_close(reason);
        let fault = reason.fault();
        if fault == Fault::Nobody || matches!(reason, CloseReason::PeerClosed) {
            return;
        }
        if fault == Fault::Peer {
            self.tally.closed_for_fault.add(1);
        }
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            self.tell_of_refusal(connection, reason);
            tracing::warn!(connection = ?connection.id, label = reason.label(), %reason,
                "closing a connection");
        }
    }
}
