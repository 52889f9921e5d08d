//! Two nodes that quarantine each other, restart, dial and lose connections, in whatever order: no
//! message passes between a node and whom it has quarantined, and the next start gets in.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::network::{End, Machines, Network, Pair, service, split_preface};
use super::*;
use crate::frame::{Head, encode};
use crate::limits::HEADER_BYTES;
use crate::quarantine::Quarantines;

struct Node {
    local: LocalNode,
    acceptor: Acceptor,
    association: Association,
    quarantines: Quarantines,
    /// The connection of the link, and who is at its other end.
    link: Option<(Option<ConnKey>, NodeId)>,
    handled: u64,
}

struct World {
    nodes: [Node; 2],
    network: Network,
    next_uid: u64,
    /// Connections of starts that are over.
    dead: BTreeSet<End>,
}

const HOSTS: [&str; 2] = ["here", "there"];

impl Node {
    fn new(index: usize, uid: u64) -> Self {
        Self {
            local: local(HOSTS[index], uid),
            acceptor: Acceptor::new(16),
            association: Association::new(local(HOSTS[1 - index], 1).id.address),
            quarantines: Quarantines::default(),
            link: None,
            handled: 0,
        }
    }

    fn is_allowed(&self) -> bool {
        let linked = self.link.as_ref();
        linked.is_none_or(|(_, peer)| !self.quarantines.is_quarantined(peer))
    }

    fn conn(&self) -> Option<ConnKey> {
        self.link.as_ref()?.0
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
        assert!(
            self.nodes[index].is_allowed(),
            "a link with one that is out"
        );
    }

    fn receive(&mut self, index: usize, conn: ConnKey, bytes: &[u8]) {
        let (preface, bytes) = split_preface(bytes);
        if let Some(preface) = preface {
            self.call(index, |node, cx| {
                node.acceptor.handle_preface(cx, conn, preface);
            });
        }
        let frame = frame(bytes);
        self.call(index, |node, cx| match frame.header.kind {
            Kind::Hello => node.hello(cx, conn, &frame),
            Kind::Accept if node.is_answer_of_quarantined(&frame) => {
                node.association.handle_quarantined_answer(cx, conn);
            }
            Kind::Tell => node.handled += u64::from(node.conn() == Some(conn)),
            _ => node.association.handle_frame(cx, conn, &frame),
        });
    }

    fn is_over(&self, end: End) -> bool {
        self.dead.contains(&end)
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            nodes: [Node::new(0, 100), Node::new(1, 200)],
            network: Network::new(seed),
            next_uid: 300,
            dead: BTreeSet::new(),
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        let write = |world: &mut Self, conn, bytes| world.network.write((index, conn), bytes);
        match effect {
            Effect::Dial { .. } => {
                let conn = self.network.dial(index);
                self.call(index, |node, cx| node.association.handle_dialling(cx, conn));
            }
            Effect::Write { conn, bytes } => write(self, conn, bytes),
            Effect::Close { conn, .. } => self.network.cut((index, conn), false),
            Effect::Refuse { conn, reason } => {
                self.call(index, |node, cx| node.acceptor.refuse(cx, conn, reason));
            }
            Effect::LinkUp(up) => {
                let node = &mut self.nodes[index];
                node.quarantines.handle_link_up(&up.peer);
                node.link = Some((Some(up.conn), up.peer));
            }
            Effect::LinkLost { peer, .. } => self.nodes[index].link = Some((None, peer)),
            Effect::LinkResumed { conn, peer, .. } => {
                self.nodes[index].link = Some((Some(conn), peer));
            }
            Effect::LinkDown { .. } => self.nodes[index].link = None,
            Effect::Ping { conn, nonce } => {
                write(self, conn, service(|into| Ping { nonce }.encode(into)));
            }
            Effect::Pong { conn, nonce } => {
                write(self, conn, service(|into| Pong { nonce }.encode(into)));
            }
            Effect::Bye { conn, reason } => {
                write(self, conn, service(|into| Bye { reason }.encode(into)));
            }
            Effect::QuarantinedByPeer { peer } => {
                self.nodes[index].quarantines.handle_told(&peer);
            }
            Effect::Unreachable { .. } | Effect::PeerRestarted { .. } => {}
            other => panic!("nobody forms, rests or stops here: {other:?}"),
        }
    }

