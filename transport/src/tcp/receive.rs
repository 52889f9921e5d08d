//! Receiving: multishot into shared buffers, or plain receives into a large one.
//!
//! Multishot costs least per receive and no memory per connection. For a connection that streams, a
//! plain receive into one warm buffer is cheaper per byte, and consecutive chunks are neighbours in
//! memory, so frames that straddle them need no copy. Never are both in flight on one socket.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::AsFd;

use ringmesh_proto::limits::PACED_BYTES_MAX;

use super::TcpTransport;
use super::connection::{BULK_ROOM_MIN, Connection, Receive};
use super::tag::{Operation, Tag};
use crate::buffer::{BulkBuffer, BulkPool, Chunk};
use crate::contract::{CloseReason, ConnectionId, Event};
use crate::ring::{Completion, Ring};
use crate::socket;

impl TcpTransport {
    pub(super) fn received_multishot(
        &mut self,
        id: ConnectionId,
        completion: Completion,
        events: &mut VecDeque<Event>,
    ) {
        let (more, outcome) = (completion.more(), completion.outcome());
        // Whatever becomes of the connection, a buffer that was used comes back this way.
        let chunk = self.pool.take(completion);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !more {
            connection.in_flight -= 1;
        }
        let starved = is_error(&outcome, libc::ENOBUFS);
        if starved {
            self.counters.receives_starved += 1;
        } else if !self.deliver(id, outcome, chunk, events) {
            return;
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.closing.is_some() {
            self.close_when_quiet(id);
        } else if more {
            connection.consider_bulk(&self.bulk, &mut self.ring, id);
        } else if connection.go_on(starved, &mut self.ring, id) {
            self.starved.push_back(id);
        }
    }

    pub(super) fn received_bulk(
        &mut self,
        id: ConnectionId,
        completion: Completion,
        events: &mut VecDeque<Event>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Receive::Bulk(buffer) = &mut connection.receive else {
            return;
        };
        let outcome = completion.outcome();
        let chunk = buffer.take(completion);
        connection.in_flight -= 1;
        self.counters.receives_bulk += 1;
        if !self.deliver(id, outcome, chunk, events) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.go_on_bulk(&self.bulk, &mut self.ring, id);
        }
    }

    /// Arms what waited for a receive buffer, one connection per buffer that there is.
    pub(super) fn feed_starved(&mut self) {
        for _ in 0..self.pool.lent() {
            let Some(id) = self.starved.pop_front() else {
                return;
            };
            if let Some(connection) = self.connections.get_mut(id)
                && connection.closing.is_none()
                && matches!(connection.receive, Receive::Starved)
            {
                connection.arm_multishot(&mut self.ring, id);
            }
        }
    }

    /// Reports what was received; says whether to receive on.
    fn deliver(
        &mut self,
        id: ConnectionId,
        outcome: io::Result<usize>,
        chunk: Option<Chunk>,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        if connection.closing.is_some() {
            self.close_when_quiet(id);
            return false;
        }
        match outcome {
            Ok(0) => {
                let reason = connection.end_reason();
                self.begin_close(id, reason);
                false
            }
            Ok(bytes) => {
                connection.trend.observe(bytes);
                self.counters.receives += 1;
                self.counters.bytes_received += bytes as u64;
                if connection.paced {
                    self.counters.count_paced(bytes);
                }
                if let Some(chunk) = chunk {
                    events.push_back(Event::Received {
                        connection: id,
                        chunk,
                    });
                }
                true
            }
            Err(error) if is_passing(&error) => true,
            Err(error) => {
                self.begin_close(id, CloseReason::Broken(error));
                false
            }
        }
    }
}

impl Connection {
    /// What the end of the stream means.
    fn end_reason(&mut self) -> CloseReason {
        if let Some(error) = self.send_failed.take() {
            CloseReason::Broken(error)
        } else if self.socket().is_some_and(socket::is_reset) {
            CloseReason::Broken(io::ErrorKind::ConnectionReset.into())
        } else {
            CloseReason::PeerClosed
        }
    }

    /// Goes on with single, bounded operations. The multishot receive that is armed ends first.
    pub(super) fn pace(&mut self, ring: &mut Ring, id: ConnectionId) {
        if mem::replace(&mut self.paced, true) || !matches!(self.receive, Receive::Multishot) {
            return;
        }
        let target = Tag::new(Operation::ReceiveMultishot, id);
        ring.cancel(target.pack(), Tag::new(Operation::Cancel, id).pack());
        self.in_flight += 1;
    }

    pub(super) fn arm_multishot(&mut self, ring: &mut Ring, id: ConnectionId) {
        let Some(socket) = &self.socket else { return };
        let tag = Tag::new(Operation::ReceiveMultishot, id);
        if self.paced {
            ring.receive_once(socket.as_fd(), PACED_BYTES_MAX, tag.pack());
        } else {
            ring.receive_multishot(socket.as_fd(), tag.pack());
        }
        self.in_flight += 1;
        self.receive = Receive::Multishot;
    }

    fn arm_bulk(&mut self, mut buffer: BulkBuffer, ring: &mut Ring, id: ConnectionId) {
        let Some(socket) = &self.socket else { return };
        let tag = Tag::new(Operation::ReceiveBulk, id);
        ring.receive_bulk(socket.as_fd(), &mut buffer, tag.pack());
        self.in_flight += 1;
        self.receive = Receive::Bulk(buffer);
    }

    /// Cancels the multishot receive of a connection that streams, if there is a buffer to go on
    /// with.
    fn consider_bulk(&mut self, bulk: &BulkPool, ring: &mut Ring, id: ConnectionId) {
        if !self.trend.is_bulk() || self.paced || !matches!(self.receive, Receive::Multishot) {
            return;
        }
        self.trend.reset();
        if let Some(buffer) = bulk.acquire() {
            let target = Tag::new(Operation::ReceiveMultishot, id);
            ring.cancel(target.pack(), Tag::new(Operation::Cancel, id).pack());
            self.in_flight += 1;
            self.receive = Receive::Switching(buffer);
        }
    }

    /// Goes on after a multishot receive ended; says whether the connection has to wait for a
    /// buffer.
    fn go_on(&mut self, starved: bool, ring: &mut Ring, id: ConnectionId) -> bool {
        match mem::replace(&mut self.receive, Receive::Starved) {
            Receive::Switching(buffer) => self.arm_bulk(buffer, ring, id),
            _ if starved => return true,
            _ => self.arm_multishot(ring, id),
        }
        false
    }

    /// Goes on after a plain receive: above its bytes, in another buffer, or by multishot again.
    fn go_on_bulk(&mut self, bulk: &BulkPool, ring: &mut Ring, id: ConnectionId) {
        let Receive::Bulk(buffer) = mem::replace(&mut self.receive, Receive::Starved) else {
            return;
        };
        let next = if self.trend.is_small() || self.paced {
            None
        } else if buffer.room() >= BULK_ROOM_MIN {
            Some(buffer)
        } else {
            bulk.acquire()
        };
        if let Some(next) = next {
            self.arm_bulk(next, ring, id);
        } else {
            self.trend.reset();
            self.arm_multishot(ring, id);
        }
    }
}

fn is_error(outcome: &io::Result<usize>, number: i32) -> bool {
    matches!(outcome, Err(error) if error.raw_os_error() == Some(number))
}

/// Errors that say nothing about the connection: the cancel of a switch, or "again".
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN)
    )
}
