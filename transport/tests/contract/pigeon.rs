//! A transport that nobody has but this test: what has to be written to add one, and all of it.
//!
//! Bytes travel as letters of at most a thousand bytes, 64 of them at once. It is plain, not
//! quick: one lock for the whole network, and every change wakes everybody.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmesh_proto::slab::SlabSlice;
use ringmesh_transport::buffer::BufferUse;
use ringmesh_transport::contract::PREFACE_BYTES;
use ringmesh_transport::{
    Chunk, CloseReason, ConnectionId, Counters, Detached, Doorbell, Event, Network, Station,
    Transport,
};

const LETTER_BYTES: usize = 1000;
const LETTERS_MAX: usize = 64;
const CALLERS_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct PigeonNetwork(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    callers: BTreeMap<SocketAddr, VecDeque<Half>>,
    doorbells: Vec<Doorbell>,
    changes: u64,
}

impl World {
    fn change(&mut self) {
        self.changes += 1;
        self.doorbells.iter().for_each(Doorbell::ring);
    }
}

/// One side of a route. It writes way `side`.
#[derive(Debug)]
struct Half {
    world: PigeonNetwork,
    route: Arc<Mutex<[Way; 2]>>,
    side: usize,
}

#[derive(Debug, Default)]
struct Way {
    letters: VecDeque<Vec<u8>>,
    ended: bool,
    broken: bool,
}

impl Drop for Half {
    fn drop(&mut self) {
        let mut ways = self.route.lock().unwrap();
        ways[self.side].ended = true;
        drop(ways);
        self.world.0.lock().unwrap().change();
    }
}

/// Breaks a connection that was detached.
pub(crate) fn scare(connection: Detached) {
    let half = connection.take::<Half>().unwrap();
    let mut ways = half.route.lock().unwrap();
    ways.iter_mut().for_each(|way| way.broken = true);
}

impl Network for PigeonNetwork {
    fn open(&self, station: &Station) -> io::Result<Box<dyn Transport>> {
        let doorbell = station.doorbell.clone();
        self.0.lock().unwrap().doorbells.push(doorbell);
        Ok(Box::new(PigeonTransport {
            network: self.clone(),
            listening: None,
            slots: Vec::new(),
            seen: 0,
            has_work: false,
            counters: Counters::default(),
        }))
    }
}

struct PigeonTransport {
    network: PigeonNetwork,
    listening: Option<SocketAddr>,
    /// Each with its generation.
    slots: Vec<(u32, Option<Bird>)>,
    seen: u64,
    has_work: bool,
    counters: Counters,
}

enum Stage {
    Dialling,
    Preface(Vec<u8>),
    Open { accepted: bool },
}

struct Bird {
    half: Option<Half>,
    stage: Stage,
    receiving: bool,
    sending: bool,
    unsent: VecDeque<SlabSlice>,
    closing: bool,
}

impl Bird {
    fn is_open(&self) -> bool {
        !self.closing && matches!(self.stage, Stage::Open { .. })
    }

    fn step(&mut self, id: ConnectionId, say: &mut VecDeque<Event>) -> Option<CloseReason> {
        if self.closing {
            return Some(CloseReason::Local);
        }
        let Some(half) = &self.half else {
            let refused = io::ErrorKind::ConnectionRefused;
            return Some(CloseReason::DialFailed(refused.into()));
        };
        let (route, side) = (Arc::clone(&half.route), half.side);
        let mut ways = route.lock().unwrap();
        let at_rest = self.is_open() && !self.receiving && !self.sending;
        if ways[side].broken && !at_rest {
            let reset = io::ErrorKind::ConnectionReset;
            return Some(CloseReason::Broken(reset.into()));
        }
        if matches!(self.stage, Stage::Dialling) {
            self.stage = Stage::Open { accepted: false };
            say.push_back(Event::Connected { connection: id });
        }
        let peer_ended = ways[1 - side].ended;
        if self.sending && peer_ended {
            // What it said before is still heard.
            self.sending = false;
            self.unsent.clear();
        } else if self.sending {
            self.write(&mut ways[side], id, say);
        }
        let letters = &mut ways[1 - side].letters;
        self.read(letters, id, say);
        let wants_more = !matches!(self.stage, Stage::Open { .. }) || self.receiving;
        (wants_more && letters.is_empty() && peer_ended).then_some(CloseReason::PeerClosed)
    }

    fn write(&mut self, way: &mut Way, id: ConnectionId, say: &mut VecDeque<Event>) {
        while let Some(slice) = self.unsent.front_mut() {
            if slice.is_empty() {
                self.unsent.pop_front();
                continue;
            }
            if way.letters.len() == LETTERS_MAX {
                return;
            }
            let count = slice.len().min(LETTER_BYTES);
            way.letters.push_back(slice[..count].to_vec());
            slice.advance(count);
        }
        self.sending = false;
        say.push_back(Event::Sent { connection: id });
    }

    fn read(
        &mut self,
        letters: &mut VecDeque<Vec<u8>>,
        id: ConnectionId,
        say: &mut VecDeque<Event>,
    ) {
        while let (Stage::Preface(bytes), Some(letter)) = (&mut self.stage, letters.front_mut()) {
            let count = letter.len().min(PREFACE_BYTES - bytes.len());
            bytes.extend(letter.drain(..count));
            if letter.is_empty() {
                letters.pop_front();
            }
            if let Ok(bytes) = bytes.as_slice().try_into() {
                self.stage = Stage::Open { accepted: true };
                let connection = id;
                say.push_back(Event::Preface { connection, bytes });
            }
        }
        while self.receiving && self.is_open() {
            let Some(letter) = letters.pop_front() else {
                return;
            };
            let (connection, chunk) = (id, Chunk::copied_from(&letter));
            say.push_back(Event::Received { connection, chunk });
        }
    }
}

