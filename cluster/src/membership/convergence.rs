//! Whether all members that count hold one view, and who leads them.
//!
//! There is no election: everybody computes the leader from the view, and two members with one view
//! compute the same. Only in a converged view may it act on what needs the others' knowledge.

use std::collections::BTreeSet;

use ringmesh_proto::address::Uid;

use super::gossip::Gossip;
use super::member::Member;
use super::reachability::Record;
use super::status::Status;

/// Why a view is not converged. Empty: it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blockers {
    /// Members that decide, or that enter at an address where another one is, and are not known to
    /// hold this version.
    pub not_seen: Vec<Uid>,
    /// Members that somebody cannot reach and that nobody gave up, each with who says so. Of one
    /// that resigned nobody has to.
    pub unreachable: Vec<(Uid, Vec<Uid>)>,
}

impl Blockers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.not_seen.is_empty() && self.unreachable.is_empty()
    }
}

/// A data centre's part of a view.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    gossip: &'a Gossip,
    data_centre: &'a str,
}

impl<'a> Part<'a> {
    /// The part of `data_centre`.
    pub fn new(gossip: &'a Gossip, data_centre: &'a str) -> Self {
        Self {
            gossip,
            data_centre,
        }
    }

    /// Its name.
    pub fn data_centre(&self) -> &'a str {
        self.data_centre
    }

    /// Whoever is said to be unreachable by those whose word counts.
    pub fn accused(&self) -> BTreeSet<Uid> {
        let records = self.gossip.reachability().records();
        let heeded = records.filter(|(observer, _, _)| self.is_heeded(*observer));
        heeded.map(|(_, subject, _)| subject).collect()
    }

    /// The members of this data centre, by process start.
    pub fn members(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let data_centre = self.data_centre;
        let members = self.gossip.members();
        members.filter(move |it| it.roles().data_centre() == data_centre)
    }

    /// Who says that a member cannot be reached, as far as it counts: not those that were given up,
    /// nor those of other data centres.
    pub fn accusers(&self, subject: Uid) -> impl Iterator<Item = (Uid, &'a Record)> {
        let part = *self;
        let records = self.gossip.reachability().observers_of(subject);
        records.filter(move |(observer, _)| part.is_heeded(*observer))
    }

    /// Whether everybody whose word counts reaches the member.
    pub fn is_reachable(&self, subject: Uid) -> bool {
        self.accusers(subject).next().is_none()
    }

    fn is_heeded(&self, observer: Uid) -> bool {
        let is_heeded = |it: &Member| {
            it.status() != Status::Down && it.roles().data_centre() == self.data_centre
        };
        self.gossip.member(observer).is_some_and(is_heeded)
    }

    /// What keeps the view from being converged. Whoever is in `confirmed` said that it is ready to
    /// be removed, and is waited for no more.
    pub fn blockers(&self, confirmed: &BTreeSet<Uid>) -> Blockers {
        let counting = || self.members().filter(|it| !confirmed.contains(&it.uid()));
        let counts = |it: &Member| it.status().is_deciding() || self.is_doubled(it);
        let unseen = |it: &&Member| !self.gossip.is_seen_by(it.uid()) && counts(it);
        let accused = self.accused();
        let is_lost = |it: &&Member| {
            let is_accused = !it.status().is_departing() && accused.contains(&it.uid());
            is_accused || self.gossip.has_resigned(it.uid())
        };
        let unreachable = counting().filter(is_lost);
        let unreachable = unreachable.map(|it| {
            let has_resigned = self.gossip.has_resigned(it.uid());
            let observers = self.accusers(it.uid()).filter(|_| !has_resigned);
            (it.uid(), observers.map(|(uid, _)| uid).collect())
        });
        Blockers {
            not_seen: counting().filter(unseen).map(Member::uid).collect(),
            unreachable: unreachable.collect(),
        }
    }

    /// Whether another one that has not begun to go is at the address of one that enters: one of
    /// them is not there, whom somebody let in that was cut off from the others. It is waited for
    /// until it is given up.
    fn is_doubled(&self, member: &Member) -> bool {
        let is_other = |it: &Member| {
            let is_there = it.status() < Status::Leaving && it.address() == member.address();
            is_there && it.uid() != member.uid()
        };
        member.status().is_entering() && self.members().any(is_other)
    }

    /// The leader as `own` sees it: of those it counts as reachable, and itself, the first by
    /// address among the members in full; without one, whoever is nearest to being one.
    pub fn leader(&self, own: Uid) -> Option<&'a Member> {
        leader_among(self.members(), own, &self.accused(), |_| true)
    }

    /// The leader among those with a role.
    pub fn role_leader(&self, own: Uid, role: &str) -> Option<&'a Member> {
        let has_role = |it: &Member| it.roles().has(role);
        leader_among(self.members(), own, &self.accused(), has_role)
    }
}

/// How near a member is to being one that leads: the lower, the nearer.
pub(super) fn leader_rank(member: &Member) -> u8 {
    match member.status() {
        status if status.is_deciding() => 0,
        Status::WeaklyUp => 1,
        Status::Joining => 2,
        _ => 3,
    }
}

