//! What went wrong once, as scripts: each says what happened, and what has to come of it.
//!
//! A seed means nothing once the code has changed; a script goes on to mean what it says. All hold
//! to the invariants of members besides.

use ringmesh_cluster::membership::gossip::ClusterId;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A world that is held to whatever members are held to.
fn held(seed: u64, nodes: usize) -> World<Participant> {
    let (subject, disks) = (Members::default(), Disks::default());
    let settings = WorldSettings::new(seed, nodes);
    let maker = move |birth: &Birth<'_>| {
        Participant::new(birth, subject.settings.clone(), SEEDS, disks.clone())
    };
    let mut world = World::new(settings, Trace::hashed(), maker);
    for invariant in Members::held_to(Downing::KeepMajority) {
        world.hold_to(invariant);
    }
    world
}

fn cluster(world: &World<Participant>, node: usize) -> Option<ClusterId> {
    world.machine(node)?.control().topology().cluster()
}

fn up(world: &World<Participant>, node: usize) -> usize {
    let topology = world.machine(node).map(|it| it.control().topology());
    let members = topology.iter().flat_map(|it| it.members());
    members.filter(|it| it.status() == Status::Up).count()
}

fn power_cut(node: usize) -> Fault {
    let loses_power = true;
    Fault::Crash { node, loses_power }
}

/// A newcomer knew all members and none knew it, once whoever had let it in died before it told
/// anybody: it stayed joining for ever, and nobody heard what it said. Now those whom it speaks to
/// say that it is a stranger, and it asks one of them to let it in as well.
#[test]
fn a_newcomer_whose_admitter_dies_before_it_tells_anybody_is_let_in_by_others() {
    let mut died = 0;
    for seed in 0..6 {
        let mut world = held(seed, 5);
        world.follow(Script::new().start(0..4).at(secs(10)).start([4]));
        world.run(secs(10)).unwrap();
        let knows = |world: &World<Participant>, node: usize, uid| {
            let machine = world.machine(node);
            let view = machine.and_then(|it| it.control().membership().gossip());
            view.is_some_and(|view| view.member(uid).is_some())
        };
        // The moment in which one knows of it, and nobody else.
        let admitter = (0..20_000).find_map(|_| {
            world.run(Duration::from_micros(100)).unwrap();
            let newcomer = world.uid(4)?;
            let mut knowing = (0..4).filter(|node| knows(&world, *node, newcomer));
            let first = knowing.next()?;
            Some((first, newcomer, knowing.next()))
        });
        let (admitter, newcomer, other) = admitter.expect("it is let in");
        died += u64::from(other.is_none());
        // Whatever it sent besides the welcome is lost with it.
        let cut: Vec<usize> = (0..4).filter(|node| *node != admitter).collect();
        world.befall(Fault::partition(&[admitter], &cut), Some(secs(20)));
        world.run(millis(2)).unwrap();
        world.befall(power_cut(admitter), Some(secs(25)));
        world.run(secs(70)).unwrap();
        assert!(
            world.uid(4) == Some(newcomer) && up(&world, 4) == 5,
            "{seed}"
        );
        world.finish().unwrap();
    }
    assert!(
        died > 0,
        "of an admitter that had told others already nothing is learnt"
    );
}

/// The first seed was cut off, went down, and came back while it was still cut off: it founded a
/// second cluster beside the one that had gone on without it. Now whoever remembers members waits
/// until more than half of them say that they are in no cluster.
#[test]
fn a_first_seed_that_comes_back_behind_a_cut_founds_no_second_cluster() {
    let mut world = held(3, 5);
    let cut = Fault::partition(&[0], &[1, 2, 3, 4]);
    world.follow(
        Script::new()
            .start(0..5)
            .at(secs(10))
            .befall_for(secs(60), cut),
    );
    world.run(secs(10)).unwrap();
    let known = cluster(&world, 1);
    world.run(secs(30)).unwrap();
    assert!(world.uid(0).is_none(), "it went down");
    assert_eq!(up(&world, 1), 4, "the others went on");
    world.start(0);
    world.run(secs(25)).unwrap();
    assert_eq!(cluster(&world, 0), None, "it waits");
    world.run(secs(30)).unwrap();
    assert!(known.is_some() && cluster(&world, 0) == known);
    world.finish().unwrap();
}

