//! The network between two nodes that are pure machines: it delays as its seed says, and keeps the
//! order on each connection.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The end of a connection: the node, and its key there.
pub(super) type End = (usize, ConnKey);

/// What is under way to the end of a connection.
#[derive(Debug)]
pub(super) enum Packet {
    Accepted,
    Connected,
    Bytes(Vec<u8>),
    Closed,
}

/// What happens next.
pub(super) enum Next {
    Packet(End, Packet),
    /// The time of a node's machines is up.
    Timeout(usize),
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) peer_of: BTreeMap<End, End>,
    seed: u64,
    next_conn: u64,
    /// Ends to which nothing comes any more, whatever is sent: their network is broken.
    hung: BTreeSet<End>,
    /// In the order sent, per end.
    packets: BTreeMap<End, VecDeque<(Instant, Packet)>>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: at(0),
            peer_of: BTreeMap::new(),
            seed,
            next_conn: 0,
            hung: BTreeSet::new(),
            packets: BTreeMap::new(),
        }
    }

    pub(super) fn random(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.seed >> 24
    }

    fn send(&mut self, to: End, packet: Packet) {
        if self.hung.contains(&to) {
            return;
        }
        let delay = Duration::from_micros(10 + self.random() % 3000);
        let queue = self.packets.entry(to).or_default();
        let earliest = queue.back().map_or(self.now, |(last, _)| *last);
        queue.push_back(((self.now + delay).max(earliest), packet));
    }

    /// Node `index` dials the other: the key of its end.
    pub(super) fn dial(&mut self, index: usize) -> ConnKey {
        let [near, far] = [0, 1].map(|offset| ConnKey(self.next_conn + offset));
        self.next_conn += 2;
        let (near, far) = ((index, near), (1 - index, far));
        self.peer_of.insert(near, far);
        self.peer_of.insert(far, near);
        self.send(far, Packet::Accepted);
        self.send(near, Packet::Connected);
        near.1
    }

    pub(super) fn write(&mut self, from: End, bytes: Vec<u8>) {
        if let Some(&peer) = self.peer_of.get(&from) {
            self.send(peer, Packet::Bytes(bytes));
        }
    }

    /// Ends a connection at `end`, which hears of it if it `broke`: what that had not read is gone,
    /// and what it wrote arrives before the other end hears of it.
    pub(super) fn cut(&mut self, end: End, broke: bool) {
        let Some(peer) = self.peer_of.remove(&end) else {
            return;
        };
        self.packets.remove(&end);
        if broke {
            self.send(end, Packet::Closed);
        }
        self.send(peer, Packet::Closed);
    }

    /// A connection breaks, and all that was on its way is gone.
    pub(super) fn sever(&mut self, end: End) {
        if let Some(peer) = self.peer_of.get(&end).copied() {
            for end in [end, peer] {
                self.forget(&end);
                self.send(end, Packet::Closed);
            }
        }
    }

    /// A connection hangs: nothing that is sent on it arrives, nor that it is closed.
    pub(super) fn hang(&mut self, end: End) {
        if let Some(peer) = self.peer_of.get(&end).copied() {
            for end in [end, peer] {
                self.hung.insert(end);
                self.silence(&end);
            }
        }
    }

    /// Nothing comes to an end any more.
    pub(super) fn silence(&mut self, end: &End) {
        self.packets.remove(end);
    }

    /// An end is closed on both sides.
    pub(super) fn forget(&mut self, end: &End) {
        self.peer_of.remove(end);
        self.silence(end);
    }

    /// When something happens next.
    pub(super) fn next_at(&self, timeouts: [Option<Instant>; 2]) -> Option<Instant> {
        let packets = self.packets.values();
        let packets = packets.filter_map(|queue| Some(queue.front()?.0));
        packets.chain(timeouts.into_iter().flatten()).min()
    }

    /// Lets the time pass to what happens next, given when the time of each node's machines is up.
    pub(super) fn next(&mut self, timeouts: [Option<Instant>; 2]) -> Option<Next> {
        let packets = self.packets.iter();
        let packet = packets
            .filter_map(|(end, queue)| Some((queue.front()?.0, *end)))
            .min();
        let timeouts = timeouts.into_iter().enumerate();
        let timeout = timeouts
            .filter_map(|(index, due)| Some((due?, index)))
            .min();
        if let Some((time, end)) = packet
            && timeout.is_none_or(|(due, _)| time <= due)
        {
            self.now = self.now.max(time);
            let (_, packet) = self.packets.get_mut(&end)?.pop_front()?;
            return Some(Next::Packet(end, packet));
        }
        let (due, index) = timeout?;
        self.now = self.now.max(due);
        Some(Next::Timeout(index))
    }
}

