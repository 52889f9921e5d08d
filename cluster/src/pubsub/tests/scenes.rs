//! What happens in one order or another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::World;
use crate::context::Random;
use crate::membership::testing::uid;
use crate::pubsub::{
    AllNodes, Audience, Candidate, GroupName, Nodes, Path, Pattern, Policy, Pressure, Publish,
    SendError, Subscribe, SubscriberId, Topic, Whom,
};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::link::Target;

const MILLIS: Duration = Duration::from_millis(1);
const TYPE: u64 = 1;

fn wanted(pattern: &str, group: Option<&str>, subscriber: u64) -> Subscribe {
    Subscribe {
        pattern: Pattern::new(pattern).expect("a pattern"),
        group: group.map(|it| GroupName::new(it).expect("a group")),
        protocol: TYPE,
        subscriber: SubscriberId(subscriber),
    }
}

/// The nodes, cores and subscribers that got something, each once for each copy.
fn delivered(world: &mut World) -> Vec<(u64, u16, u64)> {
    let all = std::mem::take(&mut world.deliveries);
    let all = all.iter().map(|it| (it.at.0, it.at.1, it.to.subscriber.0));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

#[test]
fn a_publish_takes_one_frame_to_a_node_and_reaches_all_its_cores() {
    let mut world = World::new(1, &[1, 2, 3], 3);
    for (node, core, pattern) in [(2, 0, "a.b"), (2, 1, "a.*"), (2, 1, "a.b"), (3, 2, "**")] {
        world.subscribe((node, core), &wanted(pattern, None, 7), 0);
    }
    world.subscribe((1, 0), &wanted("a.b", None, 7), 0);
    world.subscribe((1, 2), &wanted("a.b", None, 7), 0);
    world.run_for(MILLIS * 50);
    let sent = world.publish((1, 0), "a.b", TYPE, &Publish::default());
    assert_eq!(sent.frames, BTreeMap::from([(2, 1), (3, 1)]));
    world.run_for(MILLIS * 50);
    let all = [
        (1, 0, 7),
        (1, 2, 7),
        (2, 0, 7),
        (2, 1, 7),
        (2, 1, 7),
        (3, 2, 7),
    ];
    assert_eq!(delivered(&mut world), all);
    let sent = world.publish((1, 0), "b", TYPE + 1, &Publish::default());
    assert!(sent.is_dead_letter, "of that type there is none");
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world), []);
}

#[test]
fn what_begins_on_the_own_core_is_reached_at_once() {
    let mut world = World::new(1, &[1, 2], 2);
    world.subscribe((1, 0), &wanted("a", None, 7), 0);
    world.subscribe((1, 0), &wanted("a", Some("g"), 8), 0);
    world.publish((1, 0), "a", TYPE, &Publish::default());
    assert_eq!(delivered(&mut world), [(1, 0, 7), (1, 0, 8)]);
}

#[test]
fn a_group_gets_one_copy_wherever_its_members_are() {
    let mut world = World::new(1, &[1, 2, 3], 2);
    for (at, count) in [
        ((1, 0), 1),
        ((1, 1), 2),
        ((2, 0), 3),
        ((2, 1), 1),
        ((3, 0), 3),
    ] {
        for subscriber in 0..count {
            world.subscribe(at, &wanted("a", Some("g"), subscriber), 0);
        }
    }
    world.run_for(MILLIS * 100);
    for policy in [Policy::Random, Policy::RoundRobin] {
        let publish = Publish {
            policy,
            ..Publish::default()
        };
        for _ in 0..10_000 {
            world.publish((1, 0), "a", TYPE, &publish);
        }
        world.run_for(MILLIS * 50);
        let all = delivered(&mut world);
        assert_eq!(all.len(), 10_000);
        let mut shares: BTreeMap<_, usize> = BTreeMap::new();
        all.into_iter()
            .for_each(|it| *shares.entry(it).or_default() += 1);
        assert_eq!(shares.len(), 10);
        let slack = if policy == Policy::Random { 200 } else { 20 };
        let is_fair = |it: &usize| it.abs_diff(1_000) <= slack;
        assert!(shares.values().all(is_fair), "{policy:?} {shares:?}");
    }
    let publish = Publish {
        policy: Policy::Broadcast,
        ..Publish::default()
    };
    world.publish((1, 0), "a", TYPE, &publish);
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world).len(), 5, "one on each core");
    let publish = Publish {
        audience: Audience::UngroupedOnly,
        ..Publish::default()
    };
    let sent = world.publish((1, 0), "a", TYPE, &publish);
    assert!(sent.is_dead_letter);
}

