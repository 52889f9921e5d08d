//! Which of several places gets what only one of them is to get.

use ringmesh_proto::address::{CoreId, Uid};

use crate::context::Random;
use crate::registry::Place;

/// How one of several is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each time anew, by how many members are there.
    #[default]
    Random,
    /// In turn, as often as members are there. The turns are those of this core.
    RoundRobin,
    /// None is: one member at each place gets it.
    Broadcast,
}

/// Where members of a group are, or an actor under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Of which node.
    pub node: Uid,
    /// The core, and the actor if it is one.
    pub place: Place,
    /// How many members.
    pub weight: u32,
}

#[derive(Clone, Debug)]
struct Weighed {
    candidate: Candidate,
    /// How far its turn is overdue.
    due: i64,
}

/// Some of which one is chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    all: Vec<Weighed>,
    is_begun: bool,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<Candidate> {
        self.all.get(place).map(|it| it.candidate)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Candidate> {
        self.all.iter().map(|it| it.candidate)
    }

    /// Adds members at a place, or more of them.
    pub(super) fn add(&mut self, candidate: Candidate) {
        let Candidate { node, place, .. } = candidate;
        let order = |it: &Weighed| (it.candidate.node, it.candidate.place);
        match self.all.binary_search_by_key(&(node, place), order) {
            Ok(at) => {
                let weight = &mut self.all[at].candidate.weight;
                *weight = weight.saturating_add(candidate.weight);
            }
            Err(at) => self.all.insert(at, Weighed { candidate, due: 0 }),
        }
    }

    /// All are added: whose turn it is goes on from those before.
    pub(super) fn finish(&mut self, before: Option<&Self>) {
        self.all.retain(|it| it.candidate.weight > 0);
        let Some(before) = before else {
            return;
        };
        self.is_begun = before.is_begun;
        for it in &mut self.all {
            let wanted = (it.candidate.node, it.candidate.place);
            let order = |it: &Weighed| (it.candidate.node, it.candidate.place);
            if let Ok(at) = before.all.binary_search_by_key(&wanted, order) {
                it.due = before.all[at].due;
            }
        }
    }

    /// One of those that can be taken now, by their weights.
    pub(super) fn choose(
        &mut self,
        policy: Policy,
        random: &mut Random,
        can_be: impl Fn(Candidate) -> bool,
    ) -> Option<usize> {
        if policy == Policy::RoundRobin {
            if !self.is_begun {
                // So that the first of many short turns is not always the same one.
                self.is_begun = true;
                let first = self.draw(random, |_| true);
                let total = self.all.iter().map(|it| i64::from(it.candidate.weight));
                let total = total.sum::<i64>();
                if let Some(first) = first {
                    self.all[first].due += total;
                }
            }
            return self.take_turn(can_be);
        }
        self.draw(random, can_be)
    }

    fn draw(&self, random: &mut Random, can_be: impl Fn(Candidate) -> bool) -> Option<usize> {
        let weigh = |it: &Weighed| match can_be(it.candidate) {
            true => it.candidate.weight as usize,
            false => 0,
        };
        let total = self.all.iter().map(weigh).sum();
        let mut rest = random.below(total);
        self.all.iter().position(|it| {
            let weight = weigh(it);
            let is_it = rest < weight;
            rest = rest.saturating_sub(weight);
            is_it
        })
    }

    /// The smooth weighted round-robin of nginx: each is due by its weight, the one most due is
    /// taken, and is less due by all weights together.
    fn take_turn(&mut self, can_be: impl Fn(Candidate) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut taken: Option<usize> = None;
        for at in 0..self.all.len() {
            let it = &mut self.all[at];
            if !can_be(it.candidate) {
                continue;
            }
            it.due += i64::from(it.candidate.weight);
            total += i64::from(it.candidate.weight);
            let due = it.due;
            if taken.is_none_or(|taken| self.all[taken].due < due) {
                taken = Some(at);
            }
        }
        if let Some(taken) = taken {
            self.all[taken].due -= total;
        }
        taken
    }
}

