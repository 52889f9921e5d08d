//! How nodes find each other and become members in full.

use std::time::Duration;

use super::world::{World, at, profile};
use crate::effect::StopReason;
use crate::membership::command::{Command, CommandError};
use crate::membership::event::Event;
use crate::membership::reachability::Reason;
use crate::membership::settings::{SEEDS_MAX, Settings};
use crate::membership::status::Status;
use crate::membership::testing::uid;
use crate::membership::version::AppVersion;

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

#[test]
fn five_nodes_are_up_soon_after_the_last_start_in_whatever_order() {
    let mut latest = Duration::ZERO;
    for seed in 0..100 {
        let mut world = World::new(seed);
        let order = world.random.pick(vec![1, 2, 3, 4, 5], 5);
        let seeds = [at(1), at(2), at(3)];
        for number in &order {
            world.start(*number);
            world.join(*number, &seeds);
            let pause = world.random.below(400) as u64;
            world.run_for(Duration::from_millis(pause));
        }
        let began = world.now;
        world.run_until("up", 20, |world| world.are_up(&order));
        latest = latest.max(world.now - began);
        let ids = world
            .nodes
            .values()
            .map(|it| it.control.topology().cluster());
        let mut ids: Vec<_> = ids.collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "seed {seed}");
    }
    assert!(latest < Duration::from_secs(3), "{latest:?}");
}

#[test]
fn numbers_are_given_once_in_the_order_of_addresses_and_are_the_same_everywhere() {
    let mut world = World::new(3);
    world.form(&[1, 5, 4, 3, 2]);
    let numbers = |at: u64| {
        let members = world.nodes[&at].control.topology().members().to_vec();
        members
            .iter()
            .map(|it| it.up_number().0)
            .collect::<Vec<u32>>()
    };
    let mut sorted = numbers(1);
    assert_eq!(sorted, numbers(5));
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 5, "{:?}", numbers(1));
}

#[test]
fn nobody_is_up_before_there_are_enough_members_and_of_each_role() {
    let settings = Settings {
        members_min: 3,
        members_min_of_role: [("back".into(), 2)].into(),
        ..Settings::default()
    };
    let mut world = World::new(1);
    for (number, role) in [(1, "back"), (2, "front"), (3, "front")] {
        world.start_with(settings.clone(), profile(number, &[role], "default"), None);
        world.join(number, &[at(1)]);
    }
    world.run_for(Duration::from_secs(12));
    let are = |world: &World, status| (1..=3).all(|of| world.status(of, 1) == Some(status));
    assert!(are(&world, Status::Joining), "{}", world.describe());
    world.start_with(settings, profile(4, &["back"], "default"), None);
    world.join(4, &[at(1)]);
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3, 4]));
    let leader = |role| {
        world.nodes[&3]
            .control
            .topology()
            .role_leader(role)
            .cloned()
    };
    assert_eq!(leader("front").map(|it| it.address().clone()), Some(at(2)));
    assert_eq!(leader("none"), None);
}

#[test]
fn whoever_joins_while_a_member_cannot_be_reached_may_work_after_a_while() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.accuse(1, 3, Reason::Silence);
    world.start(4);
    world.join(4, &[at(1)]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.status(4, 1), Some(Status::Joining));
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.status(4, 4), Some(Status::WeaklyUp));
    let why = world.nodes[&1].control.membership().why_not_converged();
    let text = why.expect("a member").to_string();
    assert!(text.contains(":3 (up) is not reached by"), "{text}");
    world.clear(1, 3);
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3, 4]));
    let moves = world.labels(4);
    assert!(moves.contains(&"weakly_up"), "{moves:?}");
}

#[test]
fn a_cluster_with_another_configuration_is_not_joined() {
    let with = |value: &str| {
        let mut settings = Settings::default();
        settings.configuration.set("strategy", value).expect("fits");
        settings
    };
    let mut world = World::new(1);
    world.start_with(with("keep-majority"), profile(1, &[], "default"), None);
    world.join(1, &[]);
    world.start_with(with("static-quorum"), profile(2, &[], "default"), None);
    world.join(2, &[at(1)]);
    world.run_for(Duration::from_secs(2));
    let names: Vec<Box<str>> = vec!["strategy".into()];
    let stopped = world.nodes[&2].stopped.clone();
    assert_eq!(stopped, Some(StopReason::Incompatible { names }));
    assert_eq!(world.labels(2), ["incompatible", "shutdown"]);
    assert!(world.are_up(&[1]));
}

