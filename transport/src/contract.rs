//! The contract every transport keeps: byte streams of one core, as commands in and events out.
//!
//! A transport moves bytes; it knows no frame, no peer and no message. It owns every buffer that an
//! operation of the kernel may still touch, and reports [`Event::Closed`] as the last word on a
//! connection, after every completion of it came back. So whoever sees `Closed` may forget it.
//!
//! Order of events on one connection: `Incoming` then `Preface`, or `Connected`; then any number of
//! `Received` and `Sent`; then exactly one `Closed`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ringmesh_proto::slab::SlabSlice;

use crate::buffer::{BufferUse, Chunk};

/// The bytes of a preface, read by one receive of exactly this size before anything else.
pub const PREFACE_BYTES: usize = 64;

/// A connection of one transport. The generation makes an old id of a reused slot harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Slot in the transport's table.
    pub slot: u32,
    /// How often the slot was given out before.
    pub generation: u32,
}

/// What happened, in the order it happened on each connection.
#[derive(Debug)]
pub enum Event {
    /// A peer connected to the listener. Its preface is being read and nothing else is.
    Incoming {
        /// The new connection.
        connection: ConnectionId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// The preface of an incoming connection is complete. No later byte was consumed, and no
    /// request is pending: the connection can be handed over or started.
    Preface {
        /// The connection that [`Event::Incoming`] named.
        connection: ConnectionId,
        /// Its first bytes.
        bytes: [u8; PREFACE_BYTES],
    },
    /// A dial succeeded. Nothing is being received until [`Transport::start_receiving`].
    Connected {
        /// The connection that [`Transport::dial`] returned.
        connection: ConnectionId,
    },
    /// Bytes arrived, in stream order.
    Received {
        /// Where they arrived.
        connection: ConnectionId,
        /// The bytes, in the buffer they were received into.
        chunk: Chunk,
    },
    /// Everything given to the last [`Transport::send`] was taken by the kernel; the next send may
    /// start.
    Sent {
        /// The connection that sent.
        connection: ConnectionId,
    },
    /// The connection is gone and its id is dead.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// Accepting stopped for want of descriptors or memory, and goes on by itself when there is
    /// room again.
    AcceptPaused {
        /// The error that stopped it.
        error: io::Error,
    },
    /// The process was asked to end (SIGTERM or SIGINT), see `watch_signals`.
    Terminate,
    /// Another thread rang the doorbell of this core.
    Doorbell,
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side asked for it with [`Transport::close`].
    Local,
    /// The peer ended its stream in order.
    PeerClosed,
    /// The dial did not succeed: refused, unreachable, timed out, or out of local resources.
    DialFailed(io::Error),
    /// The connection broke: reset, timed out, or another error of the socket.
    Broken(io::Error),
}

/// A byte-stream transport of one core.
pub trait Transport {
    /// Starts accepting at `at` and says at which address; port 0 picks a free one. A transport has
    /// one listener.
    ///
    /// # Errors
    /// The error of the socket call; `AddrInUse` when another socket listens there.
    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr>;

    /// Stops accepting and frees the port. Accepted connections live on.
    fn stop_listening(&mut self);

    /// Starts a connection to `to`; ends in [`Event::Connected`] or [`Event::Closed`].
    ///
    /// # Errors
    /// When no socket could be made.
    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId>;

    /// Starts receiving on a connection that said `Preface` or `Connected`. Ignored on a dead id.
    fn start_receiving(&mut self, connection: ConnectionId);

    /// From now on moves at most [`PACED_BYTES_MAX`] in one operation of a connection, and has one
    /// operation in each direction at a time: so between two polls no more of it comes or leaves,
    /// and others never wait for long. Ignored on a dead id.
    ///
    /// [`PACED_BYTES_MAX`]: ringmesh_proto::limits::PACED_BYTES_MAX
    fn pace(&mut self, connection: ConnectionId);

    /// Starts sending all of `slices`, in order, as one operation, and leaves the vector empty. The
    /// transport keeps the slices until the kernel is done with them. Ignored on a dead id.
    ///
    /// # Panics
    /// If a send is already in flight on the connection: the caller waits for [`Event::Sent`].
    fn send(&mut self, connection: ConnectionId, slices: &mut Vec<SlabSlice>);

    /// Ends a connection; [`Event::Closed`] follows once nothing of it is pending. What was given
    /// to `send` and not yet reported as sent may or may not arrive. Ignored on a dead id.
    fn close(&mut self, connection: ConnectionId);

    /// Takes the socket of a connection that said `Preface`, for another core to adopt; its id is
    /// dead without a `Closed`. `None` on a dead id, on one that is receiving or sending, and in a
    /// transport without sockets.
    fn detach(&mut self, connection: ConnectionId) -> Option<OwnedFd>;

    /// Adopts a socket another core detached.
    ///
    /// # Errors
    /// `Unsupported` in a transport without sockets.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnectionId>;

    /// Moves what has happened into `events`, without a system call. Says whether anything did.
    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool;

    /// Starts everything asked for since the last call, in one system call, or in none when nothing
    /// was asked for and no deferred work waits.
    ///
    /// # Errors
    /// An error of the ring itself; the core cannot go on.
    fn submit(&mut self) -> io::Result<()>;

    /// The same as [`submit`](Self::submit), and then sleeps in the same system call until
    /// something happens or `timeout` has passed (`None`: until something happens).
    ///
    /// # Errors
    /// An error of the ring itself; the core cannot go on.
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// How much of the receive memory is held by chunks, so that the caller can copy what it keeps
    /// before receiving stalls.
    fn buffer_use(&self) -> BufferUse;

    /// What was counted so far.
    fn counters(&self) -> Counters;
}

/// Counts since the transport was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// `io_uring_enter` calls of this core's ring.
    pub enters: u64,
    /// How often the core slept in `park`.
    pub parks: u64,
    /// Send operations started.
    pub sends: u64,
    /// Bytes the kernel took.
    pub bytes_sent: u64,
    /// Receive completions with data.
    pub receives: u64,
    /// Those of them that went into a large buffer of a streaming connection.
    pub receives_bulk: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Receives that ended for want of a buffer and were armed again.
    pub receives_starved: u64,
    /// Operations of paced connections, in both directions.
    pub paced: u64,
    /// Bytes that those moved.
    pub paced_bytes: u64,
    /// The most bytes that one of them moved.
    pub paced_bytes_max: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed as they were accepted, because the transport was full.
    pub shed: u64,
    /// Connections dialled.
    pub dialled: u64,
    /// Connections closed, whoever did it.
    pub closed: u64,
}

impl Counters {
    /// An operation of a paced connection moved `bytes`.
    pub(crate) fn count_paced(&mut self, bytes: usize) {
        self.paced += 1;
        self.paced_bytes += bytes as u64;
        self.paced_bytes_max = self.paced_bytes_max.max(bytes as u64);
    }
}
