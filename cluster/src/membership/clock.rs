//! Which version of the cluster's state is later: a version vector over the members.
//!
//! Source: Parker et al., "Detection of Mutual Inconsistency in Distributed Systems" (1983).

use std::collections::BTreeMap;

use ringmesh_proto::address::Uid;

/// How many changes each member has made, as far as an observer knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(BTreeMap<Uid, u64>);

/// How two versions are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Same,
    /// This one is part of the other's past.
    Before,
    /// The other one is part of this one's past.
    After,
    /// Each has changes that the other lacks.
    Concurrent,
}

impl VersionVector {
    /// Notes a change by a member.
    pub fn bump(&mut self, by: Uid) {
        let changes = self.0.entry(by).or_default();
        *changes = changes.saturating_add(1);
    }

    /// The changes of a member.
    pub fn of(&self, uid: Uid) -> u64 {
        self.0.get(&uid).copied().unwrap_or(0)
    }

    /// How this version is related to another.
    pub fn relation(&self, other: &Self) -> Relation {
        let exceeds = |a: &Self, b: &Self| a.0.iter().any(|(uid, it)| *it > b.of(*uid));
        match (exceeds(self, other), exceeds(other, self)) {
            (false, false) => Relation::Same,
            (false, true) => Relation::Before,
            (true, false) => Relation::After,
            (true, true) => Relation::Concurrent,
        }
    }

    /// Takes over the changes the other one knows of.
    pub fn merge(&mut self, other: &Self) {
        for (uid, theirs) in &other.0 {
            let mine = self.0.entry(*uid).or_default();
            *mine = (*mine).max(*theirs);
        }
    }

    /// Forgets the changes of whoever `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(Uid) -> bool) {
        self.0.retain(|uid, _| keep(*uid));
    }

    /// Its entries, by process start.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Uid, u64)> {
        self.0.iter().map(|(uid, changes)| (*uid, *changes))
    }
}

impl FromIterator<(Uid, u64)> for VersionVector {
    fn from_iter<T: IntoIterator<Item = (Uid, u64)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vectors() -> impl Strategy<Value = VersionVector> {
        let entries = proptest::collection::btree_map(1_u64..5, 1_u64..4, 0..4);
        entries.prop_map(|entries| {
            let uid = |value| Uid::new(value).expect("not zero");
            entries.into_iter().map(|(it, n)| (uid(it), n)).collect()
        })
    }

    fn merged(a: &VersionVector, b: &VersionVector) -> VersionVector {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #[test]
        fn a_merge_is_the_least_version_that_has_both_pasts(a in vectors(), b in vectors()) {
            let both = merged(&a, &b);
            prop_assert_eq!(&both, &merged(&b, &a));
            for it in [&a, &b] {
                let relation = it.relation(&both);
                prop_assert!(matches!(relation, Relation::Same | Relation::Before));
            }
            if a.relation(&b) == Relation::Before {
                prop_assert_eq!(&both, &b);
            }
        }

        #[test]
        fn the_other_way_round_the_relation_turns_round(a in vectors(), b in vectors()) {
            let turned = match b.relation(&a) {
                Relation::Before => Relation::After,
                Relation::After => Relation::Before,
                same => same,
            };
            prop_assert_eq!(a.relation(&b), turned);
        }

        #[test]
        fn a_change_comes_after(a in vectors(), by in 1_u64..5) {
            let mut later = a.clone();
            later.bump(Uid::new(by).expect("not zero"));
            prop_assert_eq!(later.relation(&a), Relation::After);
        }
    }
}
