//! The entries of one owner, and the same as cores read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{Change, Entry, EntryId, Key};
use super::limits::{BYTES_OF_NODE_MAX, ENTRIES_OF_NODE_MAX};

/// Into how many parts the entries of an owner are sorted by their keys.
const SHELVES: u64 = 256;

/// The entries of an owner at a version. A change to one leaves what was shared before as it is,
/// and copies only the part that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shelves(BTreeMap<u64, Arc<Vec<Arc<Entry>>>>);

impl Shelves {
    /// The entries of that key, by number.
    pub(super) fn find<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Arc<Entry>> {
        let shelf = self.0.get(&(key.hash() % SHELVES)).into_iter();
        shelf.flat_map(move |it| it.iter().filter(move |entry| entry.key == *key))
    }

    /// All entries, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.values().flat_map(|it| it.iter())
    }

    fn put(&mut self, entry: &Arc<Entry>) {
        let shelf = self.0.entry(entry.key.hash() % SHELVES).or_default();
        let shelf = Arc::make_mut(shelf);
        match shelf.binary_search_by_key(&entry.id, |it| it.id) {
            Ok(place) => shelf[place] = Arc::clone(entry),
            Err(place) => shelf.insert(place, Arc::clone(entry)),
        }
    }

    fn remove(&mut self, entry: &Entry) {
        let number = entry.key.hash() % SHELVES;
        if let Some(shelf) = self.0.get_mut(&number) {
            let shelf = Arc::make_mut(shelf);
            shelf.retain(|it| it.id != entry.id);
            if shelf.is_empty() {
                self.0.remove(&number);
            }
        }
    }
}

/// An owner's table has no room for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The entries of one owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// How many changes led to it.
    pub(super) counter: u64,
    entries: BTreeMap<EntryId, Arc<Entry>>,
    bytes: usize,
    shelves: Arc<Shelves>,
}

impl Table {
    /// Puts an entry into it, in the place of the one that has its number, which it returns.
    pub(super) fn put(&mut self, entry: Arc<Entry>) -> Result<Option<Arc<Entry>>, Full> {
        let before = self.entries.get(&entry.id).cloned();
        let freed = before.as_ref().map_or(0, |it| it.bytes());
        let bytes = self.bytes - freed + entry.bytes();
        let is_another = before.is_none();
        if bytes > BYTES_OF_NODE_MAX || is_another && self.entries.len() >= ENTRIES_OF_NODE_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        let shelves = Arc::make_mut(&mut self.shelves);
        if let Some(before) = &before {
            shelves.remove(before);
        }
        shelves.put(&entry);
        self.entries.insert(entry.id, entry);
        Ok(before)
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: EntryId) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&id)?;
        self.bytes -= entry.bytes();
        Arc::make_mut(&mut self.shelves).remove(&entry);
        Some(entry)
    }

    /// Does what its owner did. What was there before it, and what is now, if anything.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Step, Full> {
        let step = match change {
            Change::Put(entry) => {
                let before = self.put(Arc::clone(entry))?;
                let after = Some(Arc::clone(entry));
                Step { before, after }
            }
            Change::Remove(id) => {
                let before = self.remove(*id);
                let after = None;
                Step { before, after }
            }
        };
        self.counter += 1;
        Ok(step)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    /// The entries with larger numbers, in their order.
    pub(super) fn after(&self, id: EntryId) -> impl Iterator<Item = &Arc<Entry>> {
        let behind = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
        self.entries.range(behind).map(|(_, entry)| entry)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.entries.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn shelves(&self) -> &Arc<Shelves> {
        &self.shelves
    }
}

/// What one change did: the entry before it and the one after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) before: Option<Arc<Entry>>,
    pub(super) after: Option<Arc<Entry>>,
}

/// What leads from one table to the other.
pub(super) fn difference(before: &Table, after: &Table) -> Vec<Step> {
    let gone = before.entries.values();
    let gone = gone.filter(|it| !after.entries.contains_key(&it.id));
    let gone = gone.map(|it| (Some(Arc::clone(it)), None));
    let come = after.entries.values().filter_map(|it| {
        let known = before.entries.get(&it.id);
        (known != Some(it)).then(|| (known.cloned(), Some(Arc::clone(it))))
    });
    let steps = gone.chain(come);
    steps
        .map(|(before, after)| Step { before, after })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::entry;

    #[test]
    fn one_over_the_entries_of_node_max_finds_no_room_until_one_is_gone() {
        let mut table = Table::default();
        for id in 1..=ENTRIES_OF_NODE_MAX as u64 {
            assert_eq!(table.put(entry(id, "k")), Ok(None));
        }
        let over = entry(ENTRIES_OF_NODE_MAX as u64 + 1, "k");
        assert_eq!(table.put(Arc::clone(&over)), Err(Full));
        assert!(table.put(entry(1, "l")).is_ok(), "in the place of another");
        assert!(table.remove(EntryId(1)).is_some());
        assert_eq!(table.put(over), Ok(None));
    }

    #[test]
    fn one_over_the_bytes_of_node_max_finds_no_room_and_what_goes_frees_its_own() {
        let mut table = Table::default();
        let name = "n".repeat(255);
        let mut id = 0;
        while {
            id += 1;
            table.put(entry(id, &name)).is_ok()
        } {}
        assert!(table.bytes() <= BYTES_OF_NODE_MAX);
        assert!(table.bytes() + entry(id, &name).bytes() > BYTES_OF_NODE_MAX);
        assert!(table.len() < ENTRIES_OF_NODE_MAX, "bytes were the bound");
        (1..id).for_each(|id| assert!(table.remove(EntryId(id)).is_some()));
        assert_eq!((table.bytes(), table.len()), (0, 0));
        assert_eq!(table.shelves().iter().count(), 0);
    }

    #[test]
    fn what_was_shared_stays_as_it_was() {
        let mut table = Table::default();
        assert_eq!(table.put(entry(1, "a")), Ok(None));
        let shared = Arc::clone(table.shelves());
        assert_eq!(table.put(entry(2, "a")), Ok(None));
        table.remove(EntryId(1));
        let find = |it: &Shelves| {
            let key = &entry(0, "a").key;
            it.find(key).map(|it| it.id.0).collect::<Vec<_>>()
        };
        assert_eq!((find(&shared), find(table.shelves())), (vec![1], vec![2]));
    }
}