#[test]
fn a_group_that_has_emptied_is_looked_for_elsewhere_once() {
    let mut world = World::new(1, &[1, 2, 3], 1);
    let member = world.subscribe((2, 0), &wanted("a", Some("g"), 7), 0);
    world.run_for(MILLIS * 50);
    world.subscribe((3, 0), &wanted("a", Some("g"), 8), 0);
    world.run_for(MILLIS * 50);
    // Both are known, and the first ends while what is for the group is on its way.
    let publish = Publish {
        policy: Policy::RoundRobin,
        ..Publish::default()
    };
    let frames: Vec<_> = (0..2)
        .map(|_| world.publish((1, 0), "a", TYPE, &publish).frames)
        .collect();
    assert_ne!(frames[0], frames[1]);
    world.change((2, 0), |it, out| it.unsubscribe(member.id, out));
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world), [(3, 0, 8), (3, 0, 8)]);
    assert_eq!(world.nodes[&2].cores[0].counters().forwarded, 1);
}

fn to_all_places() -> Publish {
    Publish {
        policy: Policy::Broadcast,
        ..Publish::default()
    }
}

#[test]
fn a_group_that_is_reached_at_all_its_places_is_looked_for_nowhere_else() {
    let mut world = World::new(1, &[1, 2, 3], 1);
    let member = world.subscribe((2, 0), &wanted("a", Some("g"), 7), 0);
    world.subscribe((3, 0), &wanted("a", Some("g"), 8), 0);
    world.run_for(MILLIS * 50);
    // The member ends while its copy is on its way: the other one has its own.
    world.publish((1, 0), "a", TYPE, &to_all_places());
    world.change((2, 0), |it, out| it.unsubscribe(member.id, out));
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world), [(3, 0, 8)]);
    let counters = world.nodes[&2].cores[0].counters();
    assert_eq!((counters.forwarded, counters.dead_groups), (0, 1));
}

#[test]
fn a_member_that_has_just_begun_is_one_of_all_places_on_its_core() {
    let mut world = World::new(1, &[1, 2], 1);
    world.subscribe((2, 0), &wanted("a", Some("g"), 7), 0);
    world.run_for(MILLIS * 50);
    world.subscribe((1, 0), &wanted("a", Some("g"), 8), 0);
    world.publish((1, 0), "a", TYPE, &to_all_places());
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world), [(1, 0, 8), (2, 0, 7)]);
}

#[test]
fn a_group_that_has_emptied_everywhere_is_a_dead_letter() {
    let mut world = World::new(1, &[1, 2, 3], 1);
    let two = world.subscribe((2, 0), &wanted("a", Some("g"), 7), 0);
    let three = world.subscribe((3, 0), &wanted("a", Some("g"), 8), 0);
    world.run_for(MILLIS * 50);
    world.publish((1, 0), "a", TYPE, &Publish::default());
    world.change((2, 0), |it, out| it.unsubscribe(two.id, out));
    world.change((3, 0), |it, out| it.unsubscribe(three.id, out));
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world), []);
    let counters = [2, 3].map(|it| world.nodes[&it].cores[0].counters());
    let forwarded: u64 = counters.iter().map(|it| it.forwarded).sum();
    let dead: u64 = counters.iter().map(|it| it.dead_groups).sum();
    assert_eq!((forwarded, dead), (1, 1));
}

