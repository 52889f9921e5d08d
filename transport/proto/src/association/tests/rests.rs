//! Two nodes, both as pure machines with the halves of their link, whose link rests and wakes while
//! messages, goodbyes and cuts cross: each message arrives once and in order, and no state is left
//! from which a push does not lead to a dial.

use proptest::prelude::*;

use super::network::{End, Machines, Network, Pair, service, split_preface, tell_closed};
use super::*;
use crate::frame::body::{DefineTarget, DefineType, Grant};
use crate::handshake::RESTS;
use crate::link::{SendHead, Target};
use crate::message::{MessageId, MessageType};
use crate::piece::Piece;
use crate::slab_pool::SlabPool;

struct Node {
    local: LocalNode,
    acceptor: Acceptor,
    association: Association,
    /// The connection of the link, as a driver knows it.
    conn: Option<ConnKey>,
    halves: Option<(Outbound, Inbound)>,
    slabs: SlabPool,
    /// Connections that were closed here, or reported as closed.
    over: Vec<ConnKey>,
    /// The number of the last message pushed, and of the last received.
    pushed: u64,
    received: u64,
    /// Somebody waits for the peer.
    awaits: bool,
    rested: u32,
    dials: u32,
    downs: Vec<CloseReason>,
    stopped: bool,
}

struct World {
    nodes: [Node; 2],
    network: Network,
}

const MESSAGE: MessageType = MessageType {
    id: MessageId::from_u64(1),
    version: 1,
    fingerprint: 1,
};

const TARGET: Target = Target {
    slot: 1,
    generation: 1,
};

impl Node {
    fn new(host: &str, uid: u64, other: &str) -> Self {
        let mut local = local(host, uid);
        local.features = RESTS;
        Self {
            local,
            acceptor: Acceptor::new(16),
            association: Association::new(super::local(other, 1).id.address),
            conn: None,
            halves: None,
            slabs: SlabPool::new(1 << 20, CAP),
            over: Vec::new(),
            pushed: 0,
            received: 0,
            awaits: false,
            rested: 0,
            dials: 0,
            downs: Vec::new(),
            stopped: false,
        }
    }

    /// A frame of the link's halves.
    fn take_over(&mut self, frame: &Frame<'_>) {
        let (outbound, inbound) = self.halves.as_mut().expect("a link");
        if frame.header.kind.is_positioned() {
            inbound.accept(frame.wire_bytes).expect("credit");
        }
        match frame.header.kind {
            Kind::Tell => {
                let number = u64::from_le_bytes(frame.payload.try_into().unwrap());
                assert_eq!(number, self.received + 1, "each once, and in order");
                self.received = number;
            }
            Kind::DefineType => inbound
                .define_type(&DefineType::parse(frame).unwrap())
                .unwrap(),
            Kind::DefineTarget => {
                let defined = inbound.define_target(&DefineTarget::parse(frame).unwrap());
                let _ = defined.unwrap();
            }
            Kind::Grant => {
                let grant = Grant::parse(frame).unwrap();
                outbound.handle_grant(grant, &mut self.slabs).unwrap();
            }
            kind => panic!("a {kind:?} on the link"),
        }
    }

    fn unacknowledged(&self) -> u64 {
        self.halves
            .as_ref()
            .map_or(0, |halves| halves.0.in_flight_bytes())
    }
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
        let halves = node.halves.take();
        let mut cx = Context {
            now: self.network.now,
            random,
            local: &local,
            link: halves.as_ref().map(|(outbound, inbound)| Standing {
                outbound,
                inbound,
                awaits: node.awaits,
            }),
            out: &mut out,
        };
        call(node, &mut cx);
        node.halves = halves;
        while let Some(effect) = out.pop() {
            self.carry_out(index, effect);
        }
    }

    fn receive(&mut self, index: usize, conn: ConnKey, bytes: &[u8]) {
        let (preface, mut bytes) = split_preface(bytes);
        if let Some(preface) = preface {
            self.call(index, |node, cx| {
                node.acceptor.handle_preface(cx, conn, preface)
            });
        }
        while !bytes.is_empty() && !self.nodes[index].over.contains(&conn) {
            let frame = frame(bytes);
            bytes = &bytes[frame.wire_bytes..];
            self.frame(index, conn, &frame);
        }
        let node = &mut self.nodes[index];
        if let (Some(_), Some((outbound, inbound))) = (node.conn, &mut node.halves) {
            let grant = inbound.poll_grant(true);
            grant
                .into_iter()
                .for_each(|grant| outbound.queue_grant(grant));
        }
        self.flush(index);
    }

    fn is_over(&self, (index, conn): End) -> bool {
        self.nodes[index].over.contains(&conn)
    }

    fn closed(&mut self, end: End) {
        let (index, conn) = end;
        self.nodes[index].over.push(conn);
        tell_closed(self, end);
        self.flush(index);
    }
}

