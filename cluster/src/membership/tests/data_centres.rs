//! Members of several data centres: none waits for another one, and all learn what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use super::world::{World, at, profile};
use crate::membership::command::Command;
use crate::membership::event::{self, Event};
use crate::membership::member::Member;
use crate::membership::message::Message;
use crate::membership::reachability::Reason;
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::testing::{View, node, uid};
use crate::membership::topology::Topology;

const EAST: [u64; 3] = [1, 2, 3];
const WEST: [u64; 3] = [11, 12, 13];
const ALL: [u64; 6] = [1, 2, 3, 11, 12, 13];

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn start(world: &mut World, number: u64, place: &str, seed: u64) {
    world.start_with(Settings::default(), profile(number, &[], place), None);
    world.join(number, &[at(seed)]);
}

/// Three members in the east and three in the west, of which those that are lost are given up.
pub(super) fn two() -> World {
    let mut world = World::new(1);
    world.resolves = true;
    for number in EAST {
        start(&mut world, number, "east", 1);
    }
    for number in WEST {
        start(&mut world, number, "west", 1);
    }
    world.run_until("up", 30, |world| world.are_up(&ALL));
    world.run_for(secs(10));
    world
}

fn number(node: &NodeId) -> u64 {
    node.uid.as_u64()
}

pub(super) fn cut(world: &mut World) {
    world.part(&[1, 2, 3, 4], &[11, 12, 13, 14]);
}

/// What a member heard of whole data centres.
pub(super) fn of_data_centres(world: &World, number: u64) -> Vec<(&'static str, String)> {
    let news = world.events(number).filter_map(|event| match event {
        Event::DataCentreUnreachable { name } | Event::DataCentreReachable { name } => {
            Some((event.label(), name.to_string()))
        }
        _ => None,
    });
    news.collect()
}

pub(super) fn dark(world: &World, number: u64) -> Vec<String> {
    let topology = world.nodes[&number].control.topology();
    let names = topology.unreachable_data_centres();
    names.map(str::to_owned).collect()
}

pub(super) fn leave(world: &mut World, number: u64) {
    let command = Command::Leave { address: None };
    world.command(number, command).expect("a member");
}

/// That nothing which crosses keeps a data centre waiting, or gives anybody up, is what the
/// reference promises of data centres.
#[test]
fn while_they_are_cut_off_from_each_other_each_goes_on() {
    let mut world = two();
    cut(&mut world);
    world.run_for(secs(18));
    for (here, there) in [(EAST, "west"), (WEST, "east")] {
        for number in here {
            let expected = [("dc_unreachable", there.to_owned())];
            assert_eq!(of_data_centres(&world, number), expected, "{number}");
            assert_eq!(dark(&world, number), [there]);
        }
    }
    start(&mut world, 4, "east", 2);
    start(&mut world, 14, "west", 12);
    leave(&mut world, 3);
    leave(&mut world, 11);
    let has_changed = |world: &World, here: [u64; 3], gone| {
        let is_up = |of: &u64| {
            here.iter()
                .all(|at| world.status(*of, *at) == Some(Status::Up))
        };
        here.iter().all(is_up) && here.iter().all(|at| world.status(gone, *at).is_none())
    };
    world.run_until("changed", 10, |world| {
        has_changed(world, [1, 2, 4], 3) && has_changed(world, [12, 13, 14], 11)
    });
    assert_eq!(dark(&world, 4), ["west"], "as the others told it");
    world.run_for(secs(60));
    for number in [1, 2, 4, 12, 13, 14] {
        let heard = of_data_centres(&world, number);
        assert_eq!(heard.len(), 1, "{number}: {heard:?}");
        let topology = world.nodes[&number].control.topology();
        assert!(topology.has_quorum(), "{number}");
        let labels = world.labels(number);
        assert!(!labels.contains(&"decision") && !labels.contains(&"down"));
    }
    world.cut.clear();
    let all = [1, 2, 4, 12, 13, 14];
    world.run_until("one view", 30, |world| world.are_up(&all));
    world.run_for(secs(30));
    for number in all {
        let heard = of_data_centres(&world, number);
        let labels: Vec<&str> = heard.iter().map(|it| it.0).collect();
        assert_eq!(labels, ["dc_unreachable", "dc_reachable"], "{number}");
        assert!(dark(&world, number).is_empty());
        let part = world.nodes[&number]
            .control
            .membership()
            .why_not_converged();
        assert!(part.expect("a member").is_converged(), "{number}");
    }
}

