//! From completions to events.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::TcpTransport;
use super::connection::{Connection, Stage};
use super::listener::Accepted;
use super::tag::{Operation, Tag};
use crate::contract::{CloseReason, ConnectionId, Event, PREFACE_BYTES};
use crate::ring::{Completion, Lent, Ring, SendProgress};
use crate::socket;

impl TcpTransport {
    /// Takes one completion in.
    pub(super) fn complete(&mut self, completion: Completion, events: &mut VecDeque<Event>) {
        let Some(tag) = Tag::unpack(completion.user_data()) else {
            debug_assert!(false, "user data that no tag made");
            return;
        };
        let id = tag.connection;
        match tag.operation {
            Operation::ReceiveMultishot => self.received_multishot(id, completion, events),
            Operation::ReceiveBulk => self.received_bulk(id, completion, events),
            Operation::Send => self.sent(id, &completion, events),
            Operation::Preface => self.preface_received(id, &completion, events),
            Operation::Connect => self.connected(id, &completion, events),
            Operation::Close => self.closed(id, &completion, events),
            Operation::Cancel => self.cancelled(id),
            Operation::Accept => self.accept(tag, completion, events),
            Operation::AcceptPause => self.listener.pause_ended(&completion, &mut self.ring),
            Operation::Doorbell => self.watch_doorbell(&completion),
            Operation::Signal => self.signalled(&completion, events),
            Operation::Detached => {}
        }
    }

    fn sent(&mut self, id: ConnectionId, completion: &Completion, events: &mut VecDeque<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.in_flight -= 1;
        connection.sending = false;
        let progress = connection.send.completed(completion);
        if let Ok(SendProgress::Done { bytes } | SendProgress::Short { bytes }) = progress {
            self.counters.bytes_sent += bytes as u64;
            if connection.paced {
                self.counters.count_paced(bytes);
            }
        }
        if connection.closing.is_some() {
            self.close_when_quiet(id);
            return;
        }
        match progress {
            Ok(SendProgress::Done { .. }) => events.push_back(Event::Sent { connection: id }),
            Ok(SendProgress::Short { .. }) => connection.submit_send(&mut self.ring, id),
            Err(error) if is_peer_gone(&error) && connection.is_receiving() => {
                // What the peer said before it went may still wait in the socket, and the receive
                // that is armed ends when it has seen all of it.
                connection.send_failed = Some(error);
            }
            Err(error) => self.begin_close(id, CloseReason::Broken(error)),
        }
    }

    fn preface_received(
        &mut self,
        id: ConnectionId,
        completion: &Completion,
        events: &mut VecDeque<Event>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.in_flight -= 1;
        let Stage::Preface(memory) = &mut connection.stage else {
            return;
        };
        memory.take_back(completion);
        let bytes = memory.get_mut().copied();
        if connection.closing.is_some() {
            self.close_when_quiet(id);
            return;
        }
        match (completion.outcome(), bytes) {
            (Ok(PREFACE_BYTES), Some(bytes)) => {
                connection.stage = Stage::Accepted;
                events.push_back(Event::Preface {
                    connection: id,
                    bytes,
                });
            }
            (Ok(_), _) => self.begin_close(id, CloseReason::PeerClosed),
            (Err(error), _) => self.begin_close(id, CloseReason::Broken(error)),
        }
    }

    fn connected(
        &mut self,
        id: ConnectionId,
        completion: &Completion,
        events: &mut VecDeque<Event>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.in_flight -= 1;
        let Stage::Dialling(address) = &mut connection.stage else {
            return;
        };
        address.take_back(completion);
        if connection.closing.is_some() {
            self.close_when_quiet(id);
            return;
        }
        let to_itself = connection.socket().is_some_and(socket::is_self_connected);
        match completion.outcome() {
            Ok(_) if to_itself => {
                let error = io::ErrorKind::ConnectionRefused.into();
                self.begin_close(id, CloseReason::DialFailed(error));
            }
            Ok(_) => {
                connection.stage = Stage::Dialled;
                events.push_back(Event::Connected { connection: id });
            }
            Err(error) => self.begin_close(id, CloseReason::DialFailed(error)),
        }
    }

    fn cancelled(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.in_flight -= 1;
            self.close_when_quiet(id);
        }
    }

    fn accept(&mut self, tag: Tag, completion: Completion, events: &mut VecDeque<Event>) {
        match self.listener.accepted(tag, completion, &mut self.ring) {
            Accepted::Connection(socket) => self.incoming(socket, events),
            Accepted::Nothing => {}
            Accepted::Paused(error) => events.push_back(Event::AcceptPaused { error }),
        }
    }

    fn incoming(&mut self, socket: OwnedFd, events: &mut VecDeque<Event>) {
        // A peer that reset the connection meanwhile has no name; dropping the socket closes it.
        let Ok(peer) = socket::peer(socket.as_fd()) else {
            return;
        };
        let stage = Stage::Preface(Lent::new([0; PREFACE_BYTES]));
        let Ok(id) = self.insert(socket, stage) else {
            self.counters.shed += 1;
            return;
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.receive_preface(&mut self.ring, id);
        }
        self.counters.accepted += 1;
        events.push_back(Event::Incoming {
            connection: id,
            peer,
        });
    }

    fn watch_doorbell(&mut self, completion: &Completion) {
        // The counter is never read: a poll for edges fires on every write to it.
        if !completion.more() && !self.dropping {
            let tag = Tag::of_core(Operation::Doorbell, 0);
            self.ring.poll_multishot(self.doorbell.as_fd(), tag.pack());
        }
    }

    fn signalled(&mut self, completion: &Completion, events: &mut VecDeque<Event>) {
        let Some(signals) = self.signals.as_mut().filter(|_| !self.dropping) else {
            return;
        };
        if signals.take() {
            events.push_back(Event::Terminate);
        }
        if !completion.more() {
            let tag = Tag::of_core(Operation::Signal, 0);
            self.ring.poll_multishot(signals.as_fd(), tag.pack());
        }
    }
}

impl Connection {
    pub(super) fn connect(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let (Some(socket), Stage::Dialling(address)) = (&self.socket, &mut self.stage) {
            ring.connect(
                socket.as_fd(),
                address,
                Tag::new(Operation::Connect, id).pack(),
            );
            self.in_flight += 1;
        }
    }

    pub(super) fn submit_send(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let Some(socket) = &self.socket {
            ring.send(
                socket.as_fd(),
                &mut self.send,
                Tag::new(Operation::Send, id).pack(),
            );
            self.in_flight += 1;
            self.sending = true;
        }
    }

    fn receive_preface(&mut self, ring: &mut Ring, id: ConnectionId) {
        if let (Some(socket), Stage::Preface(memory)) = (&self.socket, &mut self.stage) {
            let tag = Tag::new(Operation::Preface, id);
            ring.receive_preface(socket.as_fd(), memory, tag.pack());
            self.in_flight += 1;
        }
    }
}

fn is_peer_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET))
}
