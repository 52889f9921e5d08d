//! The contract without sockets: byte streams between the transports of one thread.
//!
//! Whoever drives the transports by hand drives time too: nothing moves outside
//! [`poll`](Transport::poll), and [`park`](Transport::park) returns at once. How streams are cut
//! into chunks follows from the seed, so a failure comes back with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::limits::PACED_BYTES_MAX;
use ringmesh_proto::slab::SlabSlice;

use crate::buffer::{BufferUse, Chunk};
use crate::contract::{CloseReason, ConnectionId, Counters, Event, PREFACE_BYTES, Transport};
use crate::table::Table;

/// Bytes that are sent and not received, per direction of a stream.
const PIPE_BYTES_MAX: usize = 64 * 1024;

/// Dialled connections that wait to be accepted, per listener.
const BACKLOG: usize = 4096;

/// Connections of one transport.
const CONNECTIONS_MAX: u32 = 65_536;

/// The first port that `listen` picks for port 0.
const FIRST_PORT: u16 = 40_000;

/// Chunks are at most two to this power long.
const CHUNK_BYTES_POWER_MAX: u64 = 14;

/// Addresses and the streams between them. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Rc<RefCell<BTreeMap<SocketAddr, Backlog>>>);

impl MemoryNetwork {
    /// A network where nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport in this network. `seed` decides how it cuts streams into pieces.
    pub fn transport(&self, seed: u64) -> MemoryTransport {
        MemoryTransport {
            network: self.clone(),
            listening: None,
            connections: Table::with_capacity(CONNECTIONS_MAX),
            cuts: Cuts(seed),
            counters: Counters::default(),
        }
    }

    fn bind(&self, at: SocketAddr, backlog: &Backlog) -> io::Result<SocketAddr> {
        let mut listeners = self.0.borrow_mut();
        let free = |at: &SocketAddr| !listeners.contains_key(at);
        let address = if at.port() == 0 {
            (FIRST_PORT..=u16::MAX)
                .map(|port| SocketAddr::new(at.ip(), port))
                .find(free)
        } else {
            Some(at).filter(free)
        };
        let address = address.ok_or(io::ErrorKind::AddrInUse)?;
        listeners.insert(address, Rc::clone(backlog));
        Ok(address)
    }

    fn unbind(&self, at: SocketAddr) {
        self.0.borrow_mut().remove(&at);
    }

    fn connect(&self, to: SocketAddr) -> Option<End> {
        let listeners = self.0.borrow();
        let mut backlog = listeners.get(&to)?.borrow_mut();
        if backlog.len() >= BACKLOG {
            return None;
        }
        let stream = Rc::new(RefCell::new(Stream::default()));
        backlog.push_back(End {
            stream: Rc::clone(&stream),
            side: 1,
        });
        Some(End { stream, side: 0 })
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.borrow().keys()).finish()
    }
}

/// A transport of a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    listening: Option<(SocketAddr, Backlog)>,
    connections: Table<Connection>,
    cuts: Cuts,
    counters: Counters,
}

impl MemoryTransport {
    /// Breaks a connection: what is under way is lost, and both ends see it reset. Ignored on a
    /// dead id.
    pub fn reset(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(end) = &connection.end
        {
            end.reset();
        }
    }

    fn accept(&mut self, events: &mut VecDeque<Event>) {
        let Some((_, backlog)) = &self.listening else {
            return;
        };
        while let Some(end) = backlog.borrow_mut().pop_front() {
            let connection = Connection::new(Some(end), Stage::Preface);
            let Ok(id) = self.connections.insert(connection) else {
                self.counters.shed += 1;
                continue;
            };
            self.counters.accepted += 1;
            let peer = SocketAddr::from(([127, 0, 0, 1], id.slot as u16));
            events.push_back(Event::Incoming {
                connection: id,
                peer,
            });
        }
    }

