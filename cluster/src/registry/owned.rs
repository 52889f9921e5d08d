//! This node's own table, of which it is the only writer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::entry::{Change, Entry, EntryId};
use super::limits::{LOG_BYTES_MAX, LOG_CHANGES_MAX, PART_BYTES_MAX};
use super::table::{Full, Step, Table};

/// This node's own table: as it is to be, and as it was last told to the others.
#[derive(Debug, Default)]
pub(super) struct Owned {
    wanted: Table,
    told: Table,
    /// Where the two differ, or did.
    touched: BTreeSet<EntryId>,
    last_id: u64,
    /// The last changes that led to what was told.
    log: VecDeque<Change>,
    log_bytes: usize,
}

impl Owned {
    /// The number for the next entry: never given twice.
    pub(super) fn next_id(&self) -> EntryId {
        EntryId(self.last_id + 1)
    }

    /// Adds an entry with the next number, or changes one that is there.
    pub(super) fn put(&mut self, entry: Arc<Entry>) -> Result<(), Full> {
        let id = entry.id;
        self.wanted.put(entry)?;
        self.last_id = self.last_id.max(id.0);
        self.touched.insert(id);
        Ok(())
    }

    /// Removes an entry. Says whether it was there.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        let was_there = self.wanted.remove(id).is_some();
        if self.told.get(id).is_some() {
            self.touched.insert(id);
        } else {
            // Nobody ever heard of it.
            self.touched.remove(&id);
        }
        was_there
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        let ids: Vec<EntryId> = self.wanted.ids().collect();
        for id in ids {
            self.remove(id);
        }
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Arc<Entry>> {
        self.wanted.get(id)
    }

    /// Whether there is anything to tell.
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The table as it was last told.
    pub(super) fn told(&self) -> &Table {
        &self.told
    }

    /// Makes what is wanted what is told: each difference becomes a change with a version of its
    /// own. What came and went since the last time is none.
    pub(super) fn flush(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let change = match (self.wanted.get(id), self.told.get(id)) {
                (Some(wanted), told) if told != Some(wanted) => Change::Put(Arc::clone(wanted)),
                (None, Some(_)) => Change::Remove(id),
                _ => continue,
            };
            // What is told ends as what is wanted, which is within the bounds, and numbers only
            // rise: so in their order what goes comes before what takes its room.
            if let Ok(step) = self.told.apply(&change) {
                steps.push(step);
                self.keep(change);
            }
        }
        steps
    }

    fn keep(&mut self, change: Change) {
        self.log_bytes += change.bytes();
        self.log.push_back(change);
        while self.log.len() > LOG_CHANGES_MAX || self.log_bytes > LOG_BYTES_MAX {
            if let Some(oldest) = self.log.pop_front() {
                self.log_bytes -= oldest.bytes();
            }
        }
    }

    /// The first changes after that version, as many as fit a message; `None` if they are not kept
    /// any more.
    pub(super) fn changes_after(&self, version: u64) -> Option<Vec<Change>> {
        let missed = usize::try_from(self.told.counter.checked_sub(version)?).ok()?;
        let first = self.log.len().checked_sub(missed)?;
        let mut room = PART_BYTES_MAX;
        let fits = |change: &&Change| {
            let rest = room.checked_sub(change.bytes());
            room = rest.unwrap_or(0);
            rest.is_some()
        };
        Some(self.log.range(first..).take_while(fits).cloned().collect())
    }

    /// The first entries behind that number, as many as fit a message, and whether there are no
    /// more.
    pub(super) fn entries_after(&self, id: EntryId) -> (Vec<Arc<Entry>>, bool) {
        let mut room = PART_BYTES_MAX;
        let mut entries = Vec::new();
        for entry in self.told.after(id) {
            match room.checked_sub(entry.bytes()) {
                Some(rest) => room = rest,
                None => return (entries, false),
            }
            entries.push(Arc::clone(entry));
        }
        (entries, true)
    }

    #[cfg(test)]
    pub(super) fn log_size(&self) -> (usize, usize, usize) {
        (self.log.len(), self.log_bytes, self.touched.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::entry;

    fn add(owned: &mut Owned, name: &str) -> EntryId {
        let id = owned.next_id();
        owned.put(entry(id.0, name)).expect("room");
        id
    }

    #[test]
    fn what_comes_and_goes_within_a_batch_is_told_to_nobody() {
        let mut owned = Owned::default();
        let kept = add(&mut owned, "a");
        assert_eq!(owned.flush().len(), 1);
        for _ in 0..10_000 {
            let id = add(&mut owned, "b");
            assert!(id > kept && owned.remove(id) && !owned.remove(id));
        }
        assert_eq!(owned.log_size().2, 0, "nothing is remembered of them");
        assert_eq!((owned.flush().len(), owned.told().counter), (0, 1));
        assert!(owned.next_id().0 > 10_000, "no number is given twice");
    }

    #[test]
    fn one_over_the_log_changes_max_or_the_log_bytes_max_is_kept_no_longer() {
        for name in ["n", &"n".repeat(255)] {
            let mut owned = Owned::default();
            for _ in 0..LOG_CHANGES_MAX {
                let id = add(&mut owned, name);
                owned.flush();
                owned.remove(id);
                owned.flush();
            }
            let (changes, bytes, _) = owned.log_size();
            assert!(changes <= LOG_CHANGES_MAX && bytes <= LOG_BYTES_MAX);
            let latest = owned.told().counter;
            assert_eq!(latest, 2 * LOG_CHANGES_MAX as u64);
            let first = latest - changes as u64;
            assert!(owned.changes_after(first).is_some());
            assert_eq!(owned.changes_after(first - 1), None);
            assert_eq!(owned.changes_after(latest), Some(Vec::new()));
            assert_eq!(owned.changes_after(latest + 1), None, "from the future");
        }
    }

    #[test]
    fn one_over_the_part_bytes_max_goes_with_the_next_message() {
        let mut owned = Owned::default();
        let name = "n".repeat(255);
        (0..500).for_each(|_| {
            add(&mut owned, &name);
        });
        owned.flush();
        let (mut after, mut version) = (EntryId(0), 0);
        let mut parts = 0;
        loop {
            let (entries, is_last) = owned.entries_after(after);
            let bytes: usize = entries.iter().map(|it| it.bytes()).sum();
            assert!(bytes <= PART_BYTES_MAX && !entries.is_empty());
            after = entries.last().expect("one").id;
            parts += 1;
            if is_last {
                break;
            }
        }
        assert_eq!((after.0, parts), (500, 5));
        while version < 500 {
            let changes = owned.changes_after(version).expect("kept");
            let bytes: usize = changes.iter().map(Change::bytes).sum();
            assert!(bytes <= PART_BYTES_MAX && !changes.is_empty());
            version += changes.len() as u64;
        }
    }
}
