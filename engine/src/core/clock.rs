//! The one clock of a core: read at the end of a turn, after a sleep, and between batches of user
//! work. Tests may put a time in its place that passes when they say so.

use std::cell::Cell;
use std::time::{self, Duration};

use ringmesh_proto::time::Instant;
use ringmesh_transport::doorbell::Doorbell;

use crate::testkit::{Timekeeper, VirtualTime};

/// A monotonic clock whose origin is the core's start.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    now: Cell<Instant>,
}

#[derive(Debug)]
enum Source {
    /// The system's clock, and when the core began.
    System(time::Instant),
    Virtual(Timekeeper),
}

impl Clock {
    /// The clock of a core that `doorbell` wakes: the system's, if no other time is given.
    pub(crate) fn new(time: Option<&VirtualTime>, doorbell: Doorbell) -> Self {
        let source = match time {
            Some(time) => Source::Virtual(time.join(doorbell)),
            None => Source::System(time::Instant::now()),
        };
        Self {
            source,
            now: Cell::new(Instant::ZERO),
        }
    }

    /// The time of the last reading.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Reads the time.
    pub(crate) fn read(&self) -> Instant {
        self.now.set(self.peek());
        self.now.get()
    }

    /// Reads the time for somebody within a turn, whose own goes on as it was.
    pub(crate) fn peek(&self) -> Instant {
        match &self.source {
            Source::System(origin) => {
                let nanos = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                Instant::from_nanos(nanos)
            }
            Source::Virtual(keeper) => keeper.now(),
        }
    }

    /// The time that passes when a test says so, if that is what the core lives in.
    pub(crate) fn virtual_time(&self) -> Option<&VirtualTime> {
        match &self.source {
            Source::System(_) => None,
            Source::Virtual(keeper) => Some(keeper.time()),
        }
    }

    /// Whether the time stands still while a core has something to do.
    pub(crate) fn is_virtual(&self) -> bool {
        self.virtual_time().is_some()
    }

    /// The core goes to sleep and has something to do at `deadline`: says how long it may sleep.
    /// Virtual time may pass in here.
    pub(crate) fn fall_asleep(&self, deadline: Option<Instant>) -> Option<Duration> {
        match &self.source {
            Source::System(_) => deadline.map(|deadline| deadline.saturating_since(self.now())),
            // Who lets the time pass wakes the core.
            Source::Virtual(keeper) => {
                keeper.sleep_until(deadline);
                None
            }
        }
    }

    /// The core is awake again.
    pub(crate) fn wake_up(&self) {
        if let Source::Virtual(keeper) = &self.source {
            keeper.awake();
        }
    }
}
