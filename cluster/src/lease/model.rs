//! Holders and a store, by chance: asks and answers that come late, twice or never, clocks that
//! stand still, jump and drift.
//!
//! What has to hold: never do two hold by their own clocks; what is held has the largest token that
//! was given out; a token that was lost or given back is never held again, and tokens only grow.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::testing::Store;
use super::*;
use crate::context::Random;

const TIME_TO_LIVE: Duration = Duration::from_secs(10);

fn name() -> LeaseName {
    LeaseName::new("work").expect("a name")
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// A holder with its clock, and what it was told.
struct Node {
    holder: Holder,
    /// By how many thousandths its clock runs slower, and how far it is ahead.
    drift: u64,
    ahead: u64,
    /// Until when it stands still, by the world's time.
    paused: u64,
    held: Option<Token>,
    spent: BTreeSet<Token>,
}

impl Node {
    fn clock(&self, now: u64) -> Instant {
        at(now - now * self.drift / 1000 + self.ahead)
    }

    /// What it has been told.
    fn note(&mut self, output: &HolderOutput) {
        match output {
            HolderOutput::Held { token } => {
                assert!(!self.spent.contains(token), "{token} was spent");
                let last = self.spent.last();
                assert!(
                    last.is_none_or(|last| last < token),
                    "{token} after {last:?}"
                );
                assert_eq!(self.held.replace(*token), None);
            }
            HolderOutput::Lost { token, .. } => {
                assert_eq!(self.held.take(), Some(*token));
                self.spent.insert(*token);
            }
            HolderOutput::Declined { token } => {
                assert_eq!(self.held, None);
                assert!(self.spent.insert(*token), "{token} is declined once");
            }
            HolderOutput::Ask(ask) => {
                if let (Deed::Release(token), Some(held)) = (ask.deed, self.held) {
                    assert_eq!(token, held);
                    self.held = None;
                    self.spent.insert(token);
                }
            }
            HolderOutput::Last { .. }
            | HolderOutput::HeldBy { .. }
            | HolderOutput::Failed { .. } => {}
        }
    }
}

/// Something under way: to the store, or from it.
enum Mail {
    Ask(usize, Ask),
    Answer(usize, u64, Answer),
}

struct World {
    random: Random,
    now: u64,
    store: Store,
    nodes: Vec<Node>,
    mail: Vec<(u64, Mail)>,
    held: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let node = |number: usize| Node {
            holder: Holder::new(name(), &format!("node-{number}"), TIME_TO_LIVE),
            drift: random.below(180) as u64,
            ahead: random.below(100_000) as u64,
            paused: 0,
            held: None,
            spent: BTreeSet::new(),
        };
        let nodes = (0..3).map(node).collect();
        let store = Store {
            lingers: seed % 2 == 1,
            ..Store::default()
        };
        Self {
            random,
            now: 1_000,
            store,
            nodes,
            mail: Vec::new(),
            held: 0,
        }
    }

    fn act(&mut self, node: usize, act: impl FnOnce(&mut Holder, Instant, &mut Vec<HolderOutput>)) {
        let now = self.now;
        let it = &mut self.nodes[node];
        let mut out = Vec::new();
        let clock = it.clock(now);
        act(&mut it.holder, clock, &mut out);
        for output in out {
            it.note(&output);
            if let HolderOutput::Ask(ask) = output {
                let mail = Mail::Ask(node, ask);
                post(&mut self.random, &mut self.mail, now, mail);
            }
        }
        let holds = it.holder.held(it.clock(now)).map(|it| it.0);
        assert_eq!(holds, it.held, "what it was told is what it says");
    }

    fn step(&mut self) {
        self.now += self.random.below(400) as u64;
        let (now, node) = (self.now, self.random.below(self.nodes.len()));
        match self.random.below(100) {
            0..3 => self.act(node, Holder::acquire),
            3 => self.act(node, Holder::release),
            4 => self.nodes[node].ahead += self.random.below(20_000) as u64,
            5 => self.nodes[node].paused = now + self.random.below(20_000) as u64,
            7..9 => self.act(node, |it, now, out| it.look(now, Token(0), out)),
            6 => self.mail.retain(|_| self.random.chance(50)),
            _ => {}
        }
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            let due = it.holder.poll_timeout();
            if it.paused <= now && due.is_some_and(|due| due <= it.clock(now)) {
                self.act(node, Holder::handle_timeout);
                let it = &self.nodes[node];
                let due = it.holder.poll_timeout();
                assert!(due.is_none_or(|due| due > it.clock(now)), "it makes way");
            }
        }
        self.deliver();
        self.check();
    }

    fn deliver(&mut self) {
        let now = self.now;
        let nodes = &self.nodes;
        let is_due = |(due, mail): &(u64, Mail)| {
            let is_heard = match mail {
                Mail::Ask(..) => true,
                Mail::Answer(node, ..) => nodes[*node].paused <= now,
            };
            *due <= now && is_heard
        };
        let mail = std::mem::take(&mut self.mail);
        let (due, later): (Vec<_>, Vec<_>) = mail.into_iter().partition(is_due);
        self.mail = later;
        for (_, mail) in due {
            match mail {
                Mail::Ask(node, ask) => {
                    let answer = match self.random.chance(5) {
                        true => Answer::Failed { why: "busy".into() },
                        false => self.store.handle(now, &ask),
                    };
                    let mail = Mail::Answer(node, ask.number, answer);
                    post(&mut self.random, &mut self.mail, now, mail);
                }
                Mail::Answer(node, number, answer) => {
                    self.act(node, |holder, now, out| {
                        holder.handle_answer(now, number, answer, out);
                    });
                }
            }
        }
    }

    fn check(&mut self) {
        let now = self.now;
        let held = self.nodes.iter().map(|it| it.holder.held(it.clock(now)));
        let held: Vec<Token> = held.flatten().map(|it| it.0).collect();
        assert!(held.len() <= 1, "two hold at {now}: {held:?}");
        if let Some(token) = held.first() {
            assert_eq!(token.0, self.store.token, "another was given out since");
            self.held += 1;
        }
    }
}

