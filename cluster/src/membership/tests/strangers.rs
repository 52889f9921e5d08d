//! What comes from whoever should not speak, or says what cannot be.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::world::{World, at, node_id};
use crate::context::Random;
use crate::membership::command::Command;
use crate::membership::configuration::Configuration;
use crate::membership::event::Event;
use crate::membership::gossip::{ClusterId, Gossip};
use crate::membership::machine::{Counters, FOREIGN_MAX, TOLD_MAX};
use crate::membership::member::Member;
use crate::membership::message::{Message, Refusal};
use crate::membership::reachability::Reason;
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::summary::Summary;
use crate::membership::testing::{self, uid};

fn counters(world: &World, number: u64) -> Counters {
    world.nodes[&number].control.membership().counters().clone()
}

fn gossip(view: &Gossip) -> Message {
    Message::Gossip(Box::new(view.clone()))
}

#[test]
fn a_stranger_is_not_heard() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let view = world.view(1).clone();
    world.hear(1, 9, &gossip(&view));
    world.hear(1, 9, &Message::Status(Summary::of(&view)));
    world.hear(1, 9, &Message::ExitingConfirmed);
    assert_eq!(counters(&world, 1).strangers, 3);
    world.hear(1, 102, &gossip(&view));
    assert_eq!(
        counters(&world, 1).strangers,
        4,
        "another start at that address"
    );
}

#[test]
fn what_was_for_an_earlier_start_at_the_address_means_nothing() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let body = gossip(world.view(2)).encode(Some(uid(99)), world.now);
    world.with(1, |control, cx| {
        control.handle_message(cx, &node_id(2), &body)
    });
    assert_eq!(counters(&world, 1).misdirected, 1);
    let body = gossip(world.view(2)).encode(None, world.now);
    world.with(1, |control, cx| {
        control.handle_message(cx, &node_id(2), &body)
    });
    assert_eq!(counters(&world, 1).misdirected, 2, "for whoever answers");
}

#[test]
fn another_cluster_is_reported_once_and_refused() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let cluster = ClusterId(0xBAD);
    let mut other = Gossip::founded(cluster, testing::member(2, "default", Status::Up));
    other
        .admit(testing::member(1, "default", Status::Up))
        .expect("room");
    for _ in 0..10 {
        world.hear(1, 2, &gossip(&other));
        world.hear(1, 2, &Message::Status(Summary::of(&other)));
    }
    assert_eq!(counters(&world, 1).foreign, 20);
    let node = node_id(2);
    let foreign = Event::ForeignCluster { node, cluster };
    assert_eq!(world.events(1).filter(|it| **it == foreign).count(), 1);
    assert!(world.are_up(&[1, 2]));
}

/// Process starts that are no members, at a few addresses.
fn many(count: usize) -> impl Iterator<Item = u64> {
    let numbers = (1_000..).filter(|number| number % 100 > 2);
    numbers.take(count)
}

/// However many there are: each of them would be news.
#[test]
fn one_over_the_foreign_max_is_refused_without_a_word_until_later() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let reported = |world: &World| {
        let labels = world.labels(1);
        labels.iter().filter(|it| **it == "foreign_cluster").count()
    };
    let mut speak = |from: u64| {
        let cluster = ClusterId(0xBAD);
        let member = testing::member(from, "default", Status::Up);
        world.hear(1, from, &gossip(&Gossip::founded(cluster, member)));
        reported(&world)
    };
    let counts: Vec<usize> = many(TOLD_MAX + FOREIGN_MAX).map(&mut speak).collect();
    assert_eq!(counts.last(), Some(&FOREIGN_MAX));
    assert_eq!(counts[FOREIGN_MAX - 1], FOREIGN_MAX);
    assert_eq!(counters(&world, 1).foreign, counts.len() as u64);
    world.run_for(Settings::default().removed_interval);
    let cluster = ClusterId(0xBAD);
    let member = testing::member(1_001, "default", Status::Up);
    world.hear(1, 1_001, &gossip(&Gossip::founded(cluster, member)));
    assert_eq!(reported(&world), FOREIGN_MAX + 1);
}

