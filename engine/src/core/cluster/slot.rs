//! The latest topology, from the control core to the others.
//!
//! It does not go by the mesh: each core reads the latest one when it learns that there is one, and
//! those between are nobody's loss.

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

impl Core {
    /// The cluster, as this core knows it; `None` on a node that takes no part in any.
    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        self.cluster.topology.borrow().clone()
    }

    /// Wakes a task when this core knows of another topology.
    pub(crate) fn wake_with_topology(&self, waker: &Waker) {
        let mut waiting = self.cluster.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
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
        let stamp = self.shared.topology.stamp.load(Ordering::Acquire);
        if self.cluster.stamp.replace(stamp) == stamp {
            return false;
        }
        *self.cluster.topology.borrow_mut() = self.shared.topology.latest().topology;
        self.wake_topology_readers();
        true
    }

    /// Has whoever waits for another topology woken with the end of the turn.
    pub(super) fn wake_topology_readers(&self) {
        let waiting = self.cluster.waiting.take();
        self.event_readers.borrow_mut().extend(waiting);
    }
}
