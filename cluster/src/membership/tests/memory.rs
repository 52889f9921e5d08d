//! What nodes remember of their cluster, and what it keeps them from.

use std::time::Duration;

use super::world::{World, at, node_id, profile};
use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::gossip::ClusterId;
use crate::membership::memory::Memory;
use crate::membership::settings::Settings;

fn settings() -> Settings {
    Settings {
        remembers: true,
        ..Settings::default()
    }
}

fn memory(numbers: &[u64]) -> Option<Memory> {
    let members = numbers.iter().map(|it| node_id(*it)).collect();
    let cluster = ClusterId(7);
    Some(Memory { cluster, members })
}

fn start(world: &mut World, number: u64, memory: Option<Memory>, seeds: &[u64]) {
    world.start_with(settings(), profile(number, &[], "default"), memory);
    let seeds: Vec<_> = seeds.iter().map(|it| at(*it)).collect();
    world.join(number, &seeds);
}

#[test]
fn members_are_remembered_and_forgotten_by_whoever_leaves() {
    let mut world = World::new(1);
    for number in [1, 2, 3] {
        start(&mut world, number, None, &[1]);
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    let remembered = |world: &World, number| world.nodes[&number].memory.clone();
    let known = remembered(&world, 3).expect("a memory");
    assert_eq!(*known.members, [node_id(1), node_id(2), node_id(3)]);
    assert_eq!(
        Some(known.cluster),
        world.nodes[&3].control.topology().cluster()
    );
    world
        .command(3, Command::Leave { address: None })
        .expect("a member");
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
    world.run_for(Duration::from_secs(1));
    assert_eq!(remembered(&world, 3), None);
    let known = remembered(&world, 1).expect("a memory");
    assert_eq!(*known.members, [node_id(1), node_id(2)]);
}

#[test]
fn nodes_that_are_all_restarted_at_once_form_one_new_cluster() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let new = [101, 102, 103, 104, 105];
        for number in new {
            start(&mut world, number, memory(&[1, 2, 3, 4, 5]), &[1, 2, 3]);
            world.run_for(Duration::from_millis(seed * 20));
        }
        world.run_until("up", 10, |world| world.are_up(&new));
        let founded = |number: u64| world.labels(number).contains(&"founded");
        assert_eq!(new.iter().filter(|it| founded(**it)).count(), 1);
    }
}

#[test]
fn the_first_seed_restarted_alone_behind_a_partition_waits_and_comes_back() {
    let mut world = World::new(1);
    for number in [1, 2, 3] {
        start(&mut world, number, None, &[1, 2]);
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    let known = world.nodes[&1].memory.clone();
    let cluster = world.nodes[&2].control.topology().cluster();
    world.kill(1);
    world.part(&[1], &[2, 3]);
    start(&mut world, 101, known, &[1, 2]);
    world.run_for(Duration::from_secs(32));
    let silent = vec![at(2), at(3)];
    let waiting = Event::JoinWaiting { silent };
    assert!(world.events(101).eq([&waiting, &waiting, &waiting]));
    world.cut.clear();
    world.run_until("back", 30, |world| world.are_up(&[2, 3, 101]));
    assert_eq!(world.nodes[&101].control.topology().cluster(), cluster);
}

#[test]
fn silence_and_refusal_are_no_consent_and_the_command_overrides_both() {
    let mut world = World::new(1);
    // Two of five are there: less than half, whoever is dead or cut off.
    world.part(&[1], &[3]);
    start(&mut world, 102, memory(&[1, 2, 3, 4, 5]), &[1, 2]);
    start(&mut world, 101, memory(&[1, 2, 3, 4, 5]), &[1, 2]);
    world.run_for(Duration::from_secs(30));
    assert!(!world.labels(101).contains(&"founded"));
    world.command(101, Command::Found).expect("is in none");
    world.run_until("up", 5, |world| world.are_up(&[101, 102]));
}

/// Each of two that would found a cluster hears the three others, but not the other one.
#[test]
fn of_two_that_remember_and_do_not_hear_each_other_one_founds() {
    let mut founders = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.part(&[1], &[2]);
        let all = [1, 2, 3, 4, 5];
        start(&mut world, 101, memory(&all), &[1]);
        start(&mut world, 102, memory(&all), &[2]);
        for number in [103, 104, 105] {
            start(&mut world, number, memory(&all), &[9]);
        }
        world.run_for(Duration::from_secs(20));
        let founded = |number: &u64| world.labels(*number).contains(&"founded");
        let count = [101, 102].iter().filter(|it| founded(it)).count();
        assert!(count <= 1, "seed {seed}: {}", world.describe());
        founders += count;
    }
    assert!(founders > 10, "{founders} founded");
}

#[test]
fn of_two_first_seeds_that_hear_each_other_the_lower_founds() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for number in [2, 1] {
            world.start(number);
        }
        world.join(2, &[at(2), at(1)]);
        world.join(1, &[at(1), at(2)]);
        world.run_until("up", 10, |world| world.are_up(&[1, 2]));
        assert_eq!(world.labels(1)[0], "founded", "seed {seed}");
    }
}

/// The cluster of 1, 2 and 3 went on as one of 2 and 3 without 1, and as one of 2 without 3: of
/// that neither 1 nor 3 knows. Together they are most of those that 1 remembers.
#[test]
fn nobody_founds_a_cluster_beside_one_that_went_on_without_the_asker() {
    let mut world = World::new(1);
    start(&mut world, 2, None, &[2]);
    world.run_until("up", 5, |world| world.are_up(&[2]));
    let cluster = world.nodes[&2].control.topology().cluster();
    world.part(&[2], &[1, 3]);
    start(&mut world, 101, memory(&[1, 2, 3]), &[1, 2]);
    start(&mut world, 103, memory(&[2, 3]), &[1, 2]);
    world.run_for(Duration::from_secs(30));
    assert!(!world.labels(101).contains(&"founded"));
    world.cut.clear();
    world.run_until("up", 10, |world| world.are_up(&[2, 101, 103]));
    assert_eq!(world.nodes[&101].control.topology().cluster(), cluster);
}
