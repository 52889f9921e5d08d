//! Worlds of members: they find each other, and go on together.

mod bites;
mod choosing;
mod data_centres;
mod large;
mod leasing;
mod regressions;
mod rolling;

use std::time::Duration;

use ringmesh_cluster::detector::{Judge, Patience};
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::roles::DATA_CENTRE_DEFAULT;

use super::*;
use crate::canary::Canary;
use crate::fault::Class;
use crate::invariant::Violation;
use crate::swarm::Swarm;
use crate::{Fault, Random, Script, Settings as WorldSettings, Trace, World, run};

mod founding;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn members(seed: u64, nodes: usize) -> World<Participant> {
    let subject = Members::default();
    let settings = WorldSettings::new(seed, nodes);
    let disks = Disks::default();
    let maker = move |birth: &Birth<'_>| {
        Participant::new(birth, subject.settings.clone(), SEEDS, disks.clone())
    };
    let mut world = World::new(settings, Trace::hashed(), maker);
    world.hold_to(Box::new(Courses::default()));
    world.hold_to(Box::new(Follower::default()));
    world.hold_to(Box::new(Agreement));
    world
}

#[test]
fn two_nodes_join_each_other() {
    for seed in 0..20 {
        let mut world = members(seed, 2);
        world.follow(Script::new().start([0]).after(secs(1)).start([1]));
        world.run(secs(5)).unwrap();
        world.finish().unwrap();
    }
}

#[test]
fn nodes_that_start_in_any_order_are_one_cluster_soon_after_the_last() {
    for seed in 0..100 {
        let mut random = Random::split(seed, "order", 0);
        let nodes = 3 + random.index(5);
        let mut world = members(seed, nodes);
        let mut script = Script::new();
        let mut last = Duration::ZERO;
        for node in 0..nodes {
            let at = random.span(Duration::ZERO, secs(8));
            last = last.max(at);
            script = script.at(at).start([node]);
        }
        world.follow(script);
        world.run(last + secs(6)).unwrap();
        world.finish().unwrap();
    }
}

/// What each running node has of a process start.
fn statuses(world: &World<Participant>, uid: Uid) -> Vec<Option<Status>> {
    let machines = world.running().filter_map(|node| world.machine(node));
    let members = machines.map(|machine| machine.control().topology().member(uid).cloned());
    members.map(|member| Some(member?.status())).collect()
}

#[test]
fn a_member_that_leaves_is_gone_everywhere_and_its_process_ends() {
    for seed in 0..10 {
        let mut world = members(seed, 4);
        let leave = Command::Leave { address: None };
        world.follow(Script::new().start(0..4).at(secs(8)).command(2, leave));
        world.run(secs(7)).unwrap();
        world.finish().unwrap();
        let uid = world.uid(2).unwrap();
        world.run(secs(8)).unwrap();
        assert!(world.running().eq([0, 1, 3]), "seed {seed}");
        assert_eq!(statuses(&world, uid), [None; 3], "seed {seed}");
        world.start(2);
        world.run(secs(15)).unwrap();
        world.finish().unwrap();
    }
}

#[test]
fn the_next_process_at_an_address_takes_the_place_of_one_that_was_killed() {
    for seed in 0..10 {
        let mut world = members(seed, 3);
        let (node, loses_power) = (1, false);
        let crash = Fault::Crash { node, loses_power };
        let script = Script::new().start(0..3).at(secs(8));
        world.follow(script.befall_for(secs(1), crash));
        world.run(secs(7)).unwrap();
        let former = world.uid(1).unwrap();
        world.run(secs(20)).unwrap();
        world.finish().unwrap();
        assert_eq!(statuses(&world, former), [None; 3], "seed {seed}");
    }
}

#[test]
fn random_worlds_of_members_become_one_cluster_again() {
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..40 {
        let report = run(
            &Members::default(),
            &Swarm::default(),
            seed,
            Trace::hashed(),
        );
        assert_eq!(report.violation, None, "seed {seed}");
        for it in &report.checks {
            *checks.entry(it.name).or_default() += it.checks;
        }
    }
    assert_eq!(checks.len(), 34, "{checks:?}");
    assert!(checks.values().all(|checks| *checks > 0), "{checks:?}");
}

/// What a world in which nodes are cut off and stand still says of members with such a judge.
fn judged(judge: Judge) -> Vec<Violation> {
    let mut subject = Members::default();
    subject.settings.monitor.judge = judge;
    let swarm = Swarm {
        only: vec![Class::Partition, Class::Pause],
        ..Swarm::default()
    };
    let seeds = 0..8;
    let reports = seeds.map(|seed| run(&subject, &swarm, seed, Trace::hashed()));
    reports.filter_map(|report| report.violation).collect()
}

#[test]
fn who_waits_for_too_long_or_is_too_quick_to_accuse_is_found() {
    let patience = Patience::every(secs(1));
    let slow = judged(Judge::Phi(Patience {
        pause: secs(40),
        ..patience
    }));
    let noticed = |it: &Violation| it.message.contains("has not noticed");
    assert!(slow.iter().any(noticed), "{slow:?}");
    // It expects ten times as many answers as there are.
    let quick = judged(Judge::Phi(Patience {
        pause: Duration::ZERO,
        ..Patience::every(Duration::from_millis(100))
    }));
    let accused = |it: &Violation| it.message.contains("nothing is wrong");
    assert!(quick.iter().any(accused), "{quick:?}");
}

#[test]
fn sides_that_each_go_on_are_found() {
    let swarm = Swarm {
        canary: Some(Canary::KeepYourself),
        ..Swarm::default()
    };
    let reports = (0..60).map(|seed| run(&Members::default(), &swarm, seed, Trace::hashed()));
    let mut found = reports.filter_map(|report| report.violation);
    assert!(found.any(|it| it.invariant == "severed"));
}
