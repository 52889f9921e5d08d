//! The latest snapshot of the registry, from the control core to the others, and back which of them
//! read it.
//!
//! It does not go by the mesh: each core reads the latest one when it learns that there is one. The
//! steps between two snapshots are kept for a while, so that a core which reads every one of them,
//! or misses a few, looks at what has changed alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringmesh_cluster::pubsub::Topics;
use ringmesh_cluster::registry::{Difference, Publication, Snapshot};
use ringmesh_proto::address::CoreId;

/// The most differences that are kept for cores that have not read them.
const DIFFERENCES_KEPT_MAX: usize = 4096;

/// What the registry published last.
#[derive(Debug)]
pub(crate) struct RegistrySlot {
    /// The version of the latest snapshot.
    version: AtomicU64,
    latest: Mutex<Latest>,
    /// The version that each core reads.
    read: Box<[AtomicU64]>,
}

#[derive(Debug, Default)]
struct Latest {
    snapshot: Arc<Snapshot>,
    /// The same for pub-sub; `None` before the first.
    topics: Option<Arc<Topics>>,
    /// The steps to the last versions, each as one list, and how many are in all lists.
    steps: VecDeque<Arc<[Difference]>>,
    kept: usize,
}

/// What led from the snapshot that a core had to the latest one.
#[derive(Debug)]
pub(super) enum Steps {
    /// These, in order.
    All(Vec<Arc<[Difference]>>),
    /// More than are kept.
    Lost,
}

impl RegistrySlot {
    /// For a node of so many cores.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            version: AtomicU64::new(0),
            latest: Mutex::default(),
            read: (0..cores).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The version of the latest snapshot.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has all cores find another snapshot. Its version is the next one, or it is the first.
    pub(super) fn put(&self, publication: Publication, topics: Arc<Topics>) {
        let version = publication.snapshot.version();
        let dropped = {
            let mut latest = self.lock();
            let former = std::mem::replace(&mut latest.snapshot, publication.snapshot);
            let topics = latest.topics.replace(topics);
            (former, topics, latest.keep(publication.differences.into()))
        };
        self.version.store(version, Ordering::Release);
        // They may be large, and nobody is to wait for the lock meanwhile.
        drop(dropped);
    }

    /// The topics of the latest snapshot.
    pub(super) fn topics(&self) -> Option<Arc<Topics>> {
        self.lock().topics.clone()
    }

    /// The latest snapshot, and what led to it from that version.
    pub(super) fn read(&self, known: u64) -> (Arc<Snapshot>, Steps) {
        let latest = self.lock();
        let snapshot = Arc::clone(&latest.snapshot);
        let missed = usize::try_from(snapshot.version().saturating_sub(known));
        let first = missed
            .ok()
            .and_then(|it| latest.steps.len().checked_sub(it));
        let steps = first.map_or(Steps::Lost, |first| {
            Steps::All(latest.steps.range(first..).cloned().collect())
        });
        (snapshot, steps)
    }

    /// A core reads that version from now on. Says whether all cores read it, or a later one: of
    /// two that come last at the same time each is told so.
    pub(super) fn note_read(&self, core: CoreId, version: u64) -> bool {
        self.read[usize::from(core.0)].store(version, Ordering::SeqCst);
        self.read_by_all() >= version
    }

    /// The version that all cores read, or a later one.
    pub(super) fn read_by_all(&self) -> u64 {
        let versions = self.read.iter().map(|it| it.load(Ordering::SeqCst));
        versions.min().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    /// Gives back what is kept no more.
    fn keep(&mut self, steps: Arc<[Difference]>) -> Vec<Arc<[Difference]>> {
        self.kept += steps.len();
        self.steps.push_back(steps);
        let mut dropped = Vec::new();
        while self.kept > DIFFERENCES_KEPT_MAX || self.steps.len() > DIFFERENCES_KEPT_MAX {
            let Some(oldest) = self.steps.pop_front() else {
                break;
            };
            self.kept -= oldest.len();
            dropped.push(oldest);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::address::Uid;

    use super::*;

    fn steps(count: usize) -> Arc<[Difference]> {
        let owner = Uid::new(1).expect("not zero");
        let one = Difference::Standing {
            owner,
            standing: None,
        };
        (0..count).map(|_| one.clone()).collect()
    }

    #[test]
    fn one_over_the_differences_kept_max_drops_the_oldest_list() {
        let mut latest = Latest::default();
        assert!(latest.keep(steps(DIFFERENCES_KEPT_MAX - 1)).is_empty());
        assert!(latest.keep(steps(1)).is_empty());
        let dropped = latest.keep(steps(1));
        assert_eq!(dropped.len(), 1);
        assert_eq!((latest.kept, latest.steps.len()), (2, 2));
        // A list that is too long for itself is not kept either.
        assert_eq!(latest.keep(steps(DIFFERENCES_KEPT_MAX + 1)).len(), 3);
        assert_eq!((latest.kept, latest.steps.len()), (0, 0));
        for _ in 0..DIFFERENCES_KEPT_MAX {
            assert!(latest.keep(steps(0)).is_empty());
        }
        assert_eq!(latest.keep(steps(0)).len(), 1, "lists count too");
    }

    #[test]
    fn whoever_reads_last_is_told_that_all_do() {
        let slot = RegistrySlot::new(2);
        assert!(!slot.note_read(CoreId(0), 3));
        assert_eq!(slot.read_by_all(), 0);
        assert!(slot.note_read(CoreId(1), 2), "both read the second");
        assert_eq!(slot.read_by_all(), 2);
        assert!(slot.note_read(CoreId(1), 3));
    }
}
