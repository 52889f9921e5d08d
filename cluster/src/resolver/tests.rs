use std::collections::BTreeMap;

use super::*;
use crate::lease::testing::Store;
use crate::lease::{self, LeaseName};
use crate::membership::UpNumber;
use crate::membership::reachability::{Record, Witness};
use crate::membership::testing::{View, member, node, uid};

mod data_centres;
mod deciding;
mod hostile;
mod leasing;
mod model;
mod oldest;
mod parting;
mod voting;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// Members whose views are the same at once on each side of what parts them, in virtual time.
struct Cluster {
    now: u64,
    nodes: BTreeMap<u64, (Gossip, Resolver)>,
    /// Who hears whom.
    sides: Vec<Vec<u64>>,
    /// When who decided what.
    decided: Vec<(u64, u64, Decision)>,
    /// Whose messages get lost.
    mute: Vec<u64>,
    sent: Vec<(u64, u64, Vec<u8>)>,
    /// Who wants what of a store, and who does not reach it.
    asked: Vec<(u64, Ask)>,
    store: Store,
    away: Vec<u64>,
    /// From what to what its tokens fell, as was said.
    fallen: Vec<(u64, u64)>,
    /// Somebody changed its view by itself.
    is_stirred: bool,
}

impl Cluster {
    fn of(members: &[(u64, Status)], strategy: impl Strategy + Clone + 'static) -> Self {
        Self::with(members, strategy, ResolverSettings::default())
    }

    fn with(
        members: &[(u64, Status)],
        strategy: impl Strategy + Clone + 'static,
        settings: ResolverSettings,
    ) -> Self {
        let mut view = View::of(members);
        let numbers: Vec<u64> = members.iter().map(|it| it.0).collect();
        numbers.iter().for_each(|it| view.see(*it));
        let nodes = numbers.iter().map(|it| {
            let resolver = Resolver::new(settings, Box::new(strategy.clone()), uid(*it));
            (*it, (view.gossip().clone(), resolver))
        });
        let mut cluster = Self {
            now: 100_000,
            nodes: nodes.collect(),
            sides: vec![numbers],
            decided: Vec::new(),
            mute: Vec::new(),
            sent: Vec::new(),
            asked: Vec::new(),
            store: Store::default(),
            away: Vec::new(),
            fallen: Vec::new(),
            is_stirred: false,
        };
        cluster.share();
        cluster
    }

    fn up(numbers: std::ops::RangeInclusive<u64>) -> Self {
        let members: Vec<_> = numbers.map(|it| (it, Status::Up)).collect();
        Self::of(&members, KeepMajority::default())
    }

    /// Falls apart into these sides, each of which notices at once.
    fn part(&mut self, sides: &[&[u64]]) {
        self.part_for(sides, Reason::Silence);
    }

    fn part_for(&mut self, sides: &[&[u64]], reason: Reason) {
        self.sides = sides.iter().map(|side| side.to_vec()).collect();
        let all: Vec<u64> = self.nodes.keys().copied().collect();
        for side in self.sides.clone() {
            for observer in &side {
                for subject in all.iter().filter(|it| !side.contains(it)) {
                    self.accuse(*observer, *subject, reason);
                }
            }
        }
        self.share();
    }

    fn accuse(&mut self, observer: u64, subject: u64, reason: Reason) {
        self.accuse_with(observer, subject, reason, &[]);
    }

    fn accuse_with(&mut self, observer: u64, subject: u64, reason: Reason, hear: &[u64]) {
        let witnesses = hear.iter().map(|it| Witness {
            observer: uid(*it),
            hears: true,
        });
        let witnesses = witnesses.collect();
        if let Some((view, _)) = self.nodes.get_mut(&observer) {
            let record = Record { reason, witnesses };
            let table = view.reachability_mut();
            table.accuse(uid(observer), uid(subject), record);
            view.touch(uid(observer));
        }
    }

    fn clear(&mut self, observer: u64, subject: u64) {
        if let Some((view, _)) = self.nodes.get_mut(&observer) {
            view.reachability_mut().clear(uid(observer), uid(subject));
            view.touch(uid(observer));
        }
    }

    /// All are together again, and cannot say anything against each other.
    fn heal(&mut self) {
        let all: Vec<u64> = self.nodes.keys().copied().collect();
        for observer in &all {
            for subject in &all {
                self.clear(*observer, *subject);
            }
        }
        self.sides = vec![all];
        self.share();
    }

    fn crash(&mut self, number: u64) {
        self.nodes.remove(&number);
        self.sides
            .iter_mut()
            .for_each(|it| it.retain(|it| *it != number));
    }

    /// Changes a member in the view of one that hears it.
    fn set(&mut self, observer: u64, number: u64, status: Status) {
        if let Some((view, _)) = self.nodes.get_mut(&observer) {
            let member = view.member_mut(uid(number)).expect("a member");
            match status {
                Status::Up => member.become_up(UpNumber(100)),
                Status::Down => assert!(view.give_up(uid(number)), "a member"),
                _ => member.become_next(status),
            }
            view.touch(uid(observer));
        }
        self.share();
    }

    /// The last word of a member reaches one that hears it.
    fn resign(&mut self, observer: u64, number: u64) {
        if let Some((view, _)) = self.nodes.get_mut(&observer) {
            assert!(view.resign(uid(number)), "a member");
            view.touch(uid(number));
        }
        self.share();
    }

