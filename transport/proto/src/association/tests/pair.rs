//! Two nodes and a network that delays, breaks and swallows as its seed says: in the end they are
//! associated, over one connection, and agree on it.

use proptest::prelude::*;

use super::network::{End, Machines, Network, Pair, service, split_preface};
use super::*;

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

struct World {
    nodes: [Node; 2],
    network: Network,
}

impl Machines for Node {
    fn association(&mut self) -> &mut Association {
        &mut self.association
    }

    fn acceptor(&mut self) -> &mut Acceptor {
        &mut self.acceptor
    }
}

impl Pair for World {
    type Node = Node;

    fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    fn call(&mut self, index: usize, call: impl FnOnce(&mut Node, &mut Context<'_>)) {
        let random = self.network.random();
        let mut out = Outbox::default();
        let node = &mut self.nodes[index];
        let local = node.local.clone();
        let mut cx = Context {
            now: self.network.now,
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

    fn receive(&mut self, index: usize, conn: ConnKey, bytes: &[u8]) {
        let (preface, bytes) = split_preface(bytes);
        if let Some(preface) = preface {
            self.call(index, |node, cx| {
                node.acceptor.handle_preface(cx, conn, preface)
            });
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
            network: Network::new(seed),
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Dial { .. } => self.dial(index),
            Effect::Write { conn, bytes } => self.network.write((index, conn), bytes),
            Effect::Close { conn, .. } => self.network.cut((index, conn), false),
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
                self.network
                    .write((index, conn), service(|into| Ping { nonce }.encode(into)));
            }
            Effect::Pong { conn, nonce } => {
                self.network
                    .write((index, conn), service(|into| Pong { nonce }.encode(into)));
            }
            Effect::Unreachable { .. } => self.nodes[index].failures += 1,
            Effect::PeerRestarted { .. } => {}
            Effect::QuarantinedByPeer { .. } => panic!("nobody is quarantined here"),
            Effect::FormingOver { .. } => panic!("nobody sends here"),
            Effect::Rest { .. } | Effect::LinkRested { .. } => panic!("nobody rests here"),
            Effect::Bye { .. } | Effect::Stopped => panic!("nobody stops here"),
        }
    }

    fn dial(&mut self, index: usize) {
        let conn = self.network.dial(index);
        self.call(index, |node, cx| node.association.handle_dialling(cx, conn));
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
            self.network.peer_of.get(&near),
            Some(&far),
            "both name the same connection"
        );
        assert_eq!(
            self.network.peer_of.get(&far),
            Some(&near),
            "and it is whole"
        );
        let [one, other] = [0, 1].map(|index| {
            let kept = self.nodes[index].association.link.as_ref();
            kept.map(|kept| kept.number)
        });
        assert_eq!(one, other, "both name the same link");
    }
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
                world.network.peer_of.keys().copied().filter(|end| end.0 == index).collect();
            if ends.is_empty() {
                continue;
            }
            let end = ends[world.network.random() as usize % ends.len()];
            let peer = world.network.peer_of[&end];
            world.network.cut(end, true);
            if silent {
                // The other side never hears of it: half-open.
                world.network.silence(&peer);
            }
        }
        world.run(Duration::from_secs(120));
        world.assert_linked();
        prop_assert_eq!([0, 1].map(|index| world.nodes[index].acceptor.strangers()), [0, 0]);
    }

    #[test]
    fn a_link_that_one_gave_up_while_it_hung_begins_anew_over_the_dial_beside_it(
        seed: u64,
        silent in 0..2usize,
        dialler in 0..2usize,
    ) {
        let mut world = World::new(seed);
        world.call(dialler, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_secs(5));
        world.assert_linked();
        let conn = world.nodes[silent].link.expect("a link");
        world.network.hang((silent, conn));
        let fault = CloseReason::GrantStall;
        world.call(1 - silent, |node, cx| node.association.handle_link_fault(cx, fault));
        world.call(silent, |node, cx| assert!(node.association.handle_silence(cx)));
        world.run(Duration::from_secs(1));
        world.assert_linked();
        prop_assert_eq!([0, 1].map(|index| world.nodes[index].losses), [1, 1]);
    }

    #[test]
    fn no_input_makes_a_call_exceed_its_effects(seed: u64, calls in 1..200usize) {
        let mut bench = Bench::new();
        let mut association = Association::new(local("there", 200).id.address);
        let mut world = World::new(seed);
        for _ in 0..calls {
            let (what, conn) = (world.network.random() % 18, ConnKey(world.network.random() % 4));
            let uid = 199 + world.network.random() % 4;
            bench.now = bench.now + Duration::from_millis(world.network.random() % 3000);
            let accept = bench.answer(if uid == 100 { 200 } else { uid }, bench.random);
            let refusal = refusal(RefuseReason::from_wire((world.network.random() % 19) as u16));
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
                16 => association.handle_quarantined(cx, Uid::new(uid).unwrap(), By::Us),
                17 => association.handle_frame(cx, conn, &frame(&quarantine_bye())),
                _ => association.handle_timeout(cx),
            });
        }
    }
}