/// What is sent comes soon, late, twice or never.
fn post(random: &mut Random, mail: &mut Vec<(u64, Mail)>, now: u64, it: Mail) {
    let late = match random.below(20) {
        0 => return,
        1 | 2 => random.below(15_000),
        _ => random.below(300),
    };
    let again = match &it {
        Mail::Ask(node, ask) if random.chance(5) => Some(Mail::Ask(*node, ask.clone())),
        Mail::Answer(node, number, answer) if random.chance(5) => {
            Some(Mail::Answer(*node, *number, answer.clone()))
        }
        _ => None,
    };
    mail.extend(again.map(|it| (now + 2 * late as u64, it)));
    mail.push((now + late as u64, it));
}

#[test]
fn two_never_hold_whatever_is_late_lost_or_stands_still() {
    let (mut held, mut tokens) = (0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            world.step();
        }
        held += world.held;
        tokens += world.store.token;
    }
    println!("held in {held} of {} steps, {tokens} tokens", 300 * 1_500);
    assert!(
        held > 100_000 && tokens > 3_000,
        "{held} and {tokens} say little"
    );
}

/// Takes what a holder wants asked, and checks what it says besides.
fn asked(out: &mut Vec<HolderOutput>, said: &[HolderOutput]) -> Option<Ask> {
    let (mut asks, mut others) = (Vec::new(), Vec::new());
    for output in out.drain(..) {
        match output {
            HolderOutput::Ask(ask) => asks.push(ask),
            other => others.push(other),
        }
    }
    assert_eq!(others, said);
    assert!(asks.len() <= 1, "one at a time");
    asks.pop()
}

/// What a holder of a store that answers so late is told within a minute.
fn told_by_a_store_that_takes(takes: u64) -> (bool, Vec<HolderOutput>) {
    let (mut holder, mut out) = (Holder::new(name(), "me", TIME_TO_LIVE), Vec::new());
    let (mut store, mut told) = (Store::default(), Vec::new());
    let mut answers: Vec<(u64, u64, Answer)> = Vec::new();
    holder.acquire(at(0), &mut out);
    for now in 0..60_000 {
        if holder.poll_timeout().is_some_and(|due| due <= at(now)) {
            holder.handle_timeout(at(now), &mut out);
        }
        if let Some(it) = answers.iter().position(|(when, ..)| *when == now) {
            let (_, number, answer) = answers.remove(it);
            holder.handle_answer(at(now), number, answer, &mut out);
        }
        for output in out.drain(..) {
            match output {
                HolderOutput::Ask(ask) => {
                    answers.push((now + takes, ask.number, store.handle(now, &ask)));
                }
                HolderOutput::Failed { .. } => {}
                output => told.push(output),
            }
        }
    }
    (holder.held(at(60_000)).is_some(), told)
}

