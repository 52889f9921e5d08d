//! What a world is about to do, and what it notes of what it did.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use crate::fault::{FaultId, Faults};
use crate::timeline::Timeline;
use crate::trace::{Trace, What};

/// Something that happens at its time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// What is under way to an end of a connection may have arrived.
    Arrive { wire: u64, to: usize },
    /// The patience of a connection with a path that holds its bytes is over.
    GiveUp {
        wire: u64,
        from: usize,
        since: Instant,
    },
    /// A core takes its turn.
    Turn { node: usize, core: usize },
    /// A deadline of a process may have passed.
    Timer { node: usize },
    /// An ask has arrived at the store, or its answer where it was asked.
    Store { call: u64 },
    /// A step of the script.
    Step(usize),
    /// A fault may be over.
    Over,
    /// Everything is looked at.
    Look,
}

/// Time, faults and trace: what every part of a world needs besides its own.
#[derive(Debug)]
pub(crate) struct Agenda {
    pub(crate) timeline: Timeline<Event>,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
}

impl Agenda {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            timeline: Timeline::new(),
            faults: Faults::default(),
            trace,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.timeline.now()
    }

    pub(crate) fn note(&mut self, what: What, numbers: [u64; 3]) {
        self.trace.note(self.timeline.now(), what, numbers);
    }

    pub(crate) fn after(&mut self, span: Duration, event: Event) {
        self.timeline.push(self.timeline.now() + span, event);
    }

    /// A fault took effect.
    pub(crate) fn took_effect(&mut self, fault: FaultId) {
        self.faults.took_effect(fault);
        while let Some((id, class)) = self.faults.take_fresh() {
            self.note(What::Fault, [id.0.into(), class as u64, 0]);
        }
    }
}