#[test]
fn an_entry_that_is_not_there_any_more_is_a_dead_letter() {
    let mut world = World::new(1, &[1, 2], 1);
    let begun = world.subscribe((2, 0), &wanted("a", None, 7), 0);
    world.run_for(MILLIS * 50);
    world.travel = 100_000;
    world.change((2, 0), |it, out| it.unsubscribe(begun.id, out));
    world.run_for(MILLIS * 98);
    // The frame names the entry, and comes when all of the node know that it is gone.
    world.publish((1, 0), "a", TYPE, &Publish::default());
    world.run_for(MILLIS * 500);
    let counters = world.nodes[&2].cores[0].counters();
    assert_eq!(counters.dead_letters, 1);
    assert_eq!(delivered(&mut world), []);
}

#[test]
fn who_cannot_be_reached_is_counted_and_chosen_for_nothing() {
    let mut world = World::new(1, &[1, 2, 3], 1);
    for node in [2, 3] {
        world.subscribe((node, 0), &wanted("a", None, 7), 0);
        world.subscribe((node, 0), &wanted("a", Some("g"), 8), 0);
    }
    world.run_for(MILLIS * 50);
    world.part(1, 3);
    world.show_all();
    world.run_for(MILLIS * 50);
    for _ in 0..100 {
        let sent = world.publish((1, 0), "a", TYPE, &Publish::default());
        assert_eq!(sent.frames, BTreeMap::from([(2, 1)]));
    }
    world.run_for(MILLIS * 50);
    assert_eq!(delivered(&mut world).len(), 200);
    assert_eq!(world.nodes[&1].cores[0].counters().unreached, 200);
}

/// Only some nodes have room, and only some take part.
struct Few {
    has_credit: fn(u64) -> bool,
    is_in_role: fn(u64) -> bool,
}

impl Nodes for Few {
    fn has_credit(&self, node: Uid, _: CoreId) -> bool {
        (self.has_credit)(node.as_u64())
    }

    fn is_in_role(&self, node: Uid) -> bool {
        (self.is_in_role)(node.as_u64())
    }
}

#[test]
fn without_room_on_one_way_nobody_gets_it_or_the_others_do() {
    let mut world = World::new(1, &[1, 2, 3], 1);
    for node in [2, 3] {
        world.subscribe((node, 0), &wanted("a", None, 7), 0);
        world.subscribe((node, 0), &wanted("b", Some("g"), 8), 0);
    }
    world.run_for(MILLIS * 50);
    let mut random = Random::new(1);
    let core = &mut world.nodes.get_mut(&1).expect("a node").cores[0];
    let nodes = Few {
        has_credit: |it| it != 3,
        is_in_role: |_| true,
    };
    let a = (Topic::new("a").expect("a topic"), TYPE);
    let b = (Topic::new("b").expect("a topic"), TYPE);
    let full = core.publish(a, &Publish::default(), &nodes, &mut random);
    assert_eq!(full.expect_err("there is none").nodes, [uid(3)]);
    let lossy = Publish {
        pressure: Pressure::Lose,
        ..Publish::default()
    };
    let fanout = core.publish(a, &lossy, &nodes, &mut random).expect("some");
    let stops: Vec<_> = fanout.stops().map(|it| it.node).collect();
    assert_eq!(
        (stops, fanout.without_credit()),
        (vec![uid(2)], &[uid(3)][..])
    );
    for _ in 0..50 {
        let fanout = core.publish(b, &Publish::default(), &nodes, &mut random);
        let stops: Vec<_> = fanout.expect("one has room").stops().collect();
        assert_eq!((stops.len(), stops[0].node), (1, uid(2)));
    }
    let none = Few {
        has_credit: |_| false,
        ..nodes
    };
    let full = core.publish(b, &Publish::default(), &none, &mut random);
    assert_eq!(full.expect_err("there is none").nodes.len(), 1);
    let roles = Few {
        has_credit: |it| it != 2,
        is_in_role: |it| it == 3,
    };
    let fanout = core.publish(a, &Publish::default(), &roles, &mut random);
    assert_eq!(
        fanout.expect("room").stops().count(),
        1,
        "only some take part"
    );
}

