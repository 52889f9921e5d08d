//! The simulated network: hosts, the paths between them, and connections of bytes.
//!
//! A connection is two streams that keep their order and lose nothing, as long as it lives. What is
//! written arrives split and merged at will, after a delay; a path that is blocked holds it, and
//! delivers it when it opens again, or loses it with the connection when that takes too long. A
//! buffer that is full takes no more. Nobody hears of the end of a connection over a path that is
//! blocked. Nothing but bytes passes.

mod path;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ringmesh_proto::address::Address;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::time::Instant;

pub(crate) use self::path::Cut;
use self::path::Path;
use self::wire::{End, Parcel, Pipe, Wire, end_of, key_of};
use crate::agenda::{Agenda, Event};
use crate::fault::FaultId;
use crate::random::Random;
use crate::trace::What;

/// The most connections that wait to be taken by a process.
pub(crate) const BACKLOG: usize = 128;

/// What a kernel tells its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Somebody dialled.
    Accepted { conn: ConnKey, from: IpAddr },
    /// A dial was answered.
    Connected(ConnKey),
    /// There are bytes to read.
    Readable(ConnKey),
    /// There is room to write.
    Writable(ConnKey),
    /// It is over, behind the bytes that are still to be read.
    Closed(ConnKey, CloseReason),
}

/// The machine that a process runs on.
#[derive(Debug)]
struct Host {
    powered: bool,
    listening: bool,
    ready: VecDeque<Ready>,
    /// Connections among these that wait to be taken.
    backlog: usize,
    /// Its buffers are tiny, by this fault.
    starved: Option<FaultId>,
    /// The bytes that its processes wrote.
    written: u64,
}

/// How the network of a world behaves when nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The least and the most that bytes take from node to node.
    pub latency: (Duration, Duration),
    /// How many of a thousand writes arrive in several parts.
    pub split: u64,
    /// How many bytes a connection takes that were not read at its other end.
    pub buffer: usize,
    /// The least and the most for which bytes may be held before their connection breaks.
    pub patience: (Duration, Duration),
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            latency: (Duration::from_micros(50), Duration::from_micros(500)),
            split: 50,
            buffer: 64 << 10,
            patience: (Duration::from_secs(5), Duration::from_secs(30)),
        }
    }
}

/// All hosts and connections of a world.
#[derive(Debug)]
pub(crate) struct Network {
    hosts: Vec<Host>,
    by_address: BTreeMap<Address, usize>,
    /// From each node to each other.
    paths: Vec<Path>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    weather: Weather,
    random: Random,
    /// Nodes that were told something.
    woken: Vec<usize>,
}

/// The bytes that a connection of a starved host takes.
const TINY_BUFFER: usize = 48;

impl Network {
    pub(crate) fn new(addresses: &[Address], weather: Weather, random: Random) -> Self {
        let host = |_| Host {
            powered: true,
            listening: false,
            ready: VecDeque::new(),
            backlog: 0,
            starved: None,
            written: 0,
        };
        let count = addresses.len();
        let by_address = addresses.iter().cloned().zip(0..).collect();
        Self {
            hosts: (0..count).map(host).collect(),
            by_address,
            paths: (0..count * count).map(|_| Path::default()).collect(),
            wires: BTreeMap::new(),
            next_wire: 0,
            weather,
            random,
            woken: Vec::new(),
        }
    }

    /// Where connections of a node come from.
    pub(crate) fn ip(node: usize) -> IpAddr {
        let [high, low] = (node as u16 + 1).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
    }

    fn path(&self, from: usize, to: usize) -> &Path {
        &self.paths[from * self.hosts.len() + to]
    }

    fn path_mut(&mut self, from: usize, to: usize) -> &mut Path {
        let index = from * self.hosts.len() + to;
        &mut self.paths[index]
    }

    /// A node dials an address. `None` if no host has it.
    pub(crate) fn dial(
        &mut self,
        agenda: &mut Agenda,
        from: usize,
        to: &Address,
    ) -> Option<ConnKey> {
        let to = *self.by_address.get(to)?;
        let wire = self.next_wire;
        self.next_wire += 1;
        let (least, most) = self.weather.patience;
        let patience = self.random.span(least, most);
        self.wires.insert(wire, Wire::new([from, to], patience));
        self.send(agenda, wire, 0, Parcel::Syn, Duration::ZERO);
        Some(key_of(wire, 0))
    }