/// The leader of those of `members` that take part, as `own` sees it, who counts itself as there.
pub(super) fn leader_among<'a>(
    members: impl Iterator<Item = &'a Member>,
    own: Uid,
    accused: &BTreeSet<Uid>,
    takes_part: impl Fn(&Member) -> bool,
) -> Option<&'a Member> {
    let is_fit = |it: &&Member| {
        let is_there = it.uid() == own || !accused.contains(&it.uid());
        it.status() != Status::Down && is_there && takes_part(it)
    };
    let fit = members.filter(is_fit);
    fit.min_by(|a, b| {
        leader_rank(a)
            .cmp(&leader_rank(b))
            .then_with(|| a.by_address(b))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{View, node, profile, uid};
    use super::*;
    use crate::membership::member::UpNumber;
    use crate::membership::reachability::Reason;

    fn blockers(view: &View) -> Blockers {
        Part::new(view.gossip(), "default").blockers(&BTreeSet::new())
    }

    #[test]
    fn whoever_decides_has_to_have_seen_it() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Leaving), (3, Status::Joining)]);
        assert_eq!(blockers(&view).not_seen, [uid(2)]);
        view.see(2);
        assert!(blockers(&view).is_empty());
    }

    #[test]
    fn of_two_at_one_address_each_has_to_have_seen_it_until_one_of_them_goes() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::WeaklyUp)]);
        view.see(1);
        assert!(blockers(&view).is_empty());
        let mut ghost = profile(9, "default").as_ref().clone();
        ghost.node.address = node(2).address;
        let ghost = Member::new(ghost.into(), Status::Joining, UpNumber::NONE);
        assert_eq!(view.gossip_mut().admit(ghost), Ok(true));
        view.see(1);
        view.see(2);
        assert_eq!(blockers(&view).not_seen, [uid(9)]);
        view.set(9, Status::Down);
        view.see(1);
        assert!(blockers(&view).is_empty());
    }

    #[test]
    fn a_member_that_somebody_cannot_reach_blocks_until_it_was_given_up() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up), (3, Status::Joining)]);
        view.accuse(2, 3, Reason::Silence);
        view.see(1);
        view.see(2);
        assert_eq!(blockers(&view).unreachable, [(uid(3), vec![uid(2)])]);
        view.set(3, Status::Down);
        assert!(blockers(&view).is_empty());
    }

    #[test]
    fn whoever_resigned_is_lost_until_it_was_given_up() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up)]);
        view.resign(2);
        view.see(1);
        assert_eq!(blockers(&view).unreachable, [(uid(2), vec![])]);
        view.set(2, Status::Down);
        assert!(blockers(&view).is_empty());
    }

    #[test]
    fn whoever_was_given_up_has_no_say_and_is_not_waited_for() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up), (3, Status::Down)]);
        view.accuse(3, 1, Reason::Silence);
        view.see(1);
        view.see(2);
        assert!(blockers(&view).is_empty());
        assert!(Part::new(view.gossip(), "default").is_reachable(uid(1)));
    }

    #[test]
    fn whoever_confirmed_its_exit_is_not_waited_for() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Leaving)]);
        view.accuse(1, 2, Reason::Silence);
        view.see(1);
        let confirmed = BTreeSet::from([uid(2)]);
        let part = Part::new(view.gossip(), "default");
        assert!(!part.blockers(&BTreeSet::new()).is_empty());
        assert!(part.blockers(&confirmed).is_empty());
    }

    #[test]
    fn the_first_by_address_leads_of_those_in_full_that_are_reached() {
        let mut view = View::of(&[(1, Status::Joining), (2, Status::Up), (3, Status::Up)]);
        let leader = |view: &View, own| {
            let part = Part::new(view.gossip(), "default");
            part.leader(uid(own)).map(Member::uid)
        };
        assert_eq!(leader(&view, 3), Some(uid(2)));
        view.accuse(3, 2, Reason::Silence);
        assert_eq!(leader(&view, 3), Some(uid(3)));
        assert_eq!(leader(&view, 2), Some(uid(2)), "nobody counts itself out");
        view.set(2, Status::Down);
        view.set(3, Status::Down);
        assert_eq!(leader(&view, 3), Some(uid(1)));
    }

    #[test]
    fn other_data_centres_neither_lead_nor_block() {
        let mut view = View::of(&[(2, Status::Up), (3, Status::Up)]);
        view.add_in("east", 1, Status::Up);
        view.accuse(1, 3, Reason::Silence);
        view.see(2);
        view.see(3);
        assert!(blockers(&view).is_empty());
        let part = Part::new(view.gossip(), "default");
        assert_eq!(part.leader(uid(3)).map(Member::uid), Some(uid(2)));
        let part = Part::new(view.gossip(), "east");
        assert_eq!(part.leader(uid(1)).map(Member::uid), Some(uid(1)));
        assert_eq!(part.blockers(&BTreeSet::new()).not_seen, [uid(1)]);
    }
}
