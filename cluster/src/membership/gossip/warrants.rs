//! The leases that a view names, by which data centres decide.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_proto::address::Uid;

use super::{Gossip, GossipError};
use crate::lease::Token;
use crate::membership::clock::Relation;
use crate::membership::member::Member;

/// The lease that the members of a data centre knew of last: by it some of them went on without
/// others, or nobody did.
///
/// Whatever was decided by this lease and by all that were given out before it is in the view that
/// names it. So whoever is given the next one knows what it follows upon; and if others had one in
/// between, that there may be something it does not know.
///
/// A member notes that of its own data centre alone, and is believed by others only in what it says
/// of that one: so no member of another can have it that a lease was given out which was not. What
/// others pass on does not count, so views of one version may differ in it; nobody but that data
/// centre goes by it. With its last member a data centre loses it: whoever joins it later looks the
/// last token up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warrant {
    /// Its token.
    pub token: Token,
    /// Who went on by it, and may have it still; `None` if nobody did, and it was given back.
    pub holder: Option<Uid>,
}

/// The most data centres whose members decide by leases.
pub const WARRANTS_MAX: usize = 256;

impl Gossip {
    /// The last lease that the members of a data centre know of.
    pub fn warrant(&self, data_centre: &str) -> Option<Warrant> {
        self.warrants.get(data_centre).copied()
    }

    /// All of them, by data centre.
    pub(in super::super) fn warrants(&self) -> impl ExactSizeIterator<Item = (&str, Warrant)> {
        self.warrants.iter().map(|(name, it)| (&**name, *it))
    }

    /// The members of a data centre know of that lease; [`touch`](Self::touch) afterwards. Says
    /// whether that is news: it is later than the one before, and if there was none, the data
    /// centre has a member and there is room.
    pub fn note_warrant(&mut self, data_centre: &str, warrant: Warrant) -> bool {
        let is_full = self.warrants.len() >= WARRANTS_MAX;
        let is_news = match self.warrants.get(data_centre) {
            Some(known) => *known < warrant,
            None => !is_full && self.data_centres().contains(data_centre),
        };
        if is_news {
            self.warrants.insert(data_centre.into(), warrant);
        }
        is_news
    }

    /// Those that have a member.
    fn data_centres(&self) -> BTreeSet<&str> {
        self.members().map(|it| it.roles().data_centre()).collect()
    }

    /// [Merges](Self::merge) the view that a member of a data centre told: of leases, that of its
    /// own data centre counts, and what it says of those of others does not.
    ///
    /// # Errors
    /// Those of [`merge`](Self::merge).
    pub fn merge_told(&mut self, other: &Self, data_centre: &str) -> Result<Relation, GossipError> {
        let warrants = self.merged_warrants(other, |name| name == data_centre);
        self.merge_all_but(other, warrants)
    }

    /// It is the view that a member of a data centre told: what it says of leases of others does
    /// not count.
    pub(in super::super) fn keep_told(&mut self, data_centre: &str) {
        self.warrants.retain(|name, _| **name == *data_centre);
    }

    /// The later one of each data centre that has a member behind a merge, as far as the other
    /// view counts for it.
    pub(super) fn merged_warrants(
        &self,
        other: &Self,
        counts: impl Fn(&str) -> bool,
    ) -> BTreeMap<Box<str>, Warrant> {
        let mut merged = self.warrants.clone();
        for (name, theirs) in other.warrants.iter().filter(|it| counts(it.0)) {
            let mine = merged.entry(name.clone()).or_insert(*theirs);
            *mine = (*mine).max(*theirs);
        }
        if !merged.is_empty() {
            let is_there = |it: &&Member| {
                let is_gone = |view: &Self| view.tombstones.contains_key(&it.uid());
                !is_gone(self) && !is_gone(other)
            };
            let members = self.members().chain(other.members()).filter(is_there);
            let living: BTreeSet<&str> = members.map(|it| it.roles().data_centre()).collect();
            merged.retain(|name, _| living.contains(&**name));
        }
        merged
    }

    pub(super) fn drop_warrants(&mut self) {
        let mut warrants = std::mem::take(&mut self.warrants);
        let living = self.data_centres();
        warrants.retain(|name, _| living.contains(&**name));
        self.warrants = warrants;
    }
}