    /// Writes as many bytes as there is room for, and says how many. When they are not all, the
    /// process is told when there is room.
    pub(crate) fn write(&mut self, agenda: &mut Agenda, key: ConnKey, bytes: &[u8]) -> usize {
        let (id, side) = end_of(key);
        let Some(wire) = self.wires.get_mut(&id) else {
            return bytes.len();
        };
        let nodes = [wire.nodes[side], wire.nodes[1 - side]];
        let starved = nodes.map(|node| self.hosts[node].starved);
        let starved = starved.into_iter().flatten().next();
        let buffer = match starved {
            Some(_) => TINY_BUFFER,
            None => self.weather.buffer,
        };
        let pipe = &mut wire.pipes[side];
        if pipe.sealed || wire.ends[side] != End::Live {
            return bytes.len();
        }
        let taken = bytes.len().min(buffer.saturating_sub(pipe.bytes));
        if taken < bytes.len() {
            pipe.wants_room = true;
            if let Some(fault) = starved {
                agenda.took_effect(fault);
            }
        }
        if taken == 0 {
            return 0;
        }
        self.hosts[nodes[0]].written += taken as u64;
        let path = self.path_mut(nodes[0], nodes[1]);
        match path.take_cut() {
            None => self.send_bytes(agenda, (id, side), &bytes[..taken], Duration::ZERO),
            Some((fault, cut)) => self.cut(agenda, (id, side), &bytes[..taken], (fault, cut)),
        }
        taken
    }

    fn send_bytes(
        &mut self,
        agenda: &mut Agenda,
        (wire, side): (u64, usize),
        mut bytes: &[u8],
        late: Duration,
    ) {
        while bytes.len() > 1 && self.random.chance(self.weather.split) {
            let (first, rest) = bytes.split_at(1 + self.random.index(bytes.len() - 1));
            self.send(agenda, wire, side, Parcel::Bytes(first.to_vec()), late);
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.send(agenda, wire, side, Parcel::Bytes(bytes.to_vec()), late);
        }
    }

    /// A connection breaks while bytes are written.
    fn cut(
        &mut self,
        agenda: &mut Agenda,
        (wire, side): (u64, usize),
        bytes: &[u8],
        (fault, cut): (FaultId, Cut),
    ) {
        match cut {
            Cut::Reset => {
                let kept = self.random.index(bytes.len());
                self.send_bytes(agenda, (wire, side), &bytes[..kept], Duration::ZERO);
                agenda.took_effect(fault);
                if let Some(wire) = self.wires.get_mut(&wire) {
                    wire.pipes[1 - side].lose();
                }
                self.reset(agenda, wire, side);
                self.reset(agenda, wire, 1 - side);
            }
            Cut::Late(by) => {
                self.send_bytes(agenda, (wire, side), bytes, by);
                self.reset(agenda, wire, side);
                if let Some(wire) = self.wires.get_mut(&wire) {
                    wire.late = Some(fault);
                }
                self.end(wire, side, CloseReason::Broken);
            }
        }
    }

    /// Takes all bytes that have arrived.
    pub(crate) fn read(&mut self, agenda: &mut Agenda, key: ConnKey, into: &mut Vec<u8>) {
        let (id, side) = end_of(key);
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let pipe = &mut wire.pipes[1 - side];
        pipe.told = false;
        pipe.bytes -= pipe.unread.len();
        into.append(&mut pipe.unread);
        if std::mem::take(&mut pipe.wants_room) && wire.ends[side] == End::Live {
            self.send(agenda, id, side, Parcel::Room, Duration::ZERO);
        }
    }

    /// A process has no more to do with a connection: what it wrote arrives, then the end.
    pub(crate) fn close(&mut self, agenda: &mut Agenda, key: ConnKey) {
        let (id, side) = end_of(key);
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let was = std::mem::replace(&mut wire.ends[side], End::Over);
        let has_unread = !wire.pipes[1 - side].unread.is_empty();
        if was == End::Live && !wire.is_over() {
            if has_unread {
                self.reset(agenda, id, side);
            } else if !std::mem::replace(&mut wire.pipes[side].sealed, true) {
                self.send(agenda, id, side, Parcel::Fin, Duration::ZERO);
            }
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: u64) {
        if self.wires.get(&id).is_some_and(Wire::is_over) {
            self.wires.remove(&id);
        }
    }

    /// Sends a reset behind whatever is under way from a side.
    fn reset(&mut self, agenda: &mut Agenda, id: u64, side: usize) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let pipe = &mut wire.pipes[side];
        pipe.sealed = true;
        if !std::mem::replace(&mut pipe.reset, true) {
            self.send(agenda, id, side, Parcel::Reset, Duration::ZERO);
        }
    }

