//! How members are given up, and how they take it.

use std::time::Duration;

use super::world::{World, at, profile};
use crate::effect::StopReason;
use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::message::Message;
use crate::membership::reachability::Reason;
use crate::membership::status::Status;
use crate::membership::testing::uid;

fn down(number: u64) -> Command {
    let address = at(number);
    Command::Down { address }
}

fn previous(world: &World, at: u64) -> Option<Status> {
    world.events(at).find_map(|it| match it {
        Event::Removed { previous, .. } => Some(*previous),
        _ => None,
    })
}

#[test]
fn whoever_is_given_up_stops_and_is_removed_and_quarantined_at_once() {
    for victim in 1..=4 {
        let mut world = World::new(victim);
        world.form(&[1, 2, 3, 4]);
        let rest: Vec<u64> = (1..=4).filter(|it| *it != victim).collect();
        world.command(rest[0], down(victim)).expect("a member");
        world.run_until("removed", 3, |world| world.are_up(&rest));
        world.run_until("stopped", 3, |world| world.nodes[&victim].stopped.is_some());
        let why = world.nodes[&victim].stopped.clone().expect("stopped");
        assert_eq!(why.exit_code(), 3, "{why:?}");
        assert!(world.labels(victim).contains(&"self_removed"));
        for number in rest {
            assert!(world.nodes[&number].quarantined.contains(&uid(victim)));
            assert_eq!(previous(&world, number), Some(Status::Down));
        }
    }
}

#[test]
fn whoever_gives_itself_up_tells_the_others_first() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.command(2, down(2)).expect("a member");
    world.run_until("removed", 3, |world| world.are_up(&[1, 3]));
    world.run_until("stopped", 5, |world| world.nodes[&2].stopped.is_some());
    assert_eq!(world.nodes[&2].stopped, Some(StopReason::Downed));
}

#[test]
fn a_member_that_was_removed_while_it_was_away_is_told_so() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.nodes.get_mut(&3).expect("a node").is_paused = true;
    for observer in [1, 2] {
        world.accuse(observer, 3, Reason::Silence);
    }
    world.command(1, down(3)).expect("a member");
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
    world.nodes.get_mut(&3).expect("a node").is_paused = false;
    world.run_until("told", 3, |world| world.nodes[&3].stopped.is_some());
    assert_eq!(world.nodes[&3].stopped, Some(StopReason::Removed));
}

#[test]
fn whoever_was_removed_is_answered_so_and_not_too_often() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.nodes.get_mut(&2).expect("a node").is_paused = true;
    let summary = crate::membership::summary::Summary::of(world.view(2));
    world.accuse(1, 2, Reason::Silence);
    world.command(1, down(2)).expect("a member");
    let sent = world.nodes[&1].bytes_sent;
    for _ in 0..50 {
        world.hear(1, 2, &Message::Status(summary.clone()));
    }
    let told = world.nodes[&1].bytes_sent - sent;
    assert_eq!(told, 17, "one answer, and no normal one");
    assert_eq!(world.nodes[&1].control.membership().counters().removed, 50);
    world.run_for(Duration::from_secs(3));
    let sent = world.nodes[&1].bytes_sent;
    world.hear(1, 2, &Message::Status(summary));
    assert_eq!(world.nodes[&1].bytes_sent - sent, 17, "after a while again");
}

#[test]
fn only_a_member_of_the_own_view_may_say_that_one_was_removed() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    let cluster = world.view(1).cluster();
    world.hear(1, 9, &Message::Removed { cluster });
    let other = crate::membership::gossip::ClusterId(cluster.0 ^ 1);
    world.hear(1, 2, &Message::Removed { cluster: other });
    world.run_for(Duration::from_secs(2));
    assert!(world.are_up(&[1, 2]));
    assert_eq!(world.nodes[&1].control.membership().counters().strangers, 2);
    world.hear(1, 2, &Message::Removed { cluster });
    assert_eq!(world.nodes[&1].stopped, Some(StopReason::Removed));
    let own = Event::SelfRemoved {
        previous: Status::Down,
    };
    assert!(world.events(1).any(|it| *it == own));
}

