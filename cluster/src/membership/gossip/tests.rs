//! The laws of merging, by views that are changed at random on several nodes.

use proptest::prelude::*;

use super::*;
use crate::lease::Token;
use crate::membership::UpNumber;
use crate::membership::reachability::{Reason, Record};
use crate::membership::testing::{View, member, uid};

/// A change that a node makes to its own view.
#[derive(Clone, Debug)]
enum Change {
    Admit(u64),
    Move(u64, Status),
    Resign(u64),
    GiveUp(u64),
    Up(u64, u32),
    Accuse(u64, Reason),
    Clear(u64),
    Remove(u64),
    Note(u64),
    /// Takes over the view of another node.
    Take(usize),
}

fn changes() -> impl Strategy<Value = Change> {
    let status = proptest::sample::select(&Status::ALL[..7]);
    let reason = (1_u8..=4).prop_map(|number| Reason::from_wire(number).expect("a reason"));
    prop_oneof![
        (4_u64..9).prop_map(Change::Admit),
        (1_u64..9, status).prop_map(|(number, status)| Change::Move(number, status)),
        (1_u64..9).prop_map(Change::Resign),
        (1_u64..9).prop_map(Change::GiveUp),
        (1_u64..9, 1_u32..9).prop_map(|(number, up)| Change::Up(number, up)),
        (1_u64..9, reason).prop_map(|(number, reason)| Change::Accuse(number, reason)),
        (1_u64..9).prop_map(Change::Clear),
        (4_u64..9).prop_map(Change::Remove),
        (1_u64..9).prop_map(Change::Note),
        (0_usize..3).prop_map(Change::Take),
    ]
}

/// The views of the members 1 to 3, who found a cluster together and are never removed.
fn views(changes: Vec<(usize, Change)>) -> Vec<Gossip> {
    let founded = View::of(&[(1, Status::Up), (2, Status::Up), (3, Status::Up)]);
    let mut views = vec![founded.gossip().clone(); 3];
    for (at, change) in changes {
        let own = uid(at as u64 + 1);
        if let Change::Take(from) = change {
            let theirs = views[from].clone();
            views[at].merge(&theirs).expect("of one cluster");
            views[at].see(own);
        } else if apply(&mut views[at], own, &change) {
            views[at].touch(own);
        }
        assert_eq!(views[at].check(), Ok(()));
    }
    views
}

fn apply(view: &mut Gossip, own: Uid, change: &Change) -> bool {
    match *change {
        Change::Admit(number) => view.admit(member(number, "x", Status::Joining)) == Ok(true),
        Change::Move(number, status) => {
            let member = view.member_mut(uid(number));
            let member = member.filter(|it| it.status().may_become(status));
            member.map(|it| it.become_next(status)).is_some()
        }
        Change::Resign(number) => view.resign(uid(number)),
        Change::GiveUp(number) => view.give_up(uid(number)),
        Change::Up(number, up) => {
            let member = view.member_mut(uid(number));
            let member = member.filter(|it| it.status().may_become(Status::Up));
            member.map(|it| it.become_up(UpNumber(up))).is_some()
        }
        Change::Accuse(number, reason) => {
            let witnesses = Vec::new();
            let record = Record { reason, witnesses };
            let is_member = view.member(uid(number)).is_some();
            is_member && view.reachability_mut().accuse(own, uid(number), record)
        }
        Change::Clear(number) => view.reachability_mut().clear(own, uid(number)),
        Change::Remove(number) => view.remove(Instant::ZERO, uid(number)).is_some(),
        Change::Note(number) => {
            let (token, holder) = (Token(number), Some(own));
            view.note_warrant("default", Warrant { token, holder })
        }
        Change::Take(_) => unreachable!("taken before"),
    }
}

fn merged(a: &Gossip, b: &Gossip) -> Gossip {
    let mut both = a.clone();
    both.merge(b).expect("of one cluster");
    both
}

/// All but who has seen it.
fn content(view: &Gossip) -> Gossip {
    let mut view = view.clone();
    view.seen.clear();
    view
}

