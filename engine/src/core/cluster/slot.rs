//! The latest topology, from the control core to the others.
//!
//! It does not go by the mesh: each core reads the latest one when it learns that there is one, and
//! those between are nobody's loss.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use ringmesh_cluster::membership::topology::Topology;

use super::super::Core;

/// The latest topology of a node, if it takes part in a cluster.
#[derive(Debug, Default)]
pub(crate) struct TopologySlot {
    /// Raised with each one.
    stamp: AtomicU64,
    latest: Mutex<Latest>,
}

/// A topology, and the number of the last event that it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    pub(crate) topology: Option<Arc<Topology>>,
    pub(crate) events: u64,
}

impl TopologySlot {
    /// The latest one. On any thread.
    pub(crate) fn latest(&self) -> Latest {
        self.lock().clone()
    }

    /// How many there were.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    fn put(&self, topology: Option<Arc<Topology>>, last_event: Option<u64>) {
        {
            let mut latest = self.lock();
            latest.topology = topology.or_else(|| latest.topology.take());
            latest.events = last_event.unwrap_or(latest.events);
        }
        self.stamp.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits on a core for another topology: each that does holds a [`TopologyWait`].
#[derive(Debug, Default)]
pub(super) struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    last: u64,
}

impl Waiting {
    /// Has somebody woken, and gives back the waker it had before. Without a number it gets one.
    fn put(&mut self, number: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let last = &mut self.last;
        let number = number.get_or_insert_with(|| {
            *last += 1;
            *last
        });
        self.wakers.insert(*number, waker)
    }

    fn take(&mut self, number: Option<u64>) -> Option<Waker> {
        self.wakers.remove(&number?)
    }

    fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.wakers).into_values()
    }
}

/// The place of a future among those that wait for another topology. It is given up with the
/// future.
pub(crate) struct TopologyWait {
    core: Rc<Core>,
    number: Option<u64>,
}

impl TopologyWait {
    pub(crate) fn new(core: &Rc<Core>) -> Self {
        let (core, number) = (Rc::clone(core), None);
        Self { core, number }
    }

    /// Wakes a task when the core knows of another topology.
    pub(crate) fn wake(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let former = {
            let mut waiting = self.core.cluster.waiting.borrow_mut();
            waiting.put(&mut self.number, waker)
        };
        drop(former);
    }
}

impl Drop for TopologyWait {
    fn drop(&mut self) {
        let waker = { self.core.cluster.waiting.borrow_mut() }.take(self.number);
        drop(waker);
    }
}

impl Core {
    /// The cluster, as this core knows it; `None` on a node that takes no part in any.
    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        self.cluster.topology.borrow().clone()
    }

    /// Has all cores read the latest topology, this one now and the others in their next turn. It
    /// holds the events up to the last of them.
    pub(super) fn put_topology(&self, topology: Option<Arc<Topology>>, last_event: Option<u64>) {
        self.shared.topology.put(topology, last_event);
        self.read_topology();
        for core in self.cores().filter(|core| *core != self.id) {
            self.shared.ring(core);
        }
    }

    /// Reads the latest topology, once a turn. Says whether it is another one.
    pub(super) fn read_topology(&self) -> bool {
        let stamp = self.shared.topology.stamp();
        if self.cluster.stamp.replace(stamp) == stamp {
            return false;
        }
        *self.cluster.topology.borrow_mut() = self.shared.topology.latest().topology;
        self.wake_topology_readers();
        true
    }

    /// Has whoever waits for another topology woken with the end of the turn.
    pub(super) fn wake_topology_readers(&self) {
        let woken = self.cluster.waiting.borrow_mut().take_all();
        self.event_readers.borrow_mut().extend(woken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_has_one_place_and_leaves_nothing_behind() {
        let mut waiting = Waiting::default();
        let waker = || Waker::noop().clone();
        let (mut one, mut other) = (None, None);
        assert!(waiting.put(&mut one, waker()).is_none());
        assert!(waiting.put(&mut other, waker()).is_none());
        assert!(waiting.put(&mut one, waker()).is_some(), "its former one");
        assert_eq!(waiting.wakers.len(), 2);
        assert!(waiting.take(one).is_some() && waiting.take(one).is_none());
        assert_eq!(waiting.take_all().count(), 1);
        assert!(waiting.take(other).is_none() && waiting.take(None).is_none());
        assert!(waiting.put(&mut one, waker()).is_none());
        assert_eq!(waiting.wakers.len(), 1);
    }
}