#[test]
fn one_member_that_loses_its_way_there_makes_no_data_centre_dark() {
    let mut world = two();
    world.part(&[2], &WEST);
    world.run_for(secs(40));
    assert!(
        world
            .view(1)
            .reachability()
            .record(uid(2), uid(11))
            .is_some()
    );
    for number in ALL {
        assert!(of_data_centres(&world, number).is_empty(), "{number}");
        let reached = world.nodes[&number].control.topology();
        assert!(!ALL.iter().any(|it| reached.is_unreachable(uid(*it))));
    }
    leave(&mut world, 12);
    world.run_until("removed", 20, |world| world.status(12, 2).is_none());
}

/// The reference tells of a member's accusers whoever they are.
#[test]
fn who_is_said_to_accuse_a_member_is_of_its_own_data_centre() {
    let mut world = two();
    world.accuse(11, 3, Reason::Silence);
    world.run_for(secs(5));
    assert!(!world.labels(1).contains(&"unreachable"));
    world.accuse(2, 3, Reason::Refused);
    world.run_for(secs(1));
    let named = world.events(1).find_map(|event| match event {
        Event::Unreachable { node, by, .. } => Some((node.uid, by.clone())),
        _ => None,
    });
    assert_eq!(named, Some((uid(3), vec![uid(2)])));
}

#[test]
fn what_a_user_wants_of_a_member_crosses() {
    let mut world = two();
    let leave = Command::Leave {
        address: Some(at(12)),
    };
    world.command(1, leave).expect("a member");
    world.run_until("left", 20, |world| world.are_up(&[1, 2, 3, 11, 13]));
    let gone = |world: &World, number, of| {
        world.events(number).find_map(|event| match event {
            Event::Removed { node, previous } if node.uid == uid(of) => Some(*previous),
            _ => None,
        })
    };
    assert_eq!(gone(&world, 2, 12), Some(Status::Exiting));
    world
        .command(2, Command::Down { address: at(13) })
        .expect("a member");
    world.run_until("down", 20, |world| world.are_up(&[1, 2, 3, 11]));
    assert!(
        [1, 2, 3, 11]
            .iter()
            .all(|it| gone(&world, *it, 13) == Some(Status::Down))
    );
    assert!(world.nodes[&13].stopped.is_some());
}

#[test]
fn what_a_user_wants_while_they_are_cut_off_is_done_when_they_meet() {
    let mut world = two();
    cut(&mut world);
    world.run_for(secs(20));
    for (by, command) in [
        (
            1,
            Command::Leave {
                address: Some(at(12)),
            },
        ),
        (2, Command::Down { address: at(13) }),
    ] {
        world.command(by, command).expect("a member");
    }
    world.run_for(secs(20));
    assert_eq!(world.status(12, 3), Some(Status::Leaving));
    assert_eq!(world.status(13, 3), Some(Status::Down), "its own remove it");
    assert_eq!(world.status(12, 11), Some(Status::Up));
    world.cut.clear();
    world.run_until("done", 30, |world| world.are_up(&[1, 2, 3, 11]));
}

/// Nobody over there can give anybody up: users do, and whoever is left removes them.
#[test]
fn a_data_centre_that_is_gone_whole_stays_until_a_user_gives_its_members_up() {
    let mut world = two();
    WEST.iter().for_each(|it| world.kill(*it));
    world.run_for(secs(60));
    for number in EAST {
        assert_eq!(dark(&world, number), ["west"]);
        assert_eq!(world.status(12, number), Some(Status::Up));
    }
    for number in [11, 12] {
        world
            .command(
                1,
                Command::Down {
                    address: at(number),
                },
            )
            .expect("a member");
    }
    world.run_for(secs(20));
    assert_eq!(world.status(12, 2), Some(Status::Down), "13 may be there");
    world
        .command(3, Command::Down { address: at(13) })
        .expect("a member");
    world.run_until("gone", 5, |world| world.are_up(&EAST));
    for number in EAST {
        let heard = of_data_centres(&world, number);
        let labels: Vec<&str> = heard.iter().map(|it| it.0).collect();
        assert_eq!(labels, ["dc_unreachable", "dc_reachable"], "{number}");
    }
}

