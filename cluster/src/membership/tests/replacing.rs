//! Another process start at the address of a member.

use std::time::Duration;

use ringmesh_proto::limits::VERIFY_TIMEOUT;

use super::world::{World, at, profile};
use crate::control::Control;
use crate::effect::StopReason;
use crate::membership::event::Event;
use crate::membership::machine::{CLAIMS_MAX, IN_USE};
use crate::membership::message::Message;
use crate::membership::reachability::Reason;
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::testing::uid;

#[test]
fn a_restarted_member_takes_the_place_of_its_former_self() {
    for restarted in 1..=3 {
        let mut world = World::new(restarted);
        world.form(&[1, 2, 3]);
        let others: Vec<u64> = (1..=3).filter(|it| *it != restarted).collect();
        world.kill(restarted);
        let new = 100 + restarted;
        world.start(new);
        world.join(new, &[at(others[0])]);
        let now = [others[0], others[1], new];
        world.run_until("back", 5, |world| world.are_up(&now));
        for number in others {
            let old = uid(restarted);
            let says = |it: &&Event| match it {
                Event::Unreachable { node, reason, .. } => {
                    node.uid == old && *reason == Reason::Restarted
                }
                Event::Removed { node, previous } => node.uid == old && *previous == Status::Down,
                _ => false,
            };
            assert!(world.events(number).any(|it| says(&it)));
            assert!(world.nodes[&number].quarantined.contains(&old));
        }
    }
}

#[test]
fn whoever_wants_the_address_of_a_member_that_answers_is_refused() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    // It can be heard, but whoever dials the address reaches the member.
    world.start(102);
    world.hide(102);
    world.join(102, &[at(1)]);
    world.run_until("refused", 5, |world| world.nodes[&102].stopped.is_some());
    assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
    assert!(world.labels(102).contains(&"address_in_use"));
    assert!(world.are_up(&[1, 2]));
}

/// A second process with the address of member 2, that its seeds turn away.
fn turned_away(members: &[u64], seeds: &[u64], by: &[u64]) -> World {
    turned_away_with(Settings::default(), members, seeds, by)
}

fn turned_away_with(settings: Settings, members: &[u64], seeds: &[u64], by: &[u64]) -> World {
    let mut world = World::new(1);
    world.form(members);
    world.start_with(settings, profile(102, &[], "default"), None);
    world.hide(102);
    world.turned_away = by.iter().map(|seed| (102, *seed)).collect();
    let seeds: Vec<_> = seeds.iter().map(|seed| at(*seed)).collect();
    world.join(102, &seeds);
    world
}

#[test]
fn whoever_is_turned_away_for_its_address_by_all_that_answer_gives_up() {
    let mut world = turned_away(&[1, 2, 3], &[1, 3, 7], &[1, 3]);
    // A moment is not enough: the other process may be one that just dies.
    world.run_for(IN_USE);
    assert_eq!(world.nodes[&102].stopped, None);
    world.run_until("refused", 1, |world| world.nodes[&102].stopped.is_some());
    assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
    let told = Event::AddressInUse {
        by: vec![at(1), at(3)],
    };
    assert!(world.events(102).any(|event| *event == told));
    assert_eq!(world.labels(102), ["address_in_use", "shutdown"]);
    // The member has noticed nothing, nor has anybody else.
    assert!(world.are_up(&[1, 2, 3]));
    for number in 1..=3 {
        assert!(!world.labels(number).contains(&"unreachable"));
    }
}

/// Late questions come five times as seldom, so that a word would be forgotten before the next.
#[test]
fn whoever_asks_seldom_gives_up_for_its_address_too_and_not_for_one_that_reaches_it() {
    for (ask_ms, seconds) in [(600, 15), (1_000, 25), (4_000, 90)] {
        let seldom = || Settings {
            ask_interval: Duration::from_millis(ask_ms),
            ..Settings::default()
        };
        let mut world = turned_away_with(seldom(), &[1, 2, 3], &[1, 3], &[1, 3]);
        // Late from the beginning: what was said before counts no more.
        world.part(&[2], &[1, 3]);
        world.run_for(Duration::from_secs(60));
        world.cut.clear();
        world.run_for(IN_USE - Duration::from_millis(500));
        assert_eq!(world.nodes[&102].stopped, None, "{ask_ms} ms");
        let is_over = |world: &World| world.nodes[&102].stopped.is_some();
        world.run_until("refused", seconds, is_over);
        assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
        let mut world = turned_away_with(seldom(), &[1, 3], &[1, 3], &[1]);
        world.run_until("in", 30, |world| world.are_up(&[1, 3, 102]));
        assert!(!world.labels(102).contains(&"address_in_use"));
    }
}