#[test]
fn one_over_the_told_max_hears_nothing_until_later() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.run_for(Duration::from_secs(2));
    let view = world.view(1).clone();
    let before = world.bodies;
    for from in many(TOLD_MAX + 10) {
        world.hear(1, from, &gossip(&view));
    }
    assert_eq!(world.bodies - before, TOLD_MAX as u64);
    assert_eq!(counters(&world, 1).strangers, TOLD_MAX as u64 + 10);
}

#[test]
fn a_view_that_knows_more_of_a_member_than_itself_is_refused() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let before = world.view(1).clone();
    let forge = |change: &dyn Fn(&mut Gossip)| {
        let mut view = before.clone();
        change(&mut view);
        view
    };
    let forged = [
        forge(&|view| view.touch(uid(1))),
        forge(&|view| {
            let witnesses = Vec::new();
            let reason = Reason::Silence;
            let record = crate::membership::reachability::Record { reason, witnesses };
            view.reachability_mut().accuse(uid(1), uid(3), record);
            view.touch(uid(2));
        }),
        forge(&|view| {
            let member = Member::joining(testing::profile(8, "default"));
            view.admit(member).expect("room");
            view.member_mut(uid(8))
                .expect("a member")
                .become_next(Status::Up);
            view.touch(uid(2));
        }),
    ];
    for (index, view) in forged.iter().enumerate() {
        world.hear(1, 2, &gossip(view));
        assert_eq!(counters(&world, 1).illegal, index as u64 + 1);
        assert_eq!(world.view(1).version(), before.version());
    }
}

#[test]
fn a_member_that_cannot_be_reached_is_not_heard_until_it_can() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.accuse(1, 2, Reason::Silence);
    let view = world.view(2).clone();
    world.hear(1, 2, &gossip(&view));
    assert_eq!(counters(&world, 1).unreachable, 1);
    world.clear(1, 2);
    world.hear(1, 2, &gossip(&view));
    assert_eq!(counters(&world, 1).unreachable, 1);
}

#[test]
fn only_whoever_was_asked_may_welcome_or_refuse() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.start(3);
    world.part(&[3], &[1]);
    world.join(3, &[at(1)]);
    let mut view = world.view(2).clone();
    view.admit(Member::joining(testing::profile(3, "default")))
        .expect("room");
    world.hear(3, 2, &Message::Welcome(Box::new(view)));
    world.hear(3, 2, &Message::JoinRefused(Refusal::AddressInUse));
    let names = vec!["x".into()];
    world.hear(3, 2, &Message::Incompatible { names });
    let cluster = ClusterId(1);
    let asked = world.now.as_nanos() + 1;
    let configuration = Configuration::default();
    let message = Message::InCluster {
        asked,
        cluster,
        configuration,
    };
    world.hear(3, 2, &message);
    assert_eq!(counters(&world, 3).untimely, 4);
    assert_eq!(world.nodes[&3].stopped, None);
    assert!(world.nodes[&3].control.membership().gossip().is_none());
}

#[test]
fn a_join_for_somebody_else_is_refused_by_whoever_hears_it() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let profile = super::world::profile(7, &[], "default");
    let configuration = Default::default();
    let join = Message::Join {
        profile,
        configuration,
    };
    world.hear(1, 8, &join);
    assert_eq!(counters(&world, 1).illegal, 1);
    assert_eq!(world.status(7, 1), None);
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let before = world.view(1).clone();
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        let length = random.below(60);
        let tag = random.below(40) as u8;
        let rest = (0..length).map(|_| random.next_u64() as u8);
        let mut body: Vec<u8> = std::iter::once(tag).chain(rest).collect();
        if let Some(to) = body.get_mut(1..9) {
            to.copy_from_slice(&1_u64.to_le_bytes());
        }
        world.with(1, |control, cx| {
            control.handle_message(cx, &node_id(2), &body)
        });
    }
    let malformed = counters(&world, 1).malformed;
    assert!(malformed.values().sum::<u64>() > 10_000, "{malformed:?}");
    assert_eq!(world.view(1).version(), before.version());
}

