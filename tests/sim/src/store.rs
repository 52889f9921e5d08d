//! A store that gives leases, beside the network: it has a clock of its own, which is the world's,
//! and whatever goes to it and comes from it takes a while, or is lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName, Token};
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::agenda::{Agenda, Event};
use crate::happening::Happening;
use crate::random::Random;
use crate::trace::What;

/// What is wrong with the way to a store, and when.
#[derive(Clone, Debug)]
pub struct Troubles {
    /// How long each way takes, at least and at most.
    pub latency: (Duration, Duration),
    /// How many of a thousand asks are lost, and of answers, until all is healed.
    pub lost: u64,
    /// When who does not reach it.
    pub outages: Vec<Outage>,
    /// How many of a thousand leases are given out by a token that leaves others out.
    pub skips: u64,
    /// Whether whose time is over keeps a lease until another one asks for it, as in stores that
    /// have no clock: it is given the same token again.
    pub lingers: bool,
    /// When it stops for a moment, and forgets what it was asked and nothing else.
    pub restarts: Vec<Instant>,
    /// When it is restored from a copy, each lease as soon as nobody has it.
    pub falls: Option<Fall>,
    /// When all is healed.
    pub healed: Duration,
}

/// A store is restored from a copy.
#[derive(Clone, Copy, Debug)]
pub struct Fall {
    /// When.
    pub at: Instant,
    /// How many tokens that lacks: then it is so as soon as somebody asks who knows of one of
    /// those, for nobody else can tell. Or all, if it is `None`: it gives smaller ones than ever.
    pub by: Option<u64>,
}

/// Nodes that do not reach a store for a while.
#[derive(Clone, Debug)]
pub struct Outage {
    /// From when on.
    pub from: Instant,
    /// Until when.
    pub until: Instant,
    /// Which nodes.
    pub nodes: Vec<usize>,
}

impl Default for Troubles {
    /// None.
    fn default() -> Self {
        Self {
            latency: (Duration::from_millis(1), Duration::from_millis(5)),
            lost: 0,
            outages: Vec::new(),
            skips: 0,
            lingers: false,
            restarts: Vec::new(),
            falls: None,
            healed: Duration::ZERO,
        }
    }
}

impl Troubles {
    /// What a seed draws for so many nodes, until all is healed.
    pub fn drawn(seed: u64, nodes: usize, healed: Duration) -> Self {
        let mut random = Random::split(seed, "store", 0);
        let most = [5, 50, 800][random.index(3)];
        let outage = |random: &mut Random| {
            let from = random.span(Duration::from_secs(3), healed);
            let lasts = random.span(Duration::from_millis(500), Duration::from_secs(30));
            let mut all: Vec<usize> = (0..nodes).collect();
            random.shuffle(&mut all);
            if random.chance(700) {
                all.truncate(1 + random.index(nodes));
            }
            Outage {
                from: Instant::ZERO + from,
                until: Instant::ZERO + (from + lasts).min(healed),
                nodes: all,
            }
        };
        let count = random.below(6);
        let outages = (0..count).map(|_| outage(&mut random)).collect();
        let (latency, lost) = (
            (Duration::from_millis(1), Duration::from_millis(most)),
            random.below(100),
        );
        let moment = |random: &mut Random| Instant::ZERO + random.span(Duration::ZERO, healed);
        let skips = [0, 0, random.below(300)][random.index(3)];
        let restarts = random.below(4);
        let restarts = (0..restarts).map(|_| moment(&mut random)).collect();
        let falls = random.chance(150).then(|| moment(&mut random));
        let lingers = random.chance(500);
        let few = [Some(1 + random.below(4)), None][random.index(2)];
        let falls = falls.map(|at| Fall { at, by: few });
        Self {
            latency,
            lost,
            outages,
            skips,
            lingers,
            restarts,
            falls,
            healed,
        }
    }
}

/// A lease that was given out anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which.
    pub name: LeaseName,
    /// By which token.
    pub token: Token,
    /// To whom, as that one named itself.
    pub owner: Box<str>,
}

/// The least token that a store ever gives, unless it falls.
const LEAST: u64 = 1000;