#[test]
fn one_that_reaches_another_process_keeps_nobody_out() {
    let mut world = turned_away(&[1, 3], &[1, 3], &[1]);
    world.run_until("in", 10, |world| world.are_up(&[1, 3, 102]));
    assert!(!world.labels(102).contains(&"address_in_use"));
}

#[test]
fn a_process_that_dies_while_it_answers_for_an_address_makes_room_for_the_next() {
    let mut world = turned_away(&[1, 2, 3], &[1], &[1, 3]);
    world.run_for(IN_USE - Duration::from_millis(500));
    world.kill(2);
    world.turned_away.clear();
    world.hidden.clear();
    world.run_until("back", 10, |world| world.are_up(&[1, 3, 102]));
}

#[test]
fn what_was_said_before_a_silence_counts_no_more() {
    let mut world = turned_away(&[1, 2], &[1], &[1]);
    world.run_for(IN_USE - Duration::from_millis(500));
    world.part(&[1], &[2]);
    world.run_for(IN_USE * 2);
    world.cut.clear();
    world.run_for(IN_USE);
    assert_eq!(world.nodes[&102].stopped, None);
    world.run_until("refused", 3, |world| world.nodes[&102].stopped.is_some());
    assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
}

#[test]
fn the_first_seed_founds_nothing_while_it_is_turned_away_for_its_address() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.part(&[1], &[2]);
    world.start(102);
    world.hide(102);
    // Its own address comes first: it would found a cluster after a silence of five seconds.
    world.join(102, &[at(2), at(1)]);
    world.run_for(Duration::from_millis(4500));
    world.turned_away.insert((102, 1));
    world.cut.clear();
    world.run_until("refused", 10, |world| world.nodes[&102].stopped.is_some());
    assert!(!world.labels(102).contains(&"founded"));
    assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
}

#[test]
fn a_member_is_not_given_up_for_a_claim_that_no_dial_bears_out() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.kill(2);
    world.start(102);
    world.hide(102);
    world.join(102, &[at(1)]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.status(2, 1), Some(Status::Up));
    assert_eq!(world.status(102, 1), None);
}

/// A node asks another one to let it in.
fn ask(world: &mut World, at: u64, number: u64, place: &str) {
    let profile = profile(number, &[], place);
    let configuration = Default::default();
    let join = Message::Join {
        profile,
        configuration,
    };
    world.hear(at, number, &join);
}

/// The answer to a dial that is older than a claim may be that the former process is there.
#[test]
fn another_claim_waits_for_a_dial_of_its_own() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.kill(2);
    let asked = world.identified;
    ask(&mut world, 1, 102, "default");
    world.start(202);
    ask(&mut world, 1, 202, "default");
    assert_eq!(world.identified - asked, 1);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.status(2, 1), Some(Status::Up));
    ask(&mut world, 1, 202, "default");
    assert_eq!(world.identified - asked, 2);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.status(2, 1), None);
}

/// Those that speak for a data centre ask who is at the addresses of one that is out of reach. What
/// they hear is no answer to a claim, nor is the answer to a claim for them.
#[test]
fn who_looks_at_an_address_and_who_claims_it_are_not_told_the_same() {
    let mut world = World::new(1);
    for (number, place) in [(1, "east"), (2, "east"), (11, "west"), (12, "west")] {
        world.start_with(Settings::default(), profile(number, &[], place), None);
        world.join(number, &[at(1)]);
    }
    world.run_until("up", 30, |world| world.are_up(&[1, 2, 11, 12]));
    [11, 12].iter().for_each(|it| world.kill(*it));
    world.run_for(Duration::from_secs(40));
    // Nothing arrives meanwhile.
    let looks = |world: &mut World| {
        let asked = world.identified;
        for _ in 0..4 {
            world.now = world.now + Duration::from_secs(1);
            world.with(1, Control::handle_timeout);
        }
        world.identified - asked
    };
    let until_it_looks = (0..20).find(|_| looks(&mut world) > 0);
    assert!(until_it_looks.is_some(), "it looks at times");
    let asked = world.identified;
    [111, 112]
        .iter()
        .for_each(|it| ask(&mut world, 1, *it, "west"));
    assert_eq!(
        world.identified - asked,
        1,
        "one of them is being looked at"
    );
    let run = |world: &mut World| world.run_for(Duration::from_millis(50));
    run(&mut world);
    for _ in 0..20 {
        [111, 112]
            .iter()
            .for_each(|it| ask(&mut world, 1, *it, "west"));
        assert_eq!(looks(&mut world), 0, "both are claimed");
        run(&mut world);
    }
}

