//! The way from one node to another: whether it is open, and how long it takes.

use std::time::Duration;

use crate::fault::FaultId;

/// A path in one direction.
#[derive(Debug, Default)]
pub(super) struct Path {
    blocks: Vec<FaultId>,
    delays: Vec<(FaultId, Duration)>,
    /// What becomes of the connection that is written to next.
    cuts: Vec<(FaultId, Cut)>,
}

/// How a connection breaks that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// For both ends, and what is written is lost from any point on.
    Reset,
    /// For the end that writes; what it wrote comes later by so much.
    Late(Duration),
}

impl Path {
    /// One fault more that blocks it.
    pub(super) fn block(&mut self, fault: FaultId) {
        self.blocks.push(fault);
    }

    /// A fault is over. Says whether it was the last that blocked it.
    pub(super) fn unblock(&mut self, fault: FaultId) -> bool {
        let was_blocked = !self.blocks.is_empty();
        self.blocks.retain(|other| *other != fault);
        was_blocked && self.blocks.is_empty()
    }

    /// The faults that block it.
    pub(super) fn blocks(&self) -> &[FaultId] {
        &self.blocks
    }

    pub(super) fn delay(&mut self, fault: FaultId, by: Duration) {
        self.delays.push((fault, by));
    }

    pub(super) fn hurry(&mut self, fault: FaultId) {
        self.delays.retain(|(other, _)| *other != fault);
    }

    /// The faults that delay what goes over it, and by how much.
    pub(super) fn delays(&self) -> &[(FaultId, Duration)] {
        &self.delays
    }

    pub(super) fn arm(&mut self, fault: FaultId, cut: Cut) {
        self.cuts.push((fault, cut));
    }

    pub(super) fn take_cut(&mut self) -> Option<(FaultId, Cut)> {
        self.cuts.pop()
    }

    /// Whether nothing is wrong with it.
    pub(super) fn is_whole(&self) -> bool {
        self.blocks.is_empty() && self.delays.is_empty() && self.cuts.is_empty()
    }

    /// All faults are over. Says whether it was blocked.
    pub(super) fn heal(&mut self) -> bool {
        let was_blocked = !self.blocks.is_empty();
        *self = Self::default();
        was_blocked
    }
}