fn histories() -> impl Strategy<Value = Vec<Gossip>> {
    proptest::collection::vec((0_usize..3, changes()), 0..40).prop_map(views)
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(views in histories()) {
        let [a, b, c] = &views[..] else { unreachable!("three views") };
        prop_assert_eq!(merged(a, b), merged(b, a));
        let (left, right) = (merged(&merged(a, b), c), merged(a, &merged(b, c)));
        prop_assert_eq!(content(&left), content(&right));
        prop_assert_eq!(&merged(a, a), a);
        prop_assert_eq!(content(&merged(&left, a)), content(&left));
    }

    #[test]
    fn equal_versions_are_equal_views(views in histories()) {
        for a in &views {
            for b in &views {
                if a.relation(b) == Relation::Same && a.tombstones.len() == b.tombstones.len() {
                    prop_assert_eq!(content(a), content(b));
                }
            }
        }
    }

    #[test]
    fn nothing_falls_back_in_a_merge(views in histories()) {
        let both = merged(&views[0], &views[1]);
        for view in &views[..2] {
            prop_assert_ne!(view.relation(&both), Relation::After);
            prop_assert_ne!(view.relation(&both), Relation::Concurrent);
            for before in view.members() {
                match both.member(before.uid()) {
                    Some(after) => {
                        prop_assert!(after.status() >= before.status());
                        prop_assert!(after.up_number() <= before.up_number());
                    }
                    None => prop_assert!(both.tombstone(before.uid()).is_some()),
                }
            }
            for (uid, _) in view.tombstones() {
                prop_assert!(both.member(uid).is_none());
            }
        }
    }

    /// `n in seen(v)` means that n held a version at or behind v.
    #[test]
    fn whoever_is_said_to_have_seen_a_version_holds_it(views in histories()) {
        for view in &views {
            for seen in &view.seen {
                let holder = &views[usize::try_from(seen.as_u64()).unwrap() - 1];
                let relation = view.relation(holder);
                prop_assert!(matches!(relation, Relation::Same | Relation::Before));
            }
        }
    }
}

#[test]
fn a_view_of_another_cluster_is_refused_and_changes_nothing() {
    let ours = View::of(&[(1, Status::Up)]);
    let theirs = Gossip::founded(ClusterId(8), member(2, "x", Status::Up));
    let mut merged = ours.gossip().clone();
    assert_eq!(merged.merge(&theirs), Err(GossipError::Foreign));
    assert_eq!(&merged, ours.gossip());
}

#[test]
fn whoever_was_removed_never_comes_back_by_an_older_view() {
    let mut view = View::of(&[(1, Status::Up), (2, Status::Down)]);
    let older = view.gossip().clone();
    let gossip = view.gossip_mut();
    let removed = gossip.remove(Instant::ZERO, uid(2)).unwrap();
    gossip.touch(uid(1));
    assert_eq!(removed.status(), Status::Down);
    assert_eq!(gossip.merge(&older), Ok(Relation::After));
    assert!(gossip.member(uid(2)).is_none());
    let again = gossip.admit(member(2, "x", Status::Joining));
    assert_eq!(again, Err(GossipError::Removed));
    assert_eq!(gossip.tombstone(uid(2)).unwrap().previous, Status::Down);
}

#[test]
fn a_tombstone_is_forgotten_after_its_age() {
    let mut view = View::of(&[(1, Status::Up), (2, Status::Down)]);
    let gossip = view.gossip_mut();
    gossip.remove(Instant::ZERO, uid(2));
    let nearly = Instant::ZERO + (TOMBSTONE_AGE - Duration::from_nanos(1));
    assert_eq!(gossip.prune(nearly), 0);
    assert_eq!(gossip.prune(Instant::ZERO + TOMBSTONE_AGE), 1);
    assert!(gossip.tombstone(uid(2)).is_none());
}

#[test]
fn one_over_the_members_max_is_refused_in_joining_and_in_a_merge() {
    let full = |first: u64| {
        let mut view = View::of(&[(first, Status::Up)]);
        for number in 1..MEMBERS_MAX as u64 {
            view.add_in("x", first + number, Status::Joining);
        }
        view
    };
    let mut view = full(1);
    let gossip = view.gossip_mut();
    let newcomer = member(9000, "x", Status::Joining);
    assert_eq!(gossip.admit(newcomer), Err(GossipError::TooMany));
    let other = View::of(&[(9000, Status::Up)]);
    assert_eq!(gossip.merge(other.gossip()), Err(GossipError::TooMany));
    assert_eq!(gossip.members().len(), MEMBERS_MAX);
    gossip.remove(Instant::ZERO, uid(1));
    assert!(gossip.merge(other.gossip()).is_ok());
    assert_eq!(gossip.members().len(), MEMBERS_MAX);
}

