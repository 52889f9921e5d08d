//! All machines of several nodes together.

use std::time::Duration;

use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::message::is_of_membership;
use crate::membership::reachability::Reason;
use crate::membership::testing::uid;
use crate::membership::tests::world::{World, at, node_id};
use crate::registry::testing::registration;
use crate::{monitor, registry, resolver};

/// The first event about a member that cannot be reached, and when it came.
fn accused(world: &World, at: u64) -> Option<Reason> {
    world.events(at).find_map(|it| match it {
        Event::Unreachable { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_member_that_is_silent_is_unreachable_to_all_after_a_while_and_then_reached_again() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3, 4, 5]);
    world.run_for(Duration::from_secs(20));
    world.nodes.get_mut(&5).expect("a node").is_paused = true;
    let began = world.now;
    for number in 1..=4 {
        let what = "unreachable";
        world.run_until(what, 10, |world| accused(world, number).is_some());
        assert_eq!(accused(&world, number), Some(Reason::Silence));
        let took = world.now - began;
        let bounds = Duration::from_millis(3_500)..Duration::from_millis(6_500);
        assert!(bounds.contains(&took), "{took:?}");
    }
    world.nodes.get_mut(&5).expect("a node").is_paused = false;
    let is_reached = |world: &World| {
        let mut nodes = world.nodes.values();
        nodes.all(|it| !it.control.topology().is_unreachable(uid(5)))
    };
    world.run_until("reached", 10, is_reached);
    assert!(world.labels(5).contains(&"stalled"));
    assert_eq!(accused(&world, 5), None, "whoever was away accuses nobody");
}

#[test]
fn a_crash_is_known_to_all_at_once() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.kill(3);
    // What it had sent before is on its way still.
    world.run_for(Duration::from_millis(10));
    world.with(1, |control, cx| control.handle_crashed(cx, uid(3)));
    let began = world.now;
    world.run_until("known", 2, |world| {
        accused(world, 2) == Some(Reason::Refused)
    });
    assert!(world.now - began < Duration::from_millis(100));
    assert_eq!(accused(&world, 1), Some(Reason::Refused));
}

#[test]
fn what_ends_for_good_is_told_with_its_reason() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.with(1, |control, cx| control.handle_restarted(cx, uid(2)));
    assert_eq!(accused(&world, 1), Some(Reason::Restarted));
    world.with(3, |control, cx| control.handle_parted(cx, uid(1)));
    let says = |it: &Event| {
        matches!(it, Event::Unreachable { reason: Reason::Quarantined, node, .. }
            if node.address == at(1))
    };
    assert!(world.events(3).any(says));
}

#[test]
fn bodies_for_no_room_and_before_there_is_a_cluster_are_counted() {
    let mut world = World::new(1);
    world.start(1);
    let from = node_id(2);
    let hear = |world: &mut World, body: &[u8]| {
        world.with(1, |control, cx| control.handle_message(cx, &from, body));
        let refused = world.nodes[&1].control.refused();
        (refused.untimely, refused.unknown, refused.malformed)
    };
    assert_eq!(hear(&mut world, &[32]), (1, 0, 0));
    world.join(1, &[]);
    assert_eq!(hear(&mut world, &[]), (1, 1, 0));
    assert_eq!(hear(&mut world, &[200]), (1, 2, 0));
    assert_eq!(hear(&mut world, &[32]), (1, 2, 1));
}

#[test]
fn whoever_is_killed_is_removed_by_those_that_are_left() {
    let mut world = World::new(1);
    world.resolves = true;
    world.form(&[1, 2, 3, 4, 5]);
    world.run_for(Duration::from_secs(5));
    world.kill(3);
    world.run_for(Duration::from_millis(10));
    for observer in [1, 2, 4, 5] {
        world.with(observer, |control, cx| control.handle_crashed(cx, uid(3)));
    }
    let began = world.now;
    world.run_until("removed", 10, |world| world.are_up(&[1, 2, 4, 5]));
    let took = world.now - began;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let decides = |number: u64| world.labels(number).contains(&"decision");
    assert!(decides(1), "the leader decides");
}

#[test]
fn the_smaller_side_of_a_partition_goes_down_and_the_larger_goes_on() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.resolves = true;
        world.form(&[1, 2, 3, 4, 5]);
        world.run_for(Duration::from_secs(5));
        world.part(&[1, 2], &[3, 4, 5]);
        let began = world.now;
        world.run_until("removed", 30, |world| world.are_up(&[3, 4, 5]));
        let took = world.now - began;
        assert!(took < Duration::from_secs(16), "{took:?}");
        for number in [1, 2] {
            let is_over = |world: &World| world.nodes[&number].stopped.is_some();
            world.run_until("down", 10, is_over);
            let why = world.nodes[&number].stopped.clone().expect("stopped");
            assert_eq!(why.exit_code(), 3);
        }
        let has_quorum = |number: u64| world.nodes[&number].control.topology().has_quorum();
        assert!(has_quorum(3) && !has_quorum(1));
    }
}

