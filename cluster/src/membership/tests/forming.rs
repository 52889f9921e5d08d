//! How nodes find each other and become members in full.

use std::time::Duration;

use super::world::{World, at};
use crate::membership::event::Event;
use crate::membership::status::Status;

#[test]
fn a_node_without_seeds_founds_a_cluster_and_is_up_at_once() {
    let mut world = World::new(1);
    world.start(1);
    world.join(1, &[]);
    assert!(world.are_up(&[1]));
    assert_eq!(world.labels(1), ["founded", "up", "leader"]);
}

#[test]
fn two_nodes_join() {
    let mut world = World::new(1);
    let began = world.now;
    world.form(&[1, 2]);
    let took = world.now - began;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let joined = world.labels(2);
    assert_eq!(joined[..1], ["welcomed"]);
    let up = |it: &&Event| matches!(it, Event::Member(it) if it.status() == Status::Up);
    assert_eq!(world.events(2).filter(up).count(), 2);
    let leader = |number| world.nodes[&number].control.topology().leader().cloned();
    assert_eq!(leader(1).map(|it| it.address().clone()), Some(at(1)));
    assert_eq!(leader(1), leader(2));
}

#[test]
fn whoever_is_not_first_waits_for_the_first_and_says_so() {
    let mut world = World::new(1);
    world.start(2);
    world.join(2, &[at(1), at(2)]);
    world.run_for(Duration::from_secs(25));
    let waiting = [at(1)];
    let says = |it: &&Event| matches!(it, Event::JoinWaiting { silent } if *silent == waiting);
    assert_eq!(world.events(2).filter(says).count(), 2);
    world.start(1);
    world.join(1, &[at(1), at(2)]);
    world.run_until("up", 5, |world| world.are_up(&[1, 2]));
}

#[test]
fn the_first_seed_founds_one_when_nobody_else_is_there_or_answers() {
    for is_cut in [false, true] {
        let mut world = World::new(1);
        world.start(1);
        if is_cut {
            world.part(&[1], &[2]);
        }
        let began = world.now;
        world.join(1, &[at(1), at(2)]);
        world.run_until("up", 10, |world| world.are_up(&[1]));
        let took = (world.now - began).as_millis();
        let bounds = if is_cut { 5_000..5_400 } else { 1_000..1_400 };
        assert!(bounds.contains(&took), "{took} ms");
    }
}

#[test]
fn a_process_that_ends_before_it_is_in_leaves_nothing_behind() {
    let mut world = World::new(1);
    world.form(&[1]);
    world.start(2);
    world.join(2, &[at(1)]);
    world.kill(2);
    world.run_for(Duration::from_secs(3));
    assert!(world.are_up(&[1]));
}
