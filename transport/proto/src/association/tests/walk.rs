//! The table of transitions in ARCHITECTURE.md, held against what the machine does.
//!
//! Walks at random through everything that can happen to an association, in any order, and notes
//! which status followed which. The seeds are fixed: the same machine makes the same table.

use std::collections::{BTreeMap, BTreeSet};

use super::resuming::halves;
use super::*;
use crate::frame::body::Rest;
use crate::handshake::RESTS;
use crate::link::Violation;

const DOCUMENT: &str = include_str!("../../../../../ARCHITECTURE.md");

/// The fence in front of the table.
const FENCE: &str = "```text association";

const WALKS: u64 = 25_000;
const STEPS: usize = 60;

type Transitions = BTreeMap<&'static str, BTreeSet<&'static str>>;

const NAMES: [&str; 8] = [
    "idle",
    "lost",
    "resting",
    "dialling",
    "associated",
    "back-off",
    "stopping",
    "stopped",
];

fn name(status: Status) -> &'static str {
    NAMES[match status {
        Status::Idle => 0,
        Status::Lost(_) => 1,
        Status::Resting(_) => 2,
        Status::Dialling => 3,
        Status::Associated(_) => 4,
        Status::BackOff => 5,
        Status::Stopping => 6,
        Status::Stopped => 7,
    }]
}

/// What ARCHITECTURE.md says.
fn documented() -> Transitions {
    let (_, table) = DOCUMENT.split_once(FENCE).expect("the table is there");
    let (table, _) = table.split_once("```").expect("the table ends");
    let known = |name: &str| {
        let found = NAMES.iter().find(|known| **known == name.trim());
        *found.unwrap_or_else(|| panic!("no status is called {name:?}"))
    };
    let rows = table.lines().filter_map(|line| line.split_once("->"));
    rows.map(|(from, to)| (known(from), to.split(',').map(known).collect()))
        .collect()
}

/// The generator of Marsaglia, "Xorshift RNGs" (2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

struct Walk {
    bench: Bench,
    association: Association,
    dice: Dice,
    next_conn: u64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        bench.local.features = RESTS;
        Self {
            bench,
            association: Association::new(local("there", 200).id.address),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            next_conn: 1,
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Association, &mut Context<'_>)) {
        let association = &mut self.association;
        let effects = self.bench.call(|_, cx| call(association, cx));
        let ends = |effect: &Effect| {
            matches!(effect, Effect::LinkDown { .. } | Effect::FormingOver { .. })
        };
        let begins = |effect: &Effect| matches!(effect, Effect::LinkUp(_));
        if effects.iter().any(ends) {
            self.bench.halves = None;
        }
        if effects.iter().any(begins) {
            // Some links have something to say when they are lost, and some do not.
            self.bench.halves = (self.dice.below(2) == 0).then(|| halves(0).0);
        }
    }

    fn new_conn(&mut self) -> ConnKey {
        self.next_conn += 1;
        ConnKey(self.next_conn)
    }

    /// Mostly the connection that counts.
    fn some_conn(&mut self) -> ConnKey {
        let stray = ConnKey(1 + self.dice.below(self.next_conn));
        let current = self.association.conn();
        current.filter(|_| self.dice.below(8) > 0).unwrap_or(stray)
    }

    fn some_reason(&mut self) -> CloseReason {
        let violation = Violation::Position {
            received_to: 9,
            first: 0,
            last: 0,
        };
        self.dice.one_of(&[
            CloseReason::Broken,
            CloseReason::PeerClosed,
            CloseReason::DialRefused,
            CloseReason::DialFailed,
            CloseReason::FrameStall,
            CloseReason::GrantStall,
            CloseReason::Link(violation),
        ])
    }

    /// The number of a link, that this side may know of, and a position in it.
    fn some_offer(&mut self, mut offer: Offer, nonce: u64) -> Offer {
        let association = &self.association;
        let kept = association.link.as_ref().map(|kept| kept.number);
        let next = kept.or(association.last_number);
        offer.link = self.dice.one_of(&[
            nonce,
            LINK_NUMBER,
            association.proposal.unwrap_or(nonce),
            association.unanswered.unwrap_or(nonce),
            kept.unwrap_or(nonce),
            next.map_or(nonce, |number| number.wrapping_add(1)),
        ]);
        let halves = self.bench.halves.as_ref();
        let stands_at = halves.map_or(0, |(outbound, _)| outbound.positions().received_to);
        // Some peers let their links rest.
        offer.features = self.dice.one_of(&[RESTS, RESTS, 0]);
        let positions = [None, Some(0), Some(stands_at), Some(1 << 40)];
        offer.received_to = self.dice.one_of(&positions);
        offer
    }

    fn some_introduction(&mut self) -> Introduction {
        let conn = self.new_conn();
        let uid = self.dice.one_of(&[50, 200, 200, 200, 300]);
        let mut shown = introduction(uid, conn.0);
        shown.offer = self.some_offer(shown.offer, shown.nonce);
        shown
    }