/// What a core knows of other nodes besides what they announce.
pub trait Nodes {
    /// Whether something can be sent to a core of a node now without waiting. Of the own node that
    /// is asked for what is sent to a path alone.
    fn has_credit(&self, node: Uid, core: CoreId) -> bool {
        let _ = (node, core);
        true
    }

    /// Whether an actor under a path can be sent something now without waiting.
    fn has_room(&self, actor: Candidate) -> bool {
        self.has_credit(actor.node, actor.place.core)
    }

    /// Whether an actor under a path is there, as far as is known: one that is not takes no part.
    fn is_there(&self, actor: Candidate) -> bool {
        let _ = actor;
        true
    }

    /// Whether a node takes part, if only those with some role do.
    fn is_in_role(&self, node: Uid) -> bool {
        let _ = node;
        true
    }
}

/// All nodes take part, and have room.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllNodes;

impl Nodes for AllNodes {}

#[cfg(test)]
mod tests {
    use ringmesh_proto::link::Target;

    use super::*;
    use crate::membership::testing::uid;

    fn candidate(node: u64, core: u16, weight: u32) -> Candidate {
        let target = Target {
            slot: 0,
            generation: 0,
        };
        Candidate {
            node: uid(node),
            place: Place {
                core: CoreId(core),
                target,
            },
            weight,
        }
    }

    fn candidates(weights: &[u32]) -> Candidates {
        let mut all = Candidates::default();
        for (number, weight) in weights.iter().enumerate() {
            all.add(candidate(1 + number as u64 / 2, number as u16 % 2, *weight));
        }
        all.finish(None);
        all
    }

    #[test]
    fn each_is_chosen_by_its_weight_within_five_in_a_hundred() {
        const TIMES: usize = 100_000;
        let weights = [1, 7, 3, 12, 2, 5];
        let sum: u32 = weights.iter().sum();
        for policy in [Policy::Random, Policy::RoundRobin] {
            let mut random = Random::new(3);
            let mut all = candidates(&weights);
            let mut taken = [0_usize; 6];
            for turn in 0..TIMES {
                if turn % 97 == 0 {
                    let mut other = candidates(&weights);
                    other.finish(Some(&all));
                    all = other;
                }
                let at = all.choose(policy, &mut random, |_| true);
                taken[at.expect("one of them")] += 1;
            }
            for (times, weight) in taken.iter().zip(weights) {
                let share = TIMES as f64 * f64::from(weight) / f64::from(sum);
                let ratio = *times as f64 / share;
                assert!((0.95..=1.05).contains(&ratio), "{policy:?} {taken:?}");
            }
        }
    }

    #[test]
    fn who_cannot_be_taken_is_passed_over_and_the_others_keep_their_shares() {
        for policy in [Policy::Random, Policy::RoundRobin] {
            let mut random = Random::new(3);
            let mut all = candidates(&[10, 2, 4]);
            let mut taken = [0_usize; 3];
            for _ in 0..60_000 {
                let not_first = |it: Candidate| it.weight != 10;
                let at = all.choose(policy, &mut random, not_first);
                taken[at.expect("one of them")] += 1;
            }
            assert_eq!(taken[0], 0);
            assert!((19_000..21_000).contains(&taken[1]), "{policy:?} {taken:?}");
            assert_eq!(all.choose(policy, &mut random, |_| false), None);
        }
    }

    #[test]
    fn turns_that_are_forgotten_after_the_first_are_not_all_the_same_ones() {
        let mut random = Random::new(3);
        let mut taken = [0_usize; 3];
        for _ in 0..30_000 {
            let mut all = candidates(&[1, 1, 1]);
            let at = all.choose(Policy::RoundRobin, &mut random, |_| true);
            taken[at.expect("one of them")] += 1;
        }
        let is_fair = |it: &usize| (9_500..10_500).contains(it);
        assert!(taken.iter().all(is_fair), "{taken:?}");
    }
}
