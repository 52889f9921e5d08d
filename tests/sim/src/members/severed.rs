//! Invariant 7: a cluster never falls into two that both go on.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_proto::address::Uid;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// No two processes of a data centre that run have each removed the other because it was given up.
/// Each data centre decides for itself: two of different ones may both be given up by their own,
/// and hear of each other first.
#[derive(Debug, Default)]
pub struct Severed {
    given_up: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Severed {
    /// One process start has removed another that was given up.
    fn give_up(&mut self, observer: Uid, subject: Uid, runs: bool) -> Result<u64, String> {
        self.given_up.entry(observer).or_default().insert(subject);
        let others = self.given_up.get(&subject);
        match runs && others.is_some_and(|others| others.contains(&observer)) {
            true => Err(format!("{observer} and {subject} have given each other up")),
            false => Ok(1),
        }
    }
}

impl Invariant<Participant> for Severed {
    fn name(&self) -> &'static str {
        "severed"
    }

    fn observe_event(
        &mut self,
        world: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        let (
            Event::Removed {
                node: gone,
                previous,
            },
            Some(observer),
        ) = (&event.event, world.uid(node))
        else {
            return Ok(0);
        };
        if *previous != Status::Down {
            return Ok(0);
        }
        let place = |node| {
            let machine: Option<&Participant> = world.machine(node);
            machine.map(|it| it.control().topology().data_centre())
        };
        let mut running = world.running();
        let other = running.find(|other| world.uid(*other) == Some(gone.uid));
        let runs = other.is_some_and(|other| place(other) == place(node));
        self.give_up(observer, gone.uid, runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_run_and_gave_each_other_up_are_found() {
        let uid = |number| Uid::new(number).unwrap();
        let mut severed = Severed::default();
        assert_eq!(severed.give_up(uid(1), uid(2), true), Ok(1));
        assert_eq!(severed.give_up(uid(1), uid(3), true), Ok(1));
        assert_eq!(severed.give_up(uid(3), uid(1), false), Ok(1), "it is gone");
        assert!(severed.give_up(uid(2), uid(1), true).is_err());
    }
}
