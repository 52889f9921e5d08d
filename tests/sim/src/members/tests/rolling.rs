//! Members that are restarted one after the other: as they are, and as what comes next.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use ringmesh_cluster::membership::AppVersion;
use ringmesh_cluster::membership::event::Numbered;

use super::*;

/// What one member may take to leave, or to be back.
const TURN: Duration = Duration::from_secs(10);

/// How often a look is taken.
const LOOK: Duration = Duration::from_millis(50);

/// Counts who is missed by anybody.
struct Missed(Rc<Cell<u64>>);

impl Invariant<Participant> for Missed {
    fn name(&self) -> &'static str {
        "missed"
    }

    fn observe_event(
        &mut self,
        _: &World<Participant>,
        _: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        if matches!(event.event, Event::Unreachable { .. } | Event::Decision(_)) {
            self.0.set(self.0.get() + 1);
        }
        Ok(1)
    }
}

/// Nodes whose first starts have the first version; later ones are told of theirs when they run.
fn versioned(seed: u64, nodes: usize) -> (World<Participant>, Rc<Cell<u64>>) {
    let (subject, disks) = (Members::default(), Disks::default());
    let maker = move |birth: &Birth<'_>| {
        let first = Participant::new(birth, subject.settings.clone(), SEEDS, disks.clone());
        match birth.former {
            0 => first,
            _ => first.with_version_later(),
        }
    };
    let mut world = World::new(WorldSettings::new(seed, nodes), Trace::hashed(), maker);
    for invariant in Members::held_to(Downing::KeepMajority) {
        world.hold_to(invariant);
    }
    let missed = Rc::new(Cell::new(0));
    world.hold_to(Box::new(Missed(Rc::clone(&missed))));
    (world, missed)
}

/// Lets time pass until it is so.
fn until(world: &mut World<Participant>, what: &str, is_so: impl Fn(&World<Participant>) -> bool) {
    let end = world.now() + TURN;
    while !is_so(world) {
        assert!(world.now() < end, "{what}");
        world.run(LOOK).unwrap();
    }
}

/// Whether all run, and each knows of all as members in full, and of no others.
fn are_up(world: &World<Participant>) -> bool {
    let knows_all = |node| {
        let machine = world.machine(node).expect("it runs");
        let members = machine.control().topology().members();
        let up = members.iter().filter(|it| it.status() == Status::Up);
        members.len() == world.nodes() && up.count() == world.nodes()
    };
    world.running().count() == world.nodes() && world.running().all(knows_all)
}

/// The versions of the members, as a node knows them.
fn versions(world: &World<Participant>, node: usize) -> BTreeSet<AppVersion> {
    let machine = world.machine(node).expect("it runs");
    let members = machine.control().topology().members();
    let profiles = members.iter().map(|it| it.profile());
    profiles.map(|it| it.app_version.clone()).collect()
}

/// Restarts a node in good order, as that version.
fn restart(world: &mut World<Participant>, node: usize, version: &AppVersion) {
    world.command(node, &Command::Leave { address: None });
    until(world, "it has left", |world| {
        !world.running().any(|it| it == node)
    });
    assert!(world.start(node));
    world.run(LOOK).unwrap();
    let set = Command::SetAppVersion(version.clone());
    world.command(node, &set);
    until(world, "all are up", are_up);
}

#[test]
fn nine_members_that_are_restarted_one_by_one_are_missed_by_nobody() {
    for seed in 0..10 {
        let (mut world, missed) = versioned(seed, 9);
        world.follow(Script::new().start(0..9));
        until(&mut world, "all are up", are_up);
        for node in 0..9 {
            restart(&mut world, node, &AppVersion::default());
        }
        world.run(secs(20)).unwrap();
        world.finish().unwrap();
        assert_eq!(missed.get(), 0, "seed {seed}");
    }
}

#[test]
fn a_cluster_becomes_the_next_version_member_by_member() {
    let next: AppVersion = "1.0.0".parse().expect("a version");
    for seed in 0..10 {
        let (mut world, missed) = versioned(seed, 5);
        // What speaks the protocol as it was before its optional features, until it is replaced.
        let old = (0..5).fold(Script::new(), |script, node| {
            script.befall(Fault::MixedVersions { node })
        });
        world.follow(old.start(0..5));
        until(&mut world, "all are up", are_up);
        // From here on whoever starts speaks all of it.
        world.follow(Script::new().heal());
        for node in 0..5 {
            restart(&mut world, node, &next);
            let known = versions(&world, (node + 1) % 5);
            let count = if node < 4 { 2 } else { 1 };
            assert_eq!(known.len(), count, "seed {seed}: {known:?}");
        }
        assert_eq!(versions(&world, 0), BTreeSet::from([next.clone()]));
        world.run(secs(20)).unwrap();
        world.finish().unwrap();
        assert_eq!(missed.get(), 0, "seed {seed}");
    }
}