/// Of a side that could not go on each member went down one behind the other: each waited anew
/// after it saw the one before go. Now all go as soon as the first does.
#[test]
fn of_a_side_that_cannot_go_on_all_go_at_once() {
    for seed in 0..4 {
        let mut world = held(seed, 7);
        let cut = Fault::partition(&[0, 1, 2, 3], &[4, 5, 6]);
        world.follow(
            Script::new()
                .start(0..7)
                .at(secs(15))
                .befall_for(secs(40), cut),
        );
        world.run(secs(15)).unwrap();
        let mut ended = BTreeMap::new();
        for _ in 0..400 {
            world.run(millis(100)).unwrap();
            let over = (0..7).filter(|node| world.uid(*node).is_none());
            for node in over.collect::<Vec<_>>() {
                ended.entry(node).or_insert_with(|| world.now());
            }
        }
        assert!(ended.keys().eq(&[4, 5, 6]), "seed {seed}: {ended:?}");
        let times = || ended.values().copied();
        let span = times().max().unwrap() - times().min().unwrap();
        assert!(span < secs(5), "seed {seed}: {ended:?}");
        world.heal();
        world.run(secs(30)).unwrap();
        world.finish().unwrap();
    }
}

/// A member that reached nobody was kept in its own view by what it had heard of others before:
/// it waited for ever for one of them to decide. Now whoever reaches none of those that would stay
/// goes down.
#[test]
fn who_is_left_alone_by_one_cut_after_the_other_goes_down() {
    for seed in 0..4 {
        let mut world = held(seed, 5);
        let script = Script::new().start(0..5).at(secs(12));
        // First it loses two of them, and before that is decided the others.
        let script = script.befall_for(secs(50), Fault::partition(&[4], &[0, 1]));
        let script = script.after(secs(4));
        world.follow(script.befall_for(secs(46), Fault::partition(&[4], &[2, 3])));
        world.run(secs(55)).unwrap();
        assert!(world.uid(4).is_none(), "seed {seed}");
        assert_eq!(up(&world, 0), 4, "seed {seed}");
        world.run(secs(10)).unwrap();
        world.start(4);
        world.run(secs(25)).unwrap();
        world.finish().unwrap();
    }
}

/// All hosts lost power at once, and each process that came back waited for another one to be in
/// the cluster that all remembered. Now they are a cluster again as soon as enough of them say that
/// there is none.
#[test]
fn nodes_that_are_all_started_anew_at_once_are_one_cluster() {
    for seed in 0..4 {
        let mut world = held(seed, 5);
        let mut script = Script::new().start(0..5).at(secs(12));
        for node in 0..5 {
            script = script.befall_for(millis(500 + 100 * node as u64), power_cut(node));
        }
        world.follow(script);
        world.run(secs(12)).unwrap();
        let former = cluster(&world, 0);
        world.run(secs(30)).unwrap();
        assert_ne!(cluster(&world, 0), former, "seed {seed}");
        world.finish().unwrap();
    }
}

/// A cut that heals before anybody is given up leaves no trace, though links that were lost are
/// dialled with growing pauses meanwhile: nobody goes, and all hear each other again within 15 s.
#[test]
fn a_cut_that_heals_in_time_leaves_all_of_them() {
    for seed in 0..4 {
        let mut world = held(seed, 5);
        let cut = Fault::partition(&[0, 1], &[2, 3, 4]);
        world.follow(
            Script::new()
                .start(0..5)
                .at(secs(12))
                .befall_for(secs(9), cut),
        );
        world.run(secs(12)).unwrap();
        let before: Vec<Option<Uid>> = (0..5).map(|node| world.uid(node)).collect();
        world.run(secs(9 + 15)).unwrap();
        assert!(
            (0..5).all(|node| world.uid(node) == before[node]),
            "seed {seed}"
        );
        world.finish().unwrap();
    }
}

/// One stood still while the others, each cut off from each, gave themselves up. When it went on it
/// took the cluster for its own, as nobody was left to contradict; the others were started again,
/// and found another. Now whoever gave itself up is lost like any other, and most are.
#[test]
fn one_that_stood_still_while_the_others_went_is_no_cluster_of_its_own() {
    for seed in 0..4 {
        let mut world = held(seed, 5);
        let mut script = Script::new().start(0..5).at(secs(10));
        for (one, others) in [(0, &[1, 2, 3][..]), (1, &[2, 3]), (2, &[3])] {
            script = script.befall_for(secs(15), Fault::partition(&[one], others));
        }
        world.follow(script);
        world.run(secs(20)).unwrap();
        let (first, last) = (cluster(&world, 4), world.uid(4));
        world.befall(Fault::Pause { node: 4 }, Some(secs(40)));
        world.run(secs(5)).unwrap();
        assert_eq!(world.running().count(), 1, "{seed}: the others went");
        assert!((0..4).all(|node| world.start(node)));
        world.run(secs(20)).unwrap();
        let second = cluster(&world, 0);
        assert!(second.is_some() && second != first, "{seed}");
        world.run(secs(25)).unwrap();
        assert_ne!(world.uid(4), last, "{seed}: it went too");
        world.start(4);
        world.run(secs(20)).unwrap();
        assert_eq!(cluster(&world, 4), second, "{seed}");
        world.finish().unwrap();
    }
}
