//! Two nodes and a network that delays, breaks and swallows as its seed says: in the end they are
//! associated, over one connection, and agree on it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The end of a connection: the node, and its key there.
type End = (usize, ConnKey);

struct Node {
    local: LocalNode,
    acceptor: Acceptor,
    association: Association,
    /// The connection of the link, as a driver knows it.
    link: Option<ConnKey>,
    /// There is a link, with or without a connection.
    kept: bool,
    failures: u32,
    losses: u32,
}

/// What is under way to the end of a connection.
#[derive(Debug)]
enum Packet {
    Accepted,
    Connected,
    Bytes(Vec<u8>),
    Closed,
}

struct World {
    nodes: [Node; 2],
    now: Instant,
    seed: u64,
    next_conn: u64,
    peer_of: BTreeMap<End, End>,
    /// In the order sent, per end.
    network: BTreeMap<End, VecDeque<(Instant, Packet)>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let node = |host, uid, other: &str| Node {
            local: local(host, uid),
            acceptor: Acceptor::new(16),
            association: Association::new(local(other, 1).id.address),
            link: None,
            kept: false,
            failures: 0,
            losses: 0,
        };
        Self {
            nodes: [node("here", 100, "there"), node("there", 200, "here")],
            now: at(0),
            seed,
            next_conn: 0,
            peer_of: BTreeMap::new(),
            network: BTreeMap::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.seed >> 24
    }

    fn send(&mut self, to: End, packet: Packet) {
        let delay = Duration::from_micros(10 + self.random() % 3000);
        let queue = self.network.entry(to).or_default();
        // In order on each connection.
        let earliest = queue.back().map_or(self.now, |(last, _)| *last);
        queue.push_back(((self.now + delay).max(earliest), packet));
    }

