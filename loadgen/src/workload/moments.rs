//! When the first and the last subscriber had a message, of a sample of messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::monotonic_ns;
use crate::latency::Latencies;

/// One message of so many is looked at.
const STRIDE: u64 = 256;

/// Messages that are looked at in one interval; those behind them are not.
const MOMENTS_MAX: usize = 4096;

/// Bytes of one as it travels.
const MOMENT_BYTES: usize = 16;

/// The moments of the subscribers of one process. Written by its cores, read behind them.
#[derive(Debug)]
pub(super) struct Moments {
    /// The number of the first message of the interval.
    base: AtomicU64,
    all: Vec<Moment>,
}

#[derive(Debug)]
struct Moment {
    first_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Moments {
    pub(super) fn new() -> Self {
        let moment = || Moment {
            first_ns: AtomicU64::new(u64::MAX),
            last_ns: AtomicU64::new(0),
        };
        Self {
            base: AtomicU64::new(0),
            all: (0..MOMENTS_MAX).map(|_| moment()).collect(),
        }
    }

    /// Forgets everything; the next interval begins with that number.
    pub(super) fn begin(&self, base: u64) {
        self.base.store(base, Ordering::Relaxed);
        for moment in &self.all {
            moment.first_ns.store(u64::MAX, Ordering::Relaxed);
            moment.last_ns.store(0, Ordering::Relaxed);
        }
    }

    /// A subscriber has a message now.
    #[inline]
    pub(super) fn take(&self, number: u64) {
        if number.is_multiple_of(STRIDE) {
            self.record(number);
        }
    }

    #[cold]
    fn record(&self, number: u64) {
        let base = self.base.load(Ordering::Relaxed).next_multiple_of(STRIDE);
        let Some(behind) = number.checked_sub(base) else {
            return;
        };
        let place = usize::try_from(behind / STRIDE).unwrap_or(usize::MAX);
        if let Some(moment) = self.all.get(place) {
            let now = monotonic_ns();
            moment.first_ns.fetch_min(now, Ordering::Relaxed);
            moment.last_ns.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// All of them, up to the last that there is.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut end = 0;
        for moment in &self.all {
            let ends = [&moment.first_ns, &moment.last_ns].map(|it| it.load(Ordering::Relaxed));
            bytes.extend(ends.into_iter().flat_map(u64::to_le_bytes));
            if ends[0] <= ends[1] {
                end = bytes.len();
            }
        }
        bytes.truncate(end);
        bytes
    }
}

/// What the processes of a round say of the same messages.
#[derive(Debug, Default)]
pub(super) struct Skews(Vec<(u64, u64)>);

impl Skews {
    /// Takes what one process says.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let (moments, _) = bytes.as_chunks::<MOMENT_BYTES>();
        if self.0.len() < moments.len() {
            self.0.resize(moments.len(), (u64::MAX, 0));
        }
        for (known, moment) in self.0.iter_mut().zip(moments) {
            let [first, last] = [0, 8].map(|at| {
                let bytes = moment[at..].first_chunk();
                bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            });
            *known = (known.0.min(first), known.1.max(last));
        }
    }

    /// How far apart the first and the last were, of each message that somebody had.
    pub(super) fn latencies(&self) -> Latencies {
        let mut latencies = Latencies::new();
        for (first, last) in &self.0 {
            if let Some(skew) = last.checked_sub(*first) {
                latencies.record(Duration::from_nanos(skew));
            }
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_processes_saw_is_put_together() {
        let (here, there) = (Moments::new(), Moments::new());
        let base = 1000;
        here.begin(base);
        there.begin(base);
        for number in base..base + 4 * STRIDE {
            here.take(number);
        }
        there.take(base.next_multiple_of(STRIDE));
        // Of the interval before, and no multiple.
        there.take(STRIDE);
        there.take(base + 1);
        assert_eq!(here.to_bytes().len(), 4 * MOMENT_BYTES);
        assert_eq!(there.to_bytes().len(), MOMENT_BYTES);
        let mut skews = Skews::default();
        skews.add(&here.to_bytes());
        skews.add(&there.to_bytes());
        let latencies = skews.latencies();
        assert_eq!(latencies.count(), 4);
        assert!(latencies.percentiles().expect("some").max_ns < 60_000_000_000);
    }

    #[test]
    fn moments_beyond_the_most_are_not_looked_at() {
        let moments = Moments::new();
        moments.take(STRIDE * MOMENTS_MAX as u64);
        assert!(moments.to_bytes().is_empty());
        moments.take(STRIDE * (MOMENTS_MAX as u64 - 1));
        assert_eq!(moments.to_bytes().len(), MOMENTS_MAX * MOMENT_BYTES);
    }
}
