//! Which side of a split cluster goes on.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ringmesh_proto::address::Uid;

use super::split::Split;
use crate::lease::LeaseName;
use crate::membership::Member;
use crate::membership::memory::Electorate;

/// What becomes of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on, without those that are lost.
    Stay,
    /// It goes down, for this reason.
    Leave(&'static str),
}

/// By whose word a side goes on that would stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authority<'a> {
    /// Those agree whose consent is enough.
    Vote,
    /// It has this lease, which one side at a time is given.
    Lease(&'a LeaseTerms),
    /// What it sees is enough: two sides that see different things may both go on.
    Sight,
}

/// Which lease it takes to go on, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Its name: another one for each cluster, and for each data centre of one, that asks the same
    /// store.
    pub name: LeaseName,
    /// How long it is given at a time. Less asks the store more often, and makes more of its short
    /// failures count; more has the others wait longer if whoever has it dies.
    pub time_to_live: Duration,
    /// How long it is kept after those that were given up by it are removed: whoever of them asks
    /// for it meanwhile is refused, and goes down at once.
    pub release_after: Duration,
}

/// Which side of a split cluster goes on.
///
/// A strategy is a function of what it is shown, so that all members on one side come to one
/// answer. It has to be sure that no two sides go on: of two sets of members that each would be
/// enough, at least one member is in both, if it is voted. With a lease any side may ask for it.
pub trait Strategy: fmt::Debug {
    /// Its name in settings, events and texts.
    fn name(&self) -> &'static str;

    /// What it takes to go on, besides what it decides.
    fn authority(&self) -> Authority<'_>;

    /// How long this side leaves others the first word, if it needs a lease.
    fn hesitation(&self, split: &Split) -> Duration {
        let _ = split;
        Duration::ZERO
    }

    /// What becomes of this side if `consenting` agree. It is asked first as if all agreed that
    /// stay and, if the strategy is voted, again with each that did. The more agree, the sooner it
    /// stays.
    fn decide(&self, split: &Split, consenting: &BTreeSet<Uid>) -> Verdict;

    /// Whether what may be done once in a cluster may be done while nobody is lost.
    fn is_viable(&self, split: &Split) -> bool {
        let _ = split;
        true
    }

    /// Who decides that a side goes on. Members that were all started again found a cluster only
    /// with the word of these that they do not go on.
    fn electorate(&self) -> Electorate {
        match self.authority() {
            Authority::Vote => Electorate::default(),
            // The smallest side may go on.
            Authority::Lease(_) | Authority::Sight => Electorate::Anybody,
        }
    }
}

/// The side with more members goes on, or of two equal halves that with the first by address.
///
/// It is voted. Of three parts none of which has more than half, none goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepMajority {
    /// Only members with this role count; others go with the side they are on. If none has it, no
    /// side goes on.
    pub role: Option<Box<str>>,
}

impl Strategy for KeepMajority {
    fn name(&self) -> &'static str {
        "keep-majority"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Vote
    }

    fn decide(&self, split: &Split, consenting: &BTreeSet<Uid>) -> Verdict {
        let role = self.role.as_deref();
        let tally = split.tally(consenting, |it| {
            role.is_none_or(|role| it.roles().has(role))
        });
        if tally.counted == 0 {
            Verdict::Leave("no member has the role")
        } else if tally.is_majority() {
            Verdict::Stay
        } else {
            Verdict::Leave("no majority here")
        }
    }

    fn electorate(&self) -> Electorate {
        let role = self.role.clone();
        Electorate::Most { role }
    }

    /// Not while nobody has the role: then no side goes on, and there is no majority to be in.
    fn is_viable(&self, split: &Split) -> bool {
        self.role
            .as_deref()
            .is_none_or(|role| split.counted().any(|it| it.member.roles().has(role)))
    }
}

/// The side with so many members goes on.
///
/// It is voted. There must never be as many members as twice the size: then no side goes on, for
/// two could. Of several data centres each counts its own members by that size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticQuorum {
    /// So many members are enough. Fewer let less of the cluster go on by itself, and bound its
    /// growth to twice as many, less one.
    pub size: usize,
    /// Only members with this role count.
    pub role: Option<Box<str>>,
}