#[test]
fn what_is_put_under_a_path_is_sent_to_from_anywhere() {
    let mut world = World::new(1, &[1, 2, 3], 2);
    let path = Path::new("orders").expect("a path");
    for (node, core) in [(1, 1), (2, 0), (3, 1)] {
        let target = Target {
            slot: node as u32,
            generation: 1,
        };
        let put = (SubscriberId(7), target);
        world
            .change((node, core), |it, out| it.put(&path, TYPE, put, out))
            .expect("room");
    }
    world.run_for(MILLIS * 50);
    let mut random = Random::new(1);
    let core = &mut world.nodes.get_mut(&1).expect("a node").cores[0];
    let to = (&path, TYPE);
    let near = Whom::One {
        policy: Policy::Random,
        is_local_preferred: true,
    };
    for _ in 0..50 {
        let sent = core.send(to, near, &AllNodes, &mut random).expect("one");
        assert_eq!(
            (sent.len(), sent[0].node, sent[0].place.core),
            (1, uid(1), CoreId(1))
        );
    }
    let turns = Whom::One {
        policy: Policy::RoundRobin,
        is_local_preferred: false,
    };
    let mut taken: BTreeMap<Uid, usize> = BTreeMap::new();
    for _ in 0..300 {
        let sent = core.send(to, turns, &AllNodes, &mut random).expect("one");
        *taken.entry(sent[0].node).or_default() += 1;
    }
    assert!(taken.len() == 3 && taken.values().all(|it| it.abs_diff(100) <= 1));
    for is_self_excluded in [false, true] {
        let all = Whom::All { is_self_excluded };
        let sent = core.send(to, all, &AllNodes, &mut random).expect("some");
        let slots: Vec<u32> = sent.iter().map(|it| it.place.target.slot).collect();
        assert_eq!(slots, [1, 2, 3][usize::from(is_self_excluded)..]);
    }
    let nobody = Path::new("nothing").expect("a path");
    let sent = core.send((&nobody, TYPE), near, &AllNodes, &mut random);
    assert_eq!(sent, Err(SendError::Nobody));
    let none = Few {
        has_credit: |_| false,
        is_in_role: |_| true,
    };
    let all = Whom::All {
        is_self_excluded: true,
    };
    let sent = core.send(to, all, &none, &mut random);
    assert_eq!(sent, Err(SendError::Full));
    let sent = world.publish((1, 0), "orders", TYPE, &Publish::default());
    assert!(sent.is_dead_letter, "a path is no topic");
}

/// Actors with these slots have no room, or are gone.
struct Slots {
    busy: &'static [u32],
    gone: &'static [u32],
}

impl Nodes for Slots {
    fn has_room(&self, actor: Candidate) -> bool {
        !self.busy.contains(&actor.place.target.slot)
    }

    fn is_there(&self, actor: Candidate) -> bool {
        !self.gone.contains(&actor.place.target.slot)
    }
}

#[test]
fn an_actor_that_is_busy_or_gone_rules_out_no_other_of_its_core() {
    let mut world = World::new(1, &[1, 2], 1);
    let path = Path::new("orders").expect("a path");
    for (node, slot) in [(1, 1), (1, 2), (2, 3)] {
        let target = Target {
            slot,
            generation: 1,
        };
        let put = (SubscriberId(u64::from(slot)), target);
        world
            .change((node, 0), |it, out| it.put(&path, TYPE, put, out))
            .expect("room");
    }
    world.run_for(MILLIS * 50);
    let mut random = Random::new(1);
    let core = &mut world.nodes.get_mut(&1).expect("a node").cores[0];
    let near = Whom::One {
        policy: Policy::Random,
        is_local_preferred: true,
    };
    let mut sent_to = |busy, gone| {
        let slots = Slots { busy, gone };
        let sent = core.send((&path, TYPE), near, &slots, &mut random);
        sent.map(|it| it[0].place.target.slot)
    };
    for _ in 0..20 {
        assert_eq!(sent_to(&[1], &[]), Ok(2));
        assert_eq!(sent_to(&[], &[1]), Ok(2));
        // Who prefers its own node waits for one of that, as long as one is there.
        assert_eq!(sent_to(&[1, 2], &[]), Err(SendError::Full));
        assert_eq!(sent_to(&[1], &[2]), Err(SendError::Full));
        assert_eq!(sent_to(&[], &[1, 2]), Ok(3));
    }
    assert_eq!(sent_to(&[], &[1, 2, 3]), Err(SendError::Nobody));
}

