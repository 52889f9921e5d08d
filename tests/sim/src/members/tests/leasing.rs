//! Sides that go on by a lease, and work that is done under one.

use std::sync::Arc;

use ringmesh_cluster::lease::Token;
use ringmesh_cluster::resolver::Decision;

use super::*;

/// A world whose members decide by a lease, and work under another one.
fn leased(seed: u64, nodes: usize) -> World<Participant> {
    let (subject, disks) = (Members::default(), Disks::default());
    let settings = WorldSettings::new(seed, nodes);
    let downing = Downing::LeaseMajority;
    let maker = move |birth: &Birth<'_>| {
        let made = Participant::new(birth, subject.settings.clone(), SEEDS, disks.clone());
        made.with_strategy(downing.strategy(DATA_CENTRE_DEFAULT))
            .with_work(birth)
    };
    let mut world = World::new(settings, Trace::hashed(), maker);
    for invariant in Members::held_to(downing) {
        world.hold_to(invariant);
    }
    world
}

fn up(world: &World<Participant>, node: usize) -> usize {
    let topology = world.machine(node).map(|it| it.control().topology());
    let members = topology.iter().flat_map(|it| it.members());
    members.filter(|it| it.status() == Status::Up).count()
}

/// The tokens by which a node gave others up, and the last decision of that sort.
fn decisions(world: &World<Participant>, node: usize) -> Vec<Arc<Decision>> {
    let writings = world.machine(node).map(Participant::writings);
    let decided = writings.into_iter().flatten();
    decided.filter_map(|it| it.decision.clone()).collect()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn power_cut(node: usize) -> Fault {
    let loses_power = true;
    Fault::Crash { node, loses_power }
}

#[test]
fn one_side_goes_on_and_says_by_which_token() {
    for seed in 0..4 {
        let mut world = leased(seed, 5);
        let cut = Fault::partition(&[0, 1], &[2, 3, 4]);
        let script = Script::new().start(0..5).at(secs(15));
        world.follow(script.befall_for(secs(60), cut));
        world.run(secs(45)).unwrap();
        assert!(world.running().eq([2, 3, 4]), "seed {seed}");
        assert_eq!(up(&world, 3), 3, "seed {seed}");
        let decided = decisions(&world, 2);
        let [decision] = &decided[..] else {
            panic!("seed {seed}: {decided:?}");
        };
        let token = decision.token.unwrap();
        assert!(decision.to_string().contains(&format!("token {token}")));
        world.run(secs(31)).unwrap();
        assert!((0..2).all(|node| world.start(node)));
        world.run(secs(30)).unwrap();
        world.finish().unwrap();
    }
}

/// It wakes when the lease of the others is long given back, and would be given it: it was the
/// other side's for all it knows.
#[test]
fn a_side_that_stood_still_while_the_other_went_on_does_not_go_on_as_well() {
    for seed in 0..4 {
        let mut world = leased(seed, 5);
        let cut = Fault::partition(&[0, 1, 2], &[3, 4]);
        let script = Script::new().start(0..5).at(secs(15));
        let script = script.befall_for(secs(120), cut);
        let script = [3, 4].into_iter().fold(script, |script, node| {
            script.befall_for(secs(70), Fault::Pause { node })
        });
        world.follow(script);
        world.run(secs(84)).unwrap();
        let lease = downing::lease(DATA_CENTRE_DEFAULT);
        let token = world.store().last_token(&lease).unwrap();
        let has = |world: &World<Participant>, token| {
            let own = world.machine(0).unwrap().control().topology().own().clone();
            world.store().has(world.now(), &lease, &own, token)
        };
        assert!(!has(&world, token), "seed {seed}: it is given back");
        assert!(world.uid(3).is_some() && up(&world, 0) == 3, "seed {seed}");
        world.run(secs(40)).unwrap();
        assert!(world.running().eq([0, 1, 2]), "seed {seed}");
        let last = world.store().last_token(&lease).unwrap();
        assert!(last > token, "seed {seed}: it was given it");
    }
}

/// Whoever has the lease from the last decision dies as well: its lease runs out before the others
/// give up.
#[test]
fn members_that_lose_power_one_after_the_other_do_not_take_the_others_with_them() {
    for seed in 0..4 {
        let mut world = leased(seed, 5);
        let script = Script::new().start(0..5).at(secs(15));
        let script = script.befall(power_cut(0)).after(secs(20));
        world.follow(script.befall(power_cut(1)));
        world.run(secs(34)).unwrap();
        assert_eq!(up(&world, 2), 4, "seed {seed}");
        assert_eq!(
            decisions(&world, 1).len(),
            1,
            "seed {seed}: it has the lease"
        );
        world.run(secs(40)).unwrap();
        assert!(world.running().eq([2, 3, 4]), "seed {seed}");
        assert_eq!(up(&world, 2), 3, "seed {seed}");
    }
}

#[test]
fn no_side_goes_on_without_the_store_and_all_are_one_cluster_again_behind_that() {
    for seed in 0..4 {
        let mut world = leased(seed, 5);
        let cut = Fault::partition(&[0, 1], &[2, 3, 4]);
        let script = Script::new().start(0..5).at(secs(15));
        world.follow(script.befall_for(secs(60), cut));
        world.run(secs(15)).unwrap();
        world.cut_store(&[0, 1, 2, 3, 4], secs(60));
        world.run(secs(50)).unwrap();
        assert_eq!(world.running().count(), 0, "seed {seed}");
        world.run(secs(11)).unwrap();
        assert!((0..5).all(|node| world.start(node)));
        world.run(secs(40)).unwrap();
        world.finish().unwrap();
    }
}

/// The store is restored from a copy of long ago. Members that hear each other for a minute have it
/// count on from what they know; if they fall apart before, no side goes on.
#[test]
fn a_store_that_lost_its_tokens_lets_nobody_go_on_until_it_counts_on() {
    for seed in 0..4 {
        for calm in [3, 70] {
            let mut world = leased(seed, 5);
            world.follow(Script::new().start(0..5));
            world.run(secs(15)).unwrap();
            let lease = downing::lease(DATA_CENTRE_DEFAULT);
            let before = world.store().last_token(&lease).unwrap();
            world.lose_tokens(None);
            world.run(secs(calm)).unwrap();
            let counts_on = world.store().last_token(&lease).unwrap() >= before;
            let cut = Fault::partition(&[0, 1], &[2, 3, 4]);
            world.follow(Script::new().befall_for(secs(40), cut));
            world.run(secs(39)).unwrap();
            let runs: Vec<usize> = world.running().collect();
            let goes_on: &[usize] = if counts_on { &[2, 3, 4] } else { &[] };
            assert_eq!(runs, goes_on, "seed {seed}");
            assert!(counts_on || calm == 3, "seed {seed}");
            world.run(secs(2)).unwrap();
            assert!((0..5).all(|node| world.running().any(|it| it == node) || world.start(node)));
            world.run(secs(60)).unwrap();
            world.finish().unwrap();
        }
    }
}

/// The copy lacks the last two tokens, by one of which a side went on that is cut off meanwhile:
/// none is given once more, to whoever it may be.
#[test]
fn a_store_that_lost_a_few_tokens_gives_none_of_them_once_more() {
    for seed in 0..4 {
        let mut world = leased(seed, 5);
        world.follow(Script::new().start(0..5));
        world.run(secs(15)).unwrap();
        let cut = Fault::partition(&[0, 1], &[2, 3, 4]);
        world.follow(Script::new().befall_for(secs(30), cut));
        world.run(secs(20)).unwrap();
        let lease = downing::lease(DATA_CENTRE_DEFAULT);
        let given = |world: &World<Participant>| {
            let grants = world.store().grants().iter().filter(|it| it.name == lease);
            grants.map(|it| it.token).collect::<Vec<Token>>()
        };
        assert!(!given(&world).is_empty(), "seed {seed}: a side went on");
        let before = world.store().last_token(&lease).unwrap();
        world.lose_tokens(Some(2));
        world.run(secs(90)).unwrap();
        let last = world.store().last_token(&lease).unwrap();
        assert!(
            last.0 > before.0 + 1000,
            "seed {seed}: {last} after {before}"
        );
        let cut = Fault::partition(&[2], &[3, 4]);
        world.follow(Script::new().befall_for(secs(40), cut));
        world.run(secs(39)).unwrap();
        assert!(world.running().eq([3, 4]), "seed {seed}");
        let tokens = given(&world);
        assert!(tokens.is_sorted_by(|a, b| a < b), "seed {seed}: {tokens:?}");
        world.heal();
        world.run(secs(60)).unwrap();
        world.finish().unwrap();
    }
}

/// One that went on alone left its cluster to a newcomer that nobody else knew of, and forgot it:
/// the others, started again, founded another one. Now it tells them of the newcomer.
#[test]
fn who_left_its_cluster_to_a_newcomer_tells_the_others_of_it() {
    for seed in 0..4 {
        let mut world = leased(seed, 4);
        let script = Script::new().start(0..3).at(secs(15));
        let script = script.befall(power_cut(0)).befall(power_cut(1));
        let leave = Command::Leave { address: None };
        let script = script.at(secs(45)).start([3]).at(secs(60));
        world.follow(script.command(2, leave));
        world.run(secs(75)).unwrap();
        assert!(world.running().eq([3]), "seed {seed}");
        let cluster = |world: &World<Participant>, node| {
            let machine: &Participant = world.machine(node)?;
            machine.control().topology().cluster()
        };
        let known = cluster(&world, 3);
        assert!(known.is_some() && up(&world, 3) == 1, "seed {seed}");
        world.heal();
        world.run(secs(30)).unwrap();
        assert!(
            (0..4).all(|node| cluster(&world, node) == known),
            "seed {seed}"
        );
        world.finish().unwrap();
    }
}

/// Works under a lease until far beyond its time.
#[test]
fn who_goes_on_with_a_lease_that_another_was_given_is_found() {
    let mut world = leased(5, 3);
    world.follow(Script::new().start(0..3));
    world.run(secs(10)).unwrap();
    let work = worker::work();
    let mut exclusive = Exclusive;
    for _ in 0..10_000 {
        world.run(millis(50)).unwrap();
        let holder = (0..3).find(|node| {
            let now = world.clock(*node).read(world.now());
            world.machine(*node).unwrap().holds(now, &work).is_some()
        });
        if let Some(node) = holder {
            assert_eq!(exclusive.check(&world).map(|it| it > 0), Ok(true));
            // Its clock stands still for once, and the store's does not.
            let now = world.now();
            world.nodes[node].clock.drift(now, -999_999);
            break;
        }
    }
    let violation = world.run(secs(30)).unwrap_err();
    assert_eq!(violation.invariant, "exclusive");
}

#[test]
fn a_decision_by_a_lease_that_is_not_held_is_found() {
    let mut world = leased(11, 5);
    let cut = Fault::partition(&[0, 1, 2], &[3, 4]);
    world.follow(Script::new().start(0..5).at(secs(15)).befall(cut));
    let node = (0..6_000).find_map(|_| {
        world.run(millis(10)).unwrap();
        (0..3).find(|node| !decisions(&world, *node).is_empty())
    });
    let node = node.expect("somebody is given up");
    let machine = world.machine(node).unwrap();
    let is_it = |it: &&Writing| it.decision.is_some();
    let writing = machine.writings().iter().find(is_it).unwrap().clone();
    let own = world.uid(node).unwrap();
    let mut downed = Downed::by(Downing::LeaseMajority);
    let mut judge = |change: fn(&mut Decision)| {
        let mut forged = writing.clone();
        change(Arc::make_mut(forged.decision.as_mut().unwrap()));
        downed.judge(&world, (node, own), &forged)
    };
    assert_eq!(judge(|_| {}), Ok(2));
    assert!(judge(|it| it.why = Why::Unvoted).is_err());
    assert!(judge(|it| it.token = None).is_err());
    assert!(judge(|it| it.token = it.token.map(|it| Token(it.0 + 1))).is_err());
}

#[test]
#[ignore = "takes minutes: cargo test -p ringmesh-sim --lib -- --ignored soak_leases"]
fn soak_leases() {
    let subject = Members {
        downing: Some(Downing::LeaseMajority),
        ..Members::default()
    };
    for seed in 0..3_000 {
        let report = run(&subject, &Swarm::default(), seed, Trace::hashed());
        assert_eq!(report.violation, None, "seed {seed}");
    }
}
