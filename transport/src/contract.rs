//! The contract every transport keeps: byte streams of one core, as commands in and events out.
//!
//! A transport moves bytes; it knows no frame, no peer and no message. It lives on the thread of
//! its core, and a core may have several at once, see [`Transports`](crate::Transports).
//! `transport/tests/contract` holds all of what follows against every transport: whoever adds one
//! adds a rig there, and a [`Network`] that opens it. Nothing else has to change.
//!
//! # Events
//! * On one connection: `Incoming` and then `Preface`, or `Connected`; then any number of
//!   `Received` and `Sent`; then exactly one `Closed`, which may come at any time. After
//!   [`Transport::close`] there may still be some of the others, as they were under way.
//! * `Closed` is the last word: every operation on the connection has ended, no buffer of it is
//!   written to any more, and its id is never valid again. So whoever sees it may forget it. It
//!   does not come for a connection that was detached.
//! * A peer that ended its stream in order is reported behind the last of its bytes. One that
//!   broke is reported as soon as it is seen, and what was under way is lost.
//! * Nothing is said between two calls of [`Transport::poll`], and no command calls back.
//!
//! # Commands
//! * Every command is taken at any time. On a dead id, or on one that is closing, it does nothing;
//!   an error comes back from those alone that may have one, all others end in `Closed`.
//! * One send is in flight on a connection: the next may start with `Sent`, which says that all
//!   bytes were taken, not that the peer has them. That is the back-pressure of a stream: a peer
//!   that does not read has its sender wait for `Sent`.
//! * No byte is received before [`Transport::start_receiving`], but for the preface of a connection
//!   that came in. What is not received waits where the sender feels it: a transport keeps no
//!   more than a bounded number of bytes of a stream, and of connections that nobody accepted.
//!
//! # Time and threads
//! * [`Transport::poll`] and [`Transport::submit`] never wait. [`Transport::park`] of the transport
//!   that has the ring does; the others share its sleep. So whatever reaches a transport from
//!   another thread is put where its `poll` finds it, and then its core's doorbell is rung. What a
//!   transport has left to do by itself, it says in [`Transport::has_news`].
//! * Nothing is polled for: a core in which nothing happens sleeps until its doorbell.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::buffer::{BufferUse, Chunk};
use crate::doorbell::Doorbell;

/// The bytes of a preface, read by one receive of exactly this size before anything else.
pub const PREFACE_BYTES: usize = 64;

/// Bytes to send: of a slab, or received before, which leave from the buffer they came in.
pub type Piece = ringmesh_proto::piece::Piece<Chunk>;

/// A connection of one transport. The generation makes an old id of a reused slot harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Slot in the transport's table, below 2^27: the transports of a core share their numbers.
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

impl Event {
    /// The connection that it is about, for who names connections anew.
    pub(crate) fn connection_mut(&mut self) -> Option<&mut ConnectionId> {
        match self {
            Self::Incoming { connection, .. }
            | Self::Preface { connection, .. }
            | Self::Connected { connection }
            | Self::Received { connection, .. }
            | Self::Sent { connection }
            | Self::Closed { connection, .. } => Some(connection),
            Self::AcceptPaused { .. } | Self::Terminate | Self::Doorbell => None,
        }
    }
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

/// A connection on its way from one core to another: what the transport of the other core needs to
/// go on with it. Dropping it ends the connection.
pub struct Detached {
    /// Which of the core's transports it is of.
    pub(crate) transport: usize,
    what: Box<dyn Any + Send>,
}

impl Detached {
    /// For a transport: wraps what stands for a connection of it.
    pub fn new(what: impl Any + Send) -> Self {
        Self {
            transport: 0,
            what: Box::new(what),
        }
    }