impl PigeonTransport {
    fn add(&mut self, half: Option<Half>, stage: Stage) -> ConnectionId {
        let bird = Bird {
            half,
            stage,
            receiving: false,
            sending: false,
            unsent: VecDeque::new(),
            closing: false,
        };
        self.has_work = true;
        let free = self.slots.iter().position(|(_, bird)| bird.is_none());
        let slot = free.unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() - 1
        });
        self.slots[slot].1 = Some(bird);
        let generation = self.slots[slot].0;
        let slot = slot as u32;
        ConnectionId { slot, generation }
    }

    fn bird(&mut self, id: ConnectionId) -> Option<&mut Bird> {
        let (generation, bird) = self.slots.get_mut(id.slot as usize)?;
        bird.as_mut().filter(|_| *generation == id.generation)
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Bird> {
        self.bird(id)?;
        let slot = &mut self.slots[id.slot as usize];
        slot.0 += 1;
        slot.1.take()
    }

    /// Moves on what every connection can; says whether anybody else has to know.
    fn step_all(&mut self, events: &mut VecDeque<Event>) {
        for slot in 0..self.slots.len() {
            let (generation, Some(bird)) = &mut self.slots[slot] else {
                continue;
            };
            let (slot, generation) = (slot as u32, *generation);
            let connection = ConnectionId { slot, generation };
            if let Some(reason) = bird.step(connection, events) {
                self.remove(connection);
                self.counters.closed += 1;
                events.push_back(Event::Closed { connection, reason });
            }
        }
    }

    fn accept(&mut self, events: &mut VecDeque<Event>) {
        let Some(at) = self.listening else {
            return;
        };
        let mut world = self.network.0.lock().unwrap();
        let callers = std::mem::take(world.callers.get_mut(&at).unwrap());
        drop(world);
        for half in callers {
            let connection = self.add(Some(half), Stage::Preface(Vec::new()));
            self.counters.accepted += 1;
            let peer = SocketAddr::from(([127, 0, 0, 1], 0));
            events.push_back(Event::Incoming { connection, peer });
        }
    }

    fn count(&mut self, events: &VecDeque<Event>, before: usize) {
        for event in events.range(before..) {
            if let Event::Received { chunk, .. } = event {
                self.counters.bytes_received += chunk.len() as u64;
            }
        }
    }
}

impl Transport for PigeonTransport {
    fn name(&self) -> &'static str {
        "pigeons"
    }

    fn reaches(&self, to: SocketAddr) -> bool {
        self.network.0.lock().unwrap().callers.contains_key(&to)
    }

    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        let mut world = self.network.0.lock().unwrap();
        if self.listening.is_some() || world.callers.contains_key(&at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        world.callers.insert(at, VecDeque::new());
        self.listening = Some(at);
        Ok(at)
    }

    fn stop_listening(&mut self) {
        if let Some(at) = self.listening.take() {
            let callers = self.network.0.lock().unwrap().callers.remove(&at);
            drop(callers);
        }
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId> {
        let route = Arc::default();
        let half = |side| Half {
            world: self.network.clone(),
            route: Arc::clone(&route),
            side,
        };
        let (near, far) = (half(0), half(1));
        let mut world = self.network.0.lock().unwrap();
        let callers = world.callers.get_mut(&to);
        let near = match callers.filter(|callers| callers.len() < CALLERS_MAX) {
            Some(callers) => {
                callers.push_back(far);
                world.change();
                drop(world);
                Some(near)
            }
            None => {
                drop(world);
                None
            }
        };
        self.counters.dialled += 1;
        Ok(self.add(near, Stage::Dialling))
    }

    fn start_receiving(&mut self, id: ConnectionId) {
        if let Some(bird) = self.bird(id).filter(|bird| bird.is_open()) {
            bird.receiving = true;
            self.has_work = true;
        }
    }

    fn send(&mut self, id: ConnectionId, slices: &mut Vec<SlabSlice>) {
        let Some(bird) = self.bird(id).filter(|bird| bird.is_open()) else {
            return slices.clear();
        };
        assert!(!bird.sending, "a send is in flight on this connection");
        bird.sending = true;
        bird.unsent.extend(slices.drain(..));
        let bytes: usize = bird.unsent.iter().map(|slice| slice.len()).sum();
        self.counters.bytes_sent += bytes as u64;
        self.has_work = true;
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(bird) = self.bird(id) {
            bird.closing = true;
            bird.half = None;
            self.has_work = true;
        }
    }

    fn detach(&mut self, id: ConnectionId) -> Option<Detached> {
        let bird = self.bird(id)?;
        let at_rest = bird.is_open() && !bird.receiving && !bird.sending;
        if !at_rest || matches!(bird.stage, Stage::Open { accepted: false }) {
            return None;
        }
        self.remove(id)?.half.map(Detached::new)
    }

    fn adopt(&mut self, connection: Detached) -> io::Result<ConnectionId> {
        let half = connection.take()?;
        Ok(self.add(Some(half), Stage::Open { accepted: true }))
    }

    fn has_news(&mut self) -> bool {
        self.has_work || self.network.0.lock().unwrap().changes != self.seen
    }

    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        let before = events.len();
        self.seen = self.network.0.lock().unwrap().changes;
        let had_work = std::mem::take(&mut self.has_work);
        self.step_all(events);
        self.accept(events);
        self.count(events, before);
        let any = events.len() > before;
        if any || had_work {
            // Letters may have come or gone, and somebody may wait for either.
            self.network.0.lock().unwrap().change();
        }
        any
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn park(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn buffer_use(&self) -> BufferUse {
        BufferUse::default()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
