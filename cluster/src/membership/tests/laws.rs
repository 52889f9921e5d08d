//! What holds in every view of every node, whatever happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_proto::address::Uid;

use super::world::{World, at};
use crate::membership::clock::Relation;
use crate::membership::command::Command;
use crate::membership::member::UpNumber;
use crate::membership::status::Status;
use crate::membership::testing::uid;

/// What was seen of members so far, by who saw it.
#[derive(Default)]
struct Witness {
    ranks: BTreeMap<(u64, Uid), Status>,
    numbers: BTreeMap<Uid, UpNumber>,
    clusters: BTreeSet<u64>,
    converged: u64,
}

impl Witness {
    fn look(&mut self, world: &World) {
        let active: Vec<u64> = world.active();
        for number in &active {
            self.look_at(world, *number);
            self.compare(world, *number, &active);
        }
    }

    fn look_at(&mut self, world: &World, number: u64) {
        let view = world.view(number);
        self.clusters.insert(view.cluster().0);
        let mut given = BTreeSet::new();
        for member in view.members() {
            let rank = self.ranks.entry((number, member.uid()));
            let rank = rank.or_insert_with(|| member.status());
            assert!(*rank <= member.status(), "{number}: {member:?} was {rank}");
            *rank = member.status();
            if member.up_number().is_given() {
                let known = self.numbers.entry(member.uid());
                let known = *known.or_insert_with(|| member.up_number());
                assert_eq!(known, member.up_number(), "{number}: {member:?}");
                assert!(
                    given.insert(known),
                    "{number}: {member:?} has another's number"
                );
            }
        }
        for (uid, _) in view.tombstones() {
            self.ranks.insert((number, uid), Status::Removed);
        }
        let own = uid(number);
        for (observer, row) in view.reachability().rows() {
            let observer = observer.as_u64();
            if world.active().contains(&observer) {
                let truth = world.view(observer).reachability();
                let latest = truth.row(uid(observer)).map_or(0, |row| row.version);
                assert!(
                    row.version <= latest,
                    "{own} knows more of {observer} than itself"
                );
            }
        }
    }

    /// Whoever is said to have seen a version has, and all that a converged view counts.
    fn compare(&mut self, world: &World, number: u64, active: &[u64]) {
        let (view, topology) = (world.view(number), world.nodes[&number].control.topology());
        let holds = |other: &u64| {
            let relation = world.view(*other).relation(view);
            matches!(relation, Relation::Same | Relation::After)
        };
        for other in active {
            let is_seen = view.is_seen_by(uid(*other));
            assert!(
                !is_seen || holds(other),
                "{number} says {other} has seen {view:?}"
            );
        }
        let why = world.nodes[&number]
            .control
            .membership()
            .why_not_converged();
        if !why.expect("a member").is_converged() {
            return;
        }
        self.converged += 1;
        for other in active.iter().filter(|it| view.member(uid(**it)).is_some()) {
            let theirs = world.nodes[other].control.topology();
            if world.view(*other).relation(view) == Relation::Same {
                let leader = |it: &crate::membership::Topology| it.leader().map(|it| it.uid());
                assert_eq!(leader(topology), leader(theirs), "{number} and {other}");
            }
        }
        let mut addresses = BTreeSet::new();
        for member in view.members().filter(|it| it.status() < Status::Leaving) {
            let is_new = addresses.insert(member.address().clone());
            assert!(is_new, "{number}: two at {}", member.address());
        }
    }
}

fn disturb(world: &mut World, next: &mut u64) {
    let active = world.active();
    let some = |world: &mut World| {
        let place = world.random.below(active.len());
        active.get(place).copied()
    };
    let (Some(one), Some(other)) = (some(world), some(world)) else {
        return;
    };
    match world.random.below(9) {
        0 | 1 => {
            let group = world.random.pick(vec![1, 2, 3, 4, 5, 6], 2);
            let others: Vec<u64> = (1..=6).filter(|it| !group.contains(it)).collect();
            world.part(&group, &others);
        }
        2 | 3 => world.cut.clear(),
        4 if active.len() > 3 => world.kill(one),
        5 => {
            // Where nobody is any more, or nobody ever was.
            let ports: BTreeSet<u64> = world.running().iter().map(|it| it % 100).collect();
            if let Some(port) = (1..=6).find(|port| !ports.contains(port)) {
                *next += 100;
                world.start(*next + port);
                world.join(*next + port, &[at(other)]);
            }
        }
        6 if active.len() > 4 => {
            let leave = Command::Leave { address: None };
            world.command(one, leave).ok();
        }
        7 => {
            let node = world.nodes.get_mut(&one).expect("a node");
            node.is_paused = !node.is_paused;
        }
        8 => world.loss = 10 - world.loss.min(10),
        _ => {}
    }
}

#[test]
fn whatever_happens_views_keep_to_the_laws_and_become_one() {
    let (mut converged, mut alive, mut removed) = (0, 0, 0);
    for seed in 0..24 {
        let mut world = World::new(seed);
        world.resolves = true;
        world.form(&[1, 2, 3, 4, 5]);
        let mut witness = Witness::default();
        let mut next = 0;
        for step in 0..600 {
            if step % 12 == 0 {
                disturb(&mut world, &mut next);
            }
            world.run_for(Duration::from_millis(100));
            witness.look(&world);
        }
        world.cut.clear();
        world.loss = 0;
        world.nodes.values_mut().for_each(|it| it.is_paused = false);
        for _ in 0..600 {
            world.run_for(Duration::from_millis(100));
            witness.look(&world);
        }
        assert_eq!(witness.clusters.len(), 1, "seed {seed}");
        let active = world.active();
        for number in &active {
            let why = world.nodes[number].control.membership().why_not_converged();
            let is_converged = why.expect("a member").is_converged();
            assert!(is_converged, "seed {seed}, {number}: {}", world.describe());
            let members = world.view(*number).members().map(|it| it.uid().as_u64());
            assert!(
                members.eq(active.iter().copied()),
                "seed {seed}: {}",
                world.describe()
            );
        }
        converged += witness.converged;
        alive += usize::from(!active.is_empty());
        let is_removed = |it: &&Status| **it == Status::Removed;
        removed += witness.ranks.values().filter(is_removed).count();
    }
    println!("{converged} converged views, {removed} removals known, {alive} clusters lived on");
    assert!(converged > 10_000 && removed > 200 && alive >= 6);
}
