//! Random members do random things in a network that loses, repeats and reorders what it carries.

use std::time::Duration;

use super::world::World;
use crate::registry::EntryId;
use crate::registry::limits::{LOG_BYTES_MAX, LOG_CHANGES_MAX};
use crate::registry::testing::registration;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "a name that is longer than the others"];

/// A world in which things go wrong.
struct Model {
    world: World,
    next: u64,
    /// Whether each second member lives in another data centre.
    has_two: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let has_two = seed % 5 == 4;
        let members = if has_two { 13 } else { 3 + seed % 4 };
        let numbers: Vec<u64> = (1..=members).collect();
        let far = numbers.iter().filter(|it| has_two && it.is_multiple_of(2));
        let homes: Vec<_> = far.map(|it| (*it, "east")).collect();
        let mut world = World::new_in(seed, &numbers, &homes);
        world.loss = 10;
        world.repeats = 5;
        world.travel = 40_000;
        Self {
            world,
            next: members + 1,
            has_two,
        }
    }

    fn any(&mut self) -> u64 {
        let numbers: Vec<u64> = self.world.nodes.keys().copied().collect();
        numbers[self.world.random.below(numbers.len())]
    }

    fn act(&mut self) {
        let number = self.any();
        match self.world.random.below(100) {
            0..50 => {
                let name = NAMES[self.world.random.below(NAMES.len())];
                let registration = registration(name, self.world.random.chance(10));
                let world = &mut self.world;
                let _ = world.with(number, |it, now, out| it.register(now, registration, out));
            }
            50..80 => {
                if let Some(id) = self.any_entry(number) {
                    self.world.deregister(number, id);
                }
            }
            80..92 => {
                if let Some(id) = self.any_entry(number) {
                    let weight = self.world.random.below(9) as u32;
                    let world = &mut self.world;
                    world.with(number, |it, now, out| it.weigh(now, id, weight, out));
                }
            }
            92..95 => {
                let other = self.any();
                if other != number {
                    self.world.part(number, other);
                    self.world.show_all();
                }
            }
            95..98 => {
                self.world.cut.clear();
                self.world.show_all();
            }
            _ => self.restart(number),
        }
    }

    fn any_entry(&mut self, number: u64) -> Option<EntryId> {
        let (_, content) = self.world.seen(number, number)?;
        let place = self.world.random.below(content.len());
        content.into_keys().nth(place)
    }

    /// Another process in its place, which the others hear of one by one.
    fn restart(&mut self, number: u64) {
        self.world.stop(number);
        if self.has_two && number.is_multiple_of(2) {
            // The numbers of the even ones go on even, so that each data centre keeps its size.
            self.next += self.next % 2;
            self.world.homes.insert(self.next, "east");
        } else if self.has_two {
            self.next += 1 - self.next % 2;
        }
        self.world.start(self.next);
        self.next += 1;
        let numbers: Vec<u64> = self.world.nodes.keys().copied().collect();
        for it in numbers {
            self.world.run_for(Duration::from_millis(3));
            self.world.show(it);
        }
    }

    fn heal(&mut self) {
        self.world.cut.clear();
        self.world.show_all();
        self.world.loss = 0;
        self.world.run_for(Duration::from_secs(12));
        self.world.assert_equal();
    }
}

#[test]
fn whatever_happens_all_tables_are_those_of_their_owners_when_it_is_quiet() {
    for seed in 0..60 {
        let mut model = Model::new(seed);
        for _ in 0..3 {
            for _ in 0..150 {
                model.act();
                let pause = model.world.random.below(30_000) as u64;
                model.world.run_for(Duration::from_micros(pause));
            }
            model.heal();
            model.world.loss = 10;
        }
        for it in model.world.nodes.values() {
            let counters = it.registry.counters();
            assert_eq!((counters.over, counters.misdirected), (0, 0), "{seed}");
        }
    }
}

#[test]
fn ten_thousand_changes_leave_no_more_behind_than_what_is_there() {
    let mut world = World::new(7, &[1, 2, 3]);
    world.loss = 5;
    let mut ids = Vec::new();
    for round in 0..10_000_u64 {
        ids.push(world.register(1, NAMES[(round % 5) as usize]));
        if ids.len() > 20 {
            let id = ids.remove(world.random.below(ids.len()));
            world.deregister(1, id);
        }
        world.run_for(Duration::from_millis(round % 4));
        let (changes, bytes, touched) = world.nodes[&1].registry.owned.log_size();
        assert!(changes <= LOG_CHANGES_MAX && bytes <= LOG_BYTES_MAX && touched <= 64);
    }
    world.loss = 0;
    world.run_for(Duration::from_secs(12));
    world.assert_equal();
    let (entries, _) = world.nodes[&2].registry.remotes[&crate::membership::testing::uid(1)].size();
    assert_eq!(entries, 20);
    assert!(world.nodes[&2].registry.asked.is_empty());
}
