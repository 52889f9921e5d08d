//! Connections by slot and generation.

use crate::contract::ConnectionId;

/// Most slots a table can have: a tag keeps 24 bits for the slot.
pub(crate) const SLOTS_MAX: u32 = 1 << 24;

/// A bounded table whose ids are never valid twice.
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    capacity: u32,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(crate) fn with_capacity(capacity: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            capacity: capacity.min(SLOTS_MAX),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.capacity as usize
    }

    /// The id of the new value, or the value back when the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Result<ConnectionId, T> {
        if self.is_full() {
            return Err(value);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        place.value = Some(value);
        Ok(ConnectionId {
            slot,
            generation: place.generation,
        })
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.get_mut(id)?;
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        slot.value.take()
    }

    /// The ids of all values.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        let taken = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some());
        taken
            .map(|(index, slot)| ConnectionId {
                slot: index as u32,
                generation: slot.generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_of_a_reused_slot_finds_nothing() {
        let mut table = Table::with_capacity(1);
        let old = table.insert('a').unwrap();
        assert_eq!(table.insert('b'), Err('b'));
        assert_eq!(table.remove(old), Some('a'));
        let new = table.insert('c').unwrap();
        assert_eq!((old.slot, new.slot), (0, 0));
        assert_eq!(table.get_mut(old), None);
        assert_eq!(table.remove(old), None);
        assert_eq!(table.get_mut(new), Some(&mut 'c'));
    }
}
