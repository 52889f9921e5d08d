//! What [`ring`](super::ring) and [`sleep`](super::sleep) share memory with.
//!
//! The models compile the same two files a second time beside a module of this name that offers
//! the model checker's versions. So the cell has the checker's shape: its pointer is lent to a
//! closure, for the checker has to know how long it is used.

use std::cell;

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Memory that two threads use by turns.
pub(super) struct UnsafeCell<T>(cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) fn new(value: T) -> Self {
        Self(cell::UnsafeCell::new(value))
    }

    /// Lends the pointer for reading.
    #[inline]
    pub(super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Lends the pointer for writing.
    #[inline]
    pub(super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
