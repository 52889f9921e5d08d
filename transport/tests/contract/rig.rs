//! Two transports on one thread, driven by hand, with a record of what each of them said.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringmesh_proto::slab::{Slab, SlabSlice};
use ringmesh_transport::contract::PREFACE_BYTES;
use ringmesh_transport::{Chunk, CloseReason, ConnectionId, Detached, Event, Transport};

/// No scenario takes this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an idle turn may sleep.
const NAP: Duration = Duration::from_millis(1);

/// What makes the transports of a scenario.
pub(crate) trait Rig {
    type Transport: Transport;

    /// Two transports that can reach each other.
    fn pair() -> (Self::Transport, Self::Transport);

    /// Breaks a connection without order.
    fn reset(transport: &mut Self::Transport, connection: ConnectionId);
}

/// One transport and what it said so far.
pub(crate) struct Node<T> {
    pub(crate) transport: T,
    events: VecDeque<Event>,
    pub(crate) connections: HashMap<ConnectionId, Record>,
    /// Connections in the order they came.
    pub(crate) incoming: Vec<ConnectionId>,
    /// While set, chunks are kept instead of dropped.
    pub(crate) holds: bool,
    pub(crate) held: Vec<Chunk>,
}

/// What was said about one connection.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) connected: bool,
    pub(crate) preface: Option<[u8; PREFACE_BYTES]>,
    pub(crate) received: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) closed: Option<CloseReason>,
}

impl<T: Transport> Node<T> {
    fn new(transport: T) -> Self {
        Self {
            transport,
            events: VecDeque::new(),
            connections: HashMap::new(),
            incoming: Vec::new(),
            holds: false,
            held: Vec::new(),
        }
    }

    pub(crate) fn dial(&mut self, to: SocketAddr) -> ConnectionId {
        let connection = self.transport.dial(to).unwrap();
        let before = self.connections.insert(connection, Record::default());
        assert!(before.is_none(), "an id was given out twice");
        connection
    }

    /// Goes on with a connection that was detached, behind its preface.
    pub(crate) fn adopt(&mut self, detached: Detached) -> ConnectionId {
        let connection = self.transport.adopt(detached).unwrap();
        let record = Record {
            preface: Some([0; PREFACE_BYTES]),
            ..Record::default()
        };
        let before = self.connections.insert(connection, record);
        assert!(before.is_none(), "an id was given out twice");
        connection
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.transport.send(connection, &mut vec![slab_of(bytes).1]);
    }

    pub(crate) fn record(&self, connection: ConnectionId) -> &Record {
        &self.connections[&connection]
    }

    pub(crate) fn is_closed(&self, connection: ConnectionId) -> bool {
        self.record(connection).closed.is_some()
    }

    /// Records what happened, and checks the order the contract promises.
    pub(crate) fn observe(&mut self) -> bool {
        let any = self.transport.poll(&mut self.events);
        while let Some(event) = self.events.pop_front() {
            self.record_event(event);
        }
        any
    }

    fn record_event(&mut self, event: Event) {
        match event {
            Event::Incoming { connection, .. } => {
                let before = self.connections.insert(connection, Record::default());
                assert!(before.is_none(), "an id was given out twice");
                self.incoming.push(connection);
            }
            Event::Preface { connection, bytes } => {
                let record = self.open(connection);
                assert!(record.preface.replace(bytes).is_none(), "two prefaces");
            }
            Event::Connected { connection } => {
                let record = self.open(connection);
                assert!(
                    !std::mem::replace(&mut record.connected, true),
                    "connected twice"
                );
            }
            Event::Received { connection, chunk } => {
                let record = self.open(connection);
                assert!(
                    record.connected || record.preface.is_some(),
                    "bytes before the start"
                );
                assert!(!chunk.is_empty(), "an empty chunk says nothing");
                record.received.extend_from_slice(&chunk);
                if self.holds {
                    self.held.push(chunk);
                }
            }
            Event::Sent { connection } => self.open(connection).sent += 1,
            Event::Closed { connection, reason } => self.open(connection).closed = Some(reason),
            // A core that has several transports is rung by all but one of them.
            Event::Doorbell => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    fn open(&mut self, connection: ConnectionId) -> &mut Record {
        let record = self
            .connections
            .get_mut(&connection)
            .expect("an event of an unknown id");
        assert!(record.closed.is_none(), "an event after Closed");
        record
    }
}

/// A dialling and a listening node.
pub(crate) struct Pair<T> {
    pub(crate) dialler: Node<T>,
    pub(crate) listener: Node<T>,
    pub(crate) address: SocketAddr,
}

impl<T: Transport> Pair<T> {
    pub(crate) fn new<R: Rig<Transport = T>>() -> Self {
        let (dialler, mut listener) = R::pair();
        let address = listener
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .unwrap();
        Self {
            dialler: Node::new(dialler),
            listener: Node::new(listener),
            address,
        }
    }

    /// One turn of both nodes; sleeps a little when nothing happened in either.
    pub(crate) fn turn(&mut self) {
        self.dialler.transport.submit().unwrap();
        self.listener.transport.submit().unwrap();
        let any = self.dialler.observe() | self.listener.observe();
        if !any {
            self.listener.transport.park(Some(NAP)).unwrap();
        }
    }

    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited too long until {what}");
            self.turn();
        }
    }

    /// Connects, with a preface of `fill`; the ids of both ends. Nobody receives yet.
    pub(crate) fn connect(&mut self, fill: u8) -> (ConnectionId, ConnectionId) {
        let out = self.dialler.dial(self.address);
        self.until("the dial succeeds", |pair| {
            pair.dialler.record(out).connected
        });
        let before = self.listener.incoming.len();
        self.dialler.send(out, &[fill; PREFACE_BYTES]);
        let known = before.saturating_sub(1);
        let mine = move |pair: &Self| {
            let candidates = pair.listener.incoming[known..].iter();
            candidates.copied().find(|id| {
                let record = pair.listener.record(*id);
                record.closed.is_none() && record.preface == Some([fill; PREFACE_BYTES])
            })
        };
        self.until("the preface arrives", |pair| {
            mine(pair).is_some() && pair.dialler.record(out).sent == 1
        });
        (out, mine(self).unwrap())
    }

    /// The same, and both ends receive.
    pub(crate) fn connect_receiving(&mut self, fill: u8) -> (ConnectionId, ConnectionId) {
        let (out, inward) = self.connect(fill);
        self.dialler.transport.start_receiving(out);
        self.listener.transport.start_receiving(inward);
        (out, inward)
    }
}

/// A slab with `bytes`, and the slice over them.
pub(crate) fn slab_of(bytes: &[u8]) -> (Slab, SlabSlice) {
    let mut slab = Slab::with_capacity(bytes.len());
    slab.tail_mut().copy_from_slice(bytes);
    slab.advance(bytes.len());
    let slice = slab.freeze();
    (slab, slice)
}

/// Bytes that differ at every place and for every `salt`.
pub(crate) fn pattern(salt: u64, len: usize) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
