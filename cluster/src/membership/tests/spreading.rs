//! How fast what one member knows is known to all, and what that costs.

use std::time::Duration;

use super::world::{World, at, profile};
use crate::membership::command::Command;
use crate::membership::machine::Observation;
use crate::membership::reachability::{Reason, Record, Witness};
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::testing::uid;

#[test]
fn members_that_know_the_same_say_little() {
    let mut world = World::new(1);
    let numbers: Vec<u64> = (1..=9).collect();
    world.form(&numbers);
    world.run_for(Duration::from_secs(10));
    let sent = |world: &World| world.nodes.values().map(|it| it.bytes_sent).max();
    let most = sent(&world).expect("nodes");
    world.run_for(Duration::from_secs(60));
    let most = sent(&world).expect("nodes") - most;
    println!("{} bytes a second", most / 60);
    assert!(most / 60 < 1_000, "{} bytes a second", most / 60);
}

#[test]
fn everything_is_known_to_all_though_a_third_is_lost() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.loss = 33;
        world.form(&[1, 2, 3, 4, 5, 6]);
        world.accuse(2, 5, Reason::Silence);
        let knows = |world: &World, it: u64| {
            let topology = world.nodes[&it].control.topology();
            topology.is_unreachable(uid(5)) || it == 5
        };
        world.run_until("known", 20, |world| (1..=6).all(|it| knows(world, it)));
        world.clear(2, 5);
        world.run_until("cleared", 20, |world| {
            !(1..=6).any(|it| it != 5 && knows(world, it))
        });
    }
}

/// A view names members alone, so what one said who was removed since is said to nobody.
#[test]
fn a_row_is_the_same_everywhere_though_a_witness_was_removed_before_it_was_heard() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let witness = |number| Witness {
        observer: uid(number),
        hears: false,
    };
    let record = |witnesses: &[u64]| Record {
        reason: Reason::Silence,
        witnesses: witnesses.iter().copied().map(witness).collect(),
    };
    let said = record(&[2, 77]);
    let has_heard = |world: &World, it: u64| {
        let view = world.nodes[&it].control.membership().gossip();
        let heard = view.and_then(|it| it.reachability().record(uid(1), uid(3)));
        heard.cloned()
    };
    world.observe(1, 3, Observation::Unreachable(said.clone()));
    world.run_until("known", 5, |world| has_heard(world, 2).is_some());
    let row = |world: &World, it: u64| {
        let view = world.nodes[&it].control.membership().gossip();
        view.and_then(|it| it.reachability().row(uid(1)).cloned())
    };
    assert_eq!(has_heard(&world, 1), Some(record(&[2])));
    assert_eq!(row(&world, 1), row(&world, 2));
    // The same once more is no news.
    let before = row(&world, 1);
    world.observe(1, 3, Observation::Unreachable(said));
    assert_eq!(row(&world, 1), before);
}

#[test]
fn all_of_many_are_up_soon() {
    let mut world = World::new(1);
    let numbers: Vec<u64> = (1..=90).collect();
    for number in &numbers {
        world.start(*number);
        world.join(*number, &[at(1)]);
    }
    let began = world.now;
    world.run_until("up", 60, |world| world.are_up(&numbers));
    let took = world.now - began;
    println!("{took:?} in {} steps", world.steps);
    assert!(took < Duration::from_secs(30), "{took:?}");
    let began = world.now;
    world
        .command(40, Command::Leave { address: None })
        .expect("a member");
    let rest: Vec<u64> = numbers.into_iter().filter(|it| *it != 40).collect();
    world.run_until("removed", 30, |world| world.are_up(&rest));
    println!("removed after {:?}", world.now - began);
}

#[test]
fn two_parts_that_met_again_know_what_both_knew() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3, 4]);
    world.part(&[1, 2], &[3, 4]);
    world.start(5);
    world.part(&[3, 4], &[5]);
    world.join(5, &[at(1)]);
    world.accuse(4, 1, Reason::Silence);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.status(5, 3), None);
    world.cut.clear();
    world.clear(4, 1);
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3, 4, 5]));
}

/// Two data centres have a leader each, and neither waits for the other.
#[test]
fn data_centres_lead_themselves_and_hear_of_each_other() {
    let mut world = World::new(1);
    let places = [(1, "east"), (2, "west"), (3, "east"), (4, "west")];
    for (number, place) in places {
        world.start_with(Settings::default(), profile(number, &[], place), None);
        world.join(number, &[at(1)]);
    }
    world.run_until("up", 30, |world| world.are_up(&[1, 2, 3, 4]));
    let leader = |world: &World, at: u64| {
        let leader = world.nodes[&at].control.topology().leader().cloned();
        leader.expect("a leader").uid().as_u64()
    };
    assert_eq!([1, 3].map(|at| leader(&world, at)), [1, 1]);
    assert_eq!([2, 4].map(|at| leader(&world, at)), [2, 2]);
    world.part(&[1, 3], &[2, 4]);
    world
        .command(4, Command::Leave { address: None })
        .expect("a member");
    world.run_until("removed", 5, |world| world.status(4, 2).is_none());
    assert_eq!(world.status(4, 1), Some(Status::Up));
    world.cut.clear();
    world.run_until("heard", 60, |world| world.are_up(&[1, 2, 3]));
}

/// The reference hurries for ever once there are two data centres.
#[test]
fn an_idle_member_of_two_data_centres_speaks_once_a_round() {
    let mut world = World::new(1);
    for (number, place) in [(1, "east"), (2, "west"), (3, "east"), (4, "west")] {
        world.start_with(Settings::default(), profile(number, &[], place), None);
        world.join(number, &[at(1)]);
    }
    world.run_until("up", 30, |world| world.are_up(&[1, 2, 3, 4]));
    world.run_for(Duration::from_secs(20));
    let sent = world.bodies;
    world.run_for(Duration::from_secs(20));
    let sent = world.bodies - sent;
    assert!(sent <= 4 * 22, "{sent} bodies of four members in 20 s");
}
