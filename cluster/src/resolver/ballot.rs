//! What this member agreed to.
//!
//! It outlives every leader: that no two proposals can be carried out of which neither contains the
//! other rests on each voter's naming, to whoever asks next, all it has agreed to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmesh_proto::address::Uid;

/// Proposers whose proposals may still be withdrawn. What was agreed to before that is not
/// forgotten, but stays agreed to, whether it was carried out or not.
pub const PROPOSERS_MAX: usize = 16;

/// What this member agreed to.
#[derive(Debug, Default)]
pub(super) struct Ballot {
    /// The latest of each proposer.
    votes: VecDeque<Vote>,
    /// Of proposers there was no room for.
    kept: BTreeSet<Uid>,
    /// The latest number of each proposer, so that late messages change nothing.
    numbers: BTreeMap<Uid, u32>,
}

#[derive(Debug)]
struct Vote {
    proposer: Uid,
    number: u32,
    down: BTreeSet<Uid>,
    /// What the proposer may have carried out before, and can withdraw no more.
    before: BTreeSet<Uid>,
}

impl Ballot {
    /// Whom it agreed to have gone down, for whoever else asks than `proposer`.
    pub(super) fn named(&self, proposer: Uid) -> BTreeSet<Uid> {
        let others = self.votes.iter().filter(|vote| vote.proposer != proposer);
        let named = others.flat_map(|vote| vote.down.iter().chain(&vote.before));
        named.chain(&self.kept).copied().collect()
    }

    /// Whether this is a proposal that came too late: its proposer has made another one since, or
    /// withdrew it.
    pub(super) fn is_late(&self, proposer: Uid, number: u32) -> bool {
        let is_last = || self.has_agreed(proposer, number);
        let latest = self.numbers.get(&proposer);
        latest.is_some_and(|it| *it > number || (*it == number && !is_last()))
    }

    /// Whether it agreed to that very proposal.
    pub(super) fn has_agreed(&self, proposer: Uid, number: u32) -> bool {
        let mut votes = self.votes.iter();
        votes.any(|it| it.proposer == proposer && it.number == number)
    }

    /// Agrees. Of its earlier proposals the proposer may have carried out any up to `carried`, and
    /// will carry out no other.
    pub(super) fn agree(
        &mut self,
        proposer: Uid,
        (number, carried): (u32, u32),
        down: BTreeSet<Uid>,
    ) {
        self.numbers.insert(proposer, number);
        let mut before = BTreeSet::new();
        if let Some(at) = self.votes.iter().position(|it| it.proposer == proposer)
            && let Some(vote) = self.votes.remove(at)
        {
            before = vote.before;
            if vote.number <= carried {
                before.extend(vote.down);
            }
        }
        if self.votes.len() >= PROPOSERS_MAX
            && let Some(oldest) = self.votes.pop_front()
        {
            self.kept.extend(oldest.down);
            self.kept.extend(oldest.before);
        }
        self.votes.push_back(Vote {
            proposer,
            number,
            down,
            before,
        });
    }

    /// Of its proposals up to `number` the proposer carries out none that it has not: it may have
    /// carried out any up to `carried`.
    pub(super) fn withdraw(&mut self, proposer: Uid, number: u32, carried: u32) {
        let latest = self.numbers.entry(proposer).or_default();
        *latest = number.max(*latest);
        let is_over = |it: &Vote| it.number <= number && it.number > carried;
        let mut votes = self.votes.iter_mut();
        let vote = votes.find(|it| it.proposer == proposer && is_over(it));
        if let Some(vote) = vote {
            vote.down.clear();
            vote.number = 0;
        }
        self.votes.retain(Vote::is_needed);
    }

    /// Forgets whoever is neither a member nor remembered as one.
    pub(super) fn retain(&mut self, is_known: impl Fn(Uid) -> bool) {
        self.kept.retain(|uid| is_known(*uid));
        self.numbers.retain(|uid, _| is_known(*uid));
        for vote in &mut self.votes {
            vote.down.retain(|uid| is_known(*uid));
            vote.before.retain(|uid| is_known(*uid));
        }
        self.votes.retain(Vote::is_needed);
    }
}

impl Vote {
    fn is_needed(&self) -> bool {
        !self.down.is_empty() || !self.before.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::uid;

    fn set(numbers: &[u64]) -> BTreeSet<Uid> {
        numbers.iter().copied().map(uid).collect()
    }

    #[test]
    fn it_names_all_it_agreed_to_but_to_the_proposer_itself() {
        let mut ballot = Ballot::default();
        ballot.agree(uid(1), (1, 0), set(&[5]));
        ballot.agree(uid(2), (1, 0), set(&[5, 6]));
        assert_eq!(ballot.named(uid(3)), set(&[5, 6]));
        assert_eq!(ballot.named(uid(2)), set(&[5]));
        ballot.agree(uid(2), (2, 0), set(&[7]));
        assert_eq!(ballot.named(uid(3)), set(&[5, 7]), "the latest of each");
    }

    #[test]
    fn what_is_withdrawn_is_forgotten_and_never_agreed_to_again() {
        let mut ballot = Ballot::default();
        ballot.agree(uid(1), (4, 0), set(&[5]));
        assert!(ballot.is_late(uid(1), 3) && !ballot.is_late(uid(1), 4));
        ballot.withdraw(uid(1), 3, 0);
        assert_eq!(ballot.named(uid(3)), set(&[5]), "another one");
        ballot.withdraw(uid(1), 4, 0);
        assert_eq!(ballot.named(uid(3)), set(&[]));
        assert!(ballot.is_late(uid(1), 4) && !ballot.is_late(uid(1), 5));
        ballot.withdraw(uid(2), 9, 0);
        assert!(ballot.is_late(uid(2), 9), "the withdrawal came first");
    }

    #[test]
    fn what_may_have_been_carried_out_is_not_forgotten() {
        let mut ballot = Ballot::default();
        ballot.agree(uid(1), (1, 0), set(&[5]));
        ballot.withdraw(uid(1), 3, 1);
        assert_eq!(ballot.named(uid(3)), set(&[5]));
        ballot.agree(uid(1), (4, 1), set(&[6]));
        assert_eq!(ballot.named(uid(3)), set(&[5, 6]));
        ballot.withdraw(uid(1), 4, 1);
        assert_eq!(ballot.named(uid(3)), set(&[5]));
    }

    #[test]
    fn one_over_the_proposers_is_agreed_to_for_good() {
        let mut ballot = Ballot::default();
        for proposer in 1..=PROPOSERS_MAX as u64 + 1 {
            ballot.agree(uid(proposer), (1, 0), set(&[100 + proposer]));
        }
        assert_eq!(ballot.votes.len(), PROPOSERS_MAX);
        ballot.withdraw(uid(1), 1, 0);
        assert!(ballot.named(uid(99)).contains(&uid(101)));
        ballot.withdraw(uid(2), 1, 0);
        assert!(!ballot.named(uid(99)).contains(&uid(102)));
    }

    #[test]
    fn who_is_not_known_any_more_is_forgotten() {
        let mut ballot = Ballot::default();
        ballot.agree(uid(1), (1, 0), set(&[5]));
        ballot.agree(uid(2), (1, 0), set(&[6, 7]));
        ballot.retain(|it| it != uid(5) && it != uid(6) && it != uid(1));
        assert_eq!(ballot.named(uid(9)), set(&[7]));
        assert_eq!((ballot.votes.len(), ballot.numbers.len()), (1, 1));
    }
}
