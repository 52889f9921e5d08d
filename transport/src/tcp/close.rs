//! Ending a connection, in the order that the head of the room's main file describes.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use super::TcpTransport;
use super::connection::Stage;
use super::tag::{Operation, Tag};
use crate::contract::{CloseReason, ConnectionId, Event};
use crate::ring::Completion;
use crate::socket;

impl TcpTransport {
    /// Shuts the socket down and cancels what is in flight. The first reason is the one reported.
    pub(super) fn begin_close(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.closing.is_some() {
            return;
        }
        connection.closing = Some(reason);
        if let Some(socket) = connection.socket() {
            if !matches!(connection.stage, Stage::Dialling(_)) {
                // Ends every wait on the socket, also one that a cancel misses: a receive of a
                // preface that has got some of its bytes is between two waits for a moment, and no
                // cancel finds it there.
                socket::shutdown(socket);
            }
            if connection.in_flight > 0 {
                self.ring
                    .cancel_socket(socket, Tag::new(Operation::Cancel, id).pack());
                connection.in_flight += 1;
            }
        }
        self.close_when_quiet(id);
    }

    /// Closes the descriptor once nothing is in flight.
    pub(super) fn close_when_quiet(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(reason) = &connection.closing else {
            return;
        };
        if connection.in_flight > 0 {
            return;
        }
        let is_local = matches!(reason, CloseReason::Local);
        let Some(socket) = connection.take_socket() else {
            return;
        };
        if is_local {
            socket::discard_unread(socket.as_fd());
        }
        connection.in_flight += 1;
        self.ring
            .close(socket, Tag::new(Operation::Close, id).pack());
    }

    /// The descriptor is closed: the connection is gone.
    pub(super) fn closed(
        &mut self,
        id: ConnectionId,
        completion: &Completion,
        events: &mut VecDeque<Event>,
    ) {
        if let Err(error) = completion.outcome() {
            tracing::warn!(%error, "closing a socket failed");
        }
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        self.counters.closed += 1;
        self.listener.resume(&mut self.ring);
        let reason = connection.closing.unwrap_or(CloseReason::Local);
        events.push_back(Event::Closed {
            connection: id,
            reason,
        });
    }
}
