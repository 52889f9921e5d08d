//! Who confirms what was registered, and when.

use std::time::Duration;

use super::world::World;
use crate::membership::testing::node;
use crate::registry::limits::ACKNOWLEDGEMENTS_MAX;
use crate::registry::testing::registration;
use crate::registry::{EntryId, RegisterError};

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
fn an_entry_that_is_there_is_confirmed_by_those_who_have_it_as_it_is() {
    let mut world = three();
    let entry = register(&mut world, 1).expect("room");
    world.run_for(MILLIS * 100);
    let ask = |world: &mut World, number, entry| {
        world.with(1, |it, now, out| it.acknowledge(now, (number, entry), out))
    };
    assert_eq!(ask(&mut world, 2, EntryId(99)), Ok(false));
    assert_eq!(ask(&mut world, 2, entry), Ok(true));
    world.nodes.get_mut(&2).expect("a node").applies = false;
    // What changes behind the question is not what is asked for.
    world.with(1, |it, now, out| assert!(it.weigh(now, entry, 9, out)));
    assert_eq!(ask(&mut world, 3, entry), Ok(true));
    world.run_for(MILLIS * 50);
    let answers = &world.nodes[&1].acknowledged;
    let numbers: Vec<u64> = answers.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [1, 2], "the last has not been applied by one");
    assert_eq!(answers[1].confirmed.len(), 3);
    world.run_for(MILLIS * 5_000);
    let last = &world.nodes[&1].acknowledged[2];
    assert_eq!((last.number, &last.missing[..]), (3, &[node(2)][..]));
}

#[test]
fn one_over_the_acknowledgements_max_is_refused() {
    let mut world = three();
    world.loss = 100;
    for _ in 0..ACKNOWLEDGEMENTS_MAX {
        register(&mut world, 1).expect("room");
    }
    let over = register(&mut world, 1);
    assert_eq!(over, Err(RegisterError::Acknowledgements));
    world.run_for(MILLIS * 5_100);
    assert_eq!(world.nodes[&1].acknowledged.len(), ACKNOWLEDGEMENTS_MAX);
    assert!(register(&mut world, 1).is_ok(), "there is room again");
}
