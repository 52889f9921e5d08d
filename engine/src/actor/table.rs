//! The actors of one core, by slot.

use std::rc::Rc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::CORES_MAX;

use super::ActorCell;
use crate::error::SpawnError;

/// The actors of one core. A generation is never used twice within a process, on whatever core, so
/// an old ref never reaches a new actor in its slot: its uppermost bit says that the actor is for
/// [large messages](crate::Actor::LARGE), and the 15 below are the core's number.
#[derive(Debug)]
pub(crate) struct ActorTable {
    slots: Vec<Option<Rc<ActorCell>>>,
    free: Vec<u32>,
    next_generation: u64,
    actors_max: usize,
}

/// Where the number of the core stands in a generation.
const CORE_SHIFT: u32 = 48;

/// The bit of a generation whose actor is for large messages.
const LARGE: u64 = 1 << 63;

const _: () = assert!((CORES_MAX as u64) << CORE_SHIFT < LARGE);

/// A slot and a generation promised to one actor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u64,
}

impl ActorTable {
    /// The core where a generation was given.
    pub(crate) fn core_of(generation: u64) -> CoreId {
        CoreId(((generation & !LARGE) >> CORE_SHIFT) as u16)
    }

    /// Whether all that goes to the actor of that generation takes the large lane.
    #[inline]
    pub(crate) fn is_large(generation: u64) -> bool {
        generation & LARGE != 0
    }

    /// The table of core number `core`.
    pub(crate) fn new(core: CoreId, actors_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            next_generation: u64::from(core.0) << CORE_SHIFT,
            actors_max,
        }
    }

    /// Reserves a place for an actor.
    pub(crate) fn reserve(&mut self, large: bool) -> Result<Place, SpawnError> {
        if self.slots.len() - self.free.len() >= self.actors_max {
            return Err(SpawnError::TooManyActors {
                limit: self.actors_max,
            });
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("actors_max is below 2^32")
        });
        let generation = self.next_generation | if large { LARGE } else { 0 };
        self.next_generation += 1;
        Ok(Place { slot, generation })
    }

    /// Gives a place back that no actor was put into.
    pub(crate) fn give_back(&mut self, place: Place) {
        self.free.push(place.slot);
    }

    /// Puts an actor into the place that was reserved for it.
    pub(crate) fn insert(&mut self, cell: Rc<ActorCell>) {
        let slot = cell.slot as usize;
        self.slots[slot] = Some(cell);
    }

    /// The actor at a slot, if it is still the one of that generation.
    pub(crate) fn at(&self, slot: u32, generation: u64) -> Option<&Rc<ActorCell>> {
        let cell = self.slots.get(slot as usize)?.as_ref()?;
        (cell.generation == generation).then_some(cell)
    }

    /// Forgets an actor; its slot is free for actors of other generations.
    pub(crate) fn remove(&mut self, cell: &ActorCell) {
        let Some(slot) = self.slots.get_mut(cell.slot as usize) else {
            return;
        };
        if slot
            .as_ref()
            .is_some_and(|held| held.generation == cell.generation)
        {
            *slot = None;
            self.free.push(cell.slot);
        }
    }

    /// The number of a generation among those of its process.
    pub(crate) fn number_of(generation: u64) -> u64 {
        generation & !LARGE
    }

    /// All actors, in the order of their slots.
    pub(crate) fn all(&self) -> Vec<Rc<ActorCell>> {
        self.slots.iter().flatten().cloned().collect()
    }

    /// Takes every actor out, to be stopped.
    pub(crate) fn drain(&mut self) -> Vec<Rc<ActorCell>> {
        self.free.clear();
        self.slots.drain(..).flatten().collect()
    }

    /// Actors alive.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_limit_is_refused_and_generations_are_never_reused() {
        let mut table = ActorTable::new(CoreId(1), 2);
        let first = table.reserve(false).unwrap();
        assert_eq!(ActorTable::core_of(first.generation), CoreId(1));
        let second = table.reserve(true).unwrap();
        assert_eq!(ActorTable::core_of(second.generation), CoreId(1));
        let large = [first, second].map(|place| ActorTable::is_large(place.generation));
        assert_eq!(large, [false, true]);
        assert_ne!(first.generation, second.generation);
        assert!(matches!(
            table.reserve(false),
            Err(SpawnError::TooManyActors { limit: 2 })
        ));
    }
}
