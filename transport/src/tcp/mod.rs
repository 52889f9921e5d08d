//! TCP over the ring of one core.
//!
//! # Close
//! A connection ends in four steps: the socket is shut down and everything on it is cancelled;
//! every completion of it is awaited; the descriptor is closed through the ring; only then its slot
//! is free and `Closed` is said. So no completion can meet a reused slot or a reused descriptor.
//!
//! # Drop
//! Dropping the transport does the same for all connections at once and waits for the completions,
//! for at most `DRAIN_MAX`. Should the kernel still owe one then, nothing is freed that it might
//! write to: every holder of lent memory (preface, address, send, bulk buffer, receive pool) leaks
//! its memory when it is dropped without its completion. Chunks in the hands of users stay valid in
//! both cases, they hold their buffer and its mapping.

mod close;
mod completion;
mod connection;
mod listener;
mod receive;
mod settings;
mod tag;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringmesh_proto::slab::SlabSlice;

use crate::buffer::{BufferUse, BulkPool, ReceivePool};
use crate::contract::{CloseReason, ConnectionId, Counters, Detached, Event, Transport};
use crate::doorbell::{Doorbell, DoorbellReceiver};
use crate::ring::{Lent, Ring, SocketAddress};
use crate::signal::SignalSource;
use crate::socket;
use crate::table::Table;
use connection::{Connection, Stage};
use listener::Listener;
pub use settings::{BulkMode, Settings};
use tag::{Operation, Tag};

/// How long dropping a transport waits for the kernel.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// How long one wait of the drop is: cancels complete at once, so it hardly ever waits.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// The TCP transport of one core, bound to the thread that made it.
pub struct TcpTransport {
    ring: Ring,
    pool: ReceivePool,
    bulk: BulkPool,
    connections: Table<Connection>,
    /// Connections that wait for a receive buffer, in order.
    starved: VecDeque<ConnectionId>,
    listener: Listener,
    doorbell: DoorbellReceiver,
    signals: Option<SignalSource>,
    /// Events that no completion brings.
    ready: VecDeque<Event>,
    settings: Settings,
    counters: Counters,
    dropping: bool,
}

impl TcpTransport {
    /// Makes the ring and the buffers of this core, on the thread that will use them.
    ///
    /// # Errors
    /// The error of the call that failed; [`probe`](crate::probe::probe) explains the common ones
    /// beforehand. `InvalidInput` when a count that must be a power of two is none.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let mut ring = Ring::new(settings.submission_entries)?;
        let mut pool = ReceivePool::new(settings.receive_buffers, settings.receive_buffer_bytes)?;
        ring.register_pool(&pool)?;
        pool.lend_returned();
        let bulk_buffers = match settings.bulk {
            BulkMode::Off => 0,
            BulkMode::Adaptive => settings.bulk_buffers,
        };
        let bulk = BulkPool::new(bulk_buffers, settings.bulk_buffer_bytes as usize)?;
        let doorbell = DoorbellReceiver::new()?;
        ring.poll_multishot(
            doorbell.as_fd(),
            Tag::of_core(Operation::Doorbell, 0).pack(),
        );
        Ok(Self {
            ring,
            pool,
            bulk,
            connections: Table::with_capacity(settings.connections_max),
            starved: VecDeque::new(),
            listener: Listener::new(),
            doorbell,
            signals: None,
            ready: VecDeque::new(),
            settings,
            counters: Counters::default(),
            dropping: false,
        })
    }

    /// A handle that wakes this core from any thread.
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.handle()
    }

    /// Reports SIGTERM and SIGINT as [`Event::Terminate`] from now on. They must be blocked, see
    /// [`block_termination_signals`](crate::signal::block_termination_signals).
    ///
    /// # Errors
    /// When no descriptor could be made.
    pub fn watch_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            let source = SignalSource::new(self.doorbell())?;
            self.ring
                .poll_multishot(source.as_fd(), Tag::of_core(Operation::Signal, 0).pack());
            self.signals = Some(source);
        }
        Ok(())
    }

    fn insert(&mut self, socket: OwnedFd, stage: Stage) -> io::Result<ConnectionId> {
        let connection = Connection::new(socket, stage);
        self.connections.insert(connection).map_err(|_| {
            io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the transport's connections_max is reached",
            )
        })
    }

    /// What has to be done before entering the kernel.
    fn before_enter(&mut self) {
        self.pool.lend_returned();
        self.feed_starved();
    }
}

