//! What nodes remember of their cluster, and what it keeps them from.

use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId};

use super::world::{World, at, node_id, profile};
use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::gossip::{ClusterId, MEMBERS_MAX};
use crate::membership::machine::CONTACTS_MAX;
use crate::membership::memory::{Electorate, Memory, Remembered, Voice};
use crate::membership::message::Message;
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::testing;

fn settings() -> Settings {
    Settings {
        remembers: true,
        ..Settings::default()
    }
}

fn memory(numbers: &[u64]) -> Option<Memory> {
    let remembered = |number: &u64| Remembered {
        node: node_id(*number),
        data_centre: "default".into(),
        voice: Voice::Settled,
    };
    let members = numbers.iter().map(remembered).collect();
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
    world.run_for(Duration::from_secs(1));
    let remembered = |world: &World, number| world.nodes[&number].memory.clone();
    let known = remembered(&world, 3).expect("a memory");
    assert_eq!(memory(&[1, 2, 3]).map(|it| it.members), Some(known.members));
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
    assert_eq!(memory(&[1, 2]).map(|it| it.members), Some(known.members));
}

/// The members it leaves may be such that nobody else knows of, who would found another cluster.
#[test]
fn where_few_may_go_on_nobody_forgets_who_leaves_others_behind() {
    let mut world = World::new(1);
    for number in [1, 2] {
        start(&mut world, number, None, &[1]);
        world.with(number, |control, _| {
            control.membership_mut().set_electorate(Electorate::Anybody);
        });
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2]));
    let leave = || Command::Leave { address: None };
    let remembered = |world: &World, number| world.nodes[&number].memory.is_some();
    world.command(2, leave()).expect("a member");
    world.run_until("removed", 5, |world| world.are_up(&[1]));
    world.run_for(Duration::from_secs(1));
    assert!(remembered(&world, 2));
    world.command(1, leave()).expect("a member");
    world.run_for(Duration::from_secs(5));
    assert!(!remembered(&world, 1), "it left nobody");
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

/// The cluster of 1 to 5 went on as one of 2, 3 and 4, and that as one of 2 and 3. Only 3 knows of
/// the last one, and most of 1 to 5 are there.
#[test]
fn what_each_of_those_that_agree_remembers_has_to_agree_as_well() {
    let mut world = World::new(1);
    start(&mut world, 2, None, &[2]);
    world.run_until("up", 5, |world| world.are_up(&[2]));
    let cluster = world.nodes[&2].control.topology().cluster();
    world.part(&[2], &[1, 3, 4, 5]);
    start(&mut world, 101, memory(&[1, 2, 3, 4, 5]), &[1]);
    start(&mut world, 105, memory(&[1, 2, 3, 4, 5]), &[1]);
    start(&mut world, 104, memory(&[2, 3, 4]), &[1]);
    start(&mut world, 103, memory(&[2, 3]), &[1]);
    world.run_for(Duration::from_secs(30));
    assert!(!world.labels(101).contains(&"founded"));
    world.cut.clear();
    world.run_until("up", 10, |world| world.are_up(&[2, 101, 103, 104, 105]));
    assert_eq!(world.nodes[&101].control.topology().cluster(), cluster);
}

/// Whom the asker does not remember it is told of, and asks as well.
#[test]
fn whoever_others_remember_is_asked_as_well() {
    let mut world = World::new(1);
    start(&mut world, 101, memory(&[1, 2]), &[1]);
    start(&mut world, 102, memory(&[1, 2, 3, 4]), &[1]);
    world.run_for(Duration::from_secs(10));
    assert!(!world.labels(101).contains(&"founded"), "half of four");
    start(&mut world, 104, memory(&[2, 4]), &[9]);
    world.run_until("up", 10, |world| world.are_up(&[101, 102, 104]));
}

#[test]
fn whoever_forgot_is_as_good_as_others_only_where_all_agree() {
    let mut world = World::new(1);
    start(&mut world, 101, memory(&[1, 2, 3]), &[1]);
    start(&mut world, 102, None, &[1]);
    world.run_for(Duration::from_secs(10));
    assert!(!world.labels(101).contains(&"founded"));
    start(&mut world, 103, None, &[1]);
    world.run_until("up", 10, |world| world.are_up(&[101, 102, 103]));
}

/// Else it would leave those out that it was parted from, and found a cluster without asking them.
#[test]
fn whoever_was_given_up_writes_nothing_more() {
    let mut world = World::new(1);
    for number in [1, 2, 3] {
        start(&mut world, number, None, &[1]);
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    world.part(&[1], &[2, 3]);
    let all = [1, 2, 3].map(testing::uid);
    world.with(1, |control, cx| {
        control.membership_mut().down(cx, &all, None)
    });
    world.run_for(Duration::from_secs(10));
    assert!(world.nodes[&1].stopped.is_some());
    let known = world.nodes[&1].memory.clone().expect("a memory");
    assert_eq!(memory(&[1, 2, 3]).map(|it| it.members), Some(known.members));
    let known = world.nodes[&1].memory.clone();
    start(&mut world, 101, known, &[1]);
    world.run_for(Duration::from_secs(10));
    assert!(!world.labels(101).contains(&"founded"));
}

#[test]
fn nobody_moves_on_before_all_have_written_it_down() {
    let mut world = World::new(1);
    for number in [1, 2, 3] {
        start(&mut world, number, None, &[1]);
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    world.run_for(Duration::from_secs(1));
    world.stuck.insert(2);
    start(&mut world, 4, None, &[1]);
    world.run_for(Duration::from_secs(5));
    let four = |world: &World| [1, 2, 3, 4].map(|at| world.status(4, at));
    assert_eq!(four(&world), [Some(Status::Joining); 4]);
    let why = world.nodes[&1].control.membership().why_not_converged();
    assert_eq!(why.expect("a member").not_seen, [node_id(2)]);
    // What it had written before it was killed says nothing of 4.
    let known = world.nodes[&2].memory.clone();
    assert_eq!(
        known.map(|it| it.members),
        memory(&[1, 2, 3]).map(|it| it.members)
    );
    world.stuck.clear();
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3, 4]));
}

