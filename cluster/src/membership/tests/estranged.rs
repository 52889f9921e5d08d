//! Members that the others have never heard of.

use std::time::Duration;

use super::world::{World, at};
use crate::effect::StopReason;
use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::gossip::ClusterId;
use crate::membership::message::{Message, Refusal};
use crate::membership::reachability::Reason;
use crate::membership::status::Status;

/// A cluster of 1, 2 and 3 in which 1 let 4 in, and died before it told anybody.
fn estranged() -> World {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.part(&[1], &[2, 3]);
    world.start(4);
    world.join(4, &[at(1)]);
    world.part(&[4], &[2, 3]);
    world.run_until("in", 3, |world| world.status(4, 4).is_some());
    world.kill(1);
    world.cut.clear();
    world
}

#[test]
fn a_newcomer_whose_admitter_told_nobody_is_let_in_by_another() {
    let mut world = estranged();
    for observer in [2, 3, 4] {
        world.accuse(observer, 1, Reason::Refused);
    }
    assert_eq!(world.status(4, 2), None);
    world.run_until("known", 12, |world| {
        [2, 3].iter().all(|at| world.status(4, *at).is_some())
    });
    let one = crate::membership::testing::uid(1);
    world.with(2, |control, cx| {
        control.membership_mut().down(cx, &[one], None)
    });
    world.run_until("up", 10, |world| world.are_up(&[2, 3, 4]));
}

#[test]
fn a_stranger_is_told_so_once_in_a_while_and_asks_once_in_a_while() {
    let mut world = estranged();
    let (gossip, cluster) = (world.view(4).clone(), world.view(4).cluster());
    let before = world.bodies;
    for _ in 0..20 {
        world.hear(2, 4, &Message::Gossip(Box::new(gossip.clone())));
    }
    assert_eq!(world.bodies, before + 1, "told");
    for _ in 0..20 {
        world.hear(4, 2, &Message::Stranger { cluster });
    }
    assert_eq!(world.bodies, before + 1, "its news may be on their way");
    // Long enough for its news to have arrived.
    world.part(&[4], &[2, 3]);
    world.run_for(Duration::from_secs(5));
    let before = world.bodies;
    for _ in 0..20 {
        world.hear(4, 2, &Message::Stranger { cluster });
    }
    assert_eq!(world.bodies, before + 1, "asks");
}

#[test]
fn only_a_member_of_the_own_cluster_makes_a_newcomer_ask_again() {
    let mut world = estranged();
    world.part(&[4], &[2, 3]);
    world.run_for(Duration::from_secs(6));
    let cluster = world.view(4).cluster();
    let other = ClusterId(cluster.0 ^ 1);
    let before = world.bodies;
    world.hear(4, 2, &Message::Stranger { cluster: other });
    world.hear(4, 9, &Message::Stranger { cluster });
    world.hear(4, 102, &Message::Stranger { cluster });
    // Both have long been up.
    let theirs = world.view(2).cluster();
    world.hear(2, 3, &Message::Stranger { cluster: theirs });
    assert_eq!(world.bodies, before);
    let counters = |of: u64| world.nodes[&of].control.membership().counters().clone();
    assert_eq!((counters(4).strangers, counters(2).untimely), (3, 1));
}

#[test]
fn whoever_is_to_wait_for_ever_asks_others_as_well() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.start(3);
    world.part(&[3], &[1, 2]);
    world.join(3, &[at(1), at(2)]);
    world.run_for(Duration::from_millis(300));
    let in_cluster = Message::InCluster {
        asked: world.now.as_nanos(),
        cluster: world.view(1).cluster(),
        configuration: Default::default(),
    };
    world.hear(3, 1, &in_cluster);
    // The first never lets it in.
    world.cut.clear();
    world.cut.insert((3, 1));
    let mut waited = 0;
    while world.status(3, 3).is_none() && waited < 40 {
        world.hear(3, 1, &Message::JoinRefused(Refusal::Wait));
        world.run_for(Duration::from_millis(500));
        waited += 1;
    }
    assert!((19..30).contains(&waited), "{waited}");
    world.run_until("up", 10, |world| world.are_up(&[1, 2, 3]));
    assert_eq!(world.status(3, 2), Some(Status::Up));
    let silent = world.events(3).filter_map(|event| match event {
        Event::JoinWaiting { silent } => Some(silent.clone()),
        _ => None,
    });
    assert!(silent.eq([vec![at(2)]]));
}

/// Nobody that lives could take note of its leaving.
#[test]
fn a_newcomer_that_leaves_and_that_nobody_knows_has_left() {
    let mut world = estranged();
    world.part(&[4], &[2, 3]);
    assert_eq!(world.command(4, Command::Leave { address: None }), Ok(()));
    let cluster = world.view(4).cluster();
    world.hear(4, 2, &Message::Stranger { cluster });
    assert_eq!(
        world.nodes[&4].stopped, None,
        "its news may be on their way"
    );
    world.run_for(Duration::from_secs(6));
    world.hear(4, 9, &Message::Stranger { cluster });
    assert_eq!(world.nodes[&4].stopped, None, "that is no member");
    world.hear(4, 2, &Message::Stranger { cluster });
    assert_eq!(world.nodes[&4].stopped, Some(StopReason::Left));
}