#[test]
fn a_cluster_goes_from_one_configuration_to_another_member_by_member() {
    let with = |value: &str, enforces| {
        let mut settings = Settings::default();
        settings.configuration.set("strategy", value).expect("fits");
        settings.enforces_configuration = enforces;
        settings
    };
    let mut world = World::new(1);
    let start = |world: &mut World, number, settings| {
        world.start_with(settings, profile(number, &[], "default"), None);
        let seed = if number == 1 { vec![] } else { vec![at(1)] };
        world.join(number, &seed);
    };
    start(&mut world, 1, with("keep-majority", true));
    world.run_for(Duration::from_secs(1));
    // The newcomer says that it differs, and joins.
    start(&mut world, 2, with("static-quorum", false));
    world.run_until("up", 5, |world| world.are_up(&[1, 2]));
    assert_eq!(world.labels(2)[0], "configuration_differs");
    // One of those that mind is still let in, by whomever; and one that minds another thing is not.
    start(&mut world, 3, with("keep-majority", true));
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    assert!(!world.labels(3).contains(&"configuration_differs"));
    start(&mut world, 4, with("static-quorum", true));
    world.run_for(Duration::from_secs(2));
    let names: Vec<Box<str>> = vec!["strategy".into()];
    let stopped = world.nodes[&4].stopped.clone();
    assert_eq!(stopped, Some(StopReason::Incompatible { names }));
}

#[test]
fn a_process_start_joins_once() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let again = world.command(2, Command::Join { seeds: vec![at(1)] });
    assert_eq!(again, Err(CommandError::AlreadyJoined));
    assert_eq!(
        world.command(2, Command::Found),
        Err(CommandError::AlreadyJoined)
    );
    let version = "1.2".parse().expect("a version");
    let late = world.command(2, Command::SetAppVersion(version));
    assert_eq!(late, Err(CommandError::AlreadyJoined));
}

#[test]
fn a_node_whose_version_comes_later_joins_when_it_is_set() {
    let mut world = World::new(1);
    world.form(&[1]);
    world.start(2);
    world.with(2, |control, _| control.membership_mut().postpone());
    let too_many = Command::Join {
        seeds: vec![at(1); SEEDS_MAX + 1],
    };
    let refused = world.command(2, too_many);
    assert!(
        matches!(refused, Err(CommandError::Seeds(_))),
        "{refused:?}"
    );
    world.join(2, &[at(1)]);
    let again = world.command(2, Command::Join { seeds: vec![at(1)] });
    assert_eq!(again, Err(CommandError::AlreadyJoined));
    let founds = world.command(2, Command::Found);
    assert_eq!(founds, Err(CommandError::NoVersion));
    let bodies = world.bodies;
    world.run_for(Duration::from_secs(30));
    assert_eq!((world.bodies, world.labels(2).len()), (bodies, 0));
    let version: AppVersion = "1.2".parse().expect("a version");
    let set = world.command(2, Command::SetAppVersion(version.clone()));
    assert_eq!(set, Ok(()));
    world.run_until("up", 5, |world| world.are_up(&[1, 2]));
    let known = world.nodes[&1].control.topology().member(uid(2)).cloned();
    assert_eq!(known.expect("a member").profile().app_version, version);
    let late = world.command(2, Command::SetAppVersion(version));
    assert_eq!(late, Err(CommandError::AlreadyJoined));
}

#[test]
fn a_node_may_leave_before_its_version_is_known_and_found_a_cluster_after() {
    for leaves in [true, false] {
        let mut world = World::new(1);
        world.start(1);
        world.with(1, |control, _| control.membership_mut().postpone());
        world.join(1, &[]);
        assert_eq!(world.labels(1), [""; 0]);
        if leaves {
            let left = world.command(1, Command::Leave { address: None });
            assert_eq!(left, Ok(()));
            assert_eq!(world.nodes[&1].stopped, Some(StopReason::Left));
            continue;
        }
        let version = "2.0".parse().expect("a version");
        let set = world.command(1, Command::SetAppVersion(version));
        assert_eq!(set, Ok(()));
        assert!(world.are_up(&[1]));
    }
}

#[test]
fn nobody_joins_a_cluster_that_is_to_be_shut_down() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world
        .command(2, Command::PrepareForFullShutdown)
        .expect("a member");
    let ready = Some(Status::ReadyForShutdown);
    world.run_until("ready", 5, |world| {
        (1..=2).all(|of| world.status(of, 1) == ready)
    });
    world.start(3);
    world.join(3, &[at(1)]);
    world.run_for(Duration::from_secs(8));
    assert_eq!(world.status(3, 1), None);
    assert!(
        world.nodes[&1]
            .control
            .membership()
            .counters()
            .refused_joins
            > 0
    );
    world
        .command(1, Command::Leave { address: None })
        .expect("may leave");
    world.run_until("left", 5, |world| {
        world.nodes[&1].stopped == Some(StopReason::Left)
    });
}

/// The first seed is started anew and remembers nothing. The cluster cannot let it in yet, because
/// nobody is removed from it while a member is silent.
#[test]
fn the_first_seed_founds_none_while_it_knows_a_member_of_one() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.nodes.get_mut(&3).expect("a node").is_paused = true;
    world.accuse(2, 3, Reason::Silence);
    world.kill(1);
    world.start(101);
    world.join(101, &[at(1), at(2)]);
    world.run_for(Duration::from_secs(60));
    assert!(!world.labels(101).contains(&"founded"));
    // That member restarts as well, without memory: there is nobody left who knows of one.
    world.kill(2);
    world.start(102);
    world.join(102, &[at(1), at(2)]);
    world.run_until("up", 20, |world| world.are_up(&[101, 102]));
}