impl StaticQuorum {
    fn takes_part(&self, it: &Member) -> bool {
        let role = self.role.as_deref();
        role.is_none_or(|role| it.roles().has(role))
    }
}

impl Strategy for StaticQuorum {
    fn name(&self) -> &'static str {
        "static-quorum"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Vote
    }

    fn decide(&self, split: &Split, consenting: &BTreeSet<Uid>) -> Verdict {
        let tally = split.tally(consenting, |it| self.takes_part(it));
        if tally.counted_max >= 2 * self.size {
            Verdict::Leave("more members than two quorums need")
        } else if tally.consenting >= self.size {
            Verdict::Stay
        } else {
            Verdict::Leave("no quorum here")
        }
    }

    fn electorate(&self) -> Electorate {
        let role = self.role.clone();
        Electorate::Most { role }
    }

    fn is_viable(&self, split: &Split) -> bool {
        let counted = split.counted().filter(|it| self.takes_part(&it.member));
        counted.count() >= self.size
    }
}

/// All go down whenever somebody is lost: for those that would rather start again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownAll;

impl Strategy for DownAll {
    fn name(&self) -> &'static str {
        "down-all"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Sight
    }

    fn decide(&self, _: &Split, _: &BTreeSet<Uid>) -> Verdict {
        Verdict::Leave("all go down when somebody is lost")
    }

    /// Nobody goes on without others: as long as most are in no cluster, nobody is.
    fn electorate(&self) -> Electorate {
        Electorate::default()
    }
}

/// The side with the oldest member goes on: for those that would rather keep one than most, such as
/// where the oldest does what is done once in the cluster.
///
/// It is not voted, so it is right only as far as both sides see the same. Each goes by what it
/// knows in the worst case: where the other side may have taken in members that this one has only
/// seen on their way, or let some go, both may go down. But two sides that do not see the same cut,
/// as where bytes pass one way only, may both go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepOldest {
    /// Whether the oldest goes down if it is alone on its side and two others or more are on the
    /// other: then they go on. Without that they go down with it gone, however many they are.
    pub down_if_alone: bool,
    /// Only members with this role count; others go with the side they are on. If none has it, no
    /// side goes on.
    pub role: Option<Box<str>>,
}

impl Default for KeepOldest {
    fn default() -> Self {
        Self {
            down_if_alone: true,
            role: None,
        }
    }
}

impl KeepOldest {
    fn takes_part(&self, it: &Member) -> bool {
        let role = self.role.as_deref();
        role.is_none_or(|role| it.roles().has(role))
    }

    /// Whether the side with the oldest stays, if so many are on it and so many on the other.
    fn keeps(&self, with: usize, without: usize) -> bool {
        !self.down_if_alone || with != 1 || without < 2
    }
}

impl Strategy for KeepOldest {
    fn name(&self) -> &'static str {
        "keep-oldest"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Sight
    }

    fn decide(&self, split: &Split, consenting: &BTreeSet<Uid>) -> Verdict {
        let takes_part = |it: &Member| self.takes_part(it);
        let tally = split.tally(consenting, takes_part);
        let oldest = split.possibly_oldest(takes_part);
        let is_here = |uid: &Uid| consenting.contains(uid);
        let known = split.once_up().filter(|it| takes_part(&it.member));
        let known: Vec<bool> = known.map(|it| is_here(&it.uid())).collect();
        let here = known.iter().filter(|it| **it).count();
        // As it is seen here, and as it may be at worst.
        let cases = [
            (here, known.len() - here),
            (tally.consenting, tally.counted - tally.consenting),
        ];
        if oldest.is_empty() {
            Verdict::Leave("no member has the role")
        } else if oldest.iter().all(is_here) {
            match cases.iter().all(|(here, there)| self.keeps(*here, *there)) {
                true => Verdict::Stay,
                false => Verdict::Leave("the oldest is alone"),
            }
        } else if oldest.iter().any(is_here) {
            Verdict::Leave("the oldest may have left")
        } else {
            match cases.iter().any(|(here, there)| self.keeps(*there, *here)) {
                true => Verdict::Leave("the oldest is not here"),
                false => Verdict::Stay,
            }
        }
    }
}