    /// For a transport: what it wrapped.
    ///
    /// # Errors
    /// `Unsupported` when another transport made it.
    pub fn take<T: Any>(self) -> io::Result<T> {
        let taken = self.what.downcast();
        taken
            .map(|what| *what)
            .map_err(|_| io::ErrorKind::Unsupported.into())
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}

/// Where a transport is opened.
#[derive(Clone, Debug)]
pub struct Station {
    /// Wakes the core. For whoever hands something to the transport from another thread.
    pub doorbell: Doorbell,
    /// What the node dials from, as its peers see it.
    pub from: IpAddr,
}

/// What the transports of several cores belong to, of one node or of many.
pub trait Network: fmt::Debug + Send + Sync {
    /// Makes the transport of one core, on its thread. All cores of a node open the same networks
    /// in the same order.
    ///
    /// # Errors
    /// When there is no memory or descriptor for it; the node does not start then.
    fn open(&self, station: &Station) -> io::Result<Box<dyn Transport>>;
}

/// A byte-stream transport of one core.
pub trait Transport {
    /// What reports call it.
    fn name(&self) -> &'static str;

    /// Whether a dial to `to` is for this transport, asked before each dial. Of several that could,
    /// the one that was added first gets it, and TCP what nobody else wants.
    fn reaches(&self, to: SocketAddr) -> bool;

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
    /// and others never wait for long. Ignored on a dead id; and by default, which is right for a
    /// transport whose connections never move more.
    ///
    /// [`PACED_BYTES_MAX`]: ringmesh_proto::limits::PACED_BYTES_MAX
    fn pace(&mut self, connection: ConnectionId) {
        let _ = connection;
    }

    /// Starts sending all of `pieces`, in order, as one operation, and leaves the vector empty. The
    /// transport keeps them until the kernel is done with them. Ignored on a dead id.
    ///
    /// # Panics
    /// If a send is already in flight on the connection: the caller waits for [`Event::Sent`].
    fn send(&mut self, connection: ConnectionId, pieces: &mut Vec<Piece>);

    /// Ends a connection; [`Event::Closed`] follows once nothing of it is pending. What was given
    /// to `send` and not yet reported as sent may or may not arrive. Ignored on a dead id.
    fn close(&mut self, connection: ConnectionId);

    /// Takes a connection that said `Preface` out, for the same transport of another core to adopt;
    /// its id is dead without a `Closed`. `None` on a dead id, and on one that is receiving or
    /// sending.
    fn detach(&mut self, connection: ConnectionId) -> Option<Detached>;

    /// Goes on with a connection that another core detached, as if it had said `Preface` here.
    ///
    /// # Errors
    /// `QuotaExceeded` when the transport is full, which ends the connection; `Unsupported` for one
    /// of another transport.
    fn adopt(&mut self, connection: Detached) -> io::Result<ConnectionId>;

    /// Whether the next [`poll`](Self::poll), or a call of the kernel, would bring something. Asked
    /// by a core that looks out, over and over: it costs a few loads.
    fn has_news(&mut self) -> bool;

    /// Moves what has happened into `events`, without a system call. Says whether anything did.
    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool;

    /// Starts everything asked for since the last call, in one system call, or in none when nothing
    /// was asked for and no deferred work waits.
    ///
    /// # Errors
    /// An error of the ring itself; the core cannot go on.
    fn submit(&mut self) -> io::Result<()>;

    /// The same as [`submit`](Self::submit), and then sleeps in the same system call until
    /// something happens or `timeout` has passed (`None`: until something happens). One without a
    /// ring returns at once.
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

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.enters += more.enters;
        self.parks += more.parks;
        self.sends += more.sends;
        self.bytes_sent += more.bytes_sent;
        self.receives += more.receives;
        self.receives_bulk += more.receives_bulk;
        self.bytes_received += more.bytes_received;
        self.receives_starved += more.receives_starved;
        self.accepted += more.accepted;
        self.shed += more.shed;
        self.dialled += more.dialled;
        self.closed += more.closed;
        self.paced += more.paced;
        self.paced_bytes += more.paced_bytes;
        self.paced_bytes_max = self.paced_bytes_max.max(more.paced_bytes_max);
    }
}
