//! Worlds of chatters: what links promise, whatever befalls them.

use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::time::Instant;

use crate::chatter::{Chatter, Chatters, InTurn, Wish};
use crate::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn chatters(seed: u64, nodes: usize) -> World<Chatter> {
    let settings = Settings::new(seed, nodes);
    let mut world = World::new(settings, Trace::hashed(), Chatter::new);
    let patience = secs(10);
    world.hold_to(Box::new(InTurn { patience }));
    world
}

fn checks(world: &World<Chatter>, name: &str) -> u64 {
    let checks = world.checks();
    checks.iter().find(|it| it.name == name).unwrap().checks
}

fn resets(seed: u64) -> Script<Chatter> {
    let mut random = Random::split(seed, "resets", 0);
    let mut script = Script::new().start([0, 1]);
    for _ in 0..100 {
        let from = random.index(2);
        let to = 1 - from;
        let at = random.span(secs(1), secs(50));
        script = script.at(at).befall(Fault::Reset { from, to });
    }
    script
}

#[test]
fn two_nodes_lose_nothing_by_resets_and_a_seed_is_one_course_of_events() {
    let run = |seed| {
        let mut world = chatters(seed, 2);
        world.follow(resets(seed));
        world.run(secs(60)).unwrap();
        world.finish().unwrap();
        assert!(world.faults().count(Class::Reset) > 50, "{seed}");
        assert!(checks(&world, "ledger") > 500, "{seed}");
        assert!(world.is_linked(0, 1) && world.is_linked(1, 0));
        (world.trace().hash(), world.trace().events())
    };
    for seed in 0..20 {
        let (hash, events) = run(seed);
        assert_eq!(run(seed), (hash, events), "seed {seed}");
        assert_ne!(run(seed + 1000).0, hash, "seed {seed}");
    }
}

#[test]
fn each_class_of_faults_takes_effect_and_is_survived() {
    for class in Class::ALL {
        let swarm = Swarm {
            only: vec![class],
            ..Swarm::default()
        };
        for seed in 0..8 {
            let report = run(&Chatters, &swarm, seed, Trace::hashed());
            assert_eq!(report.violation, None, "{class}, seed {seed}");
            let effects = report.faults[class as usize];
            assert!(effects > 0, "{class}, seed {seed}");
            assert_eq!(report.faults_total(), effects, "{class}, seed {seed}");
        }
    }
}

#[test]
fn a_simulator_that_repeats_or_loses_messages_is_found_out() {
    for canary in [Canary::Repeat, Canary::Lose] {
        let swarm = Swarm {
            canary: Some(canary),
            ..Swarm::default()
        };
        for seed in 0..10 {
            let report = run(&Chatters, &swarm, seed, Trace::hashed());
            let violation = report.violation.unwrap();
            assert_eq!(violation.invariant, "ledger", "{canary:?}, {seed}");
        }
        assert_eq!(canary.label().parse(), Ok(canary));
    }
    assert!("nothing".parse::<Canary>().is_err());
}

#[test]
fn random_worlds_break_nothing_and_their_faults_take_effect() {
    let swarm = Swarm::default();
    let mut effects = Vec::new();
    for seed in 0..40 {
        let report = run(&Chatters, &swarm, seed, Trace::hashed());
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(report.checks.iter().all(|it| it.checks > 0), "{report:?}");
        effects.push(report.faults_total());
    }
    effects.sort_unstable();
    assert!(effects[0] >= 20, "{effects:?}");
    // One of a hundred is run twice; here each tenth.
    for seed in [0, 10, 20, 30] {
        let [one, other] = [0, 1].map(|_| run(&Chatters, &swarm, seed, Trace::hashed()));
        assert_eq!(one, other);
        println!("seed {seed}: {} events", one.events);
    }
}

fn place(half: u64, start: u64, end: u64) -> Place {
    Place {
        half: HalfId(half),
        start,
        end,
        digest: start,
    }
}

/// An account of a link from process start 1 to the one that runs on node 0, with three messages
/// sent.
fn account(world: &World<Chatter>) -> Ledger {
    let mut ledger = Ledger::default();
    let uid = |number| Uid::new(number).unwrap();
    let to = world.uid(0).unwrap();
    let sent = [(0, 10), (10, 20), (20, 35)].map(|(start, end)| {
        let place = place(7, start, end);
        Happening::Sent(place)
    });
    let begin = [
        Happening::Started { node: 0, uid: to },
        Happening::LinkUp {
            node: 1,
            uid: uid(1),
            half: HalfId(7),
            peer: to,
        },
        Happening::Carried {
            half: HalfId(7),
            conn: ConnKey(4),
        },
    ];
    for happening in begin.into_iter().chain(sent) {
        ledger.observe(world, &happening).unwrap();
    }
    ledger
}

fn delivered(world: &World<Chatter>, from: u64, place: Place, conn: u64) -> Happening {
    Happening::Delivered {
        node: 0,
        uid: world.uid(0).unwrap(),
        from: Uid::new(from).unwrap(),
        place,
        conn: ConnKey(conn),
    }
}