    fn tell(&mut self, index: usize) {
        if let Some(conn) = self.nodes[index].conn() {
            let mut bytes = vec![0; HEADER_BYTES];
            let head = Head {
                type_number: 1,
                target_number: 1,
                ..Head::plain(Kind::Tell)
            };
            encode(&mut bytes, &head, &[]);
            self.network.write((index, conn), bytes);
        }
    }

    fn quarantine(&mut self, index: usize) {
        let other = self.nodes[1 - index].local.id.clone();
        self.nodes[index].quarantines.quarantine(&other);
        self.call(index, |node, cx| {
            node.association.handle_quarantined(cx, other.uid, By::Us);
        });
    }

    /// Another start runs at the address of a node.
    fn restart(&mut self, index: usize) {
        let ends: Vec<End> = self.network.peer_of.keys().copied().collect();
        for end in ends.into_iter().filter(|end| end.0 == index) {
            self.network.cut(end, false);
            self.dead.insert(end);
        }
        self.nodes[index] = Node::new(index, self.next_uid);
        self.next_uid += 1;
    }

    fn act(&mut self, action: u8) {
        let index = usize::from(action % 2);
        match action / 2 {
            0 | 1 => self.call(index, |node, cx| node.association.handle_dial_wanted(cx)),
            2 => self.quarantine(index),
            3 => self.restart(index),
            4 => {
                let ends: Vec<End> = self.network.peer_of.keys().copied().collect();
                if let Some(end) = ends.first() {
                    self.network.cut(*end, true);
                }
            }
            _ => self.tell(index),
        }
    }
}

impl Node {
    fn hello(&mut self, cx: &mut Context<'_>, conn: ConnKey, frame: &Frame<'_>) {
        let Some(shown) = self.acceptor.handle_frame(cx, conn, frame) else {
            return;
        };
        let verdict = if self.quarantines.is_quarantined(&shown.peer) {
            Err(RefuseReason::Quarantined)
        } else {
            self.association.handle_incoming(cx, &shown)
        };
        if let Err(reason) = verdict {
            self.acceptor.refuse(cx, conn, reason);
        }
    }

    fn is_answer_of_quarantined(&self, frame: &Frame<'_>) -> bool {
        let accept = Accept::parse(frame).expect("a node's own frames are right");
        let (address, uid) = (accept.from, accept.uid);
        self.quarantines.is_quarantined(&NodeId { address, uid })
    }
}

proptest! {
    #[test]
    fn no_message_crosses_a_quarantine_and_the_next_start_gets_in(
        seed: u64,
        acts in proptest::collection::vec((0..400_000u64, 0..14u8), 0..40),
    ) {
        let mut world = World::new(seed);
        for (pause_us, action) in acts {
            world.act(action);
            world.run(Duration::from_micros(pause_us));
        }
        world.restart(1);
        world.run(Duration::from_secs(30));
        world.call(0, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_secs(30));
        let [near, far] = [0, 1].map(|index| world.nodes[index].link.clone());
        let uid = world.nodes[1].local.id.uid;
        prop_assert_eq!(near.map(|(_, peer)| peer.uid), Some(uid));
        prop_assert!(far.is_some_and(|(conn, _)| conn.is_some()));
        let before = world.nodes[1].handled;
        world.tell(0);
        world.run(Duration::from_secs(1));
        prop_assert_eq!(world.nodes[1].handled, before + 1);
    }

    #[test]
    fn whoever_is_quarantined_is_told_whatever_is_under_way(
        seed: u64,
        apart_us in 0..12_000u64,
        dials in 1..4usize,
    ) {
        let mut world = World::new(seed);
        for index in 0..2 {
            if dials & (1 << index) != 0 {
                world.call(index, |node, cx| node.association.handle_dial_wanted(cx));
            }
        }
        world.run(Duration::from_micros(apart_us));
        world.quarantine(0);
        world.run(Duration::from_secs(30));
        // Nobody has told a start that it has never met, and that never asked again.
        world.call(1, |node, cx| node.association.handle_dial_wanted(cx));
        world.run(Duration::from_secs(30));
        prop_assert!(world.nodes.iter().all(|node| node.link.is_none()));
        let met = world.nodes[1].association.uid().is_some();
        let parted = world.nodes[1].quarantines.parted(Uid::new(100).unwrap());
        prop_assert_eq!(parted, met.then_some(By::Peer));
        prop_assert!(!world.nodes[1].quarantines.is_quarantined(&local("here", 100).id));
    }
}
