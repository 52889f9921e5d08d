//! How registries of different data centres hear of each other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::World;
use crate::membership::Status;
use crate::membership::data_centres::SPEAKERS;
use crate::membership::testing::{node, uid};
use crate::registry::Standing;
use crate::registry::entry::Change;
use crate::registry::message::{Body, Message};
use crate::registry::relayed::{Relayed, Way};
use crate::registry::testing::{entry, registration};

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Seven members here and seven in the east, of which five each speak.
const HERE: std::ops::RangeInclusive<u64> = 1..=7;
const EAST: std::ops::RangeInclusive<u64> = 11..=17;

fn two(seed: u64) -> World {
    let numbers: Vec<u64> = HERE.chain(EAST).collect();
    let homes: Vec<_> = EAST.map(|it| (it, "east")).collect();
    World::new_in(seed, &numbers, &homes)
}

/// Nobody but those that speak sent anything over the border, or was sent anything.
fn assert_speakers_alone(world: &World) {
    let across = world.crossed.keys().flat_map(|it| [it.0, it.1]);
    let across: BTreeSet<u64> = across.collect();
    let speak = |it: &u64| it % 10 <= SPEAKERS as u64;
    assert!(across.iter().all(speak), "{across:?}");
}

#[test]
fn one_over_the_speakers_announces_and_hears_by_those_that_speak() {
    let mut world = two(1);
    world.run_for(SECOND);
    let id = world.register(7, "a");
    world.run_for(MILLIS * 5);
    HERE.chain(EAST)
        .for_each(|at| assert_eq!(world.found(at, "a"), [7], "at {at}"));
    assert!(world.deregister(7, id));
    world.run_for(MILLIS * 15);
    HERE.chain(EAST)
        .for_each(|at| assert!(world.found(at, "a").is_empty()));
    world.run_for(SECOND * 10);
    world.assert_equal();
    assert_speakers_alone(&world);
}

#[test]
fn what_is_announced_goes_over_the_border_once() {
    let mut world = two(2);
    world.run_for(SECOND * 3 / 2);
    world.crossed.clear();
    for from in [1, 7] {
        world.register(from, "a");
        world.run_for(MILLIS * 5);
    }
    assert_eq!(world.crossed.values().sum::<usize>(), 2);
    let all: Vec<u64> = EAST.collect();
    assert!(all.iter().all(|at| world.found(*at, "a") == [1, 7]));
}

#[test]
fn all_members_of_all_data_centres_confirm() {
    let mut world = two(3);
    world.run_for(SECOND);
    let registered = registration("a", true);
    let id = world.with(17, |it, now, out| it.register(now, registered, out));
    world.run_for(MILLIS * 50);
    let [answer] = &world.nodes[&17].acknowledged[..] else {
        panic!("it is confirmed by now");
    };
    assert_eq!((Ok(answer.entry), answer.confirmed.len()), (id, 14));
    assert!(answer.is_enough && answer.dropped.is_empty());
    assert_speakers_alone(&world);
}

/// Those that speak end one after the other, and for a while nobody knows: what was lost is said
/// again over another way.
#[test]
fn whoever_passes_it_on_may_be_gone() {
    for seed in 0..8 {
        let mut world = two(seed);
        world.run_for(SECOND);
        let gone = [1, 2, 11, 12];
        let ended: Vec<_> = gone.iter().map(|it| world.nodes.remove(it)).collect();
        for from in [7, 17, 4, 15] {
            world.register(from, "a");
        }
        world.run_for(SECOND * 30);
        for at in (3..=7).chain(13..=17) {
            assert_eq!(world.found(at, "a"), [4, 7, 15, 17], "seed {seed}, at {at}");
        }
        drop(ended);
        gone.iter().for_each(|it| world.stop(*it));
        world.show_all();
        world.run_for(SECOND * 10);
        world.assert_equal();
    }
}

#[test]
fn a_data_centre_that_was_cut_off_has_all_again_within_seconds() {
    let mut world = two(5);
    world.run_for(SECOND);
    let cut = HERE.flat_map(|here| EAST.map(move |there| (here, there)));
    cut.for_each(|(here, there)| world.part(here, there));
    world.show_all();
    world.register(1, "a");
    world.register(17, "a");
    world.run_for(SECOND * 20);
    assert_eq!(
        (world.found(7, "a"), world.found(11, "a")),
        (vec![1], vec![17])
    );
    let standing = |at, owner| world.seen(at, owner).map(|it| it.0);
    assert_eq!(standing(7, 17), Some(Standing::Unreachable));
    assert_eq!(standing(17, 17), Some(Standing::Reachable));
    world.cut.clear();
    world.show_all();
    world.run_for(SECOND * 2);
    world.assert_equal();
    assert_speakers_alone(&world);
}

/// The first member of a data centre speaks for it before it is one in full.
#[test]
fn a_data_centre_of_which_nobody_is_up_yet_hears_of_all() {
    let mut world = two(6);
    world.register(7, "a");
    world.run_for(SECOND);
    for number in [21, 22] {
        world.homes.insert(number, "west");
        world.start(number);
        world.members.insert(number, Status::Joining);
    }
    world.show_all();
    world.run_for(SECOND * 2);
    [21, 22]
        .iter()
        .for_each(|at| assert_eq!(world.found(*at, "a"), [7]));
    world.register(22, "b");
    world.run_for(SECOND * 2);
    assert_eq!(world.seen(17, 22).map(|it| it.1.len()), Some(1));
}