#[test]
fn the_ledger_finds_whatever_is_lost_repeated_out_of_order_or_elsewhere() {
    let mut world = chatters(1, 2);
    world.start(0);
    let hear = |ledger: &mut Ledger, from, place, conn| {
        let happening = delivered(&world, from, place, conn);
        ledger.observe(&world, &happening)
    };
    let [first, second] = [place(8, 0, 10), place(8, 10, 20)];
    let mut good = account(&world);
    assert_eq!(hear(&mut good, 1, first, 4), Ok(1));
    assert_eq!(hear(&mut good, 1, second, 4), Ok(1));
    let bad: [(&str, u64, Place, u64); 6] = [
        ("lost", 1, place(8, 20, 35), 4),
        ("repeated", 1, first, 4),
        ("another sender", 2, second, 4),
        ("another connection", 1, second, 5),
        ("another link", 1, place(9, 10, 20), 4),
        (
            "other bytes",
            1,
            Place {
                digest: 9,
                ..second
            },
            4,
        ),
    ];
    for (what, from, place, conn) in bad {
        let mut ledger = account(&world);
        hear(&mut ledger, 1, first, 4).unwrap();
        assert!(hear(&mut ledger, from, place, conn).is_err(), "{what}");
    }
    let mut elsewhere = account(&world);
    let late = delivered(&world, 1, first, 4);
    world.befall(crash(0), None);
    world.start(0);
    let (node, uid) = (0, world.uid(0).unwrap());
    let started = Happening::Started { node, uid };
    elsewhere.observe(&world, &started).unwrap();
    assert!(elsewhere.observe(&world, &late).is_err(), "a later start");
}

fn crash(node: usize) -> Fault {
    let loses_power = false;
    Fault::Crash { node, loses_power }
}

#[test]
fn the_ledger_closes_when_a_link_ends() {
    let mut world = chatters(1, 2);
    world.start(0);
    let end = |acknowledged, given_up| Happening::LinkDown {
        half: HalfId(7),
        acknowledged,
        given_up,
    };
    let ended = |happening, heard: &[Place]| {
        let mut ledger = account(&world);
        for place in heard {
            ledger
                .observe(&world, &delivered(&world, 1, *place, 4))
                .unwrap();
        }
        ledger.observe(&world, &happening)
    };
    let heard = [place(8, 0, 10)];
    assert_eq!(ended(end(10, 2), &heard), Ok(1));
    assert_eq!(ended(end(0, 3), &heard), Ok(1), "the grant was lost");
    assert!(ended(end(10, 3), &heard).is_err());
    assert!(ended(end(10, 1), &heard).is_err());
    assert!(ended(end(20, 1), &heard).is_err(), "never delivered");
}

#[test]
fn whoever_does_not_let_time_pass_is_found_out() {
    /// A machine whose time is always up.
    struct Stuck;
    impl Machine for Stuck {
        type Command = ();
        type Event = ();
        fn handle_message(&mut self, _: &mut Context<'_, ()>, _: &NodeId, _: &[u8]) {}
        fn handle_link(&mut self, _: &mut Context<'_, ()>, _: &LinkNews) {}
        fn handle_command(&mut self, _: &mut Context<'_, ()>, (): &()) {}
        fn handle_timeout(&mut self, _: &mut Context<'_, ()>) {}
        fn poll_timeout(&self) -> Option<Instant> {
            Some(Instant::ZERO)
        }
    }
    let settings = Settings::new(1, 1);
    let mut world = World::new(settings, Trace::hashed(), |_| Stuck);
    world.start(0);
    let violation = world.run(secs(1)).unwrap_err();
    assert_eq!(violation.invariant, "progress");
    assert_eq!(world.run(secs(1)), Err(violation), "and stays so");
}

#[test]
fn acts_one_over_the_bound_are_found() {
    let world = chatters(1, 2);
    let mut bounds = Bounds;
    let mut act = |acts| bounds.observe(&world, &Happening::Acted { node: 0, acts });
    assert_eq!(act(ACTS_MAX), Ok(1));
    assert!(act(ACTS_MAX + 1).is_err());
}

#[test]
fn a_script_says_what_happens_and_what_has_to_be_so() {
    let linked = |world: &World<Chatter>| match world.is_linked(0, 1) {
        true => Ok(()),
        false => Err("no link".to_owned()),
    };
    let story = || {
        Script::new()
            .start([0, 1])
            .after(secs(2))
            .expect("a link", linked)
            .befall_for(secs(30), Fault::partition(&[0], &[1]))
            .command(0, Wish::Speak)
            .after(secs(60))
            .expect("the same again", linked)
            .befall(crash(1))
            .after(secs(1))
    };
    let mut world = chatters(3, 2);
    let parted = move |world: &World<Chatter>| match linked(world) {
        Ok(()) => Err("linked".to_owned()),
        Err(_) => Ok(()),
    };
    world.follow(story().expect("none", parted).heal());
    world.run(secs(90)).unwrap();
    world.finish().unwrap();
    assert!(world.faults().count(Class::Partition) == 1 && world.is_linked(0, 1));
    let mut other = chatters(3, 2);
    other.follow(story().expect("a link with the dead", linked));
    let violation = other.run(secs(90)).unwrap_err();
    assert_eq!(violation.invariant, "script");
    assert!(violation.message.contains("a link with the dead"));
}

#[test]
fn a_process_that_leaves_ends_with_its_last_word_said() {
    let mut world = chatters(5, 3);
    let script = Script::new().start(0..3).after(secs(5));
    world.follow(script.command(2, Wish::Leave));
    world.run(secs(8)).unwrap();
    assert!(world.running().eq([0, 1]));
    world.start(2);
    world.run(secs(10)).unwrap();
    world.finish().unwrap();
}

#[test]
fn links_that_lie_idle_rest_and_wake() {
    let mut settings = Settings::new(9, 2);
    settings.idle = Duration::from_millis(100);
    let mut world = World::new(settings, Trace::hashed(), Chatter::new);
    world.follow(Script::new().start([0, 1]));
    let mut rested = 0;
    for _ in 0..600 {
        world.run(Duration::from_millis(100)).unwrap();
        rested += u64::from(!world.is_linked(0, 1));
    }
    assert!(rested > 10, "{rested}");
    assert!(checks(&world, "ledger") > 200);
}
