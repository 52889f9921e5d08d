//! Who watches whom: the members of a data centre in a ring, each watching those behind it.
//!
//! All members with one view compute the same. A member in the walk that somebody cannot reach is
//! watched too, but takes no place: so whoever is left is still watched by as many when many go at
//! once. Source: Akka Cluster's heartbeat ring.

use ringmesh_proto::address::{NodeId, Uid};

use crate::membership::Status;
use crate::membership::convergence::Part;

/// How many members that can be reached each member watches.
pub const SUBJECTS: usize = 9;

/// A member's place in the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    key: u64,
    pub(super) node: NodeId,
    pub(super) status: Status,
    /// Whether somebody cannot reach it.
    is_unreachable: bool,
}

/// The members of a data centre, in the order in which they watch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(Vec<Spot>);

impl Ring {
    /// The ring of a data centre.
    pub fn of(part: &Part<'_>) -> Self {
        let spots = part.members().map(|member| Spot {
            key: scattered(member.uid()),
            node: member.node().clone(),
            status: member.status(),
            is_unreachable: !part.is_reachable(member.uid()),
        });
        let mut spots: Vec<Spot> = spots.collect();
        spots.sort_unstable_by_key(|spot| spot.key);
        Self(spots)
    }

    /// Whom `observer` watches.
    pub fn subjects_of(&self, observer: Uid) -> Vec<Uid> {
        let spots = self.walk(observer, |_| false);
        spots.map(|spot| spot.node.uid).collect()
    }

    /// Who watches `subject`, by process start.
    pub fn observers_of(&self, subject: Uid) -> Vec<Uid> {
        let uids = self.0.iter().map(|spot| spot.node.uid);
        let watches = |observer: &Uid| {
            let mut walk = self.walk(*observer, |_| false);
            walk.any(|spot| spot.node.uid == subject)
        };
        let mut observers: Vec<Uid> = uids.filter(watches).collect();
        observers.sort_unstable();
        observers
    }

    /// The members behind `observer`, as far as it watches them. Those that `is_spare` names take
    /// no place either.
    pub(super) fn walk(
        &self,
        observer: Uid,
        is_spare: impl Fn(Uid) -> bool,
    ) -> impl Iterator<Item = &Spot> {
        let start = self
            .0
            .binary_search_by_key(&scattered(observer), |it| it.key);
        let (front, behind) = match start {
            Ok(at) => (&self.0[..at], &self.0[at + 1..]),
            Err(_) => (&self.0[..0], &self.0[..0]),
        };
        let (mut counted, mut taken) = (0, 0);
        let around = behind.iter().chain(front);
        around.filter(move |spot| {
            let is_free = spot.is_unreachable || is_spare(spot.node.uid);
            let is_wanted = counted < SUBJECTS && (!is_free || taken < SUBJECTS);
            counted += usize::from(is_wanted && !is_free);
            taken += usize::from(is_wanted);
            is_wanted
        })
    }

    pub(super) fn spot(&self, uid: Uid) -> Option<&Spot> {
        let at = self.0.binary_search_by_key(&scattered(uid), |it| it.key);
        at.ok().map(|at| &self.0[at])
    }
}

/// A number that has nothing to do with when or where a process was started, each for one process
/// start alone: the finaliser of splitmix64, which is a bijection.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn scattered(uid: Uid) -> u64 {
    let mut bits = uid.as_u64();
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::reachability::Reason;
    use crate::membership::testing::{View, uid};

    fn view(members: u64) -> View {
        let members: Vec<_> = (1..=members).map(|number| (number, Status::Up)).collect();
        View::of(&members)
    }

    fn ring(view: &View) -> Ring {
        Ring::of(&Part::new(view.gossip(), "default"))
    }

    #[test]
    fn in_a_small_cluster_all_watch_all_others() {
        let ring = ring(&view(10));
        for number in 1..=10 {
            let mut subjects = ring.subjects_of(uid(number));
            subjects.sort_unstable();
            let others = (1..=10).filter(|it| *it != number).map(uid);
            assert!(subjects.iter().copied().eq(others.clone()));
            assert!(ring.observers_of(uid(number)).into_iter().eq(others));
        }
    }

    #[test]
    fn in_a_large_one_each_watches_nine_and_is_watched_by_nine() {
        let ring = ring(&view(60));
        for number in 1..=60 {
            assert_eq!(ring.subjects_of(uid(number)).len(), SUBJECTS);
            assert_eq!(ring.observers_of(uid(number)).len(), SUBJECTS);
        }
    }

    #[test]
    fn who_is_not_in_it_watches_nobody_and_is_watched_by_nobody() {
        let mut view = view(3);
        view.add_in("east", 9, Status::Up);
        let ring = ring(&view);
        for stranger in [8, 9] {
            assert_eq!(ring.subjects_of(uid(stranger)), []);
            assert_eq!(ring.observers_of(uid(stranger)), []);
        }
    }

    /// One over the nine: those that cannot be reached are watched beside them, but are nine
    /// themselves at most.
    #[test]
    fn one_over_the_subjects_is_watched_only_if_others_cannot_be_reached() {
        let mut view = view(40);
        let before = ring(&view).subjects_of(uid(1));
        let accused = |count| before.iter().take(count).copied();
        for (count, expected) in [(1, SUBJECTS + 1), (SUBJECTS, 2 * SUBJECTS)] {
            for subject in accused(count) {
                view.accuse(2, subject.as_u64(), Reason::Silence);
            }
            let after = ring(&view).subjects_of(uid(1));
            assert_eq!(after.len(), expected);
            assert_eq!(after[..SUBJECTS], before[..]);
        }
        // The tenth in the walk takes no place, and there is none for it.
        let tenth = ring(&view).subjects_of(uid(1))[SUBJECTS];
        view.accuse(2, tenth.as_u64(), Reason::Silence);
        let after = ring(&view).subjects_of(uid(1));
        assert_eq!(after.len(), 2 * SUBJECTS);
        assert!(!after.contains(&tenth));
    }

    #[test]
    fn whoever_stalls_is_made_up_for_by_one_more_observer_of_each_it_watches() {
        let ring = ring(&view(40));
        let stalling = uid(7);
        for subject in ring.subjects_of(stalling) {
            let watches = |observer: &u64, spares: bool| {
                let mut walk = ring.walk(uid(*observer), |it| spares && it == stalling);
                walk.any(|spot| spot.node.uid == subject)
            };
            let fit = |spares| (1..=40).filter(move |it| *it != 7 && watches(it, spares));
            assert_eq!(fit(false).count(), SUBJECTS - 1);
            assert_eq!(fit(true).count(), SUBJECTS);
        }
    }
}
