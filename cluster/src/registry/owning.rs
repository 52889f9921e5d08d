//! What this node announces: its own entries, and who has confirmed them.

use std::sync::Arc;

use ringmesh_proto::time::Instant;

use super::entry::{Entry, EntryId};
use super::{RegisterError, Registration, Registry, RegistryOutput};

impl Registry {
    /// Announces an entry. Its number is its own for as long as the process runs.
    ///
    /// # Errors
    /// [`RegisterError`]: there is no room for it, or this node leaves.
    pub fn register(
        &mut self,
        now: Instant,
        registration: Registration,
        out: &mut Vec<RegistryOutput>,
    ) -> Result<EntryId, RegisterError> {
        if self.is_leaving {
            return Err(RegisterError::Leaving);
        }
        let Registration {
            key,
            place,
            weight,
            is_acknowledged,
        } = registration;
        if is_acknowledged && self.acknowledging.is_full() {
            return Err(RegisterError::Acknowledgements);
        }
        let id = self.owned.next_id();
        let entry = Arc::new(Entry {
            id,
            key,
            place,
            weight,
        });
        self.owned.put(entry).map_err(|_| RegisterError::Full)?;
        if is_acknowledged {
            let reachable = self.remotes.values().filter(|it| it.is_within_reach());
            let others = reachable.map(|it| it.node.clone());
            let all = others.chain([self.own.clone()]).collect();
            let deadline = now + self.settings.acknowledge_timeout;
            self.acknowledging.begin(id, deadline, all);
        }
        self.touch(now, out);
        Ok(id)
    }

    /// Changes how many an entry stands for. Says whether it is there.
    pub fn weigh(
        &mut self,
        now: Instant,
        id: EntryId,
        weight: u32,
        out: &mut Vec<RegistryOutput>,
    ) -> bool {
        let Some(known) = self.owned.get(id) else {
            return false;
        };
        let entry = Entry {
            weight,
            ..Entry::clone(known)
        };
        // It takes the place of one that is as long.
        let is_done = self.owned.put(Arc::new(entry)).is_ok();
        self.touch(now, out);
        is_done
    }

    /// Takes an entry back. Says whether it was there.
    pub fn deregister(&mut self, now: Instant, id: EntryId, out: &mut Vec<RegistryOutput>) -> bool {
        let was_there = self.owned.remove(id);
        self.acknowledging.handle_withdrawn(now, id);
        self.touch(now, out);
        was_there
    }
}