#[test]
fn a_removed_process_start_never_comes_back() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let old = world.view(3).clone();
    world.kill(3);
    world.accuse(1, 3, Reason::Refused);
    world.command(1, down(3)).expect("a member");
    world.run_until("removed", 3, |world| world.are_up(&[1, 2]));
    world.hear(1, 2, &Message::Gossip(Box::new(old)));
    world.run_for(Duration::from_secs(3));
    assert!(world.are_up(&[1, 2]));
    let question = Message::InitJoin {
        asked: 1,
        candidate: false,
        configuration: Default::default(),
    };
    world.hear(1, 3, &question);
    assert_eq!(world.nodes[&1].control.membership().counters().removed, 1);
    let cluster = world.view(1).cluster();
    world.start(3);
    world.part(&[3], &[1]);
    world.join(3, &[at(1)]);
    world.hear(3, 2, &Message::Removed { cluster });
    assert_eq!(world.nodes[&3].stopped, None, "that one was not asked");
    world.hear(3, 1, &Message::Removed { cluster });
    assert_eq!(world.nodes[&3].stopped, Some(StopReason::Removed));
}

/// It was let in, its welcome was lost, and it was given up before it heard of any of that.
#[test]
fn a_newcomer_that_was_removed_before_it_knew_it_was_in_ends() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.start(3);
    world.part(&[3], &[1, 2]);
    world.join(3, &[at(1)]);
    let join = Message::Join {
        profile: profile(3, &[], "default"),
        configuration: Default::default(),
    };
    world.hear(1, 3, &join);
    world.with(1, |control, cx| {
        control.membership_mut().down(cx, &[uid(3)], None)
    });
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
    assert_eq!(world.nodes[&3].stopped, None);
    world.cut.clear();
    world.run_until("ended", 5, |world| {
        world.nodes[&3].stopped == Some(StopReason::Removed)
    });
    world.start(103);
    world.join(103, &[at(1)]);
    world.run_until("up", 5, |world| world.are_up(&[1, 2, 103]));
}

/// Whoever gave it up refuses its connections, and no word of that gets to it but this.
#[test]
fn whoever_seeks_and_is_refused_for_good_by_one_it_asks_ends() {
    let mut world = World::new(1);
    world.start(2);
    world.join(2, &[at(1), at(2)]);
    let refuse = |world: &mut World, by: u64| {
        world.with(2, |control, cx| control.handle_quarantined_at(cx, &at(by)));
    };
    refuse(&mut world, 7);
    assert_eq!(world.nodes[&2].stopped, None, "it did not ask that one");
    refuse(&mut world, 1);
    assert_eq!(world.nodes[&2].stopped, Some(StopReason::Removed));
}

/// It never had a link with that one, so it cannot tell which start of it refuses.
#[test]
fn a_member_that_is_refused_for_good_at_the_address_of_another_ends() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let refuse = |world: &mut World, by: u64| {
        world.with(3, |control, cx| control.handle_quarantined_at(cx, &at(by)));
    };
    refuse(&mut world, 7);
    assert_eq!(world.nodes[&3].stopped, None, "no member is there");
    refuse(&mut world, 1);
    assert_eq!(world.nodes[&3].stopped, Some(StopReason::Removed));
}

/// It counts no more, so it must not count against those that stay by going down.
#[test]
fn whoever_is_exiting_and_would_go_down_has_left() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    let leave = Command::Leave { address: None };
    assert_eq!(world.command(3, leave), Ok(()));
    world.run_until("exiting", 5, |world| {
        world.status(3, 3) == Some(Status::Exiting)
    });
    world.with(3, |control, cx| {
        control.membership_mut().down(cx, &[uid(3)], None)
    });
    assert_eq!(world.nodes[&3].stopped, Some(StopReason::Left));
    assert!(!world.view(1).has_resigned(uid(3)));
}

#[test]
fn a_member_that_resigned_is_given_up_by_command() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.part(&[3], &[]);
    world.with(3, |control, cx| {
        control.membership_mut().down(cx, &[uid(3)], None)
    });
    world.run_until("known", 5, |world| world.view(1).has_resigned(uid(3)));
    assert_eq!(world.command(1, down(3)), Ok(()));
    assert!(!world.view(1).has_resigned(uid(3)));
    world.run_until("removed", 5, |world| {
        world.view(2).tombstone(uid(3)).is_some()
    });
}