impl World {
    /// Two nodes of which the first has dialled.
    fn linked(seed: u64) -> Self {
        let mut world = Self {
            nodes: [
                Node::new("here", 100, "there"),
                Node::new("there", 200, "here"),
            ],
            network: Network::new(seed),
        };
        world.call(0, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_secs(1));
        assert!(world.nodes.iter().all(|node| node.conn.is_some()));
        world
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        let node = &mut self.nodes[index];
        match effect {
            Effect::Dial { .. } => self.dial(index),
            Effect::Write { conn, bytes } => self.network.write((index, conn), bytes),
            Effect::Close { conn, .. } => {
                self.flush(index);
                self.cut((index, conn));
            }
            Effect::Refuse { conn, reason } => {
                self.call(index, |node, cx| node.acceptor.refuse(cx, conn, reason));
            }
            Effect::LinkUp(up) => {
                let outbound = Outbound::new(up.body_cap, up.limit, WINDOW_BYTES);
                node.halves = Some((outbound, Inbound::new(WINDOW_BYTES)));
                node.conn = Some(up.conn);
            }
            Effect::LinkLost { conn, .. } => {
                assert_eq!(node.conn.take(), Some(conn));
                node.halves.as_mut().unwrap().0.handle_lost();
            }
            Effect::LinkRested { conn, .. } => {
                assert_eq!(node.conn.take(), Some(conn));
                assert_eq!(node.unacknowledged(), 0, "nothing waits on a link at rest");
                node.halves.as_mut().unwrap().0.rest();
                node.rested += 1;
            }
            Effect::LinkResumed { conn, grant, .. } => {
                let (outbound, inbound) = node.halves.as_mut().unwrap();
                outbound.resume(grant, &mut node.slabs).unwrap();
                outbound.queue_grant(inbound.restate());
                assert_eq!(node.conn.replace(conn), None, "one connection at a time");
                self.flush(index);
            }
            Effect::LinkDown { reason, .. } => {
                node.conn = None;
                node.halves = None;
                node.downs.push(reason);
            }
            Effect::Ping { conn, nonce } => {
                self.network
                    .write((index, conn), service(|into| Ping { nonce }.encode(into)));
            }
            Effect::Pong { conn, nonce } => {
                self.network
                    .write((index, conn), service(|into| Pong { nonce }.encode(into)));
            }
            Effect::Rest { .. } => {
                node.halves.as_mut().unwrap().0.queue_rest();
                self.flush(index);
            }
            Effect::Bye { reason, .. } => {
                node.halves.as_mut().unwrap().0.queue_bye(reason);
                self.flush(index);
            }
            Effect::Stopped => node.stopped = true,
            Effect::Unreachable { .. } | Effect::PeerRestarted { .. } => {}
            Effect::FormingOver { .. } | Effect::QuarantinedByPeer { .. } => {
                panic!("nothing forms here, and nobody is quarantined")
            }
        }
    }

    /// What a driver does at the end of a turn: what can leave does, or its link is dialled for.
    fn flush(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some((outbound, _)) = &mut node.halves else {
            return;
        };
        let Some(conn) = node.conn else {
            if outbound.in_flight_bytes() > 0 {
                self.call(index, |node, cx| node.association.handle_resume_wanted(cx));
            }
            return;
        };
        let mut pieces: Vec<Piece> = Vec::new();
        while outbound.gather(usize::MAX, &mut pieces) > 0 {
            outbound.handle_sent();
        }
        let bytes = pieces.iter().flat_map(|piece| piece.iter().copied());
        let bytes: Vec<u8> = bytes.collect();
        if !bytes.is_empty() {
            self.network.write((index, conn), bytes);
        }
    }

    fn push(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some((outbound, _)) = &mut node.halves else {
            return;
        };
        let number = node.pushed + 1;
        let head = SendHead::Tell {
            message: &MESSAGE,
            target: TARGET,
        };
        let pushed = outbound.push(&mut node.slabs, head, &number.to_le_bytes()[..]);
        if pushed.is_ok() {
            node.pushed = number;
        }
        self.flush(index);
    }

    fn idle(&mut self, index: usize) {
        self.call(index, |node, cx| node.association.handle_idle(cx));
    }

    fn dial(&mut self, index: usize) {
        self.nodes[index].dials += 1;
        let conn = self.network.dial(index);
        self.call(index, |node, cx| node.association.handle_dialling(cx, conn));
    }

    /// One end closes, and needs not be told.
    fn cut(&mut self, end: End) {
        self.nodes[end.0].over.push(end.1);
        self.network.cut(end, false);
    }

