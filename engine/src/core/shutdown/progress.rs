//! What the cores of a node share of its shutdown.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringmesh_proto::address::CoreId;

use super::super::shared::{Shared, Stop};
use crate::shutdown::{ShutdownError, ShutdownReason};

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
    /// The tasks that wait, by core.
    tasks: Box<[AtomicUsize]>,
    /// The phases are over, or were given up in one.
    ended: OnceLock<Result<(), ShutdownError>>,
}

impl Progress {
    pub(in super::super) fn new(cores: usize) -> Self {
        Self {
            asked: OnceLock::new(),
            begun: AtomicUsize::new(0),
            tasks: (0..cores).map(|_| AtomicUsize::new(0)).collect(),
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

    /// So many tasks wait on a core.
    pub(super) fn set_tasks(&self, core: CoreId, count: usize) {
        self.tasks[usize::from(core.0)].store(count, Ordering::SeqCst);
    }

    /// The cores on which tasks wait.
    pub(super) fn cores(&self) -> impl Iterator<Item = CoreId> {
        let waiting = |it: &&AtomicUsize| it.load(Ordering::SeqCst) > 0;
        let cores = (0_u16..).zip(&self.tasks);
        cores
            .filter(move |(_, it)| waiting(it))
            .map(|(core, _)| CoreId(core))
    }
}

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
        let _ = self.shutdown.asked.set((reason, 0));
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
    pub(super) fn phases_end(&self) -> Option<Result<(), ShutdownError>> {
        self.shutdown.ended.get().cloned()
    }

    /// From which phase on.
    pub(super) fn first_phase(&self) -> Option<usize> {
        self.shutdown.asked.get().map(|(_, from)| *from)
    }
}
