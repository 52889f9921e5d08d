//! Between data centres: who watches whom, how closely, and what is said of it.

use super::*;
use crate::membership::data_centres::SPEAKERS;
use crate::membership::testing::member;
use crate::membership::{Member, UpNumber};

/// Members from 1 on here, and from 101 on in the east.
fn two(here: u64, east: u64) -> World {
    two_with(here, east, MonitorSettings::default())
}

fn two_with(here: u64, east: u64, settings: MonitorSettings) -> World {
    let mut world = World::of(here);
    for number in (1..=here).chain(101..101 + east) {
        if number > 100 {
            world.view.add_in("east", number, Status::Up);
        }
        let monitor = Monitor::new(settings, uid(number));
        world.monitors.insert(number, monitor);
    }
    world.wires.clear();
    world.spread();
    world
}

/// Whom a member watches in the other data centre.
fn far(world: &World, number: u64) -> Vec<u64> {
    let subjects = world.monitors[&number].subjects().map(Uid::as_u64);
    let is_far = |it: &u64| (*it > 100) != (number > 100);
    subjects.filter(is_far).collect()
}

/// Members here that are older than all others.
fn add_older(world: &mut World, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let profile = member(number, "default", Status::Up).profile().clone();
        let older = Member::new(profile, Status::Up, UpNumber(0));
        world.view.gossip_mut().admit(older).expect("room");
    }
    world.spread();
}

fn cut_off(world: &mut World) {
    let numbers = world.numbers();
    let (here, east): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|it| **it <= 100);
    let pairs = here
        .iter()
        .flat_map(|a| east.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
    world.cut = pairs.collect();
}

#[test]
fn the_oldest_of_data_centres_watch_each_other_less_closely_than_their_own() {
    let mut world = two(2, 2);
    world.run(30_000);
    assert_eq!(world.said(), []);
    assert_eq!(world.monitors[&1].subjects().len(), 3);
    world.away = vec![102];
    let stopped = world.now;
    world.run(20_000);
    let accusations = world.accusations();
    let accusers: Vec<u64> = accusations.iter().map(|it| it.1).collect();
    assert_eq!(accusers, [101, 1, 2], "those of its own are less patient");
    assert!((10_000..=13_010).contains(&(accusations[1].0 - stopped)));
    world.away.clear();
    world.run(4_000);
    let cleared = |said: &&(u64, u64, Said)| said.2 == Said::Cleared(102);
    assert_eq!(world.said().iter().filter(cleared).count(), 3);
}

#[test]
fn a_heartbeat_crosses_every_three_seconds_and_a_new_one_is_asked_at_once() {
    let mut world = two(1, 1);
    world.run(10);
    let crossing = |world: &World| {
        let wires = world.wires.iter();
        wires
            .filter(|it| (it.1, it.2) == (1, 101) && it.3[0] == 32)
            .count()
    };
    let mut sent = Vec::new();
    for _ in 0..30_000 {
        let before = crossing(&world);
        world.run(1);
        if crossing(&world) > before {
            sent.push(world.now);
        }
    }
    let apart: Vec<u64> = sent.windows(2).map(|it| it[1] - it[0]).collect();
    assert!(sent.len() == 10 && apart == [3000; 9], "{sent:?}");
    world.run(1_500);
    world.view.add_in("east", 102, Status::Up);
    world.spread();
    let asked = world.wires.iter().any(|it| (it.1, it.2) == (1, 102));
    assert!(asked, "and not only with the others");
}

/// Up to an interval passes before a cut, and another one behind it.
#[test]
fn a_cut_that_is_shorter_than_the_pause_less_an_interval_is_not_noticed() {
    for phase in [0, 1_000, 2_000] {
        let mut world = two(2, 2);
        world.run(30_000 + phase);
        cut_off(&mut world);
        world.run(6_900);
        world.cut.clear();
        world.run(30_000);
        assert_eq!(world.said(), [], "{phase}");
    }
}

/// Each message that had waited for it counted as a late turn, and with each the others had been
/// silent for that much less: whoever was gone was back, for as long as that came to.
#[test]
fn who_was_away_itself_excuses_others_once() {
    let mut world = two(3, 2);
    world.run(5_000);
    cut_off(&mut world);
    world.run(20_000);
    world.said.clear();
    world.away = vec![2];
    world.run(8_500);
    world.away.clear();
    world.run(30_000);
    let by_it = world.said.iter().filter(|it| it.1 == 2);
    let by_it: Vec<&Said> = by_it.map(|it| &it.2).collect();
    assert!(matches!(by_it[..], [Said::Stalled(_)]), "{by_it:?}");
}