    fn share(&mut self) {
        for side in self.sides.clone() {
            let here = || side.iter().filter_map(|it| self.nodes.get(it));
            let Some((mut merged, _)) = here().next().map(|it| (it.0.clone(), ())) else {
                continue;
            };
            for (view, _) in here() {
                merged.merge(view).expect("of one cluster");
            }
            side.iter()
                .filter(|it| self.nodes.contains_key(it))
                .for_each(|it| {
                    merged.see(uid(*it));
                });
            for number in &side {
                let view = merged.clone();
                self.act(*number, |now, (known, resolver), out| {
                    *known = view;
                    resolver.handle_view(now, known, out);
                });
            }
        }
        if std::mem::take(&mut self.is_stirred) {
            self.share();
        }
    }

    fn act(
        &mut self,
        number: u64,
        act: impl FnOnce(Instant, &mut (Gossip, Resolver), &mut Vec<ResolverOutput>),
    ) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let mut out = Vec::new();
        act(at(self.now), node, &mut out);
        let heard = self.sides.iter().filter(|it| it.contains(&number));
        let heard: Vec<u64> = heard.flatten().copied().collect();
        let (mut is_changed, mut is_noted) = (false, false);
        for output in out {
            match output {
                ResolverOutput::Send { to, body } => {
                    let to = to.uid.as_u64();
                    if !self.mute.contains(&number) && heard.contains(&to) {
                        self.sent.push((number, to, body));
                    }
                }
                ResolverOutput::Decided(decision) => {
                    self.decided.push((self.now, number, *decision));
                }
                ResolverOutput::Ask(ask) => self.asked.push((number, ask)),
                ResolverOutput::Note { warrant } => {
                    is_noted = node.0.note_warrant("default", warrant);
                    assert!(is_noted, "it is news");
                    node.0.touch(uid(number));
                }
                ResolverOutput::Fallen { known, last, .. } => self.fallen.push((known.0, last.0)),
                ResolverOutput::Refresh => {
                    is_noted = true;
                    node.0.touch(uid(number));
                }
                ResolverOutput::Down { uids, warrant } => {
                    let view = &mut node.0;
                    if let Some(warrant) = warrant {
                        assert!(view.note_warrant("default", warrant), "it is news");
                    }
                    for gone in uids {
                        let is_news = match gone == uid(number) {
                            true => view.resign(gone),
                            false => view.give_up(gone),
                        };
                        assert!(is_news, "{gone} by {number}");
                    }
                    view.touch(uid(number));
                    is_changed = true;
                }
            }
        }
        if is_changed {
            let (view, resolver) = self.nodes.get_mut(&number).expect("it is there");
            let mut out = Vec::new();
            resolver.handle_view(at(self.now), view, &mut out);
            assert_eq!(out, [], "it was all said before");
        }
        self.is_stirred |= is_noted;
        let own = |it: &(Gossip, Resolver)| it.0.member(uid(number)).map(|it| it.status());
        if self.nodes.get(&number).and_then(own) == Some(Status::Down) {
            self.crash(number);
        }
    }

    /// Asks are answered at once, or fail at once.
    fn answer(&mut self) {
        for (number, ask) in std::mem::take(&mut self.asked) {
            let answer = match self.away.contains(&number) {
                true => lease::Answer::Failed {
                    why: "out of reach".into(),
                },
                false => self.store.handle(self.now, &ask),
            };
            self.act(number, |now, (_, resolver), out| {
                resolver.handle_lease(now, ask.number, answer, out);
            });
        }
    }

    fn deliver(&mut self) {
        while !self.sent.is_empty() || !self.asked.is_empty() {
            self.answer();
            for (from, to, body) in std::mem::take(&mut self.sent) {
                self.act(to, |now, (view, resolver), out| {
                    let taken = resolver.handle_message(now, view, &node(from), &body, out);
                    assert_eq!(taken, Ok(()));
                });
            }
            self.share();
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        self.deliver();
        loop {
            let due = |it: &(Gossip, Resolver)| it.1.poll_timeout();
            let due = self.nodes.values().filter_map(due).min();
            let Some(due) = due.filter(|due| *due <= at(end)) else {
                break;
            };
            self.now = self.now.max(due.as_nanos().div_ceil(1_000_000));
            for number in self.numbers() {
                self.act(number, |now, (_, resolver), out| {
                    resolver.handle_timeout(now, out);
                    assert!(resolver.poll_timeout().is_none_or(|due| due > now));
                });
            }
            self.deliver();
        }
        self.now = end;
    }

    /// Who runs.
    fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    fn resolver(&self, number: u64) -> &Resolver {
        &self.nodes[&number].1
    }

    fn has_quorum(&self, number: u64) -> bool {
        self.resolver(number).has_quorum(at(self.now))
    }

    /// Who is down in the view of one that runs.
    fn given_up(&self, by: u64) -> Vec<u64> {
        let members = self.nodes[&by].0.members();
        let down = members.filter(|it| it.status() == Status::Down);
        down.map(|it| it.uid().as_u64()).collect()
    }

    /// Why those that decided did, each once.
    fn reasons(&self) -> Vec<&'static str> {
        let mut reasons: Vec<_> = self.decided.iter().map(|it| it.2.why.label()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }
}
