//! Who confirms what was registered, and when.

use std::time::Duration;

use super::world::World;
use crate::membership::Status;
use crate::membership::testing::node;
use crate::registry::limits::ACKNOWLEDGEMENTS_MAX;
use crate::registry::testing::registration;
use crate::registry::{EntryId, Extent, RegisterError};

const MILLIS: Duration = Duration::from_millis(1);

fn register(world: &mut World, at: u64) -> Result<EntryId, RegisterError> {
    let registration = registration("a", true);
    world.with(at, |it, now, out| it.register(now, registration, out))
}

fn three() -> World {
    let mut world = World::new(1, &[1, 2, 3]);
    world.run_for(MILLIS * 100);
    world
}

#[test]
fn it_is_answered_when_all_cores_of_all_have_it() {
    let mut world = three();
    let entry = register(&mut world, 1).expect("room");
    world.run_for(MILLIS * 10);
    let [answer] = &world.nodes[&1].acknowledged[..] else {
        panic!("one answer");
    };
    let mut confirmed = answer.confirmed.clone();
    confirmed.sort();
    assert_eq!(confirmed, [node(1), node(2), node(3)]);
    assert!(answer.entry == entry && answer.dropped.is_empty() && answer.missing.is_empty());
    (1..=3).for_each(|at| assert_eq!(world.found(at, "a"), [1]));
}

#[test]
fn whose_cores_do_not_apply_it_is_missing_at_the_deadline() {
    let mut world = three();
    world.nodes.get_mut(&2).expect("a node").applies = false;
    register(&mut world, 1).expect("room");
    world.run_for(MILLIS * 4_900);
    assert!(world.nodes[&1].acknowledged.is_empty());
    world.run_for(MILLIS * 200);
    let answer = &world.nodes[&1].acknowledged[0];
    assert_eq!(
        (&answer.missing[..], answer.confirmed.len()),
        (&[node(2)][..], 2)
    );
}

#[test]
fn who_is_lost_meanwhile_is_dropped_and_who_was_lost_before_is_not_waited_for() {
    let mut world = three();
    world.part(1, 3);
    world.show_all();
    world.nodes.get_mut(&2).expect("a node").applies = false;
    register(&mut world, 1).expect("room");
    world.run_for(MILLIS * 100);
    assert!(world.nodes[&1].acknowledged.is_empty());
    world.stop(2);
    world.show_all();
    world.run_for(MILLIS * 10);
    let answer = &world.nodes[&1].acknowledged[0];
    assert_eq!(answer.dropped, [node(2)]);
    assert_eq!(answer.confirmed, [node(1)]);
}

#[test]
fn what_is_lost_on_the_way_there_or_back_is_said_again() {
    for seed in 0..20 {
        let mut world = World::new(seed, &[1, 2, 3]);
        world.run_for(MILLIS * 100);
        world.loss = 50;
        register(&mut world, 1).expect("room");
        world.run_for(MILLIS * 400);
        world.loss = 0;
        world.run_for(MILLIS * 1_200);
        let answers = &world.nodes[&1].acknowledged;
        assert!(
            answers.len() == 1 && answers[0].confirmed.len() == 3,
            "{answers:?}"
        );
    }
}

#[test]
fn what_is_taken_back_is_answered_at_once() {
    let mut world = three();
    world.nodes.get_mut(&2).expect("a node").applies = false;
    let entry = register(&mut world, 1).expect("room");
    world.deregister(1, entry);
    assert_eq!(world.nodes[&1].acknowledged.len(), 1);
}

#[test]
fn one_over_the_acknowledgements_max_is_refused() {
    let mut world = three();
    world.loss = 100;
    let known = world.register(1, "a");
    for _ in 0..ACKNOWLEDGEMENTS_MAX {
        register(&mut world, 1).expect("room");
    }
    let over = register(&mut world, 1);
    assert_eq!(over, Err(RegisterError::Acknowledgements));
    let over = world.with(1, |it, now, out| {
        it.acknowledge(now, (known, 9), Extent::Quorum, out)
    });
    assert_eq!(over, Err(RegisterError::Acknowledgements));
    world.run_for(MILLIS * 5_100);
    assert_eq!(world.nodes[&1].acknowledged.len(), ACKNOWLEDGEMENTS_MAX);
    assert!(register(&mut world, 1).is_ok(), "there is room again");
}

fn acknowledge(world: &mut World, at: u64, entry: EntryId, extent: Extent) {
    let asked = world.with(at, |it, now, out| {
        it.acknowledge(now, (entry, 9), extent, out)
    });
    assert_eq!(asked, Ok(true));
}

