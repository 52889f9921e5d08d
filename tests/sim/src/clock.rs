//! The clock of one process: it began somewhere, and runs too fast or too slow.

use std::time::Duration;

use ringmesh_proto::time::Instant;

/// Parts of a rate: a drift is so many of a million.
const MILLION: i128 = 1_000_000;

/// A monotonic clock that follows the world's with a rate of its own. It never runs back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the rate was set, by the world's time and by its own.
    world: Instant,
    local: Instant,
    drift: i32,
}

impl Clock {
    /// A clock that shows `local` when the world's time is `world`.
    pub(crate) fn new(world: Instant, local: Instant) -> Self {
        Self {
            world,
            local,
            drift: 0,
        }
    }

    /// What it shows.
    pub fn read(&self, world: Instant) -> Instant {
        let passed = (world - self.world).as_nanos() as i128;
        let nanos = passed * (MILLION + i128::from(self.drift)) / MILLION;
        self.local + Duration::from_nanos(nanos as u64)
    }

    /// The first instant of the world at which it shows at least `local`.
    pub(crate) fn when(&self, local: Instant) -> Instant {
        let ahead = (local - self.local).as_nanos() as i128;
        let rate = MILLION + i128::from(self.drift);
        let nanos = (ahead * MILLION + rate - 1) / rate;
        self.world + Duration::from_nanos(nanos as u64)
    }

    /// From now on it runs too fast by so many millionths, or too slow.
    pub(crate) fn drift(&mut self, world: Instant, drift: i32) {
        self.local = self.read(world);
        self.world = world;
        self.drift = drift;
    }

    /// It jumps ahead, as that of a machine that was suspended.
    pub(crate) fn jump(&mut self, world: Instant, by: Duration) {
        self.local = self.read(world) + by;
        self.world = world;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_deadline_by_the_clock_is_due_when_the_world_gets_there_and_not_before() {
        for drift in [-100_000, -1, 0, 7, 99_999] {
            let mut clock = Clock::new(at(10), at(5_000));
            clock.drift(at(1_000), drift);
            clock.jump(at(2_000), Duration::from_secs(3));
            for due in [at(11_001), at(12_345), at(99_999)] {
                let when = clock.when(due);
                assert!(clock.read(when) >= due, "{drift}");
                let before = Instant::from_nanos(when.as_nanos() - 2);
                assert!(clock.read(before) < due, "{drift}");
            }
        }
        let clock = Clock::new(at(10), at(5_000));
        assert_eq!(clock.when(at(1)), at(10), "what is over is due now");
    }
}
