//! How a view falls apart: who stays if this side goes on, and who does not.

use std::collections::BTreeSet;

use ringmesh_proto::address::{NodeId, Uid};

use super::indirect;
use crate::membership::convergence::Part;
use crate::membership::reachability::Record;
use crate::membership::{Gossip, Member, Status};

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// On this side.
    Here,
    /// It cannot be reached.
    Lost,
    /// It is there, but it and another one cannot reach each other: one of both has to go.
    Indirect,
    /// Somebody on this side agreed before that it goes.
    Named,
    /// It gave itself up, and nobody has agreed yet to go on without it.
    Resigned,
    /// It was given up already, and is not removed yet.
    Down,
}

impl Side {
    /// The word for it in texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Lost => "lost",
            Self::Indirect => "indirect",
            Self::Named => "named",
            Self::Resigned => "resigned",
            Self::Down => "down",
        }
    }
}

/// A member of the own data centre, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The member.
    pub member: Member,
    /// Who cannot reach it, and why, in order of their uids.
    pub accusers: Vec<(Uid, Record)>,
    /// Where it stands.
    pub side: Side,
}

impl Party {
    /// Its process start.
    pub fn uid(&self) -> Uid {
        self.member.uid()
    }

    /// Whether it counts: it is a member in full, on its way out or not. Whoever leaves before it
    /// was ever up never counts, for it needs nobody's knowledge to leave.
    pub fn is_counted(&self) -> bool {
        self.member.status().is_deciding() && self.was_up()
    }

    /// Whether others may count it already: all know it, and its becoming a member in full may not
    /// have been heard of here.
    pub fn may_be_counted(&self) -> bool {
        self.member.status() != Status::Exiting && !self.was_up()
    }

    fn was_up(&self) -> bool {
        self.member.up_number().is_given()
    }

    /// Whether it stays.
    pub fn stays(&self) -> bool {
        self.side == Side::Here
    }
}

/// The members of the own data centre, in order of their addresses, and how they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    own: Uid,
    parties: Vec<Party>,
}

impl Split {
    /// How a view falls apart for `own`; `None` if it is no member in it.
    pub fn of(view: &Gossip, own: Uid) -> Option<Self> {
        let data_centre = view.member(own)?.roles().data_centre();
        let part = Part::new(view, data_centre);
        let parties = part.members().map(|member| {
            let accusers = part.accusers(member.uid());
            Party {
                member: member.clone(),
                accusers: accusers
                    .map(|(uid, record)| (uid, record.clone()))
                    .collect(),
                side: match member.status() {
                    Status::Down if view.has_resigned(member.uid()) => Side::Resigned,
                    Status::Down => Side::Down,
                    _ => Side::Here,
                },
            }
        });
        let mut parties: Vec<Party> = parties.collect();
        parties.sort_by(|a, b| a.member.by_address(&b.member));
        indirect::part(&mut parties, view.seen());
        Some(Self { own, parties })
    }

    /// The same, if those go as well that somebody named.
    pub(super) fn without(&self, named: &BTreeSet<Uid>) -> Self {
        let mut split = self.clone();
        let here = split.parties.iter_mut().filter(|it| it.stays());
        here.filter(|it| named.contains(&it.uid()))
            .for_each(|it| it.side = Side::Named);
        split
    }

    /// The member that looks at it.
    pub fn own(&self) -> Uid {
        self.own
    }