#[test]
fn a_founder_whose_disk_is_stuck_leads_nobody() {
    let mut world = World::new(1);
    world.stuck.insert(1);
    start(&mut world, 1, None, &[1]);
    start(&mut world, 2, None, &[1]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.status(1, 1), Some(Status::Joining));
    let why = world.nodes[&1].control.membership().why_not_converged();
    assert_eq!(why.expect("a member").not_seen, [node_id(1)]);
    world.stuck.clear();
    world.run_until("up", 5, |world| world.are_up(&[1, 2]));
}

#[test]
fn one_over_the_contacts_max_is_not_asked_and_agrees_to_nothing() {
    let mut world = World::new(1);
    let member = |number: usize| Remembered {
        node: NodeId {
            address: Address::new("demo", &format!("host-{number}"), 7000).expect("an address"),
            uid: testing::uid(number as u64 + 1),
        },
        data_centre: "default".into(),
        voice: Voice::Settled,
    };
    let (cluster, names) = (ClusterId(7), |range: std::ops::Range<usize>| {
        range.map(member)
    });
    let known = Memory {
        cluster,
        members: names(0..CONTACTS_MAX + 1).collect(),
    };
    start(&mut world, 1, Some(known), &[1]);
    world.run_for(Duration::from_secs(11));
    let silent = world.events(1).find_map(|event| match event {
        Event::JoinWaiting { silent } => Some(silent.len()),
        _ => None,
    });
    assert_eq!(silent, Some(CONTACTS_MAX));
}

/// No member writes that much down: it is told nobody, and so nobody counts on it.
#[test]
fn what_no_message_holds_is_not_told() {
    let mut world = World::new(1);
    let host = "h".repeat(60);
    let member = |number: usize| Remembered {
        node: NodeId {
            address: Address::new("demo", &format!("{host}{number}"), 7000).expect("an address"),
            uid: testing::uid(number as u64 + 1),
        },
        data_centre: "default".into(),
        voice: Voice::Settled,
    };
    let known = Memory {
        cluster: ClusterId(7),
        members: (0..MEMBERS_MAX).map(member).collect(),
    };
    start(&mut world, 1, Some(known), &[9]);
    let question = Message::InitJoin {
        asked: 1,
        candidate: true,
        configuration: Default::default(),
    };
    let before = world.bodies;
    world.hear(1, 2, &question);
    assert_eq!(world.bodies, before);
    let counters = world.nodes[&1].control.membership().counters().clone();
    assert_eq!(counters.too_long, 1);
}

/// One that waits for its disk takes back that it holds the view; that is no news for the others.
#[test]
fn members_that_wait_for_their_disks_do_not_talk_without_end() {
    let mut world = World::new(1);
    for number in [1, 2, 3] {
        start(&mut world, number, None, &[1]);
    }
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3]));
    world.stuck = [2, 3].into();
    start(&mut world, 4, None, &[1]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(
        world.status(4, 2),
        Some(Status::Joining),
        "nobody moves it on"
    );
    let before = world.bodies;
    world.run_for(Duration::from_secs(5));
    let each_second = (world.bodies - before) / 5;
    assert!(each_second <= 40, "{each_second} a second, of four");
    world.stuck.clear();
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 3, 4]));
}

/// Whoever founds a cluster with its word counts on that: another one that still stands, though
/// most of its members are started anew, is not to go on with it.
#[test]
fn who_let_a_node_found_a_cluster_joins_no_other_before_it_knows_what_came_of_that() {
    let says = |world: &mut World, from: u64, cluster: u64| {
        let message = Message::InCluster {
            asked: world.now.as_nanos(),
            cluster: ClusterId(cluster),
            configuration: Default::default(),
        };
        let before = world.bodies;
        world.hear(2, from, &message);
        world.bodies - before
    };
    let asked = || {
        let mut world = World::new(1);
        start(&mut world, 2, memory(&[1, 2, 3]), &[1]);
        let question = Message::InitJoin {
            asked: 1,
            candidate: true,
            configuration: Default::default(),
        };
        world.hear(2, 1, &question);
        assert_eq!(says(&mut world, 3, 7), 0, "it is bound to 1");
        world
    };
    assert_eq!(says(&mut asked(), 1, 8), 1, "it asks to be let in there");
    let mut world = asked();
    world.run_for(Duration::from_secs(3));
    assert_eq!(says(&mut world, 3, 7), 0, "1 may be slow to say");
    world.run_for(Duration::from_secs(1));
    assert_eq!(says(&mut world, 3, 7), 1, "nothing is heard of 1");
}

#[test]
fn who_knows_of_a_member_lets_nobody_found_a_cluster() {
    let mut world = World::new(1);
    start(&mut world, 2, memory(&[1, 2, 3]), &[1]);
    let in_cluster = Message::InCluster {
        asked: world.now.as_nanos(),
        cluster: ClusterId(7),
        configuration: Default::default(),
    };
    world.hear(2, 3, &in_cluster);
    let consents = |world: &mut World| {
        let question = Message::InitJoin {
            asked: 1,
            candidate: true,
            configuration: Default::default(),
        };
        world.hear(2, 1, &question);
        world.nodes[&2].control.membership().has_consented()
    };
    assert!(!consents(&mut world));
    // It does not let it in, nor says anything more.
    world.run_for(Duration::from_secs(7));
    assert!(consents(&mut world));
}