/// The link between two that speak is broken, and nothing else: both hear of each other by others.
#[test]
fn two_that_speak_and_do_not_reach_each_other_do_by_others() {
    for seed in 0..8 {
        let mut world = two(seed);
        world.part(1, 11);
        world.register(1, "a");
        world.register(11, "a");
        world.run_for(SECOND * 3);
        assert_eq!(
            (world.found(1, "a"), world.found(11, "a")),
            (vec![1, 11], vec![1, 11])
        );
        let registered = registration("b", true);
        let id = world.with(11, |it, now, out| it.register(now, registered, out));
        world.run_for(SECOND * 4);
        let [answer] = &world.nodes[&11].acknowledged[..] else {
            panic!("it is confirmed by now");
        };
        assert_eq!(
            (Ok(answer.entry), answer.confirmed.len()),
            (id, 14),
            "seed {seed}"
        );
    }
}

/// One of those that have no links over the border loses all that have some.
#[test]
fn what_has_no_way_over_the_border_is_counted_and_told_when_there_is_one() {
    let mut world = two(10);
    world.run_for(SECOND);
    let wayless = |world: &World, at: u64| world.nodes[&at].registry.counters().wayless;
    assert!(HERE.chain(EAST).all(|at| wayless(&world, at) == 0));
    (1..=5).for_each(|it| world.part(7, it));
    world.show_all();
    world.register(7, "a");
    assert_eq!(wayless(&world, 7), 1);
    world.run_for(SECOND);
    assert!(world.found(11, "a").is_empty());
    world.cut.clear();
    world.show_all();
    world.run_for(SECOND * 10);
    assert_eq!(world.found(17, "a"), [7]);
    world.assert_equal();
    assert!(
        HERE.chain(EAST)
            .all(|at| at == 7 || wayless(&world, at) == 0)
    );
}

/// Somebody passes nothing on, and whoever announces takes another way soon.
#[test]
fn what_is_announced_again_and_again_is_not_lost_for_long() {
    for owner in 1..=7 {
        let mut world = two(owner);
        world.run_for(SECOND);
        let gone = [12, 13, 14].map(|it| world.nodes.remove(&it));
        for _ in 0..4 {
            world.register(owner, "a");
            world.run_for(SECOND);
        }
        world.run_for(SECOND * 8);
        for at in [11, 15, 16, 17] {
            let seen = world.seen(at, owner).map(|it| it.1.len());
            assert_eq!(seen, Some(4), "of {owner} at {at}");
        }
        drop(gone);
    }
}

/// All that speak leave together: nobody else has links.
#[test]
fn those_that_leave_pass_on_while_nobody_else_does() {
    let mut world = two(9);
    for number in (1..=5).chain(11..=15) {
        world.members.insert(number, Status::Leaving);
    }
    world.show_all();
    world.run_for(SECOND);
    world.register(7, "a");
    world.run_for(SECOND * 3);
    assert_eq!(
        (world.found(17, "a"), world.found(16, "a")),
        (vec![7], vec![7])
    );
}

/// Who was to tell all of its data centre speaks no more by the view of whoever passed it on: then
/// the one that it came to does.
#[test]
fn what_is_for_all_is_told_to_all_by_whoever_hears_it_over_the_border() {
    let mut world = two(8);
    world.run_for(SECOND);
    let bytes = said(17, 6, true);
    let heard = world.with(11, |it, now, out| {
        it.handle_message(now, &node(1), &bytes, out)
    });
    assert_eq!(heard, Ok(()));
    world.run_for(MILLIS * 5);
    let mut all = EAST;
    assert!(all.all(|at| world.seen(at, 6).is_some_and(|it| it.1.len() == 1)));
}

fn said(to: u64, origin: u64, is_for_all: bool) -> Vec<u8> {
    let body = Body::Delta {
        from: 0,
        is_to_be_confirmed: false,
        changes: vec![Change::Put(entry(1, "made up"))],
    };
    let (to, latest) = (uid(to), 1);
    let message = Message { to, latest, body }.to_bytes();
    let relayed = Relayed {
        origin: uid(origin),
        way: Way::of(uid(256)),
        is_for_all,
        message: &message,
    };
    relayed.to_bytes()
}

#[test]
fn nobody_speaks_for_others_but_on_the_way_over_the_border() {
    let mut world = two(7);
    world.run_for(SECOND);
    world.loss = 100;
    let mut hear = |at: u64, from: u64, bytes: &[u8]| {
        let heard = world.with(at, |it, now, out| {
            it.handle_message(now, &node(from), bytes, out)
        });
        assert_eq!(heard, Ok(()));
        let origin = |it: u64| world.seen(at, it).map_or(0, |it| it.1.len());
        let known = origin(16) + origin(6) + origin(2);
        (known, world.nodes[&at].registry.counters().astray)
    };
    // One that does not speak for another: of its own data centre, and of the one it lives in.
    assert_eq!(hear(1, 16, &said(1, 17, false)), (0, 1));
    assert_eq!(hear(1, 7, &said(1, 6, false)), (0, 2));
    assert_eq!(hear(1, 7, &said(1, 16, false)), (0, 3));
    // One that speaks, but not for that one's data centre, or not on the way.
    assert_eq!(hear(1, 2, &said(1, 6, false)), (0, 4));
    assert_eq!(hear(7, 2, &said(6, 16, false)), (0, 1));
    assert_eq!(
        hear(6, 7, &said(16, 7, false)),
        (0, 1),
        "6 speaks for nobody"
    );
    assert_eq!(
        hear(1, 11, &said(12, 16, false)),
        (0, 5),
        "back over the border"
    );
    // And those that may.
    assert_eq!(hear(1, 11, &said(1, 16, false)), (1, 5));
    assert_eq!(hear(7, 2, &said(7, 16, false)), (1, 1));
}