    fn advance(&mut self, id: ConnectionId, events: &mut VecDeque<Event>) {
        let Self {
            connections,
            cuts,
            counters,
            ..
        } = self;
        let Some(connection) = connections.get_mut(id) else {
            return;
        };
        let mut step = Step {
            id,
            cuts,
            counters,
            events,
        };
        if let Some(reason) = connection.advance(&mut step) {
            connections.remove(id);
            counters.closed += 1;
            events.push_back(Event::Closed {
                connection: id,
                reason,
            });
        }
    }
}

impl Transport for MemoryTransport {
    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        if self.listening.is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let backlog = Backlog::default();
        let address = self.network.bind(at, &backlog)?;
        self.listening = Some((address, backlog));
        Ok(address)
    }

    fn stop_listening(&mut self) {
        if let Some((address, backlog)) = self.listening.take() {
            self.network.unbind(address);
            backlog.borrow_mut().drain(..).for_each(|end| end.reset());
        }
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId> {
        let connection = Connection::new(self.network.connect(to), Stage::Dialling);
        let id = self
            .connections
            .insert(connection)
            .map_err(|_| io::ErrorKind::QuotaExceeded)?;
        self.counters.dialled += 1;
        Ok(id)
    }

    fn start_receiving(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && matches!(connection.stage, Stage::Accepted | Stage::Dialled)
        {
            connection.receiving = true;
        }
    }

    /// Between two polls no more moves on any connection.
    fn pace(&mut self, _: ConnectionId) {
        const { assert!(PIPE_BYTES_MAX <= PACED_BYTES_MAX) }
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
        if connection.send_failed {
            slices.clear();
            return;
        }
        self.counters.sends += 1;
        connection.sending = true;
        connection.unsent.extend(slices.drain(..));
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.closing = true;
            if let Some(end) = connection.end.take() {
                end.close();
            }
        }
    }

    fn detach(&mut self, _: ConnectionId) -> Option<OwnedFd> {
        None
    }

    fn adopt(&mut self, _: OwnedFd) -> io::Result<ConnectionId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        let before = events.len();
        for id in self.connections.ids() {
            self.advance(id, events);
        }
        self.accept(events);
        events.len() > before
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn park(&mut self, _: Option<Duration>) -> io::Result<()> {
        self.counters.parks += 1;
        Ok(())
    }

    fn buffer_use(&self) -> BufferUse {
        BufferUse::default()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.stop_listening();
        for id in self.connections.ids() {
            self.close(id);
        }
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

type Backlog = Rc<RefCell<VecDeque<End>>>;

/// One side of a stream: it writes pipe `side` and reads the other.
struct End {
    stream: Rc<RefCell<Stream>>,
    side: usize,
}

#[derive(Default)]
struct Stream {
    pipes: [Pipe; 2],
    is_reset: bool,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer will write no more.
    finished: bool,
    /// Nobody will read any more.
    abandoned: bool,
}

impl End {
    fn close(&self) {
        let mut stream = self.stream.borrow_mut();
        stream.pipes[self.side].finished = true;
        let inward = &mut stream.pipes[1 - self.side];
        inward.abandoned = true;
        inward.bytes.clear();
    }

    fn reset(&self) {
        let mut stream = self.stream.borrow_mut();
        stream.is_reset = true;
        stream.pipes.iter_mut().for_each(|pipe| pipe.bytes.clear());
    }
}

enum Stage {
    Dialling,
    Preface,
    Accepted,
    Dialled,
}

struct Connection {
    /// Gone when the dial found nobody, or once it is closed.
    end: Option<End>,
    stage: Stage,
    receiving: bool,
    sending: bool,
    unsent: VecDeque<SlabSlice>,
    send_failed: bool,
    closing: bool,
}

/// What a connection needs to make one step.
struct Step<'a> {
    id: ConnectionId,
    cuts: &'a mut Cuts,
    counters: &'a mut Counters,
    events: &'a mut VecDeque<Event>,
}

impl Connection {
    const fn new(end: Option<End>, stage: Stage) -> Self {
        Self {
            end,
            stage,
            receiving: false,
            sending: false,
            unsent: VecDeque::new(),
            send_failed: false,
            closing: false,
        }
    }