#[test]
fn a_data_centre_whose_processes_are_all_started_anew_comes_back() {
    let mut world = two();
    WEST.iter().for_each(|it| world.kill(*it));
    world.run_for(secs(20));
    for number in [111, 112, 113] {
        start(&mut world, number, "west", 1);
    }
    let all = [1, 2, 3, 111, 112, 113];
    world.run_until("back", 60, |world| world.are_up(&all));
    assert!(dark(&world, 1).is_empty());
}

/// A data centre, and another one whose only member leaves and does not end its work.
fn with_a_leaver_at_work() -> World {
    let mut world = World::new(1);
    for number in EAST {
        start(&mut world, number, "east", 1);
    }
    start(&mut world, 11, "west", 1);
    world.run_until("up", 30, |world| world.are_up(&[1, 2, 3, 11]));
    world.nodes.get_mut(&11).expect("a node").exits = false;
    leave(&mut world, 11);
    world
}

/// Whoever would be removed as soon as it is exiting ends in the middle of its work.
#[test]
fn the_last_of_a_data_centre_ends_its_work_before_it_is_removed() {
    let mut world = with_a_leaver_at_work();
    world.run_until("exiting", 5, |world| {
        world.status(11, 1) == Some(Status::Exiting)
    });
    world.run_for(secs(5));
    assert!(world.nodes[&11].stopped.is_none() && world.status(11, 1).is_some());
    world.command(11, Command::Exited).expect("exits");
    world.run_until("removed", 5, |world| world.are_up(&EAST));
    world.run_for(secs(4));
    assert!(world.nodes[&11].stopped.is_some());
}

/// The first number of a data centre is given once, so all of the whole cluster have to know.
#[test]
fn the_first_of_a_data_centre_waits_for_all_of_the_cluster_and_works_meanwhile() {
    let mut world = two();
    // East and west do not hear each other, and the first of the north hears the east alone.
    cut(&mut world);
    world.part(&[21], &WEST);
    start(&mut world, 21, "north", 1);
    world.run_until("weakly up", 15, |world| {
        world.status(21, 21) == Some(Status::WeaklyUp)
    });
    world.run_for(secs(20));
    assert_eq!(world.status(21, 21), Some(Status::WeaklyUp));
    let why = world.nodes[&21].control.membership().why_not_converged();
    let mut waited_for: Vec<u64> = why.expect("a member").not_seen.iter().map(number).collect();
    waited_for.sort_unstable();
    assert_eq!(waited_for, WEST);
    world.cut.clear();
    let all = [1, 2, 3, 11, 12, 13, 21];
    world.run_until("up", 40, |world| world.are_up(&all));
    for data_centre in [EAST.as_slice(), &WEST, &[21]] {
        let members = data_centre
            .iter()
            .filter_map(|it| world.view(1).member(uid(*it)));
        let mut numbers: Vec<u32> = members.map(|it| it.up_number().0).collect();
        numbers.sort_unstable();
        let expected: Vec<u32> = (1..=data_centre.len() as u32).collect();
        assert_eq!(numbers, expected, "each counts for itself");
    }
}

/// Two that were let in by members of another data centre each took itself for the next of one in
/// which all others had left, and gave itself the same number.
#[test]
fn two_that_find_nobody_who_decides_in_their_data_centre_are_not_up_by_one_number() {
    let mut world = with_a_leaver_at_work();
    world.run_until("exiting", 5, |world| {
        let exiting = Some(Status::Exiting);
        [1, 2, 3].iter().all(|at| world.status(11, *at) == exiting)
    });
    // Each is let in by one that the other does not hear of.
    world.part(&[1, 12], &[2, 3, 13]);
    world.part(&[11], &ALL);
    world.part(&[11], &[12]);
    start(&mut world, 12, "west", 1);
    start(&mut world, 13, "west", 2);
    world.run_for(secs(2));
    for number in [12, 13] {
        assert_eq!(world.status(number, number), Some(Status::Joining));
    }
    world.cut.clear();
    world.command(11, Command::Exited).expect("exits");
    world.run_until("up", 30, |world| world.are_up(&[1, 2, 3, 12, 13]));
    let up_number = |of| world.view(1).member(uid(of)).map(Member::up_number);
    assert_ne!(up_number(12), up_number(13));
}

