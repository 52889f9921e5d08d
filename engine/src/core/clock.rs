//! The one clock of a core: read at the end of a turn, after a sleep, and between batches of user
//! work.

use std::cell::Cell;
use std::time;

use ringmesh_proto::time::Instant;

/// A monotonic clock whose origin is the core's start.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: time::Instant,
    now: Cell<Instant>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            origin: time::Instant::now(),
            now: Cell::new(Instant::ZERO),
        }
    }

    /// The time of the last reading.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Reads the system's clock.
    pub(crate) fn read(&self) -> Instant {
        self.now.set(self.peek());
        self.now.get()
    }

    /// Reads the system's clock for somebody within a turn, whose own time goes on as it was.
    pub(crate) fn peek(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }
}