#[test]
fn who_never_answered_is_given_the_time_to_make_a_link() {
    let mut world = two(1, 1);
    let began = world.now;
    world.away = vec![101];
    world.run(20_000);
    let [(when, 1, 101, Reason::Silence)] = world.accusations()[..] else {
        panic!("it is accused once");
    };
    assert!((14_000..=14_010).contains(&(when - began)), "{when}");
}

#[test]
fn the_settings_say_how_closely() {
    let far = FarSettings {
        interval: Duration::from_millis(200),
        pause: Duration::from_millis(600),
        first_answer: Duration::ZERO,
    };
    let settings = MonitorSettings {
        far,
        ..MonitorSettings::default()
    };
    let mut world = two_with(1, 1, settings);
    world.run(10_000);
    cut_off(&mut world);
    let began = world.now;
    world.run(2_000);
    let accusations = world.accusations();
    let in_time = |it: &(u64, u64, u64, Reason)| (600..=805).contains(&(it.0 - began));
    assert!(
        accusations.len() == 2 && accusations.iter().all(in_time),
        "{accusations:?}"
    );
}

/// One over the five who speak for each: of twenty-one members in three data centres.
#[test]
fn one_over_the_speakers_has_no_link_with_another_data_centre() {
    let mut world = two(7, 7);
    for number in 201..=207 {
        world.view.add_in("west", number, Status::Up);
        let monitor = Monitor::new(MonitorSettings::default(), uid(number));
        world.monitors.insert(number, monitor);
    }
    world.spread();
    let mut links = BTreeSet::new();
    for _ in 0..12_000 {
        world.run(1);
        links.extend(world.wires.iter().map(|it| (it.1, it.2)));
    }
    assert_eq!(world.said(), []);
    for number in world.numbers() {
        for place in [0, 1, 2].iter().filter(|it| **it != number / 100) {
            let with = links
                .iter()
                .filter(|it| it.0 == number && it.1 / 100 == *place);
            let expected = if number % 100 <= SPEAKERS as u64 {
                SPEAKERS
            } else {
                0
            };
            assert_eq!(with.count(), expected, "{number} with {place}");
        }
    }
}

/// Pekko takes the difference the wrong way round: it goes on to watch who is not to be watched any
/// more.
#[test]
fn who_speaks_no_more_is_watched_no_more() {
    let mut world = two(1, 6);
    world.run(5_000);
    assert_eq!(far(&world, 1), [101, 102, 103, 104, 105]);
    assert_eq!(far(&world, 106), [] as [u64; 0]);
    world.view.set(103, Status::Down);
    world.spread();
    assert_eq!(far(&world, 1), [101, 102, 104, 105, 106]);
    assert_eq!(far(&world, 106), [1]);
    world.run(30_000);
    assert_eq!(world.said(), []);
}

/// Pekko's and Akka's, once they watch, never rest again.
#[test]
fn who_watches_rests_when_others_are_older() {
    let mut world = two(2, 2);
    world.run(5_000);
    add_older(&mut world, 3..8);
    for number in [1, 2] {
        assert_eq!(far(&world, number), [] as [u64; 0]);
    }
    world.wires.clear();
    for _ in 0..7_000 {
        world.run(1);
        let crosses = |it: &(u64, u64, u64, Vec<u8>)| it.1 <= 100 && it.2 > 100;
        assert!(!world.wires.iter().any(crosses), "it still speaks");
    }
    assert_eq!(world.monitors[&1].far.due, None);
}

/// What it said stands for as long as it watches and no longer: a word that nobody takes back would
/// keep a data centre out of reach.
#[test]
fn who_rests_takes_back_what_it_said() {
    let mut world = two(2, 2);
    world.run(5_000);
    world.away = vec![102];
    world.run(20_000);
    assert_eq!(world.accusations().len(), 3);
    add_older(&mut world, 3..8);
    let said = world.said().into_iter().filter(|it| it.1 < 100);
    let mut said: Vec<(u64, Said)> = said.map(|it| (it.1, it.2)).collect();
    said.sort_by_key(|it| it.0);
    assert_eq!(said, [(1, Said::Cleared(102)), (2, Said::Cleared(102))]);
    assert!(far(&world, 1).is_empty() && far(&world, 2).is_empty());
}

/// Its own data centre finds out what became of a member: evidence of a crash that crosses says
/// nothing.
#[test]
fn evidence_of_a_crash_over_there_is_none() {
    let mut world = two(2, 2);
    world.run(5_000);
    world.tell(1, |it, now, _, out| it.handle_crashed(now, uid(101), out));
    world.tell(1, |it, now, _, out| {
        it.handle_lost(now, uid(102), Reason::Restarted, out)
    });
    world.run(10_000);
    assert_eq!(world.said(), []);
}