/// Gives leases.
#[derive(Debug)]
pub struct Store {
    troubles: Troubles,
    random: Random,
    records: BTreeMap<LeaseName, Record>,
    grants: Vec<Grant>,
    calls: BTreeMap<u64, Call>,
    number: u64,
}

#[derive(Debug)]
struct Record {
    token: Token,
    holder: Option<(Box<str>, Instant)>,
    has_fallen: bool,
}

/// An ask on its way there, or its answer on the way back.
#[derive(Debug)]
struct Call {
    node: usize,
    uid: Uid,
    ask: Ask,
    began: Instant,
    answer: Option<Answer>,
}

/// An answer that came to a process.
pub(crate) type Answered = (LeaseName, u64, Answer);

/// Answers that wait for a process.
pub(crate) type Answers = VecDeque<Answered>;

impl Store {
    pub(crate) fn new(seed: u64, troubles: Troubles) -> Self {
        Self {
            troubles,
            random: Random::split(seed, "store", 1),
            records: BTreeMap::new(),
            grants: Vec::new(),
            calls: BTreeMap::new(),
            number: 0,
        }
    }

    /// Nodes do not reach it for a while.
    pub(crate) fn cut(&mut self, outage: Outage) {
        self.troubles.outages.push(outage);
    }

    /// It is restored from a copy.
    pub(crate) fn fall(&mut self, fall: Fall) {
        self.troubles.falls = Some(fall);
    }

    /// A lease that somebody has is put off: of that the copy knows nothing, so another one would
    /// be given it as well.
    fn lose_tokens(&mut self, now: Instant, ask: &Ask) {
        let Some(fall) = self.troubles.falls.filter(|it| it.at <= now) else {
            return;
        };
        let known = match ask.deed {
            Deed::Acquire(known) | Deed::Look(known) => known,
            Deed::Renew(_) | Deed::Release(_) => Token(0),
        };
        for (name, record) in self.records.iter_mut().filter(|it| !it.1.has_fallen) {
            let to = match fall.by {
                Some(few) => Token(record.token.0.saturating_sub(few)),
                None => Token(self.random.below(LEAST / 2)),
            };
            let is_known = fall.by.is_none() || (*name == ask.name && to < known);
            if is_known && record.holder.as_ref().is_none_or(|it| it.1 <= now) {
                record.token = to;
                (record.holder, record.has_fallen) = (None, true);
            }
        }
    }

    /// All leases that were given out anew, in that order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether somebody has a lease at that time, by that token.
    pub fn has(&self, now: Instant, name: &LeaseName, node: &NodeId, token: Token) -> bool {
        let record = self.records.get(name).filter(|it| it.token == token);
        let holder = record.and_then(|it| it.holder.as_ref());
        holder.is_some_and(|(owner, until)| **owner == node.to_string() && *until > now)
    }

    /// The last token by which a lease was given out, as the store knows.
    pub fn last_token(&self, name: &LeaseName) -> Option<Token> {
        self.records.get(name).map(|it| it.token)
    }

    fn is_lost(&mut self, now: Instant, node: usize) -> bool {
        let is_out = |it: &Outage| it.from <= now && now < it.until && it.nodes.contains(&node);
        let is_healed = now - Instant::ZERO >= self.troubles.healed;
        self.troubles.outages.iter().any(is_out)
            || (!is_healed && self.random.chance(self.troubles.lost))
    }

    /// A process asks.
    pub(crate) fn ask(&mut self, agenda: &mut Agenda, (node, uid): (usize, Uid), ask: Ask) {
        if self.is_lost(agenda.now(), node) {
            return;
        }
        let call = self.number;
        self.number += 1;
        let (began, answer) = (agenda.now(), None);
        let it = Call {
            node,
            uid,
            ask,
            began,
            answer,
        };
        self.calls.insert(call, it);
        self.send(agenda, call);
    }

    fn send(&mut self, agenda: &mut Agenda, call: u64) {
        let (least, most) = self.troubles.latency;
        let takes = self.random.span(least, most);
        agenda.after(takes, Event::Store { call });
    }