    /// All of them, in order of their addresses.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// Those that count, in order of their addresses.
    pub fn counted(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|it| it.is_counted())
    }

    /// Their process starts.
    pub fn base(&self) -> BTreeSet<Uid> {
        self.counted().map(Party::uid).collect()
    }

    /// Who has a say in what becomes of the others: whoever stays and is not on its way out.
    pub fn voters(&self) -> impl Iterator<Item = &Party> {
        let here = self.parties.iter().filter(|it| it.stays());
        here.filter(|it| !it.member.status().is_departing())
    }

    /// Who goes, if this side stays.
    pub fn going(&self) -> impl Iterator<Item = &Party> {
        let stays = |it: &Party| matches!(it.side, Side::Here | Side::Down);
        self.parties.iter().filter(move |it| !stays(it))
    }

    /// Whether somebody goes, if this side stays.
    pub fn is_split(&self) -> bool {
        self.going().next().is_some()
    }

    /// Who acts for this side: the first by address that counts and stays. In a view of which all
    /// is well that is the leader.
    pub fn speaker(&self) -> Option<&NodeId> {
        let mut counted = self.counted().filter(|it| it.stays());
        counted.next().map(|it| it.member.node())
    }

    /// Whether the member that looks at it goes, and says itself that it reaches none of those that
    /// stay: what was said of them before may have kept them there, though they are long gone.
    pub(super) fn is_cut_off(&self) -> bool {
        let is_accused = |it: &Party| {
            it.accusers
                .iter()
                .any(|(observer, _)| *observer == self.own)
        };
        let mut staying = self.parties.iter().filter(|it| it.stays());
        !self.stays(self.own) && staying.all(is_accused)
    }

    /// Whether the member of this process start stays.
    pub fn stays(&self, uid: Uid) -> bool {
        self.parties.iter().any(|it| it.uid() == uid && it.stays())
    }

    /// Those that count, and those that did until they went down and are not removed yet.
    pub fn once_up(&self) -> impl Iterator<Item = &Party> {
        let is_down = |it: &Party| it.member.status() == Status::Down && it.was_up();
        let parties = self.parties.iter();
        parties.filter(move |it| it.is_counted() || is_down(it))
    }

    /// Whoever may be the oldest of those that count, down and not removed or not: the oldest by
    /// number and, while that one leaves and may be gone already elsewhere, the next.
    ///
    /// See [`tally`](Self::tally) for what may be elsewhere.
    pub fn possibly_oldest(&self, takes_part: impl Fn(&Member) -> bool) -> Vec<Uid> {
        let mut all: Vec<&Party> = self.once_up().filter(|it| takes_part(&it.member)).collect();
        all.sort_by(|a, b| a.member.by_age(&b.member));
        let is_sure = |it: &&&Party| it.member.status() != Status::Leaving || self.is_certain();
        let leaving = all.iter().take_while(|it| !is_sure(it)).count();
        all.truncate(leaving + 1);
        all.iter().map(|it| it.uid()).collect()
    }

    /// Whether this side counts what others count: it alone moves members on.
    fn is_certain(&self) -> bool {
        let mut deciding = self
            .parties
            .iter()
            .filter(|it| it.member.status().is_deciding());
        deciding
            .next()
            .is_some_and(|it| it.is_counted() && it.stays())
    }

    /// Who consents, of those that count, set against all that may count elsewhere.
    ///
    /// What another side counts may differ from what this one counts, for members have moved on
    /// that this side has not heard of. How far is known: whoever is in or out elsewhere was
    /// entering, leaving or down here before, for nothing moves on until all that count know. So
    /// the worst of all cases is taken: whoever may be counted and does not consent is, whoever
    /// consents and may be out is out, and whoever is down and not removed counts against it.
    ///
    /// One member alone moves the others on, the first by address of those that decide. If it stays
    /// it acts for this side, and knows all it did itself; then this side counts what it sees.
    pub fn tally(&self, consenting: &BTreeSet<Uid>, takes_part: impl Fn(&Member) -> bool) -> Tally {
        let is_certain = self.is_certain();
        let mut tally = Tally::default();
        for party in self.parties.iter().filter(|it| takes_part(&it.member)) {
            let consents = consenting.contains(&party.uid());
            let status = party.member.status();
            if party.is_counted() {
                let may_be_out = !is_certain && consents && status == Status::Leaving;
                tally.add(!may_be_out, consents && !may_be_out, true);
            } else if party.may_be_counted() {
                tally.add(!is_certain && !consents, false, !is_certain);
            } else if status == Status::Down {
                tally.add(true, false, true);
            }
        }
        tally
    }
}

/// Who consents, in the worst case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that count and consent.
    pub consenting: usize,
    /// Those that count.
    pub counted: usize,
    /// Those that count in the largest of all cases.
    pub counted_max: usize,
    /// Whether the first by address of those that count consents.
    pub has_first: bool,
}

impl Tally {
    fn add(&mut self, counts: bool, consents: bool, may_count: bool) {
        if counts && self.counted == 0 {
            self.has_first = consents;
        }
        self.counted += usize::from(counts);
        self.consenting += usize::from(consents);
        self.counted_max += usize::from(may_count);
    }

    /// Whether more than half consent, or half of them, the first by address among them: two of
    /// these always have somebody in common.
    pub fn is_majority(&self) -> bool {
        let twice = 2 * self.consenting;
        twice > self.counted || (twice == self.counted && self.has_first)
    }
}