/// Each member of the losing side decides by itself, and ends without waiting for another one that
/// has ended as well.
#[test]
fn a_side_that_goes_down_ends_at_once_and_together() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.resolves = true;
        world.form(&[1, 2, 3, 4, 5, 6, 7]);
        world.run_for(Duration::from_millis(150 * seed));
        world.part(&[1, 2, 3], &[4, 5, 6, 7]);
        let began = world.now;
        let mut ends = Vec::new();
        for left in (0..3).rev() {
            let runs = |world: &World, it: &u64| world.nodes[it].stopped.is_none();
            let are_over =
                |world: &World| [1, 2, 3].iter().filter(|it| runs(world, it)).count() <= left;
            world.run_until("one is over", 20, are_over);
            ends.push(world.now - began);
        }
        let (first, last) = (ends[0], ends[2]);
        // To find out, to be sure as seven members are, and to say so.
        assert!(
            last <= Duration::from_millis(6_500 + 10_000 + 200),
            "{ends:?}"
        );
        assert!(last - first <= Duration::from_millis(200), "{ends:?}");
    }
}

#[test]
fn whoever_comes_back_after_its_removal_stops() {
    let mut world = World::new(1);
    world.resolves = true;
    world.form(&[1, 2, 3]);
    world.nodes.get_mut(&3).expect("a node").is_paused = true;
    world.run_until("removed", 30, |world| world.are_up(&[1, 2]));
    world.nodes.get_mut(&3).expect("a node").is_paused = false;
    let began = world.now;
    world.run_until("stopped", 5, |world| world.nodes[&3].stopped.is_some());
    assert!(world.now - began < Duration::from_secs(3));
}

#[test]
fn the_quorum_is_lost_soon_after_too_few_are_seen() {
    let mut world = World::new(1);
    world.resolves = true;
    world.form(&[1, 2, 3]);
    let has_quorum = |world: &World| world.nodes[&1].control.topology().has_quorum();
    world.run_for(Duration::from_secs(1));
    assert!(has_quorum(&world));
    world.part(&[1], &[2, 3]);
    let is_alone = |world: &World| {
        let topology = world.nodes[&1].control.topology();
        topology.is_unreachable(uid(2)) && topology.is_unreachable(uid(3))
    };
    world.run_until("alone", 10, is_alone);
    assert!(!has_quorum(&world));
    let explained = world.nodes[&1].control.explain(world.now);
    assert!(explained.due_in.is_some());
}

#[test]
fn the_rooms_share_no_first_byte() {
    for tag in 0..=u8::MAX {
        let rooms = [
            is_of_membership(tag),
            monitor::TAGS.contains(&tag),
            resolver::TAGS.contains(&tag),
            registry::TAGS.contains(&tag),
        ];
        assert!(rooms.iter().filter(|it| **it).count() <= 1, "{tag}");
    }
}

#[test]
fn what_one_announces_all_find_until_it_leaves() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let registered = world.with(1, |control, cx| {
        control.with_registry(cx, |it, now, out| {
            it.register(now, registration("a", true), out)
        })
    });
    let entry = registered.expect("it is a member").expect("there is room");
    world.run_for(Duration::from_millis(50));
    let [answer] = &world.nodes[&1].acknowledged[..] else {
        panic!("one answer");
    };
    assert_eq!((answer.entry, answer.confirmed.len()), (entry, 3));
    let key = registration("a", true).key;
    let found = |world: &World, at: u64| {
        let snapshot = world.nodes[&at].control.registry().snapshot();
        snapshot.find(&key).map(|it| it.0.uid).collect::<Vec<_>>()
    };
    (1..=3).for_each(|at| assert_eq!(found(&world, at), [uid(1)]));
    world
        .command(1, Command::Leave { address: None })
        .expect("it is a member");
    world.run_until("taken back", 5, |world| {
        found(world, 2).is_empty() && found(world, 3).is_empty()
    });
    world.run_until("gone", 30, |world| world.are_up(&[2, 3]));
    let snapshot = world.nodes[&2].control.registry().snapshot();
    assert!(snapshot.listing(uid(1)).is_none());
}