#[test]
fn a_store_that_is_slower_than_it_is_waited_for_gives_the_lease_all_the_same() {
    let token = Token(1);
    let told = told_by_a_store_that_takes(4_000);
    assert_eq!(told, (true, vec![HolderOutput::Held { token }]));
    let (_, told) = told_by_a_store_that_takes(6_000);
    assert_eq!(told.first(), Some(&HolderOutput::Held { token }));
    assert_eq!(
        told_by_a_store_that_takes(6_001),
        (false, vec![]),
        "too late"
    );
}

#[test]
fn the_last_token_is_asked_for_until_it_is_known_and_behind_what_is_given_back() {
    let (mut holder, mut out) = holding();
    holder.look(at(1_500), Token(5), &mut out);
    assert_eq!(asked(&mut out, &[]), None, "it has the lease");
    holder.release(at(2_000), &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!(ask.deed, Deed::Release(Token(7)));
    holder.look(at(2_000), Token(5), &mut out);
    holder.handle_answer(at(2_100), ask.number, Answer::Released, &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!(ask.deed, Deed::Look(Token(5)));
    assert!(!holder.is_wanting());
    let due = holder.poll_timeout().expect("it waits");
    holder.handle_timeout(due, &mut out);
    let why = "no answer came".into();
    asked(&mut out, &[HolderOutput::Failed { why }]);
    let due = holder.poll_timeout().expect("it asks again");
    holder.handle_timeout(due, &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    let token = Token(7);
    holder.handle_answer(due, ask.number, Answer::Last { token }, &mut out);
    assert_eq!(asked(&mut out, &[HolderOutput::Last { token }]), None);
    assert_eq!(holder.poll_timeout(), None, "it wants nothing any more");
    holder.look(at(20_000), Token(5), &mut out);
    assert!(asked(&mut out, &[]).is_some());
    holder.know(Token(9));
    holder.acquire(at(20_000), &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!(ask.deed, Deed::Acquire(Token(9)), "which tells more");
}

fn held(token: u64) -> Answer {
    let token = Token(token);
    Answer::Held { token }
}

/// A holder that was given the lease with token 7 at once, a second after it asked.
fn holding() -> (Holder, Vec<HolderOutput>) {
    let (mut holder, mut out) = (Holder::new(name(), "me", TIME_TO_LIVE), Vec::new());
    holder.acquire(at(0), &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!((ask.number, ask.deed), (1, Deed::Acquire(Token(0))));
    holder.handle_answer(at(1_000), 1, held(7), &mut out);
    let token = Token(7);
    assert_eq!(asked(&mut out, &[HolderOutput::Held { token }]), None);
    (holder, out)
}

const LOST: HolderOutput = HolderOutput::Lost {
    token: Token(7),
    why: WhyLost::Expired,
};

#[test]
fn it_holds_from_before_it_asked_less_a_margin_and_renews_at_a_third() {
    let (mut holder, mut out) = holding();
    assert_eq!(holder.held(at(7_999)), Some((Token(7), at(8_000))));
    assert_eq!(holder.held(at(8_000)), None);
    let third = holder.poll_timeout().expect("it renews");
    assert_eq!(third.as_nanos() / 1_000_000, 3_333);
    holder.handle_timeout(third, &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!((ask.number, ask.deed), (2, Deed::Renew(Token(7))));
    holder.handle_answer(at(4_000), 2, held(7), &mut out);
    let until = third + Duration::from_secs(8);
    assert_eq!(holder.held(at(9_000)), Some((Token(7), until)));
}

#[test]
fn who_stood_still_for_too_long_hears_so_before_anything_else() {
    type Call = fn(&mut Holder, &mut Vec<HolderOutput>);
    let calls: [Call; 4] = [
        |it, out| it.handle_timeout(at(60_000), out),
        |it, out| it.handle_answer(at(60_000), 2, held(7), out),
        |it, out| it.release(at(60_000), out),
        |it, out| it.acquire(at(60_000), out),
    ];
    for call in calls {
        let (mut holder, mut out) = holding();
        holder.handle_timeout(at(4_000), &mut out);
        asked(&mut out, &[]).expect("it renews");
        call(&mut holder, &mut out);
        assert_eq!(out.first(), Some(&LOST));
    }
}

#[test]
fn what_is_not_renewed_in_time_is_lost_and_what_another_has_is_too() {
    let (mut holder, mut out) = holding();
    for _ in 0..40 {
        let due = holder.poll_timeout();
        let Some(due) = due else { break };
        holder.handle_timeout(due, &mut out);
    }
    assert!(out.contains(&LOST), "{out:?}");
    assert_eq!(holder.poll_timeout(), None, "it wants nothing any more");
    let (mut holder, mut out) = holding();
    holder.handle_timeout(at(4_000), &mut out);
    holder.handle_answer(at(4_100), 2, Answer::Lost, &mut out);
    let why = WhyLost::Taken;
    let token = Token(7);
    assert!(out.contains(&HolderOutput::Lost { token, why }));
}

#[test]
fn failures_are_followed_by_pauses_that_grow_and_are_bounded() {
    let (mut holder, mut out) = (Holder::new(name(), "me", TIME_TO_LIVE), Vec::new());
    holder.acquire(at(0), &mut out);
    let (mut now, mut pauses) = (at(0), Vec::new());
    for _ in 0..10 {
        let ask = asked(&mut out, &[]).expect("it asks");
        let why: Box<str> = "busy".into();
        let failed = Answer::Failed { why: why.clone() };
        holder.handle_answer(now, ask.number, failed, &mut out);
        asked(&mut out, &[HolderOutput::Failed { why }]);
        let due = holder.poll_timeout().expect("it asks again");
        pauses.push(due - now);
        now = due;
        holder.handle_timeout(now, &mut out);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[0] >= TIME_TO_LIVE / 64 && pauses[1] == 2 * pauses[0]);
    assert_eq!(pauses[9], TIME_TO_LIVE / 6);
}

#[test]
fn what_comes_after_it_was_given_up_is_given_back_once() {
    let (mut holder, mut out) = (Holder::new(name(), "me", TIME_TO_LIVE), Vec::new());
    holder.acquire(at(0), &mut out);
    holder.release(at(10), &mut out);
    asked(&mut out, &[]);
    assert!(!holder.is_wanting());
    holder.handle_answer(at(20), 1, held(7), &mut out);
    let token = Token(7);
    let ask = asked(&mut out, &[HolderOutput::Declined { token }]);
    assert_eq!(ask.expect("it asks").deed, Deed::Release(token));
    holder.handle_answer(at(30), 2, Answer::Released, &mut out);
    holder.handle_answer(at(40), 1, held(7), &mut out);
    assert_eq!((asked(&mut out, &[]), holder.ignored()), (None, 1), "twice");
}

/// It may have been given what others know by now as a token by which nobody did anything.
#[test]
fn what_may_have_been_given_to_an_ask_that_was_given_up_is_not_taken_later() {
    for is_told in [false, true] {
        let (mut holder, mut out) = (Holder::new(name(), "me", TIME_TO_LIVE), Vec::new());
        holder.acquire(at(0), &mut out);
        holder.release(at(10), &mut out);
        holder.acquire(at(60_000), &mut out);
        out.clear();
        let (token, owner) = (Token(7), "another".into());
        if is_told {
            holder.handle_answer(at(60_000), 1, Answer::HeldBy { owner }, &mut out);
        }
        holder.handle_answer(at(60_001), 2, held(7), &mut out);
        if is_told {
            assert_eq!(asked(&mut out, &[HolderOutput::Held { token }]), None);
            continue;
        }
        let ask = asked(&mut out, &[HolderOutput::Declined { token }]);
        assert_eq!(ask.expect("it asks").deed, Deed::Release(token));
        holder.handle_answer(at(60_002), 3, Answer::Released, &mut out);
        out.clear();
        holder.handle_answer(at(60_003), 4, held(8), &mut out);
        let token = Token(8);
        assert_eq!(asked(&mut out, &[HolderOutput::Held { token }]), None);
    }
}

/// The word by which a token was given back may still be under way, and would end it later on.
#[test]
fn a_token_that_was_given_back_is_not_taken_again() {
    let (mut holder, mut out) = holding();
    holder.release(at(2_000), &mut out);
    holder.acquire(at(2_000), &mut out);
    let mut now = at(2_000);
    let mut deeds = Vec::new();
    loop {
        for output in out.drain(..) {
            if let HolderOutput::Ask(ask) = output {
                deeds.push(ask.deed);
            }
        }
        if deeds.last() == Some(&Deed::Acquire(Token(7))) {
            break;
        }
        now = holder.poll_timeout().expect("it waits").max(now);
        holder.handle_timeout(now, &mut out);
    }
    assert_eq!(
        deeds.len(),
        6,
        "nobody answers, and it stops to ask: {deeds:?}"
    );
    holder.handle_answer(now, 7, held(7), &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!(ask.deed, Deed::Release(Token(7)));
    holder.handle_answer(now, ask.number, Answer::Released, &mut out);
    let ask = asked(&mut out, &[]).expect("it asks");
    assert_eq!(ask.deed, Deed::Acquire(Token(7)));
    holder.handle_answer(now, ask.number, held(8), &mut out);
    assert_eq!(holder.held(now).map(|it| it.0), Some(Token(8)));
}