impl Transport for TcpTransport {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn reaches(&self, _: SocketAddr) -> bool {
        true
    }

    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.listener
            .open(at, &self.settings.socket, &mut self.ring)
    }

    fn stop_listening(&mut self) {
        self.listener.close();
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId> {
        let socket = socket::dialler(to, self.settings.dial_from, &self.settings.socket)?;
        let id = self.insert(socket, Stage::Dialling(Lent::new(SocketAddress::from(to))))?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.connect(&mut self.ring, id);
        }
        self.counters.dialled += 1;
        Ok(id)
    }

    fn start_receiving(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.is_open() && !connection.is_receiving() {
            connection.arm_multishot(&mut self.ring, id);
        }
    }

    fn send(&mut self, id: ConnectionId, slices: &mut Vec<SlabSlice>) {
        let Some(connection) = self.connections.get_mut(id).filter(|found| found.is_open()) else {
            slices.clear();
            return;
        };
        assert!(
            !connection.sending,
            "a send is in flight on this connection"
        );
        if connection.send_failed.is_some() {
            // The peer is gone, and `Closed` follows when its last bytes are received.
            slices.clear();
            return;
        }
        self.counters.sends += 1;
        if connection.send.load(slices) {
            connection.submit_send(&mut self.ring, id);
        } else {
            self.ready.push_back(Event::Sent { connection: id });
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.begin_close(id, CloseReason::Local);
    }

    fn detach(&mut self, id: ConnectionId) -> Option<Detached> {
        let connection = self.connections.get_mut(id)?;
        let idle = connection.in_flight == 0 && !connection.is_receiving();
        if !idle || !connection.is_open() || !matches!(connection.stage, Stage::Accepted) {
            return None;
        }
        let socket = self.connections.remove(id)?.take_socket()?;
        Some(Detached::new(socket))
    }

    fn adopt(&mut self, connection: Detached) -> io::Result<ConnectionId> {
        self.insert(connection.take()?, Stage::Accepted)
    }

    #[inline]
    fn has_news(&mut self) -> bool {
        !self.ready.is_empty()
            || self.doorbell.is_rung()
            || self.ring.has_submissions()
            || self.ring.has_completions()
    }

    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        let before = events.len();
        events.append(&mut self.ready);
        if self.doorbell.take() {
            events.push_back(Event::Doorbell);
            if self.signals.as_ref().is_some_and(SignalSource::was_told) {
                events.push_back(Event::Terminate);
            }
        }
        while let Some(completion) = self.ring.next_completion() {
            self.complete(completion, events);
        }
        events.len() > before
    }

    fn submit(&mut self) -> io::Result<()> {
        self.before_enter();
        self.ring.submit()
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.before_enter();
        if !self.ready.is_empty() || !self.doorbell.announce_sleep() {
            return self.ring.submit();
        }
        self.counters.parks += 1;
        let woken = self.ring.submit_and_wait(timeout);
        self.doorbell.announce_awake();
        woken
    }

    fn buffer_use(&self) -> BufferUse {
        BufferUse {
            pinned: self.pool.pinned() + self.bulk.pinned(),
            total: usize::from(self.pool.count()) + self.bulk.count(),
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            enters: self.ring.enters(),
            ..self.counters
        }
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.dropping = true;
        self.listener.close();
        for id in self.connections.ids() {
            self.begin_close(id, CloseReason::Local);
        }
        self.ring
            .cancel_all(Tag::of_core(Operation::Detached, 0).pack());
        let deadline = Instant::now() + DRAIN_MAX;
        let mut ignored = VecDeque::new();
        loop {
            self.poll(&mut ignored);
            ignored.clear();
            if self.ring.in_flight() == 0 {
                break;
            }
            if self.ring.submit_and_wait(Some(DRAIN_STEP)).is_err() || Instant::now() > deadline {
                tracing::warn!(
                    in_flight = self.ring.in_flight(),
                    "leaking the memory of operations that did not end"
                );
                break;
            }
        }
        self.ring.unregister_pool(&mut self.pool);
    }
}