#[test]
fn topics_are_listed_and_counted_as_they_are_announced() {
    let mut world = World::new(1, &[1, 2], 2);
    for (at, pattern) in [
        ((1, 0), "a.b"),
        ((2, 0), "a.b"),
        ((2, 1), "a.b"),
        ((2, 1), "a.*"),
    ] {
        world.subscribe(at, &wanted(pattern, None, 7), 0);
        world.subscribe(at, &wanted(pattern, Some("g"), 7), 0);
    }
    world.run_for(MILLIS * 100);
    let topic = Topic::new("a.b").expect("a topic");
    for node in [1, 2] {
        let topics = world.nodes[&node].cores[0].topics();
        let names: Vec<&str> = topics.names().into_iter().collect();
        assert_eq!(
            (names, topics.subscribers(topic, None)),
            (vec!["a.*", "a.b"], 8)
        );
        let other = topics.subscribers(topic, Some(TYPE + 1));
        assert_eq!((topics.len(), other), (8, 0));
    }
    world.part(1, 2);
    world.show_all();
    world.run_for(MILLIS * 50);
    let topics = world.nodes[&1].cores[0].topics();
    assert_eq!((topics.subscribers(topic, None), topics.len()), (2, 8));
    world.stop(2);
    world.cut.clear();
    world.show_all();
    world.run_for(MILLIS * 50);
    let topics = world.nodes[&1].cores[1].topics();
    assert_eq!(topics.len(), 2);
}

#[test]
fn the_core_that_takes_a_topic_stays_while_it_has_subscribers() {
    let mut world = World::new(1, &[1, 2], 4);
    let mut begun: Vec<_> = (0..4)
        .map(|core| world.subscribe((2, core), &wanted("a", None, 7), 0).id)
        .collect();
    world.run_for(MILLIS * 50);
    let by = |world: &mut World| {
        world.publish((1, 0), "a", TYPE, &Publish::default());
        world.run_for(MILLIS * 50);
        let all = std::mem::take(&mut world.deliveries);
        all.first().expect("somebody gets it").message.by
    };
    let taken = by(&mut world);
    for core in (0..4).filter(|it| *it != taken) {
        let more = world.subscribe((2, core), &wanted("*", None, 7), 0);
        world.run_for(MILLIS * 50);
        assert_eq!(by(&mut world), taken);
        world.change((2, core), |it, out| {
            it.unsubscribe(more.id, out);
            it.unsubscribe(begun[usize::from(core)], out)
        });
        world.run_for(MILLIS * 50);
        assert_eq!(by(&mut world), taken);
    }
    for core in (0..4).filter(|it| *it != taken) {
        begun[usize::from(core)] = world.subscribe((2, core), &wanted("a", None, 7), 0).id;
    }
    world.run_for(MILLIS * 50);
    assert_eq!(by(&mut world), taken, "others came back");
    // So many other topics that the route is forgotten: it comes back as it was, but whoever
    // remembers a way asks anew.
    let moment = world.nodes[&1].cores[0].moment();
    for number in 0..5_000 {
        world.publish((1, 0), &format!("t{number}"), TYPE, &Publish::default());
    }
    assert_ne!(world.nodes[&1].cores[0].moment(), moment);
    assert_eq!(by(&mut world), taken);
    let gone = begun[usize::from(taken)];
    world.change((2, taken), |it, out| it.unsubscribe(gone, out));
    world.run_for(MILLIS * 50);
    assert_ne!(by(&mut world), taken);
}
