//! Members that say what is not so, and nodes that are no members.

use std::time::Duration;

use super::world::World;
use crate::membership::testing::{node, uid};
use crate::registry::entry::{Change, EntryId};
use crate::registry::limits::{
    BYTES_OF_NODE_MAX, ENTRIES_MAX, ENTRIES_OF_NODE_MAX, PARKED_OF_NODE_MAX,
};
use crate::registry::message::{Body, Message};
use crate::registry::testing::entry;

fn hear(world: &mut World, at: u64, from: u64, latest: u64, body: Body) {
    let to = uid(at);
    let bytes = Message { to, latest, body }.to_bytes();
    let heard = world.with(at, |it, now, out| {
        it.handle_message(now, &node(from), &bytes, out)
    });
    assert_eq!(heard, Ok(()));
}

fn delta(from: u64, changes: Vec<Change>) -> Body {
    Body::Delta {
        from,
        is_to_be_confirmed: false,
        changes,
    }
}

#[test]
fn what_a_node_says_before_it_is_known_as_a_member_counts_when_it_is() {
    let mut world = World::new(1, &[1, 2]);
    let put = |id| delta(id - 1, vec![Change::Put(entry(id, "a"))]);
    for id in 1..=PARKED_OF_NODE_MAX as u64 + 1 {
        hear(&mut world, 1, 9, id, put(id));
    }
    assert!(world.seen(1, 9).is_none());
    assert_eq!(world.nodes[&1].registry.counters().strangers, 1);
    world.members.insert(9, crate::membership::Status::Up);
    world.show(1);
    let (_, content) = world.seen(1, 9).expect("a member");
    assert_eq!(content.len(), PARKED_OF_NODE_MAX);
}

#[test]
fn messages_for_another_process_and_versions_that_never_were_are_counted() {
    let mut world = World::new(1, &[1, 2]);
    world.run_for(Duration::from_secs(1));
    let check = Message {
        to: uid(7),
        latest: 0,
        body: Body::Check { sum: 1 },
    };
    let bytes = check.to_bytes();
    let heard = world.with(1, |it, now, out| {
        it.handle_message(now, &node(2), &bytes, out)
    });
    assert_eq!(heard, Ok(()));
    assert_eq!(world.nodes[&1].registry.counters().misdirected, 1);
    let ask = Body::Ask {
        from: 5,
        after: EntryId(0),
    };
    hear(&mut world, 1, 2, 0, ask);
    hear(&mut world, 1, 2, 0, Body::Confirm { counter: 5 });
    let versions = vec![(uid(1), 5), (uid(77), 5)];
    let is_question = false;
    let digest = Body::Digest {
        is_question,
        versions,
    };
    hear(&mut world, 1, 2, 0, digest);
    assert_eq!(world.nodes[&1].registry.counters().ahead, 3);
    let chunk = Body::Chunk {
        after: EntryId(3),
        is_last: true,
        is_to_be_confirmed: false,
        entries: vec![entry(4, "a")],
    };
    hear(&mut world, 1, 2, 9, chunk);
    assert_eq!(world.nodes[&1].registry.counters().unwanted, 1);
    assert!(world.seen(1, 2).expect("a member").1.is_empty());
}

#[test]
fn rumours_cost_their_owner_a_question_now_and_then() {
    let mut world = World::new(1, &[1, 2, 3]);
    world.run_for(Duration::from_millis(100));
    let before = world.nodes[&1].bytes_sent;
    for _ in 0..1_000 {
        let versions = vec![(uid(3), 1_000_000)];
        let is_question = false;
        let digest = Body::Digest {
            is_question,
            versions,
        };
        hear(&mut world, 1, 2, 0, digest);
        world.run_for(Duration::from_millis(1));
    }
    let sent = world.nodes[&1].bytes_sent - before;
    assert!((33..=400).contains(&sent), "{sent}");
}

/// An owner whose entries are that many, as the one at 1 hears it.
fn fill(world: &mut World, owner: u64, count: u64, name: &str) {
    let mut from = 0;
    while from < count {
        let until = (from + 500).min(count);
        let puts = (from + 1..=until).map(|id| Change::Put(entry(id, name)));
        hear(world, 1, owner, until, delta(from, puts.collect()));
        from = until;
    }
}

#[test]
fn one_over_the_entries_max_of_all_or_of_one_is_refused_and_counted() {
    let owners = (ENTRIES_MAX / ENTRIES_OF_NODE_MAX) as u64;
    let numbers: Vec<u64> = (1..=owners + 2).collect();
    let mut world = World::new(1, &numbers);
    numbers.iter().skip(1).for_each(|it| {
        world.nodes.remove(it);
    });
    let over = |world: &World| world.nodes[&1].registry.counters().over;
    let all = ENTRIES_OF_NODE_MAX as u64;
    for owner in 2..=owners + 1 {
        fill(&mut world, owner, all, "a");
        assert_eq!(over(&world), 0);
    }
    let put = |id| vec![Change::Put(entry(id, "a"))];
    hear(&mut world, 1, 2, all + 1, delta(all, put(all + 1)));
    assert_eq!(over(&world), 1, "one owner has too many");
    hear(&mut world, 1, owners + 2, 1, delta(0, put(1)));
    assert_eq!(over(&world), 2, "all of them have");
    world.members.remove(&2);
    world.show(1);
    hear(&mut world, 1, owners + 2, 1, delta(0, put(1)));
    assert_eq!(over(&world), 2, "there is room again");
    world.run_for(Duration::from_millis(5));
    assert_eq!(world.seen(1, owners + 2).expect("known").1.len(), 1);
}

#[test]
fn one_over_the_bytes_max_of_all_is_refused_and_counted() {
    let owners = (crate::registry::limits::BYTES_MAX / BYTES_OF_NODE_MAX) as u64;
    let numbers: Vec<u64> = (1..=owners + 2).collect();
    let mut world = World::new(1, &numbers);
    numbers.iter().skip(1).for_each(|it| {
        world.nodes.remove(it);
    });
    let name = "n".repeat(255);
    let fits = (BYTES_OF_NODE_MAX / 291) as u64;
    (2..=owners + 1).for_each(|it| fill(&mut world, it, fits, &name));
    assert_eq!(world.nodes[&1].registry.counters().over, 0);
    fill(&mut world, owners + 2, 500, &name);
    assert_eq!(world.nodes[&1].registry.counters().over, 1);
}