/// Whoever follows the events never hears of a leader before it hears why there is another one.
#[test]
fn what_changes_at_once_is_told_in_order() {
    let up = |number| (number, Status::Up);
    let mut view = View::of(&[up(1), up(2), up(3), up(4), up(5)]);
    view.add_in("east", 11, Status::Up);
    view.add_in("west", 12, Status::Up);
    view.accuse(2, 4, Reason::Silence);
    for by in [1, 2, 3, 5] {
        view.accuse(by, 12, Reason::Silence);
    }
    let topology = |before: &Topology, view: &View| {
        let after = Topology::after(before, view.gossip(), |_| false);
        let events = event::difference(before, &after, view.gossip());
        let labels: Vec<&str> = events.iter().map(Event::label).collect();
        (after, labels)
    };
    let (before, _) = topology(&Topology::empty(node(3), "default"), &view);
    assert!(before.unreachable_data_centres().eq(["west"]));
    view.gossip_mut().remove(Instant::ZERO, uid(5));
    view.add_in("default", 6, Status::Joining);
    view.accuse(2, 1, Reason::Silence);
    for by in [2, 3, 4] {
        view.accuse(by, 11, Reason::Silence);
    }
    let table = view.gossip_mut().reachability_mut();
    assert!(table.clear(uid(2), uid(4)) && table.clear(uid(3), uid(12)));
    let (after, labels) = topology(&before, &view);
    let order = ["removed", "joining", "unreachable", "reachable"];
    assert_eq!(labels[..4], order);
    assert_eq!(labels[4..], ["dc_unreachable", "dc_reachable", "leader"]);
    assert!(after.unreachable_data_centres().eq(["east"]));
}

/// Has another process start take the place of one, by way of a member next to it.
fn replace(world: &mut World, number: u64, place: &str, by: u64) {
    world.kill(number);
    start(world, 100 + number, place, by);
    world.run_until("replaced", 60, |world| {
        world.status(100 + number, by) == Some(Status::Up)
    });
}

/// All members that others knew were gone: those that took their places were strangers for ever.
#[test]
fn a_data_centre_that_was_replaced_while_it_was_cut_off_is_known_again() {
    let mut world = two();
    cut(&mut world);
    start(&mut world, 14, "west", 12);
    world.run_until("up", 10, |world| world.status(14, 12) == Some(Status::Up));
    for number in WEST {
        leave(&mut world, number);
        world.run_until("left", 10, |world| world.status(number, 14).is_none());
    }
    world.run_for(secs(20));
    assert_eq!(world.status(14, 1), None);
    world.cut.clear();
    world.run_until("one view", 30, |world| world.are_up(&[1, 2, 3, 14]));
    // Whoever is new says nothing of data centres for a while, and nobody of it.
    let all = [1, 2, 3, 14];
    world.run_until("back", 40, |world| {
        all.iter().all(|it| dark(world, *it).is_empty())
    });
}

#[test]
fn two_data_centres_that_were_both_replaced_while_cut_off_find_each_other() {
    let mut world = two();
    cut(&mut world);
    for (numbers, place) in [(EAST, "east"), (WEST, "west")] {
        let [one, two, three] = numbers;
        replace(&mut world, one, place, two);
        replace(&mut world, two, place, 100 + one);
        replace(&mut world, three, place, 100 + two);
    }
    let all = ALL.map(|it| 100 + it);
    let knows = |world: &World, of: u64, at: u64| world.status(of, at).is_some();
    assert!(!knows(&world, 111, 101) && !knows(&world, 101, 111));
    world.cut.clear();
    world.run_until("one view", 60, |world| world.are_up(&all));
    world.run_until("back", 40, |world| {
        all.iter().all(|it| dark(world, *it).is_empty())
    });
}

/// A view of whoever was removed, is of another cluster or of this data centre is no introduction.
#[test]
fn a_stranger_of_the_own_data_centre_is_no_member_by_its_word() {
    let mut world = two();
    for (place, is_taken) in [("east", false), ("west", true)] {
        let mut view = world.view(1).clone();
        let stranger = Member::joining(Arc::new(profile(31, &[], place)));
        view.admit(stranger).expect("room");
        view.touch(uid(31));
        world.hear(1, 31, &Message::Gossip(Box::new(view)));
        assert_eq!(world.status(31, 1).is_some(), is_taken, "{place}");
    }
}
