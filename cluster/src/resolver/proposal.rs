//! What this member proposes, and who agreed.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::explain::Votes;
use super::message::{Answer, Message};
use super::split::Split;

/// What this member proposes, and who agreed.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) number: u32,
    pub(super) base: BTreeSet<Uid>,
    /// Who is to go, those that are down already and those that were named among them.
    pub(super) down: BTreeSet<Uid>,
    /// Who goes by this member's own view.
    pub(super) going: BTreeSet<Uid>,
    /// Who was asked, and what the last answer was. The proposer is not among them.
    pub(super) answers: BTreeMap<Uid, Option<Answer>>,
    pub(super) rounds: u32,
    pub(super) next_round: Instant,
}

impl Proposal {
    pub(super) fn new(
        number: u32,
        split: &Split,
        down: BTreeSet<Uid>,
        going: BTreeSet<Uid>,
        now: Instant,
    ) -> Self {
        let asked = split.voters().map(|it| (it.uid(), None));
        let mut answers: BTreeMap<Uid, Option<Answer>> = asked.collect();
        answers.remove(&split.own());
        Self {
            number,
            base: split.base(),
            down,
            going,
            answers,
            rounds: 0,
            next_round: now,
        }
    }

    /// Whether it is still what this member would propose.
    pub(super) fn is_of(&self, split: &Split) -> bool {
        let is_speaker = split.speaker().is_some_and(|it| it.uid == split.own());
        let going: BTreeSet<Uid> = split.going().map(|it| it.uid()).collect();
        is_speaker && self.going == going && self.base == split.base()
    }

    /// Who agrees.
    pub(super) fn consenting(&self, own: Uid) -> BTreeSet<Uid> {
        let agreed = self.answers.iter().filter(|it| *it.1 == Some(Answer::Yes));
        agreed.map(|(uid, _)| *uid).chain([own]).collect()
    }

    /// The messages of the next round: to whoever has not agreed yet.
    pub(super) fn round(&mut self, split: &Split, carried: u32) -> Vec<(NodeId, Message)> {
        self.rounds += 1;
        let agreed = |uid: Uid| self.answers.get(&uid) == Some(&Some(Answer::Yes));
        let voters = split.voters().map(|it| it.member.node());
        let wanted = voters.filter(|it| it.uid != split.own() && !agreed(it.uid));
        let message = |to: &NodeId| Message::Proposal {
            to: to.uid,
            number: self.number,
            carried,
            base: self.base.clone(),
            down: self.down.clone(),
        };
        wanted.map(|to| (to.clone(), message(to))).collect()
    }

    pub(super) fn votes(&self) -> Votes {
        Votes {
            number: self.number,
            down: self.down.iter().copied().collect(),
            answers: self.answers.iter().map(|(uid, it)| (*uid, *it)).collect(),
            rounds: self.rounds,
        }
    }
}