    fn send(&mut self, agenda: &mut Agenda, id: u64, side: usize, parcel: Parcel, late: Duration) {
        let (least, most) = self.weather.latency;
        let mut span = self.random.span(least, most) + late;
        let Some([near, far]) = self.wires.get(&id).map(|wire| wire.nodes) else {
            return;
        };
        let (from, to) = if side == 0 { (near, far) } else { (far, near) };
        for (fault, by) in self.path(from, to).delays() {
            span += *by;
            agenda.took_effect(*fault);
        }
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let pipe = &mut wire.pipes[side];
        let earliest = pipe.parcels.back().map_or(Instant::ZERO, |(last, _)| *last);
        let at = (agenda.now() + span).max(earliest);
        pipe.bytes += parcel.bytes();
        pipe.parcels.push_back((at, parcel));
        let to = 1 - side;
        agenda.timeline.push(at, Event::Arrive { wire: id, to });
    }

    /// What is under way to an end may have arrived.
    pub(crate) fn handle_arrival(&mut self, agenda: &mut Agenda, id: u64, to: usize) {
        while let Some(wire) = self.wires.get_mut(&id) {
            let (sender, receiver) = (wire.nodes[1 - to], wire.nodes[to]);
            let pipe = &mut wire.pipes[1 - to];
            let is_due = |(at, _): &(Instant, Parcel)| *at <= agenda.timeline.now();
            if !pipe.parcels.front().is_some_and(is_due) {
                return;
            }
            if !self.paths[sender * self.hosts.len() + receiver]
                .blocks()
                .is_empty()
            {
                return self.hold(agenda, id, 1 - to);
            }
            let Some((_, parcel)) = pipe.parcels.pop_front() else {
                return;
            };
            let numbers = [key_of(id, to).0, parcel.sort(), parcel.bytes() as u64];
            agenda.note(What::Arrived, numbers);
            self.land(agenda, id, to, parcel);
        }
    }