    fn silence(&mut self, index: usize) {
        self.call(index, |node, cx| {
            node.association.handle_silence(cx);
        });
    }

    /// The connection of the link hangs.
    fn hang(&mut self) {
        for index in [0, 1] {
            if let Some(conn) = self.nodes[index].conn {
                self.network.hang((index, conn));
            }
        }
    }

    fn sever_link(&mut self, index: usize) {
        if let Some(conn) = self.nodes[index].conn {
            self.network.sever((index, conn));
        }
    }

    fn frame(&mut self, index: usize, conn: ConnKey, frame: &Frame<'_>) {
        let node = &mut self.nodes[index];
        match frame.header.kind {
            Kind::Hello => self.call(index, |node, cx| {
                if let Some(shown) = node.acceptor.handle_frame(cx, conn, frame)
                    && let Err(reason) = node.association.handle_incoming(cx, &shown)
                {
                    node.acceptor.refuse(cx, conn, reason);
                }
            }),
            kind if kind.is_positioned() || kind == Kind::Grant => {
                if node.conn == Some(conn) {
                    node.take_over(frame);
                }
            }
            _ => self.call(index, |node, cx| {
                node.association.handle_frame(cx, conn, frame);
            }),
        }
    }

    fn settle(&mut self) {
        self.run(Duration::from_secs(5));
    }

    fn are_resting(&self) -> bool {
        let rests = |node: &Node| matches!(node.association.status(), Status::Resting(_));
        self.nodes.iter().all(rests)
    }

    fn assert_all_arrived(&self) {
        let [one, other] = &self.nodes;
        assert_eq!((one.received, other.received), (other.pushed, one.pushed));
        assert!(
            one.downs.is_empty() && other.downs.is_empty(),
            "a link ended: {:?} and {:?}",
            one.downs,
            other.downs
        );
    }

    /// Both say that they are idle, the dialler last: then both rest.
    fn rest(&mut self) {
        for index in [0, 1] {
            self.idle(index);
            self.settle();
        }
        assert!(self.are_resting());
        assert!(self.network.peer_of.is_empty(), "no connection is left");
    }
}

#[test]
fn either_side_brings_the_link_to_rest_and_either_side_wakes_it() {
    for (idle, pushes) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::linked(7);
        world.push(0);
        world.push(1);
        world.settle();
        world.idle(idle);
        world.settle();
        assert!(world.are_resting() && world.network.peer_of.is_empty());
        // For as long as it takes.
        world.run(Duration::from_secs(100_000));
        assert!(world.are_resting());
        world.push(pushes);
        world.settle();
        world.assert_all_arrived();
    }
}

#[test]
fn rests_that_cross_are_one() {
    let mut world = World::linked(3);
    world.idle(0);
    world.idle(1);
    world.settle();
    assert!(world.are_resting() && world.network.peer_of.is_empty());
    assert_eq!([0, 1].map(|index| world.nodes[index].rested), [1, 1]);
}

#[test]
fn dials_that_cross_after_a_rest_are_one_connection() {
    for seed in 0..50 {
        let mut world = World::linked(seed);
        world.rest();
        world.push(0);
        world.push(1);
        world.settle();
        world.assert_all_arrived();
        assert_eq!(
            world.network.peer_of.len(),
            2,
            "one connection has two ends"
        );
    }
}

#[test]
fn data_that_crosses_a_rest_is_resumed() {
    for (idle, pushes) in [(1, 0), (0, 1), (0, 0), (1, 1)] {
        let mut world = World::linked(5);
        world.idle(idle);
        world.push(pushes);
        world.settle();
        world.assert_all_arrived();
    }
}

#[test]
fn a_rest_that_is_lost_with_its_connection_is_found_out_by_the_dialler() {
    for idle in [0, 1] {
        let mut world = World::linked(9);
        world.idle(idle);
        world.sever_link(0);
        world.settle();
        // Whoever accepted it may have been at rest; the other side came back all the same.
        assert!(world.nodes.iter().all(|node| node.conn.is_some()));
        world.push(0);
        world.push(1);
        world.settle();
        world.assert_all_arrived();
    }
}

#[test]
fn a_goodbye_that_crosses_a_rest_takes_its_last_bytes_along() {
    for stops in [0, 1] {
        let mut world = World::linked(11);
        world.idle(1 - stops);
        world.push(stops);
        world.call(stops, |node, cx| node.association.handle_stop(cx));
        world.flush(stops);
        world.settle();
        assert!(world.nodes[stops].stopped);
        let [one, other] = &world.nodes;
        assert_eq!((one.received, other.received), (other.pushed, one.pushed));
        // The other side heard the goodbye at last.
        assert_eq!(world.nodes[1 - stops].downs, [CloseReason::Bye]);
    }
}

