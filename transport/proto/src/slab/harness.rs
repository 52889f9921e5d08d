//! What the models of this workspace run under; those of the mesh include this file too. No package
//! is made of so little, and a dependency for tests alone would be one of the crate wall's.

use std::cell::Cell;

use loom::model::Builder;
use loom::sync::atomic::Ordering;

loom::thread_local! {
    /// Whether the fences of this thread are there. A model takes them away to see it matter.
    pub(super) static FENCED: Cell<bool> = Cell::new(true);
}

pub(super) fn fence(order: Ordering) {
    if FENCED.with(Cell::get) {
        loom::sync::atomic::fence(order);
    }
}

/// Enough for every known fault of counts and rings: they take one or two preemptions to show.
const PREEMPTIONS: usize = 2;

/// Runs every order of the steps of a model's threads.
pub(super) fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}
