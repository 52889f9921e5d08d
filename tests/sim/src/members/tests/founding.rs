//! Nodes that come back do not found a cluster beside one that goes on, and found one if none does.

use ringmesh_cluster::membership::ClusterId;

use super::*;
use crate::script::Step;

fn cluster(world: &World<Participant>, node: usize) -> Option<ClusterId> {
    world.machine(node)?.control().topology().cluster()
}

/// A script in which a supervisor looks after the processes each second.
fn supervised(until: Duration) -> Script<Participant> {
    (1..until.as_secs()).fold(Script::new(), |script, second| {
        let look = Step::Do(Box::new(World::supervise));
        script.at(secs(second)).step(look)
    })
}

/// Cause: whoever was given up left itself, or those it was parted from, out of what it remembered,
/// and founded a cluster without asking them when it was started again.
#[test]
fn the_first_seed_that_went_down_behind_a_partition_founds_nothing_when_it_is_started_again() {
    for seed in 0..4 {
        let mut world = members(seed, 3);
        let script = Script::new().start(0..3).at(secs(8));
        let script = script.befall_for(secs(40), Fault::partition(&[0], &[1, 2]));
        let alone = |world: &World<Participant>| match cluster(world, 0) {
            None => Ok(()),
            Some(cluster) => Err(format!("node 0 is in {cluster:?}")),
        };
        let script = script.at(secs(46)).expect("node 0 is in no cluster", alone);
        world.follow(supervised(secs(60)));
        world.follow(script);
        world.run(secs(6)).unwrap();
        let former = world.uid(0);
        let known = cluster(&world, 1);
        world.run(secs(74)).unwrap();
        world.finish().unwrap();
        assert_ne!(world.uid(0), former, "seed {seed}");
        assert_eq!(cluster(&world, 0), known, "seed {seed}");
    }
}

/// Cause: what was to be remembered was not on disk when others counted on it, and was lost. Here
/// all lose power while they find each other, at any time of that.
#[test]
fn nodes_that_all_lose_power_while_they_join_are_one_cluster_when_they_come_back() {
    for seed in 0..40 {
        let mut random = Random::split(seed, "power", 0);
        let mut world = members(seed, 3);
        let at = random.span(Duration::from_millis(1), Duration::from_millis(2500));
        let crash = |node| Fault::Crash {
            node,
            loses_power: true,
        };
        let script = (0..3).fold(Script::new().start(0..3).at(at), |script, node| {
            script.befall_for(random.span(secs(1), secs(4)), crash(node))
        });
        world.follow(supervised(secs(60)));
        world.follow(script);
        world.run(secs(60)).unwrap();
        world
            .finish()
            .unwrap_or_else(|it| panic!("seed {seed}: {it:?}"));
    }
}

/// A newcomer that is let in and never hears of it is given up, and whoever gave it up speaks to it
/// no more: its process has to end, for the next one to be let in.
#[test]
fn a_newcomer_that_was_given_up_before_it_heard_anything_begins_anew() {
    for seed in 0..20 {
        let mut random = Random::split(seed, "deaf", 0);
        let mut world = members(seed, 4);
        let after = random.span(Duration::ZERO, Duration::from_millis(400));
        let deaf = Fault::Blocked {
            class: Class::OneWay,
            paths: vec![(0, 3), (1, 3), (2, 3)],
        };
        let script = Script::new().start(0..3).at(secs(8)).start(3..4);
        let script = script.at(secs(8) + after).befall_for(secs(30), deaf);
        world.follow(supervised(secs(80)));
        world.follow(script);
        world.run(secs(80)).unwrap();
        let known = cluster(&world, 0);
        assert!(
            known.is_some() && cluster(&world, 3) == known,
            "seed {seed}"
        );
        world
            .finish()
            .unwrap_or_else(|it| panic!("seed {seed}: {it:?}"));
    }
}
