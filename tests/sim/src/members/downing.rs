//! Which side of a split cluster goes on: the strategies that seeds draw from.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_cluster::lease::LeaseName;
use ringmesh_cluster::membership::roles::DATA_CENTRE_DEFAULT;
use ringmesh_cluster::resolver::{
    Authority, DownAll, KeepMajority, KeepOldest, LeaseMajority, LeaseTerms, Split, StaticQuorum,
    Strategy, Verdict,
};
use ringmesh_proto::address::Uid;

use crate::random::Random;

/// Which side of a split cluster goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downing {
    /// The one with more members.
    KeepMajority,
    /// The one with so many.
    StaticQuorum(usize),
    /// None.
    DownAll,
    /// The one with the oldest: no seed draws it, for it may let both.
    KeepOldest,
    /// The one that gets a lease.
    LeaseMajority,
    /// Each: see [`KeepYourself`].
    KeepYourself,
}

impl Downing {
    /// What a seed draws where the largest data centre has so many nodes: each counts its own, and
    /// a size that fits that one has smaller ones go down whenever they lose somebody.
    pub fn drawn(seed: u64, nodes: usize) -> Self {
        match Random::split(seed, "strategy", 0).below(100) {
            0..45 => Self::KeepMajority,
            45..65 => Self::StaticQuorum(nodes / 2 + 1),
            65..90 => Self::LeaseMajority,
            _ => Self::DownAll,
        }
    }

    /// It, for the machines of a node in a data centre.
    pub fn strategy(self, data_centre: &str) -> Box<dyn Strategy> {
        match self {
            Self::KeepMajority => Box::new(KeepMajority::default()),
            Self::StaticQuorum(size) => Box::new(StaticQuorum { size, role: None }),
            Self::DownAll => Box::new(DownAll),
            Self::KeepOldest => Box::new(KeepOldest::default()),
            Self::LeaseMajority => Box::new(LeaseMajority {
                lease: LeaseTerms {
                    name: lease(data_centre),
                    time_to_live: Duration::from_secs(10),
                    release_after: Duration::from_secs(15),
                },
                ..LeaseMajority::new(lease(data_centre))
            }),
            Self::KeepYourself => Box::new(KeepYourself),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.strategy(DATA_CENTRE_DEFAULT).name()
    }

    /// Whether it takes the consent of others.
    pub fn is_voted(self) -> bool {
        matches!(self, Self::KeepMajority | Self::StaticQuorum(_))
    }

    /// Whether the consent of these is enough, of those that count, in order of their addresses.
    /// Less than the strategies ask for, who take the worst of all that others may count.
    pub(super) fn is_quorum(self, counted: &[Uid], agreed: &BTreeSet<Uid>) -> bool {
        let consenting = counted.iter().filter(|uid| agreed.contains(uid)).count();
        match self {
            Self::KeepMajority => {
                let has_first = counted.first().is_some_and(|uid| agreed.contains(uid));
                let twice = 2 * consenting;
                twice > counted.len() || twice == counted.len() && has_first
            }
            Self::StaticQuorum(size) => consenting >= size,
            Self::DownAll | Self::KeepOldest | Self::LeaseMajority | Self::KeepYourself => true,
        }
    }
}

/// The lease by which one side of a data centre goes on, in less time than by default: each has its
/// own, or one would lose to another what only its members may have.
pub(super) fn lease(data_centre: &str) -> LeaseName {
    LeaseName::new(&format!("side-{data_centre}")).expect("a name")
}

/// A strategy by which each side of a split cluster goes on: what must never be, and what the
/// invariants have to find.
#[derive(Clone, Copy, Debug)]
pub struct KeepYourself;

impl Strategy for KeepYourself {
    fn name(&self) -> &'static str {
        "keep-yourself"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Sight
    }

    fn decide(&self, _: &Split, _: &BTreeSet<Uid>) -> Verdict {
        Verdict::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_draw_every_strategy_and_a_quorum_fits_the_nodes() {
        let drawn: Vec<Downing> = (0..400).map(|seed| Downing::drawn(seed, 5)).collect();
        let all = [
            (Downing::KeepMajority, 145..215),
            (Downing::StaticQuorum(3), 55..105),
            (Downing::LeaseMajority, 70..130),
            (Downing::DownAll, 20..60),
        ];
        for (one, share) in all {
            let count = drawn.iter().filter(|it| **it == one).count();
            assert!(share.contains(&count), "{one:?}: {count}");
        }
    }

    #[test]
    fn less_than_a_quorum_is_none() {
        let uids: Vec<Uid> = (1..=4).filter_map(Uid::new).collect();
        let agreed = |of: &[usize]| of.iter().map(|it| uids[*it]).collect::<BTreeSet<Uid>>();
        let majority = |of: &[usize]| Downing::KeepMajority.is_quorum(&uids, &agreed(of));
        assert!(majority(&[0, 1]) && majority(&[1, 2, 3]));
        assert!(!majority(&[1, 2]) && !majority(&[0]));
        let three = |of: &[usize]| Downing::StaticQuorum(3).is_quorum(&uids, &agreed(of));
        assert!(three(&[1, 2, 3]) && !three(&[0, 1]));
    }
}