/// Nobody in a new data centre is a member in full before all know of it, and who is not watches
/// nobody elsewhere. If all of those are replaced meanwhile, that is found out by asking.
#[test]
fn while_nobody_of_a_data_centre_is_up_it_asks_who_is_at_the_addresses_of_others() {
    let mut world = World::new(1);
    for number in [1, 2] {
        world.start_with(Settings::default(), profile(number, &[], "east"), None);
        world.join(number, &[at(1)]);
    }
    world.run_until("up", 30, |world| world.are_up(&[1, 2]));
    world.kill(2);
    world.start_with(Settings::default(), profile(11, &[], "west"), None);
    world.join(11, &[at(1)]);
    world.run_for(Duration::from_secs(3));
    let own = world.status(11, 11);
    assert!(own.is_some_and(Status::is_entering), "{own:?}");
    let asked = world.identified;
    for _ in 0..10 {
        world.now = world.now + Duration::from_secs(1);
        world.with(11, Control::handle_timeout);
    }
    assert!(world.identified > asked);
}

/// Members that wait less to be let in than it may take to hear who is at an address.
fn hasty(world: &mut World, members: &[(u64, &str)]) {
    let settings = Settings {
        join_retry: Duration::from_millis(100),
        join_timeout: Duration::from_millis(500),
        ..Settings::default()
    };
    for (number, place) in members {
        world.start_with(settings.clone(), profile(*number, &[], place), None);
        world.join(*number, &[at(1)]);
    }
    let numbers: Vec<u64> = members.iter().map(|it| it.0).collect();
    world.run_until("up", 30, |world| world.are_up(&numbers));
}

/// Time passes for the first one, and nothing arrives.
fn pass(world: &mut World, time: Duration) {
    world.now = world.now + time;
    world.with(1, Control::handle_timeout);
}

#[test]
fn a_claim_is_known_for_as_long_as_its_answer_may_take() {
    let mut world = World::new(1);
    hasty(&mut world, &[(1, "default"), (2, "default")]);
    let asked = world.identified;
    ask(&mut world, 1, 102, "default");
    assert_eq!(world.identified - asked, 1);
    pass(&mut world, VERIFY_TIMEOUT - Duration::from_millis(1));
    ask(&mut world, 1, 102, "default");
    assert_eq!(world.identified - asked, 1, "the dial may be under way");
    pass(&mut world, Duration::from_secs(1));
    ask(&mut world, 1, 102, "default");
    assert_eq!(world.identified - asked, 2);
}

#[test]
fn who_looks_at_an_address_waits_for_the_answer_before_it_looks_again() {
    let mut world = World::new(1);
    hasty(&mut world, &[(1, "east"), (11, "west")]);
    world.kill(11);
    world.run_for(Duration::from_secs(40));
    let asked = world.identified;
    for _ in 0..20 {
        pass(&mut world, Duration::from_secs(1));
    }
    let most = 20 / VERIFY_TIMEOUT.as_secs() as usize;
    assert!((1..=most).contains(&(world.identified - asked)));
}

#[test]
fn one_over_the_most_claims_waits() {
    let mut world = World::new(1);
    let numbers: Vec<u64> = (1..=CLAIMS_MAX as u64 + 2).collect();
    world.form(&numbers);
    let asked = world.identified;
    for number in &numbers[1..] {
        ask(&mut world, 1, 100 + number, "default");
    }
    assert_eq!(world.identified - asked, CLAIMS_MAX);
}
