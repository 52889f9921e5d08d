//! How members leave in good order.

use std::time::Duration;

use super::world::{World, at};
use crate::effect::StopReason;
use crate::membership::command::{Command, CommandError};
use crate::membership::event::Event;
use crate::membership::status::Status;
use crate::membership::testing::uid;

const LEAVE: Command = Command::Leave { address: None };

#[test]
fn whoever_leaves_is_removed_everywhere_soon_as_exiting() {
    for leaver in 1..=5 {
        let mut world = World::new(leaver);
        world.form(&[1, 2, 3, 4, 5]);
        let rest: Vec<u64> = (1..=5).filter(|it| *it != leaver).collect();
        let began = world.now;
        world.command(leaver, LEAVE).expect("a member");
        world.run_until("removed", 5, |world| world.are_up(&rest));
        let took = world.now - began;
        assert!(took < Duration::from_secs(2), "{took:?}");
        world.run_until("stopped", 1, |world| world.nodes[&leaver].stopped.is_some());
        assert_eq!(world.nodes[&leaver].stopped, Some(StopReason::Left));
        let own: Vec<&str> = world.labels(leaver);
        assert_eq!(own[own.len() - 2..], ["self_removed", "shutdown"]);
        for number in &rest {
            let removed = world.events(*number).find_map(|it| match it {
                Event::Removed { node, previous } => Some((node.uid, *previous)),
                _ => None,
            });
            assert_eq!(removed, Some((uid(leaver), Status::Exiting)));
        }
    }
}

#[test]
fn whoever_left_is_quarantined_five_seconds_later_or_when_another_takes_its_place() {
    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.command(3, LEAVE).expect("a member");
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
    let is_banned = |world: &World| world.nodes[&1].quarantined.contains(&uid(3));
    world.run_for(Duration::from_secs(4));
    assert!(!is_banned(&world));
    world.run_for(Duration::from_secs(2));
    assert!(is_banned(&world));

    let mut world = World::new(1);
    world.form(&[1, 2, 3]);
    world.command(3, LEAVE).expect("a member");
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
    world.run_until("stopped", 1, |world| world.nodes[&3].stopped.is_some());
    world.start(103);
    world.join(103, &[at(1)]);
    world.run_until("back", 3, |world| world.are_up(&[1, 2, 103]));
    assert!(is_banned(&world));
}

#[test]
fn all_may_leave_at_once() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.form(&[1, 2, 3, 4]);
        for number in 1..=4 {
            world.command(number, LEAVE).expect("a member");
        }
        let has_left = |world: &World| {
            let mut nodes = world.nodes.values();
            nodes.all(|it| it.stopped == Some(StopReason::Left))
        };
        world.run_until("left", 10, has_left);
    }
}

#[test]
fn whoever_leaves_does_so_though_much_is_lost() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.form(&[1, 2, 3, 4, 5]);
        world.loss = 20;
        world.command(2, LEAVE).expect("a member");
        world.run_until("removed", 20, |world| world.are_up(&[1, 3, 4, 5]));
        world.run_until("stopped", 5, |world| world.nodes[&2].stopped.is_some());
    }
}

#[test]
fn a_member_whose_work_does_not_end_goes_in_the_end() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.nodes.get_mut(&2).expect("a node").exits = false;
    world
        .command(
            1,
            Command::Leave {
                address: Some(at(2)),
            },
        )
        .expect("a member");
    world.run_until("exiting", 3, |world| {
        world.status(2, 2) == Some(Status::Exiting)
    });
    world.run_for(Duration::from_secs(9));
    assert_eq!(world.status(2, 1), Some(Status::Exiting));
    world.run_until("removed", 3, |world| world.are_up(&[1]));
}

#[test]
fn whoever_has_not_joined_yet_leaves_at_once() {
    let mut world = World::new(1);
    world.start(1);
    world.start(2);
    world.join(2, &[at(1)]);
    for number in [1, 2] {
        world.command(number, LEAVE).expect("may leave");
        assert_eq!(world.nodes[&number].stopped, Some(StopReason::Left));
        assert_eq!(world.labels(number), ["shutdown"]);
        assert_eq!(world.command(number, LEAVE), Err(CommandError::Ended));
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut world = World::new(1);
    world.start(3);
    let address = at(9);
    let elsewhere = Command::Leave {
        address: Some(address.clone()),
    };
    assert_eq!(
        world.command(3, elsewhere.clone()),
        Err(CommandError::NotMember)
    );
    assert_eq!(
        world.command(3, Command::Exited),
        Err(CommandError::NotMember)
    );
    world.form(&[1, 2]);
    let nobody = Err(CommandError::NoSuchMember { address });
    assert_eq!(world.command(1, elsewhere), nobody);
    let up = Err(CommandError::TooLate { status: Status::Up });
    assert_eq!(world.command(1, Command::Exited), up);
}

/// One that is only joining, or works while not all can be reached, may leave too.
#[test]
fn a_member_leaves_whatever_it_is() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.accuse(1, 2, crate::membership::reachability::Reason::Silence);
    world.start(3);
    world.join(3, &[at(1)]);
    world.run_until("weakly up", 12, |world| {
        world.status(3, 3) == Some(Status::WeaklyUp)
    });
    world.command(3, LEAVE).expect("a member");
    assert_eq!(world.status(3, 3), Some(Status::Leaving));
    world.clear(1, 2);
    world.run_until("removed", 5, |world| world.are_up(&[1, 2]));
}