#[test]
fn a_node_that_stops_at_rest_says_nothing_and_is_missed_at_the_next_dial() {
    let mut world = World::linked(13);
    world.rest();
    let dials = world.nodes[1].dials;
    world.call(1, |node, cx| node.association.handle_stop(cx));
    assert!(world.nodes[1].stopped, "at once");
    assert_eq!(world.nodes[1].dials, dials);
    world.push(0);
    world.run(RESUME_TIMEOUT * 2);
    assert_eq!(world.nodes[0].downs, [CloseReason::ResumeTimeout]);
}

/// Whoever dialled the connection gets through at once; the other one as soon as that has not
/// answered a probe.
#[test]
fn a_link_whose_connection_hangs_goes_on_over_another_one() {
    for (index, within) in [
        (0, Duration::from_millis(50)),
        (1, Duration::from_millis(1_050)),
    ] {
        for seed in 0..20 {
            let mut world = World::linked(seed);
            world.push(0);
            world.settle();
            world.hang();
            world.push(0);
            world.push(1);
            world.settle();
            assert_eq!(
                [0, 1].map(|it| world.nodes[it].received),
                [0, 1],
                "nothing comes"
            );
            world.silence(index);
            world.run(within);
            world.assert_all_arrived();
            world.settle();
            assert_eq!(world.nodes[0].dials + world.nodes[1].dials, 2);
        }
    }
}

#[test]
fn a_link_that_only_seemed_silent_goes_on_without_loss_whoever_dials_beside_it() {
    for seed in 0..200 {
        let mut world = World::linked(seed);
        for step in 0..10_u64 {
            world.push(0);
            world.push(1);
            [0, 1].into_iter().for_each(|index| world.silence(index));
            world.run(Duration::from_micros(seed * 37 % 2_000 * step));
        }
        world.settle();
        world.assert_all_arrived();
        assert_eq!(
            world.network.peer_of.len(),
            2,
            "one connection has two ends"
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Push(usize),
    Idle(usize),
    Sever,
    /// Another lane has it that the peer was restarted.
    Doubt(usize),
    /// A ping needs a connection, or there is somebody to be found out about.
    Wake(usize),
    /// Somebody waits for the peer, or nobody any more.
    Await(usize, bool),
    /// Nothing has come for a while, as it seems.
    Silence(usize),
    /// Nothing that is sent over the connection arrives any more.
    Hang,
}

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let act = prop_oneof![
        4 => (0..2usize).prop_map(Act::Push),
        4 => (0..2usize).prop_map(Act::Idle),
        1 => Just(Act::Sever),
        1 => (0..2usize).prop_map(Act::Doubt),
        1 => (0..2usize).prop_map(Act::Wake),
        1 => (0..2usize, any::<bool>()).prop_map(|(index, awaits)| Act::Await(index, awaits)),
        2 => (0..2usize).prop_map(Act::Silence),
        1 => Just(Act::Hang),
    ];
    // Mostly close together, so that they cross.
    let pause = prop_oneof![4 => 0..4000u64, 1 => 0..400_000u64];
    proptest::collection::vec((act, pause), 0..60)
}

proptest! {
    #[test]
    fn however_rests_and_messages_cross_nothing_is_lost_or_repeated(seed: u64, acts in acts()) {
        let mut world = World::linked(seed);
        for (act, pause_us) in acts {
            match act {
                Act::Push(index) => world.push(index),
                Act::Idle(index) => world.idle(index),
                Act::Sever => world.sever_link(0),
                Act::Doubt(index) => {
                    world.call(index, |node, cx| node.association.handle_doubt(cx));
                }
                Act::Wake(index) => {
                    world.call(index, |node, cx| node.association.handle_resume_wanted(cx));
                }
                Act::Await(index, awaits) => world.nodes[index].awaits = awaits,
                Act::Silence(index) => world.silence(index),
                Act::Hang => world.hang(),
            }
            world.run(Duration::from_micros(pause_us));
        }
        world.nodes.iter_mut().for_each(|node| node.awaits = false);
        // As monitors have it that hear nothing: for longer than a handshake that hangs too.
        for _ in 0..12 {
            [0, 1].into_iter().for_each(|index| world.silence(index));
            world.run(Duration::from_secs(1));
        }
        world.settle();
        world.assert_all_arrived();
        // From wherever that left them a push leads to the peer, and idleness to rest.
        world.push(0);
        world.settle();
        world.assert_all_arrived();
        world.rest();
        world.push(1);
        world.settle();
        world.assert_all_arrived();
    }
}