    fn answer(&mut self) -> Vec<u8> {
        let State::Handshaking { nonce, .. } = self.association.state else {
            return refusal(RefuseReason::Other);
        };
        let uid = self.dice.one_of(&[50, 200, 200, 200, 300]);
        let mut accept = Accept::parse(&frame(&self.bench.answer(uid, nonce))).unwrap();
        accept.offer = self.some_offer(accept.offer, nonce);
        let mut bytes = Vec::new();
        accept.encode(&mut bytes);
        bytes
    }

    fn some_frame(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        let length = match self.dice.below(9) {
            8 => Rest.encode(&mut bytes),
            0 => Ping { nonce: 1 }.encode(&mut bytes),
            1 => {
                let probe = match &self.association.state {
                    State::Associated { probe, .. } => probe.map(|probe| probe.nonce),
                    _ => None,
                };
                let nonce = probe.unwrap_or(1);
                Pong { nonce }.encode(&mut bytes)
            }
            2 => {
                let reason = self
                    .dice
                    .one_of(&[ByeReason::Stopping, ByeReason::Quarantined]);
                Bye { reason }.encode(&mut bytes)
            }
            3 => {
                let all = [
                    RefuseReason::Superseded,
                    RefuseReason::Incarnation,
                    RefuseReason::Position,
                    RefuseReason::Stopping,
                    RefuseReason::Quarantined,
                    RefuseReason::Other,
                ];
                return refusal(self.dice.one_of(&all));
            }
            _ => return self.answer(),
        };
        bytes.truncate(length);
        bytes
    }

    fn pass_time(&mut self) {
        let short = self.bench.now + Duration::from_millis(self.dice.below(400));
        let due = self.association.poll_timeout();
        let until = due.filter(|_| self.dice.below(4) > 0).unwrap_or(short);
        self.bench.now = self.bench.now.max(until);
        if self.dice.below(2) == 0 {
            self.call(|association, cx| association.handle_timeout(cx));
        }
    }

    fn step(&mut self) {
        match self.dice.below(42) {
            0..4 => self.call(|association, cx| association.handle_dial_wanted(cx)),
            4..9 => {
                let conn = self.new_conn();
                self.call(|association, cx| association.handle_dialling(cx, conn));
            }
            9 => self.call(|association, cx| association.handle_dial_failed(cx)),
            10..15 => {
                let conn = self.some_conn();
                self.call(|association, cx| association.handle_connected(cx, conn));
            }
            15..19 => {
                let shown = self.some_introduction();
                self.call(|association, cx| {
                    // A refusal is a verdict like others.
                    let _ = association.handle_incoming(cx, &shown);
                });
            }
            19..27 => {
                let (conn, bytes) = (self.some_conn(), self.some_frame());
                self.call(|association, cx| association.handle_frame(cx, conn, &frame(&bytes)));
            }
            27..30 => {
                let (conn, reason) = (self.some_conn(), self.some_reason());
                self.call(|association, cx| association.handle_closed(cx, conn, reason));
            }
            30 => {
                let (conn, reason) = (self.some_conn(), self.some_reason());
                self.call(|association, cx| association.handle_fault(cx, conn, reason));
            }
            31 => {
                let reason = self.some_reason();
                self.call(|association, cx| association.handle_link_fault(cx, reason));
            }
            32 => self.call(|association, cx| association.handle_resume_wanted(cx)),
            33 => {
                let conn = self.some_conn();
                self.call(|association, cx| association.handle_heard(cx, conn));
            }
            34 => self.call(|association, cx| association.handle_stop(cx)),
            36 => {
                let uid = Uid::new(self.dice.one_of(&[200, 300])).expect("not zero");
                self.call(|association, cx| association.handle_form_wanted(cx, uid));
            }
            37 => self.call(|association, cx| association.handle_idle(cx)),
            38 => {
                let uid = Uid::new(self.dice.one_of(&[200, 300])).expect("not zero");
                let by = self.dice.one_of(&[By::Us, By::Peer]);
                self.call(|association, cx| association.handle_quarantined(cx, uid, by));
            }
            39 => {
                let conn = self.some_conn();
                self.call(|association, cx| association.handle_quarantined_answer(cx, conn));
            }
            // Something is to be said that was not before.
            35 if self.association.link.is_some() => self.bench.halves = Some(halves(0).0),
            _ => self.pass_time(),
        }
    }
}

/// What the machine does.
fn walked() -> Transitions {
    let mut seen = Transitions::new();
    for seed in 1..=WALKS {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let before = name(walk.association.status());
            walk.step();
            let after = name(walk.association.status());
            if before != after {
                seen.entry(before).or_default().insert(after);
            }
        }
    }
    seen
}

#[test]
fn the_table_of_the_architecture_is_what_the_machine_does() {
    let walked = walked();
    let rows = walked.iter().map(|(from, to)| {
        let to: Vec<_> = to.iter().copied().collect();
        format!("{from:<10} -> {}\n", to.join(", "))
    });
    let table: String = rows.collect();
    assert!(walked == documented(), "the machine does this:\n{table}");
    assert!(!walked.contains_key("stopped"), "a stop is the end");
}