#[test]
fn one_over_the_tombstones_max_takes_the_place_of_the_oldest() {
    let mut view = View::of(&[(1, Status::Up)]);
    for number in 0..=TOMBSTONES_MAX as u64 {
        view.add_in("x", 2 + number, Status::Down);
        let now = Instant::from_nanos(number);
        view.gossip_mut().remove(now, uid(2 + number));
    }
    let gossip = view.gossip();
    assert_eq!(gossip.tombstones().len(), TOMBSTONES_MAX);
    assert!(gossip.tombstone(uid(2)).is_none());
    assert!(gossip.tombstone(uid(3)).is_some());
}

fn warrant(number: u64) -> Warrant {
    let (token, holder) = (Token(number), None);
    Warrant { token, holder }
}

#[test]
fn one_over_the_warrants_max_is_not_noted_nor_merged_nor_in_any_view() {
    let mut all = View::of(&[(1, Status::Up)]);
    let names: Vec<String> = (0..=WARRANTS_MAX).map(|it| it.to_string()).collect();
    for (name, number) in names.iter().zip(2..) {
        all.add_in(name, number, Status::Up);
    }
    let of = |names: &[String]| {
        let mut view = all.gossip().clone();
        names
            .iter()
            .for_each(|name| assert!(view.note_warrant(name, warrant(7))));
        view
    };
    let mut view = of(&names[..WARRANTS_MAX]);
    let over = &*names[WARRANTS_MAX];
    assert!(!view.note_warrant(over, warrant(8)));
    assert!(view.note_warrant("0", warrant(8)), "a later one");
    assert_eq!(view.check(), Ok(()));
    let other = of(&names[1..]);
    assert_eq!(view.merge(&other), Err(GossipError::TooMany));
    // There is room where a data centre is gone.
    let mut fewer = view.clone();
    fewer.remove(Instant::ZERO, uid(2));
    assert!(fewer.merge(&other).is_ok());
    assert_eq!(fewer.warrants.len(), WARRANTS_MAX);
    view.warrants.insert(over.into(), warrant(8));
    assert_eq!(view.check(), Err(GossipError::TooMany));
}

#[test]
fn a_data_centre_without_a_member_has_no_lease() {
    let mut view = View::of(&[(1, Status::Up)]);
    assert!(!view.gossip_mut().note_warrant("x", warrant(7)));
    view.add_in("x", 2, Status::Down);
    view.add_in("x", 3, Status::Down);
    let gossip = view.gossip_mut();
    assert!(gossip.note_warrant("x", warrant(7)));
    let before = gossip.clone();
    gossip.remove(Instant::ZERO, uid(2));
    assert_eq!(gossip.warrant("x"), Some(warrant(7)), "one is left");
    gossip.remove(Instant::ZERO, uid(3));
    assert_eq!(gossip.warrant("x"), None);
    // An older view does not bring it back, and takes it over that it is gone.
    assert_eq!(merged(gossip, &before).warrant("x"), None);
    assert_eq!(merged(&before, gossip).warrant("x"), None);
}

#[test]
fn names_of_strangers_and_of_the_dead_make_no_view() {
    let view = View::of(&[(1, Status::Up), (2, Status::Down)]);
    let gossip = view.gossip();
    assert_eq!(gossip.check(), Ok(()));
    let mut strange = gossip.clone();
    strange.seen.insert(uid(5));
    assert_eq!(strange.check(), Err(GossipError::Stranger));
    let mut strange = gossip.clone();
    strange.version.bump(uid(5));
    assert_eq!(strange.check(), Err(GossipError::Stranger));
    let mut dead = gossip.clone();
    let tombstone = Tombstone {
        previous: Status::Down,
        since: Instant::ZERO,
    };
    dead.tombstones.insert(uid(2), tombstone);
    assert_eq!(dead.check(), Err(GossipError::Removed));
}