#[test]
fn what_was_told_long_ago_is_confirmed_when_that_is_asked() {
    let mut world = three();
    let entry = world.register(1, "a");
    world.run_for(MILLIS * 100);
    for extent in [Extent::AllReachable, Extent::Quorum] {
        acknowledge(&mut world, 1, entry, extent);
        world.run_for(MILLIS * 10);
        let answers = std::mem::take(&mut world.nodes.get_mut(&1).expect("a node").acknowledged);
        assert!(answers.len() == 1 && answers[0].is_enough && answers[0].ticket == 9);
    }
    world.deregister(1, entry);
    let extent = Extent::Quorum;
    let asked = world.with(1, |it, now, out| {
        it.acknowledge(now, (entry, 9), extent, out)
    });
    assert_eq!(asked, Ok(false));
}

#[test]
fn a_quorum_needs_no_more_than_half_and_one_and_no_fewer() {
    let mut world = World::new(1, &[1, 2, 3, 4]);
    world.run_for(MILLIS * 100);
    world.nodes.get_mut(&4).expect("a node").applies = false;
    let entry = world.register(1, "a");
    acknowledge(&mut world, 1, entry, Extent::Quorum);
    world.run_for(MILLIS * 50);
    let answer = world.nodes[&1].acknowledged[0].clone();
    assert!(
        answer.is_enough && answer.confirmed.len() == 3,
        "{answer:?}"
    );
    world.part(1, 3);
    world.show_all();
    acknowledge(&mut world, 1, entry, Extent::Quorum);
    acknowledge(&mut world, 1, entry, Extent::AllReachable);
    world.run_for(MILLIS * 4_900);
    assert_eq!(
        world.nodes[&1].acknowledged.len(),
        1,
        "two of four are none"
    );
    world.nodes.get_mut(&4).expect("a node").applies = true;
    world.register(4, "b");
    world.register(1, "c");
    world.run_for(MILLIS * 50);
    let answers = &world.nodes[&1].acknowledged[1..];
    assert!(answers.len() == 2 && answers.iter().all(|it| it.is_enough));
}

#[test]
fn a_quorum_without_the_owner_is_none_before_all_its_own_cores_know() {
    let mut world = World::new(1, &[1, 2, 3, 4]);
    world.run_for(MILLIS * 100);
    world.nodes.get_mut(&1).expect("a node").applies = false;
    let entry = world.register(1, "a");
    acknowledge(&mut world, 1, entry, Extent::Quorum);
    world.run_for(MILLIS * 200);
    assert_eq!(world.nodes[&1].acknowledged, [], "all the others know");
    world.nodes.get_mut(&1).expect("a node").applies = true;
    world.register(1, "b");
    world.run_for(MILLIS * 50);
    let answer = &world.nodes[&1].acknowledged[0];
    assert!(answer.is_enough && answer.confirmed.contains(&node(1)));
}

#[test]
fn a_side_without_a_quorum_says_so_at_once_when_all_that_it_reaches_have_confirmed() {
    let mut world = three();
    world.part(1, 2);
    world.part(1, 3);
    world.show_all();
    let entry = world.register(1, "a");
    acknowledge(&mut world, 1, entry, Extent::Quorum);
    world.run_for(MILLIS * 50);
    let answer = &world.nodes[&1].acknowledged[0];
    assert!(
        !answer.is_enough && answer.confirmed == [node(1)],
        "{answer:?}"
    );
}

#[test]
fn whoever_announces_before_it_counts_as_a_member_is_confirmed_when_it_does() {
    let mut world = World::new(3, &[1, 2, 3]);
    world.members.insert(1, Status::Joining);
    world.show_all();
    world.run_for(Duration::from_secs(1));
    let registered = registration("a", true);
    let id = world.with(1, |it, now, out| it.register(now, registered, out));
    world.run_for(Duration::from_secs(1));
    assert!(world.nodes[&1].acknowledged.is_empty());
    assert!(world.found(2, "a").is_empty());
    world.members.insert(1, Status::Up);
    world.show(1);
    world.show(2);
    world.run_for(Duration::from_secs(1));
    assert!(
        world.nodes[&1].acknowledged.is_empty(),
        "3 does not know yet"
    );
    world.show(3);
    world.run_for(Duration::from_secs(1));
    let [answer] = &world.nodes[&1].acknowledged[..] else {
        panic!("it is confirmed by now");
    };
    assert_eq!((Ok(answer.entry), answer.confirmed.len()), (id, 3));
    (1..=3).for_each(|at| assert_eq!(world.found(at, "a"), [1]));
}