    /// A path that is blocked holds what has come so far.
    fn hold(&mut self, agenda: &mut Agenda, id: u64, from: usize) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        if wire.pipes[from].held.is_some() {
            return;
        }
        let since = agenda.now();
        wire.pipes[from].held = Some(since);
        let (patience, nodes) = (wire.patience, wire.nodes);
        let wire = id;
        agenda.after(patience, Event::GiveUp { wire, from, since });
        for fault in self.path(nodes[from], nodes[1 - from]).blocks() {
            agenda.took_effect(*fault);
        }
    }

    /// A path held bytes for as long as their connection lives without: it breaks for their sender.
    pub(crate) fn handle_patience_over(&mut self, id: u64, from: usize, since: Instant) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let pipe = &mut wire.pipes[from];
        if pipe.held == Some(since) {
            pipe.lose();
            pipe.sealed = true;
            self.end(id, from, CloseReason::Broken);
        }
    }

    fn land(&mut self, agenda: &mut Agenda, id: u64, to: usize, parcel: Parcel) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let [near, far] = wire.nodes;
        let bytes = parcel.bytes();
        if bytes > 0 && wire.late.is_some() {
            self.judge_lateness(agenda, id);
        }
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let key = key_of(id, to);
        match (wire.ends[to], parcel) {
            (_, Parcel::Syn) => self.knock(agenda, id, near, far),
            (End::Live, Parcel::SynAck) => {
                wire.open = true;
                self.tell(near, Ready::Connected(key));
            }
            (End::Live, Parcel::Refused) => self.end(id, to, CloseReason::DialRefused),
            (End::Live, Parcel::Bytes(bytes)) => {
                let node = wire.nodes[to];
                let pipe = &mut wire.pipes[1 - to];
                pipe.unread.extend_from_slice(&bytes);
                if !std::mem::replace(&mut pipe.told, true) {
                    self.tell(node, Ready::Readable(key));
                }
            }
            (End::Live, Parcel::Room) => {
                let node = wire.nodes[to];
                self.tell(node, Ready::Writable(key));
            }
            (End::Live, Parcel::Fin) => self.end(id, to, CloseReason::PeerClosed),
            (End::Live, Parcel::Reset) => {
                let pipe = &mut wire.pipes[1 - to];
                if self.random.chance(500) {
                    pipe.bytes -= pipe.unread.len();
                    pipe.unread.clear();
                }
                self.end(id, to, CloseReason::Broken);
            }
            (_, Parcel::Fin | Parcel::Reset | Parcel::Refused | Parcel::Room) => {}
            // Nobody is there: whoever sent it is told so.
            (_, Parcel::SynAck | Parcel::Bytes(_)) => {
                wire.pipes[1 - to].bytes -= bytes;
                if self.hosts[wire.nodes[to]].powered {
                    self.reset(agenda, id, to);
                }
            }
        }
    }

    /// Bytes of a connection that broke for their sender come when another may be there already.
    fn judge_lateness(&mut self, agenda: &mut Agenda, id: u64) {
        let Some(wire) = self.wires.get(&id) else {
            return;
        };
        let mut pair = wire.nodes;
        pair.sort_unstable();
        let mut newer = self.wires.range(id + 1..);
        let follows = newer.any(|(_, other)| {
            let mut nodes = other.nodes;
            nodes.sort_unstable();
            nodes == pair && other.is_whole()
        });
        if let Some(fault) = wire.late.filter(|_| follows) {
            agenda.took_effect(fault);
        }
    }

    /// A dial arrives at its host.
    fn knock(&mut self, agenda: &mut Agenda, id: u64, from: usize, to: usize) {
        let host = &mut self.hosts[to];
        if !host.powered || host.backlog >= BACKLOG {
            return;
        }
        if !host.listening {
            return self.send(agenda, id, 1, Parcel::Refused, Duration::ZERO);
        }
        host.backlog += 1;
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.ends[1] = End::Live;
        }
        let (conn, from) = (key_of(id, 1), Self::ip(from));
        self.tell(to, Ready::Accepted { conn, from });
        self.send(agenda, id, 1, Parcel::SynAck, Duration::ZERO);
    }

    /// An end is over, which its process is to be told.
    fn end(&mut self, id: u64, side: usize, reason: CloseReason) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        if wire.ends[side] == End::Live {
            wire.ends[side] = End::Ended;
            let node = wire.nodes[side];
            self.tell(node, Ready::Closed(key_of(id, side), reason));
        }
    }

    fn tell(&mut self, node: usize, ready: Ready) {
        self.hosts[node].ready.push_back(ready);
        self.woken.push(node);
    }

    /// Takes what the kernel of a node tells next.
    pub(crate) fn next_ready(&mut self, node: usize) -> Option<Ready> {
        let host = &mut self.hosts[node];
        let ready = host.ready.pop_front()?;
        if let Ready::Accepted { .. } = ready {
            host.backlog -= 1;
        }
        Some(ready)
    }

    /// Whether the kernel of a node has something to tell.
    pub(crate) fn is_ready(&self, node: usize) -> bool {
        !self.hosts[node].ready.is_empty()
    }

    /// Takes a node that was told something.
    pub(crate) fn take_woken(&mut self) -> Option<usize> {
        self.woken.pop()
    }
}

mod fate;

/// The state of the network, for those who check it.
impl Network {
    /// The most bytes that any connection holds, and the most it may.
    pub(crate) fn fullest(&self) -> (usize, usize) {
        let pipes = self.wires.values().flat_map(|wire| &wire.pipes);
        let bytes = pipes.map(|pipe: &Pipe| pipe.bytes).max().unwrap_or(0);
        (bytes, self.weather.buffer)
    }

    /// How many connections wait to be taken by a node, and how much else it is to be told.
    pub(crate) fn waiting(&self, node: usize) -> (usize, usize) {
        let host = &self.hosts[node];
        (host.backlog, host.ready.len() - host.backlog)
    }

    /// How many bytes the processes of a node wrote.
    pub(crate) fn written(&self, node: usize) -> u64 {
        self.hosts[node].written
    }

    /// How many connections have an end at a node.
    pub(crate) fn connections(&self, node: usize) -> usize {
        let has_end = |wire: &&Wire| wire.nodes.contains(&node);
        self.wires.values().filter(has_end).count()
    }

    /// The other end of a connection.
    pub(crate) fn other_end(key: ConnKey) -> ConnKey {
        let (wire, side) = end_of(key);
        key_of(wire, 1 - side)
    }
}

#[cfg(test)]
mod tests;
