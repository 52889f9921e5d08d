//! What the cores of a node share of its shutdown.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ringmesh_proto::address::CoreId;

use super::super::shared::{Shared, Stop};
use crate::shutdown::{PHASES_MAX, ShutdownError, ShutdownReason};

/// That the node shuts down, and how far it is.
///
/// A core that adds a task counts it and then looks how far the phases are; the control core says
/// that a phase begins and then looks which cores have tasks. All of that is in one order, so at
/// least one of the two sees the other: either the task is refused, or its core is asked for it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Why, and from which phase on.
    asked: OnceLock<(ShutdownReason, usize)>,
    /// So many phases have begun.
    begun: AtomicUsize,
    /// The phases that tasks wait for, a bit each, by core.
    tasks: Box<[AtomicU64]>,
    /// The phases are over, or were given up in one.
    ended: OnceLock<Result<(), ShutdownError>>,
}

impl Progress {
    pub(in super::super) fn new(cores: usize) -> Self {
        Self {
            asked: OnceLock::new(),
            begun: AtomicUsize::new(0),
            tasks: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            ended: OnceLock::new(),
        }
    }

    /// The phase of that number begins, or is passed over.
    pub(super) fn begin(&self, number: usize) {
        self.begun.store(number + 1, Ordering::SeqCst);
    }

    /// Whether it has.
    pub(super) fn has_begun(&self, number: usize) -> bool {
        self.begun.load(Ordering::SeqCst) > number
    }

    /// Tasks wait on a core for these phases.
    pub(super) fn set_tasks(&self, core: CoreId, phases: impl Iterator<Item = usize>) {
        let mask = phases.fold(0, |mask, phase| mask | 1 << phase);
        self.tasks[usize::from(core.0)].store(mask, Ordering::SeqCst);
    }

    /// The cores on which tasks wait for a phase.
    pub(super) fn cores(&self, phase: usize) -> impl Iterator<Item = CoreId> {
        let waiting = move |it: &AtomicU64| it.load(Ordering::SeqCst) & 1 << phase != 0;
        let cores = (0_u16..).zip(&self.tasks);
        cores
            .filter(move |(_, it)| waiting(it))
            .map(|(core, _)| CoreId(core))
    }
}

const _: () = assert!(PHASES_MAX <= 64, "a core has a bit for each");

impl Shared {
    /// Has the control core run the phases from that one on, unless the node stops already. They
    /// run once: if they were given up, the node stops now.
    pub(crate) fn ask_to_stop(&self, reason: ShutdownReason, from: usize) {
        // The first reason stays.
        let _ = self.shutdown.asked.set((reason, from));
        match self.phases_end() {
            Some(Err(_)) => self.stop(Stop::Begun),
            _ => self.stop(Stop::Asked),
        }
    }

    /// Stops the node without its phases.
    pub(in super::super) fn stop_at_once(&self, reason: ShutdownReason) {
        // With the reason of phases that run these go on, and say themselves when they are over.
        if self.shutdown.asked.set((reason, 0)).is_ok() {
            let _ = self.shutdown.ended.set(Ok(()));
        }
        self.stop(Stop::Begun);
    }

    /// Why the node shuts down, if it does.
    pub(crate) fn stop_reason(&self) -> Option<ShutdownReason> {
        self.shutdown.asked.get().map(|(reason, _)| *reason)
    }

    /// Says on all cores that the phases are over, or were given up.
    pub(super) fn phases_ended(&self, how: Result<(), ShutdownError>) {
        let _ = self.shutdown.ended.set(how);
        self.ring_all();
    }

    /// What came of the phases, when they are over.
    pub(in super::super) fn phases_end(&self) -> Option<Result<(), ShutdownError>> {
        self.shutdown.ended.get().cloned()
    }

    /// From which phase on.
    pub(super) fn first_phase(&self) -> Option<usize> {
        self.shutdown.asked.get().map(|(_, from)| *from)
    }
}
