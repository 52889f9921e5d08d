//! Those that speak for a data centre, and those that follow them while it is cut off.

use super::data_centres::{dark, leave, of_data_centres, secs, start};
use super::world::{World, at};
use crate::membership::command::Command;
use crate::membership::testing::uid;

/// Seven members in each, of which five speak for it, cut off from each other and aware of it.
fn seven() -> World {
    let mut world = World::new(1);
    for number in 1..=7 {
        start(&mut world, number, "east", 1);
        start(&mut world, number + 10, "west", 1);
    }
    let all: Vec<u64> = (1..=7).chain(11..=17).collect();
    world.run_until("up", 60, |world| world.are_up(&all));
    world.run_for(secs(10));
    world
}

fn cut_seven(world: &mut World) {
    let (east, west): (Vec<u64>, Vec<u64>) = ((1..=7).collect(), (11..=17).collect());
    world.part(&east, &west);
    world.run_for(secs(20));
}

/// The members of a data centre, those that speak for it first.
fn by_age(world: &World, name: &str) -> Vec<u64> {
    let members = world.view(1).members();
    let mut members: Vec<_> = members
        .filter(|it| it.roles().data_centre() == name)
        .collect();
    members.sort_by(|a, b| a.by_age(b));
    members.iter().map(|it| it.uid().as_u64()).collect()
}

/// Each was told twice that the other data centre is out of reach: who followed one of those that
/// speak had said nothing of it yet.
#[test]
fn who_takes_the_place_of_one_that_speaks_does_not_bring_a_data_centre_back() {
    let mut world = seven();
    let here = by_age(&world, "east");
    let there = by_age(&world, "west");
    cut_seven(&mut world);
    leave(&mut world, here[2]);
    world.run_for(secs(60));
    // The others watch one more over there as well.
    let address = at(there[1]);
    let stays = here[0];
    world
        .command(stays, Command::Down { address })
        .expect("a member");
    world.run_for(secs(60));
    let staying: Vec<u64> = here.iter().copied().filter(|it| *it != here[2]).collect();
    for number in &staying {
        assert_eq!(of_data_centres(&world, *number).len(), 1, "{number}");
        assert_eq!(dark(&world, *number), ["west"]);
    }
    world.cut.clear();
    world.run_for(secs(40));
    for number in &staying {
        assert_eq!(of_data_centres(&world, *number).len(), 2, "{number}");
    }
}

/// One that stood still when the cut began found out nothing of it, and its data centre had heard
/// nothing of it either.
#[test]
fn who_can_be_reached_again_does_not_bring_a_data_centre_back() {
    let mut world = seven();
    let here = by_age(&world, "east");
    world.nodes.get_mut(&here[3]).expect("a node").is_paused = true;
    world.run_for(secs(10));
    cut_seven(&mut world);
    let first = here[0];
    assert!(
        world.nodes[&first]
            .control
            .topology()
            .is_unreachable(uid(here[3]))
    );
    assert_eq!(dark(&world, first), ["west"]);
    world.nodes.get_mut(&here[3]).expect("a node").is_paused = false;
    world.run_for(secs(60));
    for number in here {
        assert_eq!(of_data_centres(&world, number).len(), 1, "{number}");
        assert_eq!(dark(&world, number), ["west"]);
    }
}