    const fn is_open(&self) -> bool {
        !self.closing && matches!(self.stage, Stage::Accepted | Stage::Dialled)
    }

    /// Moves bytes both ways; says why the connection ended, if it did.
    fn advance(&mut self, step: &mut Step<'_>) -> Option<CloseReason> {
        if self.closing {
            return Some(CloseReason::Local);
        }
        let Some(end) = &self.end else {
            return Some(CloseReason::DialFailed(
                io::ErrorKind::ConnectionRefused.into(),
            ));
        };
        let (stream, side) = (Rc::clone(&end.stream), end.side);
        let mut stream = stream.borrow_mut();
        if stream.is_reset && (self.receiving || self.sending || !self.is_open()) {
            return Some(CloseReason::Broken(io::ErrorKind::ConnectionReset.into()));
        }
        if matches!(self.stage, Stage::Dialling) {
            self.stage = Stage::Dialled;
            step.events.push_back(Event::Connected {
                connection: step.id,
            });
        }
        if self.sending && !self.send(&mut stream.pipes[side], step) {
            return Some(CloseReason::Broken(io::ErrorKind::BrokenPipe.into()));
        }
        self.receive(&mut stream.pipes[1 - side], step)
    }

    /// Writes what there is room for; false when the peer is gone and nothing can come from it.
    fn send(&mut self, pipe: &mut Pipe, step: &mut Step<'_>) -> bool {
        if pipe.abandoned {
            self.sending = false;
            self.send_failed = true;
            self.unsent.clear();
            return self.receiving;
        }
        let mut quota = step.cuts.next(PIPE_BYTES_MAX - pipe.bytes.len());
        while let Some(slice) = self.unsent.front_mut() {
            let taken = slice.len().min(quota);
            pipe.bytes.extend(&slice[..taken]);
            step.counters.bytes_sent += taken as u64;
            quota -= taken;
            slice.advance(taken);
            if !slice.is_empty() {
                return true;
            }
            self.unsent.pop_front();
        }
        self.sending = false;
        step.events.push_back(Event::Sent {
            connection: step.id,
        });
        true
    }

    fn receive(&mut self, pipe: &mut Pipe, step: &mut Step<'_>) -> Option<CloseReason> {
        let connection = step.id;
        if matches!(self.stage, Stage::Preface) {
            if pipe.bytes.len() >= PREFACE_BYTES {
                let mut bytes = [0; PREFACE_BYTES];
                pipe.bytes
                    .drain(..PREFACE_BYTES)
                    .zip(&mut bytes)
                    .for_each(|(from, to)| *to = from);
                self.stage = Stage::Accepted;
                step.events.push_back(Event::Preface { connection, bytes });
            } else if pipe.finished {
                return Some(CloseReason::PeerClosed);
            }
            return None;
        }
        if !self.receiving {
            return None;
        }
        if pipe.bytes.is_empty() && pipe.finished {
            return Some(CloseReason::PeerClosed);
        }
        for _ in 0..step.cuts.next(4) {
            let count = step.cuts.next(pipe.bytes.len());
            if count == 0 {
                break;
            }
            let bytes: Vec<u8> = pipe.bytes.drain(..count).collect();
            step.counters.receives += 1;
            step.counters.bytes_received += count as u64;
            let chunk = Chunk::copied_from(&bytes);
            step.events.push_back(Event::Received { connection, chunk });
        }
        None
    }
}

/// Where streams are cut: the generator of Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators" (2014), known as SplitMix64.
struct Cuts(u64);

impl Cuts {
    /// A number up to `most`, small and large ones equally likely; 0 only when `most` is 0.
    fn next(&mut self, most: usize) -> usize {
        let power = self.draw() % (CHUNK_BYTES_POWER_MAX + 1);
        let cut = 1 + self.draw() % (1 << power);
        most.min(cut as usize)
    }

    const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
