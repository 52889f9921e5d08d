//! Who watches whom between data centres: the oldest members of each those of every other.
//!
//! They are more patient than the ring, and what they say keeps nobody waiting. Source: Akka
//! Cluster, whose members once active here never rest again, and stop watching the wrong ones.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::NodeId;

use super::subject::Subject;
use crate::detector::Judge;
use crate::membership::{Gossip, Member, Status};

/// So many of each data centre.
pub const BRIDGES: usize = 5;

/// A heartbeat goes there with every so many-th of the ring.
pub(super) const EVERY: u32 = 3;

/// How long one may be silent: three of the ring's intervals and a pause of ten seconds.
const SILENCE: Duration = Duration::from_secs(13);

/// Whom `own` watches in other data centres.
pub(super) fn subjects_of(view: &Gossip, own: &Member) -> Vec<NodeId> {
    let mut oldest: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    let is_fit = |it: &&Member| it.up_number().is_given() && it.status() != Status::Down;
    for member in view.members().filter(is_fit) {
        oldest
            .entry(member.roles().data_centre())
            .or_default()
            .push(member);
    }
    for members in oldest.values_mut() {
        members.sort_by(|a, b| a.by_age(b));
        members.truncate(BRIDGES);
    }
    let here = oldest.remove(own.roles().data_centre()).unwrap_or_default();
    if !here.iter().any(|it| it.uid() == own.uid()) {
        return Vec::new();
    }
    let others = oldest.into_values().flatten();
    others.map(|it| it.node().clone()).collect()
}

pub(super) fn subject(node: NodeId) -> Subject {
    let mut subject = Subject::new(node, &Judge::Deadline { silence: SILENCE });
    subject.is_far = true;
    subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::{View, uid};

    /// Eight members here, and seven in the east.
    fn view() -> View {
        let here: Vec<_> = (1..=8).map(|it| (it, Status::Up)).collect();
        let mut view = View::of(&here);
        (11..=17).for_each(|it| view.add_in("east", it, Status::Up));
        view
    }

    fn subjects(view: &View, own: u64) -> Vec<u64> {
        let own = view.gossip().member(uid(own)).expect("a member");
        let subjects = subjects_of(view.gossip(), own);
        subjects.into_iter().map(|it| it.uid.as_u64()).collect()
    }

    #[test]
    fn one_over_the_bridges_neither_watches_nor_is_watched() {
        let view = view();
        for own in 1..=8 {
            let expected: &[u64] = if own <= 5 { &[11, 12, 13, 14, 15] } else { &[] };
            assert_eq!(subjects(&view, own), expected);
        }
    }

    #[test]
    fn who_goes_is_followed_by_the_next_oldest_on_both_sides() {
        let mut view = view();
        view.set(2, Status::Down);
        view.set(13, Status::Down);
        assert_eq!(subjects(&view, 6), [11, 12, 14, 15, 16]);
        assert_eq!(subjects(&view, 16), [1, 3, 4, 5, 6]);
    }

    #[test]
    fn who_was_never_up_is_no_bridge() {
        let mut view = View::of(&[(1, Status::Up)]);
        view.add_in("east", 11, Status::Joining);
        view.add_in("west", 12, Status::Up);
        assert_eq!(subjects(&view, 1), [12]);
        assert_eq!(subjects(&view, 11), [] as [u64; 0]);
    }
}