    /// An ask has arrived, or its answer: if so, where, for which process, and what.
    pub(crate) fn handle_arrival(
        &mut self,
        agenda: &mut Agenda,
        happenings: &mut Vec<Happening>,
        call: u64,
    ) -> Option<(usize, Uid, Answered)> {
        let now = agenda.now();
        let mut it = self.calls.remove(&call)?;
        self.lose_tokens(now, &it.ask);
        let is_between = |at: &Instant| it.began < *at && *at <= now;
        if self.troubles.restarts.iter().any(is_between) {
            return None;
        }
        if let Some(answer) = it.answer.take() {
            return Some((it.node, it.uid, (it.ask.name, it.ask.number, answer)));
        }
        let grants = self.grants.len();
        let answer = match self.random.chance(self.troubles.lost / 2) {
            true => Answer::Failed { why: "busy".into() },
            false => self.handle(now, &it.ask),
        };
        if self.grants.len() > grants {
            happenings.push(Happening::Granted { number: grants });
        }
        let numbers = [it.node as u64, it.ask.number, self.grants.len() as u64];
        agenda.note(What::Store, numbers);
        if !self.is_lost(now, it.node) {
            it.answer = Some(answer);
            self.calls.insert(call, it);
            self.send(agenda, call);
        }
        None
    }

    fn handle(&mut self, now: Instant, ask: &Ask) -> Answer {
        let fresh = || Record {
            token: Token(LEAST + self.random.below(1000)),
            holder: None,
            has_fallen: false,
        };
        let record = self.records.entry(ask.name.clone()).or_insert_with(fresh);
        let lingers = self.troubles.lingers;
        let is_kept = |owner: &str| lingers && *owner == *ask.owner;
        let holder = &mut record.holder;
        holder.take_if(|(owner, until)| *until <= now && !is_kept(owner));
        let other = record.holder.as_ref().filter(|it| it.0 != ask.owner);
        let other = other.map(|it| it.0.clone());
        let is_own = record.holder.is_some() && other.is_none();
        match ask.deed {
            Deed::Acquire(known) => {
                if let Some(owner) = other {
                    return Answer::HeldBy { owner };
                }
                if !is_own {
                    let skips = self.random.chance(self.troubles.skips);
                    record.token = record.token.counting_on(known);
                    record.token.0 += 1 + u64::from(skips) * self.random.below(3);
                    self.grants.push(Grant {
                        name: ask.name.clone(),
                        token: record.token,
                        owner: ask.owner.clone(),
                    });
                }
            }
            Deed::Renew(token) if !is_own || token != record.token => return Answer::Lost,
            Deed::Renew(_) => {}
            Deed::Release(token) => {
                if is_own && token == record.token {
                    record.holder = None;
                }
                return Answer::Released;
            }
            Deed::Look(floor) => {
                let token = record.token.counting_on(floor);
                if record.token < token {
                    if let Some(owner) = other {
                        return Answer::HeldBy { owner };
                    }
                    (record.token, record.holder) = (token, None);
                }
                return Answer::Last { token };
            }
        }
        record.holder = Some((ask.owner.clone(), now + ask.time_to_live));
        let token = record.token;
        Answer::Held { token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_draw_every_trouble_and_none() {
        let healed = Duration::from_secs(100);
        let drawn: Vec<Troubles> = (0..200).map(|it| Troubles::drawn(it, 5, healed)).collect();
        let shares = [
            drawn.iter().filter(|it| it.skips > 0).count(),
            drawn.iter().filter(|it| it.lingers).count(),
            drawn.iter().filter(|it| !it.restarts.is_empty()).count(),
            drawn.iter().filter(|it| it.falls.is_some()).count(),
            drawn.iter().filter(|it| !it.outages.is_empty()).count(),
        ];
        let expected = [40..95, 70..130, 120..180, 15..50, 140..190];
        for (share, expected) in shares.into_iter().zip(expected) {
            assert!(expected.contains(&share), "{shares:?}");
        }
        let last = Instant::ZERO + healed;
        let mut falls = drawn.iter().filter_map(|it| it.falls);
        assert!(falls.all(|it| it.at <= last));
        let few = drawn.iter().filter_map(|it| it.falls?.by).count();
        assert!((5..30).contains(&few), "{few}");
    }
}
