//! The actors of one core, by slot and by name.

use std::collections::HashMap;
use std::rc::Rc;

use super::ActorCell;
use crate::error::SpawnError;

/// The actors of one core. A generation is never used twice within a process, so an old ref never
/// reaches a new actor in its slot.
#[derive(Debug)]
pub(crate) struct ActorTable {
    slots: Vec<Option<Rc<ActorCell>>>,
    free: Vec<u32>,
    names: HashMap<Box<str>, u32>,
    next_generation: u64,
    actors_max: usize,
}

/// A slot and a generation promised to one actor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u64,
}

impl ActorTable {
    pub(crate) fn new(actors_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            next_generation: 0,
            actors_max,
        }
    }

    /// Checks that an actor of this name could be spawned, and reserves its place.
    pub(crate) fn reserve(&mut self, name: Option<&str>) -> Result<Place, SpawnError> {
        if let Some(name) = name
            && self.names.contains_key(name)
        {
            return Err(SpawnError::NameTaken {
                name: name.to_owned(),
            });
        }
        if self.slots.len() - self.free.len() >= self.actors_max {
            return Err(SpawnError::TooManyActors {
                limit: self.actors_max,
            });
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("actors_max is below 2^32")
        });
        let generation = self.next_generation;
        self.next_generation += 1;
        Ok(Place { slot, generation })
    }

    /// Puts an actor into the place that was reserved for it.
    pub(crate) fn insert(&mut self, cell: Rc<ActorCell>) {
        if let Some(name) = &cell.name {
            self.names.insert(name.clone(), cell.slot);
        }
        let slot = cell.slot as usize;
        self.slots[slot] = Some(cell);
    }

    /// The actor at a slot, if it is still the one of that generation.
    pub(crate) fn at(&self, slot: u32, generation: u64) -> Option<&Rc<ActorCell>> {
        let cell = self.slots.get(slot as usize)?.as_ref()?;
        (cell.generation == generation).then_some(cell)
    }

    /// The actor of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Rc<ActorCell>> {
        let slot = *self.names.get(name)?;
        self.slots[slot as usize].as_ref()
    }

    /// Forgets an actor; its name is free at once, its slot for actors of other generations.
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
            if let Some(name) = &cell.name {
                self.names.remove(name);
            }
        }
    }

    /// Takes every actor out, to be stopped.
    pub(crate) fn drain(&mut self) -> Vec<Rc<ActorCell>> {
        self.names.clear();
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
        let mut table = ActorTable::new(2);
        let first = table.reserve(None).unwrap();
        let second = table.reserve(Some("b")).unwrap();
        assert_ne!(first.generation, second.generation);
        assert!(matches!(
            table.reserve(None),
            Err(SpawnError::TooManyActors { limit: 2 })
        ));
    }
}
