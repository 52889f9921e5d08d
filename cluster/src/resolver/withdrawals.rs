//! Withdrawals that nobody has answered yet.
//!
//! A voter holds every later proposal to what it agreed to, until it hears that it came to nothing.
//! So it is told that again and again: until it answers, agrees to a later proposal, or is no
//! member any more.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::message::Message;

/// Withdrawals that nobody has answered yet, one of each voter: the latest says all that those
/// before it did. As many as there are members at most.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    waiting: BTreeMap<Uid, Withdrawal>,
    next_round: Instant,
}

#[derive(Clone, Debug)]
struct Withdrawal {
    to: NodeId,
    number: u32,
    carried: u32,
}

impl Withdrawals {
    /// A withdrawal is sent for the first time. Says what to send: all that waits for an answer of
    /// that voter is said with it, though it may be of a later proposal than this one.
    pub(super) fn add(
        &mut self,
        to: &NodeId,
        (number, carried): (u32, u32),
        next_round: Instant,
    ) -> Message {
        if self.waiting.is_empty() {
            self.next_round = next_round;
        }
        let fresh = || Withdrawal {
            to: to.clone(),
            number,
            carried,
        };
        let waiting = self.waiting.entry(to.uid).or_insert_with(fresh);
        waiting.number = number.max(waiting.number);
        waiting.carried = carried.max(waiting.carried);
        waiting.message()
    }

    /// A voter has heard of all up to a number, or agreed to a proposal with it.
    pub(super) fn settle(&mut self, voter: Uid, number: u32) {
        let waiting = self.waiting.get(&voter);
        if waiting.is_some_and(|it| it.number <= number) {
            self.waiting.remove(&voter);
        }
    }

    /// Forgets voters that have no vote any more.
    pub(super) fn retain(&mut self, is_member: impl Fn(Uid) -> bool) {
        self.waiting.retain(|voter, _| is_member(*voter));
    }

    /// What is to be sent again, if that is due: nothing to voters that are out of reach, who hear
    /// it in the first round in which they are there again.
    pub(super) fn round(
        &mut self,
        now: Instant,
        round: Duration,
        is_in_reach: impl Fn(Uid) -> bool,
    ) -> Vec<(NodeId, Message)> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.next_round = now + round;
        let waiting = self.waiting.values().filter(|it| is_in_reach(it.to.uid));
        waiting.map(|it| (it.to.clone(), it.message())).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_round)
    }
}

impl Withdrawal {
    fn message(&self) -> Message {
        Message::Withdrawal {
            to: self.to.uid,
            number: self.number,
            carried: self.carried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::{node, uid};

    const ROUND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + ROUND * u32::try_from(seconds).expect("few")
    }

    fn withdrawal(to: u64, number: u32, carried: u32) -> Message {
        let to = uid(to);
        Message::Withdrawal {
            to,
            number,
            carried,
        }
    }

    #[test]
    fn an_earlier_withdrawal_takes_nothing_back_of_a_later_one() {
        let mut withdrawals = Withdrawals::default();
        let said = withdrawals.add(&node(2), (5, 1), at(1));
        assert_eq!(said, withdrawal(2, 5, 1));
        // A late yes to a proposal before that.
        let said = withdrawals.add(&node(2), (3, 2), at(1));
        assert_eq!(said, withdrawal(2, 5, 2));
        withdrawals.settle(uid(2), 3);
        let again = withdrawals.round(at(1), ROUND, |_| true);
        assert_eq!(again, [(node(2), withdrawal(2, 5, 2))]);
        let said = withdrawals.add(&node(2), (6, 2), at(9));
        assert_eq!(said, withdrawal(2, 6, 2));
        withdrawals.settle(uid(2), 6);
        assert_eq!(withdrawals.poll_timeout(), None);
    }

    #[test]
    fn who_is_out_of_reach_is_told_again_when_it_is_back() {
        let mut withdrawals = Withdrawals::default();
        for voter in [2, 3] {
            withdrawals.add(&node(voter), (1, 0), at(1));
        }
        let again = withdrawals.round(at(1), ROUND, |voter| voter != uid(2));
        assert_eq!(again, [(node(3), withdrawal(3, 1, 0))]);
        withdrawals.settle(uid(3), 1);
        assert_eq!(withdrawals.round(at(2), ROUND, |_| false), []);
        assert_eq!(withdrawals.poll_timeout(), Some(at(3)));
        let again = withdrawals.round(at(3), ROUND, |_| true);
        assert_eq!(again, [(node(2), withdrawal(2, 1, 0))]);
    }
}
