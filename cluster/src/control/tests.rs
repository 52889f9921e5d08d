//! All machines of several nodes together.

use std::time::Duration;

use crate::membership::event::Event;
use crate::membership::reachability::Reason;
use crate::membership::testing::uid;
use crate::membership::tests::world::{World, at, node_id};

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