/// The machines of a node.
pub(super) trait Machines {
    fn association(&mut self) -> &mut Association;
    fn acceptor(&mut self) -> &mut Acceptor;

    fn poll_timeout(&mut self) -> Option<Instant> {
        let due = [
            self.association().poll_timeout(),
            self.acceptor().poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }
}

/// Two nodes and the network between them.
pub(super) trait Pair {
    type Node: Machines;

    fn network(&mut self) -> &mut Network;
    fn node(&mut self, index: usize) -> &mut Self::Node;

    /// Calls the machines of a node, and carries out what they want.
    fn call(&mut self, index: usize, call: impl FnOnce(&mut Self::Node, &mut Context<'_>));

    fn receive(&mut self, index: usize, conn: ConnKey, bytes: &[u8]);

    /// Whether a node has nothing to do with an end any more.
    fn is_over(&self, end: End) -> bool {
        let _ = end;
        false
    }

    /// The other side has closed.
    fn closed(&mut self, end: End) {
        tell_closed(self, end);
    }

    /// Delivers the next packet or timeout. Says whether anything was left to happen.
    fn step(&mut self) -> bool {
        let timeouts = [0, 1].map(|index| self.node(index).poll_timeout());
        match self.network().next(timeouts) {
            None => return false,
            Some(Next::Packet(end, packet)) => self.deliver(end, packet),
            Some(Next::Timeout(index)) => {
                self.call(index, |node, cx| node.association().handle_timeout(cx));
                self.call(index, |node, cx| node.acceptor().handle_timeout(cx));
            }
        }
        true
    }

    fn deliver(&mut self, end: End, packet: Packet) {
        let (index, conn) = end;
        match packet {
            _ if self.is_over(end) => {}
            Packet::Accepted => {
                self.call(index, |node, cx| node.acceptor().handle_accepted(cx, conn));
            }
            Packet::Connected => {
                self.call(index, |node, cx| {
                    node.association().handle_connected(cx, conn);
                });
            }
            Packet::Bytes(bytes) => self.receive(index, conn, &bytes),
            Packet::Closed => {
                self.network().forget(&end);
                self.closed(end);
            }
        }
    }

    /// Lets a time pass.
    fn run(&mut self, span: Duration) {
        let end = self.network().now + span;
        for _ in 0..100_000 {
            let timeouts = [0, 1].map(|index| self.node(index).poll_timeout());
            let is_due = self.network().next_at(timeouts).is_some_and(|at| at < end);
            if !is_due || !self.step() {
                let now = &mut self.network().now;
                *now = end.max(*now);
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

/// Tells the machines of a node that an end is closed.
pub(super) fn tell_closed<P: Pair + ?Sized>(pair: &mut P, (index, conn): End) {
    pair.call(index, |node, cx| {
        node.acceptor().handle_closed(conn);
        let reason = CloseReason::PeerClosed;
        node.association().handle_closed(cx, conn, reason);
    });
}

/// The bytes of a small frame.
pub(super) fn service(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let length = encode(&mut bytes);
    bytes.truncate(length);
    bytes
}

/// The preface that `bytes` begin with, and what is behind it.
pub(super) fn split_preface(bytes: &[u8]) -> (Option<&[u8; PREFACE_BYTES]>, &[u8]) {
    match bytes.split_first_chunk::<PREFACE_BYTES>() {
        Some((preface, rest)) if Preface::parse(preface).is_ok() => (Some(preface), rest),
        _ => (None, bytes),
    }
}
