//! The one clock of a core: read at the end of a turn, after a sleep, and between batches of user
//! work. Tests may put a time in its place that passes when they say so.
//!
//! It is that of the host which goes on while that is suspended: a lease runs out meanwhile, and
//! others give this node up. To all else such a host is a core that stood still: what is due is
//! done late, and whoever watches others takes itself for stalled, and accuses nobody.

use std::cell::Cell;
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::doorbell::Doorbell;
use rustix::time::{ClockId, clock_gettime};

use crate::testkit::{Timekeeper, VirtualTime};

/// A monotonic clock whose origin is the core's start.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    now: Cell<Instant>,
}

#[derive(Debug)]
enum Source {
    /// The system's clock, and when the core began by it, in nanoseconds.
    System(u64),
    Virtual(Timekeeper),
}

impl Clock {
    /// The clock of a core that `doorbell` wakes: the system's, if no other time is given.
    pub(crate) fn new(time: Option<&VirtualTime>, doorbell: Doorbell) -> Self {
        let source = match time {
            Some(time) => Source::Virtual(time.join(doorbell)),
            None => Source::System(nanos_since_boot()),
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
                Instant::from_nanos(nanos_since_boot().saturating_sub(*origin))
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

/// How long the host has been up, with the time that it was suspended. As cheap as the clock
/// without that time: the kernel is not entered for either.
fn nanos_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let part = |it: i64| u64::try_from(it).unwrap_or_default();
    part(now.tv_sec)
        .saturating_mul(1_000_000_000)
        .saturating_add(part(now.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the host has been up, suspended or not, as it says elsewhere, to a hundredth.
    fn uptime() -> Duration {
        let text = std::fs::read_to_string("/proc/uptime").expect("there is one");
        let seconds = text.split(' ').next().expect("a number");
        Duration::from_secs_f64(seconds.parse().expect("a number"))
    }

    #[test]
    fn time_goes_on_while_the_host_is_suspended_and_never_goes_back() {
        let before = uptime();
        let now = Duration::from_nanos(nanos_since_boot());
        let after = uptime() + Duration::from_millis(10);
        assert!(
            before <= now && now <= after,
            "{before:?} {now:?} {after:?}"
        );
        let clock = Clock {
            source: Source::System(nanos_since_boot()),
            now: Cell::new(Instant::ZERO),
        };
        let mut last = clock.read();
        for _ in 0..1_000 {
            let next = clock.read();
            assert!(last <= next);
            last = next;
        }
        assert!(
            last < Instant::ZERO + Duration::from_secs(60),
            "since it began"
        );
    }
}
