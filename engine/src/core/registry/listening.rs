//! Who waits on a core for what is found by a key to change.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ringmesh_cluster::registry::{Difference, Key, Snapshot};

use super::super::Core;
use super::slot::Steps;

/// Those who wait, by key.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_key: BTreeMap<Key, Vec<Rc<Listener>>>,
}

/// Who waits on a core for another snapshot, whatever changes in it.
pub(crate) struct SnapshotWait {
    core: Rc<Core>,
    place: Rc<RefCell<Option<Waker>>>,
}

impl SnapshotWait {
    /// Wakes a task when the core reads another snapshot.
    pub(crate) fn wake(&mut self, waker: &Waker) {
        let former = self.place.replace(Some(waker.clone()));
        drop(former);
    }
}

impl Drop for SnapshotWait {
    fn drop(&mut self) {
        let mut all = self.core.registry.waiting.borrow_mut();
        all.retain(|it| !Rc::ptr_eq(it, &self.place));
    }
}

/// One who waits.
#[derive(Debug, Default)]
struct Listener {
    /// What it waits for may have changed since it looked.
    is_stale: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Listener {
    fn note(&self, woken: &mut Vec<Waker>) {
        self.is_stale.set(true);
        woken.extend(self.waker.take());
    }
}

impl Listeners {
    /// Notes whose keys have changed, and whom to wake.
    fn note(&self, steps: &Steps, woken: &mut Vec<Waker>) {
        if self.by_key.is_empty() {
            return;
        }
        let Steps::All(steps) = steps else {
            return self.note_all(woken);
        };
        for step in steps.iter().flat_map(|it| it.iter()) {
            let Difference::Entry { before, after, .. } = step else {
                return self.note_all(woken);
            };
            for entry in [before, after].into_iter().flatten() {
                let listeners = self.by_key.get(&entry.key).into_iter();
                listeners.flatten().for_each(|it| it.note(woken));
            }
        }
    }

    fn note_all(&self, woken: &mut Vec<Waker>) {
        self.by_key.values().flatten().for_each(|it| it.note(woken));
    }
}

/// Listens for changes to what is found by a key, until it is dropped.
pub(crate) struct Listening {
    core: Rc<Core>,
    key: Key,
    listener: Rc<Listener>,
}

impl Listening {
    /// It has not looked yet.
    pub(crate) fn new(core: &Rc<Core>, key: Key) -> Self {
        let listener = Rc::new(Listener::default());
        listener.is_stale.set(true);
        let mut all = core.registry.listeners.borrow_mut();
        let of_key = all.by_key.entry(key.clone()).or_default();
        of_key.push(Rc::clone(&listener));
        drop(all);
        let core = Rc::clone(core);
        Self {
            core,
            key,
            listener,
        }
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// What is announced, if what is found by the key may have changed since the last call; else
    /// the task is woken when it may have.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Arc<Snapshot>> {
        if self.listener.is_stale.replace(false) {
            return Some(self.core.registry_snapshot());
        }
        let former = self.listener.waker.replace(Some(waker.clone()));
        drop(former);
        None
    }

    /// The same without waiting.
    pub(crate) fn take(&self) -> Option<Arc<Snapshot>> {
        let is_stale = self.listener.is_stale.replace(false);
        is_stale.then(|| self.core.registry_snapshot())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut all = self.core.registry.listeners.borrow_mut();
        if let Some(of_key) = all.by_key.get_mut(&self.key) {
            of_key.retain(|it| !Rc::ptr_eq(it, &self.listener));
            if of_key.is_empty() {
                all.by_key.remove(&self.key);
            }
        }
    }
}

impl Core {
    /// What all nodes announce, as this core knows.
    pub(crate) fn registry_snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.registry.snapshot.borrow())
    }

    /// A place among those that wait for another snapshot.
    pub(crate) fn wait_for_topics(self: &Rc<Self>) -> SnapshotWait {
        let place = Rc::default();
        let mut all = self.registry.waiting.borrow_mut();
        all.push(Rc::clone(&place));
        drop(all);
        let core = Rc::clone(self);
        SnapshotWait { core, place }
    }

    /// Reads the latest snapshot, once a turn. Says whether it is another one.
    pub(super) fn read_registry(&self) -> bool {
        let slot = &self.shared.registry;
        let known = self.registry.snapshot.borrow().version();
        if slot.version() == known {
            return false;
        }
        let (latest, steps) = slot.read(known);
        let version = latest.version();
        let former = self.registry.snapshot.replace(latest);
        let listeners = self.registry.listeners.borrow();
        let mut woken = self.event_readers.borrow_mut();
        let waiting = self.registry.waiting.borrow();
        woken.extend(waiting.iter().filter_map(|it| it.take()));
        if former.is_settled() == self.registry_snapshot().is_settled() {
            listeners.note(&steps, &mut woken);
        } else {
            listeners.note_all(&mut woken);
        }
        self.follow_topics(slot.topics(), &mut woken);
        if slot.note_read(self.id, version) {
            self.all_read_registry();
        }
        true
    }
}