    fn call(&mut self, index: usize, call: impl FnOnce(&mut Node, &mut Context<'_>)) {
        let random = self.random();
        let mut out = Outbox::default();
        let node = &mut self.nodes[index];
        let local = node.local.clone();
        let mut cx = Context {
            now: self.now,
            random,
            local: &local,
            link: None,
            out: &mut out,
        };
        call(node, &mut cx);
        while let Some(effect) = out.pop() {
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Dial { .. } => self.dial(index),
            Effect::Write { conn, bytes } => self.write((index, conn), bytes),
            Effect::Close { conn, .. } => self.cut((index, conn), false),
            Effect::Refuse { conn, reason } => {
                self.call(index, |node, cx| node.acceptor.refuse(cx, conn, reason));
            }
            Effect::LinkUp(up) => {
                let node = &mut self.nodes[index];
                assert!(!std::mem::replace(&mut node.kept, true), "one at a time");
                assert_eq!(node.link.replace(up.conn), None, "one link at a time");
            }
            Effect::LinkLost { conn, .. } => {
                self.nodes[index].losses += 1;
                assert_eq!(self.nodes[index].link.take(), Some(conn));
            }
            Effect::LinkResumed { conn, .. } => {
                let node = &mut self.nodes[index];
                assert!(node.kept, "there is a link to go on with");
                assert_eq!(node.link.replace(conn), None, "one connection at a time");
            }
            Effect::LinkDown { .. } => {
                let node = &mut self.nodes[index];
                node.losses += u32::from(node.link.take().is_some());
                assert!(std::mem::take(&mut node.kept), "a link ends once");
            }
            Effect::Ping { conn, nonce } => {
                self.write((index, conn), service(|into| Ping { nonce }.encode(into)));
            }
            Effect::Pong { conn, nonce } => {
                self.write((index, conn), service(|into| Pong { nonce }.encode(into)));
            }
            Effect::Unreachable { .. } => self.nodes[index].failures += 1,
            Effect::PeerRestarted { .. } => {}
            Effect::FormingOver { .. } => panic!("nobody sends here"),
            Effect::Rest { .. } | Effect::LinkRested { .. } => panic!("nobody rests here"),
            Effect::Bye { .. } | Effect::Stopped => panic!("nobody stops here"),
        }
    }

    fn dial(&mut self, index: usize) {
        let [near, far] = [0, 1].map(|offset| ConnKey(self.next_conn + offset));
        self.next_conn += 2;
        let (near, far) = ((index, near), (1 - index, far));
        self.peer_of.insert(near, far);
        self.peer_of.insert(far, near);
        self.send(far, Packet::Accepted);
        self.send(near, Packet::Connected);
        self.call(index, |node, cx| {
            node.association.handle_dialling(cx, near.1)
        });
    }

    fn write(&mut self, from: End, bytes: Vec<u8>) {
        if let Some(&peer) = self.peer_of.get(&from) {
            self.send(peer, Packet::Bytes(bytes));
        }
    }

    /// Ends a connection at `end`. The other side hears of it later; so does this one if it
    /// `broke`.
    fn cut(&mut self, end: End, broke: bool) {
        let Some(peer) = self.peer_of.remove(&end) else {
            return;
        };
        self.network.remove(&end);
        if broke {
            self.send(end, Packet::Closed);
        }
        self.send(peer, Packet::Closed);
    }

    /// Delivers the next packet or timeout. Says whether anything was left to happen.
    fn step(&mut self) -> bool {
        let packet = self
            .network
            .iter()
            .filter_map(|(end, queue)| Some((queue.front()?.0, *end)))
            .min();
        let timer = (0..2)
            .filter_map(|index| {
                let node = &self.nodes[index];
                let due = [
                    node.association.poll_timeout(),
                    node.acceptor.poll_timeout(),
                ];
                Some((due.into_iter().flatten().min()?, index))
            })
            .min();
        match (packet, timer) {
            (None, None) => return false,
            (Some((time, end)), due) if due.is_none_or(|(due, _)| time <= due) => {
                self.now = self.now.max(time);
                self.deliver(end);
            }
            (_, Some((due, index))) => {
                self.now = self.now.max(due);
                self.call(index, |node, cx| node.association.handle_timeout(cx));
                self.call(index, |node, cx| node.acceptor.handle_timeout(cx));
            }
            (Some(_), None) => unreachable!("the second arm takes it"),
        }
        true
    }

    fn deliver(&mut self, end: End) {
        let (index, conn) = end;
        let queue = self.network.get_mut(&end).expect("it has a packet");
        let (_, packet) = queue.pop_front().expect("it has a packet");
        match packet {
            Packet::Accepted => {
                self.call(index, |node, cx| node.acceptor.handle_accepted(cx, conn));
            }
            Packet::Connected => {
                self.call(index, |node, cx| {
                    node.association.handle_connected(cx, conn)
                });
            }
            Packet::Bytes(bytes) => self.receive(index, conn, &bytes),
            Packet::Closed => {
                self.peer_of.remove(&end);
                self.network.remove(&end);
                self.call(index, |node, cx| {
                    node.acceptor.handle_closed(conn);
                    node.association
                        .handle_closed(cx, conn, CloseReason::PeerClosed);
                });
            }
        }
    }

    fn receive(&mut self, index: usize, conn: ConnKey, mut bytes: &[u8]) {
        if let Some((preface, rest)) = bytes.split_first_chunk::<PREFACE_BYTES>()
            && Preface::parse(preface).is_ok()
        {
            self.call(index, |node, cx| {
                node.acceptor.handle_preface(cx, conn, preface)
            });
            bytes = rest;
        }
        let frame = frame(bytes);
        self.call(index, |node, cx| {
            if frame.header.kind != Kind::Hello {
                return node.association.handle_frame(cx, conn, &frame);
            }
            if let Some(shown) = node.acceptor.handle_frame(cx, conn, &frame)
                && let Err(reason) = node.association.handle_incoming(cx, &shown)
            {
                node.acceptor.refuse(cx, conn, reason);
            }
        });
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            if self.now >= end || !self.step() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Both have a link, and it is the same connection.
    fn assert_linked(&self) {
        let [near, far] = [0, 1].map(|index| {
            let conn = self.nodes[index].link;
            (
                index,
                conn.unwrap_or_else(|| panic!("node {index} has no link")),
            )
        });
        assert_eq!(
            self.peer_of.get(&near),
            Some(&far),
            "both name the same connection"
        );
        assert_eq!(self.peer_of.get(&far), Some(&near), "and it is whole");
        let [one, other] = [0, 1].map(|index| {
            let kept = self.nodes[index].association.link.as_ref();
            kept.map(|kept| kept.number)
        });
        assert_eq!(one, other, "both name the same link");
    }
}

fn service(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let length = encode(&mut bytes);
    bytes.truncate(length);
    bytes
}

proptest! {
    #[test]
    fn two_nodes_that_dial_each_other_end_up_with_one_link(seed: u64, apart_us in 0..6000u64) {
        let mut world = World::new(seed);
        world.call(0, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_micros(apart_us));
        world.call(1, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_secs(30));
        world.assert_linked();
        // Superseded dials are no failures.
        prop_assert_eq!([0, 1].map(|index| world.nodes[index].failures), [0, 0]);
        prop_assert_eq!([0, 1].map(|index| world.nodes[index].losses), [0, 0]);
    }

    #[test]
    fn they_find_each_other_again_however_connections_break(
        seed: u64,
        cuts in proptest::collection::vec((0..3_000_000u64, any::<bool>(), 0..2usize), 0..20),
    ) {
        let mut world = World::new(seed);
        for index in 0..2 {
            world.call(index, |node, cx| node.association.handle_dial_wanted(cx));
        }
        for (pause_us, silent, index) in cuts {
            world.run(Duration::from_micros(pause_us));
            let ends: Vec<End> =
                world.peer_of.keys().copied().filter(|end| end.0 == index).collect();
            if ends.is_empty() {
                continue;
            }
            let end = ends[world.random() as usize % ends.len()];
            let peer = world.peer_of[&end];
            world.cut(end, true);
            if silent {
                // The other side never hears of it: half-open.
                world.network.remove(&peer);
            }
        }
        world.run(Duration::from_secs(120));
        world.assert_linked();
        prop_assert_eq!([0, 1].map(|index| world.nodes[index].acceptor.strangers()), [0, 0]);
    }

    #[test]
    fn no_input_makes_a_call_exceed_its_effects(seed: u64, calls in 1..200usize) {
        let mut bench = Bench::new();
        let mut association = Association::new(local("there", 200).id.address);
        let mut world = World::new(seed);
        for _ in 0..calls {
            let (what, conn) = (world.random() % 16, ConnKey(world.random() % 4));
            let uid = 199 + world.random() % 4;
            bench.now = bench.now + Duration::from_millis(world.random() % 3000);
            let accept = bench.answer(if uid == 100 { 200 } else { uid }, bench.random);
            let refusal = refusal(RefuseReason::from_wire((world.random() % 16) as u16));
            // The outbox itself asserts the bound.
            bench.call(|_, cx| match what {
                0 | 1 => association.handle_dial_wanted(cx),
                2 | 3 => association.handle_dialling(cx, conn),
                4 | 5 => association.handle_connected(cx, conn),
                6 => association.handle_frame(cx, conn, &frame(&accept)),
                7 => association.handle_frame(cx, conn, &frame(&refusal)),
                8 => association.handle_closed(cx, conn, CloseReason::Broken),
                9 => drop(association.handle_incoming(cx, &introduction(uid, conn.0))),
                10 => association.handle_fault(cx, conn, CloseReason::FrameStall),
                11 => association.handle_heard(cx, conn),
                12 => association.handle_resume_wanted(cx),
                13 if uid == 199 => association.handle_stop(cx),
                14 if uid == 199 => association.handle_link_fault(cx, CloseReason::TooManyAsks),
                _ => association.handle_timeout(cx),
            });
        }
    }
}
