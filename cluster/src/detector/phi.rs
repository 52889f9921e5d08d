//! Phi accrual.
//!
//! Hayashibara, Défago, Yared and Katayama, "The phi accrual failure detector" (SRDS 2004): phi is
//! the negative decimal logarithm of the probability that an answer comes still later than now,
//! given the times between the last ones. The normal distribution's tail is approximated by a
//! logistic function (Bowling et al., "A logistic approximation to the cumulative normal
//! distribution", 2009), which is off by 0.00014 at most.

use std::collections::VecDeque;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::{FailureDetector, Patience, ROUNDING};

/// A time between two answers is remembered as no longer than this, in nanoseconds: an hour.
const SAMPLE_NANOS_MAX: u64 = 3_600_000_000_000;

/// Takes a node for gone whose silence is too unusual.
#[derive(Clone, Debug)]
pub struct PhiDetector {
    patience: Patience,
    last: Option<Instant>,
    history: History,
}

impl PhiDetector {
    /// A detector that expects answers at the interval of `patience`, give or take a quarter, until
    /// it has seen any.
    pub fn new(patience: Patience) -> Self {
        let mut history = History::new(patience.samples.max(1));
        let quarter = patience.interval / 4;
        history.push(patience.interval.saturating_sub(quarter));
        history.push(patience.interval + quarter);
        Self {
            patience,
            last: None,
            history,
        }
    }

    /// Phi at `now`; 0 before the first answer, infinite when the tail is too thin for a number.
    pub fn phi(&self, now: Instant) -> f64 {
        let Some(last) = self.last else {
            return 0.0;
        };
        let (mean, deviation) = self.expected();
        phi((now - last).as_secs_f64(), mean, deviation)
    }

    /// The silence that is expected, and how much it varies, in seconds.
    fn expected(&self) -> (f64, f64) {
        let (mean, deviation) = self.history.mean_and_deviation();
        let patience = &self.patience;
        let most = patience.deviation_max.as_secs_f64();
        let least = patience.deviation_min.as_secs_f64();
        (
            mean + patience.pause.as_secs_f64(),
            deviation.min(most).max(least),
        )
    }
}

impl FailureDetector for PhiDetector {
    fn begin(&mut self, now: Instant) {
        self.last = self.last.max(Some(now));
    }

    fn heard(&mut self, now: Instant) {
        if let Some(last) = self.last
            // A silence that counted as an end says nothing of the rhythm.
            && self.is_available(now)
        {
            self.history.push(now - last);
        }
        self.last = self.last.max(Some(now));
    }

    fn suspicion(&self, now: Instant) -> f64 {
        self.phi(now)
    }

    fn suspects_at(&self, suspicion: f64) -> Option<Instant> {
        let (mean, deviation) = self.expected();
        let silent = (mean + deviations(suspicion) * deviation).max(0.0);
        let silent = Duration::try_from_secs_f64(silent).ok()?;
        Some(self.last? + silent + ROUNDING)
    }

    fn gone_at(&self) -> Option<Instant> {
        self.suspects_at(self.patience.threshold)
    }

    fn is_available(&self, now: Instant) -> bool {
        self.phi(now) < self.patience.threshold
    }

    fn excuse(&mut self, gap: Duration) {
        self.last = self.last.map(|last| last + gap);
    }
}

/// Phi of a silence of `silent` seconds, when the times between answers have this mean and
/// deviation.
pub(super) fn phi(silent: f64, mean: f64, deviation: f64) -> f64 {
    let y = (silent - mean) / deviation;
    let e = (-y * (1.5976 + 0.070_566 * y * y)).exp();
    // The same number twice, each where it is exact.
    let tail = if silent > mean {
        e / (1.0 + e)
    } else {
        1.0 - 1.0 / (1.0 + e)
    };
    -tail.log10()
}

/// By how many deviations a silence of that phi is longer than expected: the inverse of [`phi`].
fn deviations(phi: f64) -> f64 {
    /// More than enough for all digits: Newton's method doubles them with each step.
    const STEPS: usize = 12;
    let tail = 10_f64.powf(-phi);
    let exponent = ((1.0 - tail) / tail).ln();
    // The derivative is nowhere less than the factor of y, and grows with it.
    let step = |y: f64| {
        let value = y * (1.5976 + 0.070_566 * y * y) - exponent;
        y - value / (1.5976 + 3.0 * 0.070_566 * y * y)
    };
    (0..STEPS).fold(exponent / 1.5976, |y, _| step(y))
}

/// The last times between answers, and their sums, which are exact.
#[derive(Clone, Debug)]
struct History {
    samples: VecDeque<u64>,
    samples_max: usize,
    sum: u128,
    sum_of_squares: u128,
}

impl History {
    fn new(samples_max: usize) -> Self {
        Self {
            samples: VecDeque::new(),
            samples_max,
            sum: 0,
            sum_of_squares: 0,
        }
    }

    fn push(&mut self, sample: Duration) {
        if self.samples.len() >= self.samples_max
            && let Some(oldest) = self.samples.pop_front()
        {
            self.sum -= u128::from(oldest);
            self.sum_of_squares -= square(oldest);
        }
        let nanos = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
        let nanos = nanos.min(SAMPLE_NANOS_MAX);
        self.samples.push_back(nanos);
        self.sum += u128::from(nanos);
        self.sum_of_squares += square(nanos);
    }

    /// In seconds.
    fn mean_and_deviation(&self) -> (f64, f64) {
        let count = self.samples.len() as u128;
        if count == 0 {
            return (0.0, 0.0);
        }
        // Integers, so that no variance is negative.
        let variance = (self.sum_of_squares * count - self.sum * self.sum) / (count * count);
        let mean = self.sum as f64 / count as f64;
        (mean / 1e9, (variance as f64).sqrt() / 1e9)
    }
}

fn square(nanos: u64) -> u128 {
    u128::from(nanos) * u128::from(nanos)
}
