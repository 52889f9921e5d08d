//! How what one announces reaches all others.

use std::time::Duration;

use super::world::World;
use crate::membership::Status;
use crate::membership::testing::uid;
use crate::registry::limits::{ENTRIES_OF_NODE_MAX, LOG_CHANGES_MAX};
use crate::registry::testing::registration;
use crate::registry::{EntryId, RegisterError, Standing};

const MILLIS: Duration = Duration::from_millis(1);

/// One network of three in which everything arrives at once or never.
fn three() -> World {
    let mut world = World::new(1, &[1, 2, 3]);
    world.run_for(MILLIS * 100);
    world
}

#[test]
fn what_is_announced_is_found_by_all_within_milliseconds_and_what_is_taken_back_is_not() {
    let mut world = three();
    let id = world.register(1, "a");
    world.run_for(MILLIS * 3);
    for at in 1..=3 {
        assert_eq!(world.found(at, "a"), [1]);
        assert!(world.found(at, "b").is_empty());
    }
    assert!(world.deregister(1, id) && !world.deregister(1, id));
    world.run_for(MILLIS * 13);
    (1..=3).for_each(|at| assert!(world.found(at, "a").is_empty()));
    world.assert_equal();
}

#[test]
fn a_change_that_was_lost_is_asked_for_as_soon_as_the_next_one_comes_or_at_the_next_check() {
    let mut world = three();
    world.loss = 100;
    world.register(1, "a");
    world.run_for(MILLIS * 20);
    world.loss = 0;
    assert!(world.found(2, "a").is_empty());
    world.register(1, "b");
    world.run_for(MILLIS * 5);
    assert_eq!(
        (world.found(2, "a"), world.found(3, "a")),
        (vec![1], vec![1])
    );
    assert!(world.nodes[&2].registry.counters().gaps >= 1);
    world.loss = 100;
    world.register(1, "c");
    world.run_for(MILLIS * 20);
    world.loss = 0;
    world.run_for(Duration::from_secs(4));
    world.assert_equal();
}

#[test]
fn a_member_that_comes_later_gets_tables_that_no_log_holds_while_they_change() {
    let mut world = World::new(1, &[1, 2]);
    let ids: Vec<EntryId> = (0..ENTRIES_OF_NODE_MAX)
        .map(|_| world.register(1, "a"))
        .collect();
    let over = registration("a", false);
    let over = world.with(1, |it, now, out| it.register(now, over, out));
    assert_eq!(over, Err(RegisterError::Full));
    world.run_for(Duration::from_secs(2));
    world.assert_equal();
    world.start(3);
    world.show_all();
    for id in ids.iter().take(LOG_CHANGES_MAX / 2) {
        world.run_for(Duration::from_micros(50));
        world.deregister(1, *id);
        world.register(1, "b");
    }
    assert!(!world.nodes[&3].registry.snapshot().is_settled());
    world.run_for(Duration::from_secs(2));
    world.assert_equal();
    assert_eq!(world.found(3, "b").len(), LOG_CHANGES_MAX / 2);
}

#[test]
fn who_cannot_be_reached_is_hidden_and_who_is_removed_is_gone() {
    let mut world = three();
    world.register(1, "a");
    world.run_for(MILLIS * 20);
    world.part(1, 2);
    world.show_all();
    assert!(world.found(2, "a").is_empty() && world.found(3, "a") == [1]);
    let (standing, content) = world.seen(2, 1).expect("it is kept");
    assert_eq!((standing, content.len()), (Standing::Unreachable, 1));
    world.register(1, "b");
    world.run_for(MILLIS * 20);
    world.cut.clear();
    world.show_all();
    world.run_for(MILLIS * 20);
    assert_eq!(
        (world.found(2, "a"), world.found(2, "b")),
        (vec![1], vec![1])
    );
    world.stop(1);
    world.show_all();
    assert!(world.seen(2, 1).is_none() && world.seen(3, 1).is_none());
    world.run_for(MILLIS * 20);
    world.assert_equal();
}

#[test]
fn who_joins_does_not_count_yet_and_who_leaves_takes_all_back() {
    let mut world = three();
    world.members.insert(1, Status::Joining);
    world.show_all();
    world.register(1, "a");
    world.run_for(MILLIS * 20);
    assert!(world.found(2, "a").is_empty());
    assert_eq!(world.seen(2, 1).expect("known").0, Standing::Apart);
    world.members.insert(1, Status::WeaklyUp);
    world.show_all();
    assert_eq!(world.found(2, "a"), [1]);
    world.members.insert(1, Status::Leaving);
    world.show(1);
    world.run_for(MILLIS * 5);
    assert!(world.found(2, "a").is_empty(), "it said so itself");
    let late = registration("b", false);
    let late = world.with(1, |it, now, out| it.register(now, late, out));
    assert_eq!(late, Err(RegisterError::Leaving));
    assert!((1..=3).all(|at| world.found(at, "a").is_empty()));
}

#[test]
fn a_new_member_waits_for_all_that_it_can_reach_but_not_for_ever() {
    let mut world = three();
    world.start(4);
    world.part(4, 2);
    world.show(4);
    world.show(1);
    world.show(3);
    world.run_for(MILLIS * 5);
    let is_settled = |world: &World, at| world.nodes[&at].registry.snapshot().is_settled();
    assert!(
        is_settled(&world, 4),
        "nobody waits for whom it cannot reach"
    );
    world.start(5);
    world.loss = 100;
    world.show(5);
    world.run_for(MILLIS * 4_900);
    assert!(!is_settled(&world, 5));
    world.run_for(MILLIS * 200);
    assert!(is_settled(&world, 5));
}

#[test]
fn where_nothing_changes_little_is_said() {
    let mut world = World::new(1, &[1, 2, 3, 4, 5, 6, 7, 8]);
    (1..=8).for_each(|it| {
        (0..100).for_each(|_| {
            world.register(it, "a");
        });
    });
    world.run_for(Duration::from_secs(2));
    world.assert_equal();
    let sent = |world: &World| {
        world
            .nodes
            .values()
            .map(|it| it.bytes_sent)
            .collect::<Vec<_>>()
    };
    let before = sent(&world);
    world.run_for(Duration::from_secs(10));
    for (before, after) in before.iter().zip(sent(&world)) {
        let bytes = after - before;
        assert!((10..=5 * 1024).contains(&bytes), "{bytes} in 10 s");
    }
}

#[test]
fn weights_change_in_their_place() {
    let mut world = three();
    let id = world.register(1, "a");
    world.run_for(MILLIS * 20);
    assert!(world.with(1, |it, now, out| it.weigh(now, id, 9, out)));
    assert!(!world.with(1, |it, now, out| it.weigh(now, EntryId(77), 9, out)));
    world.run_for(MILLIS * 20);
    let (_, content) = world.seen(2, 1).expect("known");
    assert_eq!(
        content.into_values().collect::<Vec<_>>(),
        [("a".to_owned(), 9)]
    );
    let version = world.nodes[&2].registry.snapshot().listing(uid(1));
    assert_eq!(version.expect("known").version().counter, 2);
}
