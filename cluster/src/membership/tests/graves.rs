//! Who was removed while a data centre was cut off for a day and longer.

use std::time::Duration;

use super::data_centres::{cut, dark, leave, secs, start, two};
use super::world::{World, at as address};
use crate::membership::command::Command;
use crate::membership::event::Event;
use crate::membership::status::Status;
use crate::membership::testing::uid;

/// A day and two hours pass, of which the nodes live through ten seconds in each hour: for the rest
/// of it they stand still, and take nobody for gone by that.
fn pass_a_day(world: &mut World) {
    let lived = secs(10);
    let hour = Duration::from_secs(3600);
    for _ in 0..26 {
        world.now = world.now + (hour - lived);
        world.run_for(lived);
    }
}

/// Whether a member takes another one for none, and has never heard of it again since it was
/// removed.
fn stays_gone(world: &World, of: u64, at: u64) -> bool {
    let is_removed =
        |event: &&Event| matches!(event, Event::Removed { node, .. } if node.uid == uid(of));
    let is_member = |event: &Event| matches!(event, Event::Member(it) if it.uid() == uid(of));
    let mut since = world.events(at).skip_while(|it| !is_removed(it));
    !since.any(is_member) && world.status(of, at).is_none()
}

/// The others still take those for members, and would bring them back if it was forgotten that they
/// are none. It is, in time, once both know.
#[test]
fn who_was_removed_during_a_cut_of_a_day_does_not_come_back() {
    let mut world = two();
    cut(&mut world);
    world.run_for(secs(20));
    start(&mut world, 4, "east", 2);
    start(&mut world, 14, "west", 12);
    leave(&mut world, 3);
    let down = Command::Down {
        address: address(11),
    };
    world.command(12, down).expect("a member");
    let all = [1, 2, 4, 12, 13, 14];
    let is_gone = |world: &World, of, at| world.status(of, at).is_none();
    world.run_until("removed", 30, |world| {
        let of_east = [1, 2, 4].iter().all(|it| is_gone(world, 3, *it));
        of_east && [12, 13, 14].iter().all(|it| is_gone(world, 11, *it))
    });
    pass_a_day(&mut world);
    for (here, there, gone_there) in [([1, 2, 4], "west", 11), ([12, 13, 14], "east", 3)] {
        for number in here {
            assert_eq!(dark(&world, number), [there], "{number}");
            assert_eq!(
                world.status(gone_there, number),
                Some(Status::Up),
                "{number}"
            );
        }
    }
    world.cut.clear();
    let staying = |world: &World| {
        let pairs = all.iter().flat_map(|at| [3, 11].map(|of| (of, *at)));
        pairs.clone().all(|(of, at)| stays_gone(world, of, at))
    };
    world.run_until("one view", 60, |world| world.are_up(&all));
    assert!(staying(&world), "{}", world.describe());
    world.run_for(secs(60));
    assert!(
        world.are_up(&all) && staying(&world),
        "{}",
        world.describe()
    );
    assert!(world.view(1).tombstone(uid(3)).is_some());
    pass_a_day(&mut world);
    world.run_for(secs(10));
    for at in all {
        let (view, kept) = (
            world.view(at),
            [3, 11].map(|it| world.view(at).tombstone(uid(it))),
        );
        assert!(kept.iter().all(Option::is_none), "{at}: {view:?}");
        assert!(staying(&world) && world.are_up(&all));
    }
}