/// Views of a member, damaged in whatever way, never harm whoever hears them beyond what a member
/// may say.
#[test]
fn damaged_views_never_panic() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let body = gossip(world.view(2)).encode(Some(uid(1)), Instant::ZERO);
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let mut damaged = body.clone();
        for _ in 0..=random.below(4) {
            let place = 9 + random.below(body.len() - 9);
            damaged[place] ^= 1 << random.below(8);
        }
        if world.nodes[&1].stopped.is_none() {
            world.with(1, |control, cx| {
                control.handle_message(cx, &node_id(2), &damaged)
            });
        }
    }
    let counters = counters(&world, 1);
    assert!(counters.malformed.values().sum::<u64>() + counters.illegal > 1_000);
}

#[test]
fn a_cluster_that_one_message_cannot_hold_lets_nobody_in() {
    use crate::membership::message::BODY_BYTES_MAX;
    let mut world = World::new(1);
    world.start(1);
    world.join(1, &[]);
    let mut refused = 0;
    let long = "x".repeat(64);
    for number in 0..1_200_u64 {
        let mut profile = super::world::profile(1, &[&long], "default");
        profile.node.uid = uid(1_000 + number);
        let host = format!("host-{number}");
        let host = ringmesh_proto::address::Address::new("demo", &host, 7000);
        profile.node.address = host.expect("an address");
        let from = profile.node.clone();
        let configuration = Default::default();
        let join = Message::Join {
            profile,
            configuration,
        };
        let body = join.encode(Some(uid(1)), world.now);
        world.with(1, |control, cx| control.handle_message(cx, &from, &body));
        refused = counters(&world, 1).refused_joins;
        if refused > 3 {
            break;
        }
    }
    assert!(refused > 3);
    let body = gossip(world.view(1)).encode(None, world.now).len();
    let half = BODY_BYTES_MAX / 2;
    assert!((half * 4 / 5..=half).contains(&body), "{body} bytes");
    let leave = Command::Leave { address: None };
    world.command(1, leave).expect("a member");
}

/// What one of two clusters says of itself reaches a node of the other: both sides say so.
#[test]
fn whoever_meets_another_cluster_tells_it_of_its_own() {
    let mut world = World::new(2);
    world.form(&[1, 2]);
    world.start(9);
    assert_eq!(world.command(9, Command::Found), Ok(()));
    let (ours, theirs) = (world.view(1).cluster(), world.view(9).cluster());
    // A late answer to a question that 1 asked before it found its cluster.
    let asked = 0;
    let configuration = Configuration::default();
    let late = Message::InCluster {
        asked,
        cluster: theirs,
        configuration,
    };
    world.hear(1, 9, &late);
    world.run_for(Duration::from_secs(1));
    let foreign = |world: &World, at: u64, node, cluster| {
        let event = Event::ForeignCluster { node, cluster };
        world.events(at).filter(|it| **it == event).count()
    };
    assert_eq!(foreign(&world, 1, node_id(9), theirs), 1);
    assert_eq!(foreign(&world, 9, node_id(1), ours), 1);
    assert_eq!(counters(&world, 1).foreign, 1, "nobody answers the answer");
    world.hear(9, 1, &Message::Foreign { cluster: theirs });
    assert_eq!(counters(&world, 9).untimely, 1, "it is in the same");
}

/// Its seeds are of two clusters: it says so, and becomes a member of the first that answers.
#[test]
fn whoever_seeks_and_finds_two_clusters_says_so() {
    let mut world = World::new(3);
    for founder in [1, 2] {
        world.start(founder);
        assert_eq!(world.command(founder, Command::Found), Ok(()));
    }
    world.start(3);
    world.join(3, &[at(1), at(2)]);
    world.run_for(Duration::from_secs(5));
    let (joined, other) = match world.view(3).cluster() == world.view(1).cluster() {
        true => (1, 2),
        false => (2, 1),
    };
    let (node, cluster) = (node_id(other), world.view(other).cluster());
    let foreign = Event::ForeignCluster { node, cluster };
    assert_eq!(world.events(3).filter(|it| **it == foreign).count(), 1);
    assert!(world.are_up(&[joined, 3]));
}
