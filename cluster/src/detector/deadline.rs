//! A fixed time.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::{FailureDetector, ROUNDING};

/// Takes a node for gone that was silent for a fixed time.
#[derive(Clone, Debug)]
pub struct DeadlineDetector {
    silence: Duration,
    last: Option<Instant>,
}

impl DeadlineDetector {
    /// A node may be silent for as long as `silence`.
    pub fn new(silence: Duration) -> Self {
        let last = None;
        Self { silence, last }
    }
}

impl FailureDetector for DeadlineDetector {
    fn begin(&mut self, now: Instant) {
        self.heard(now);
    }

    fn heard(&mut self, now: Instant) {
        self.last = self.last.max(Some(now));
    }

    /// The part of the allowed silence that has passed.
    fn suspicion(&self, now: Instant) -> f64 {
        let silent = self.last.map(|last| now - last).unwrap_or_default();
        silent.as_secs_f64() / self.silence.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn suspects_at(&self, suspicion: f64) -> Option<Instant> {
        let span = self.silence.as_secs_f64() * suspicion.max(0.0);
        let span = Duration::try_from_secs_f64(span).ok()?;
        Some(self.last? + span + ROUNDING)
    }

    fn gone_at(&self) -> Option<Instant> {
        Some(self.last? + self.silence + ROUNDING)
    }

    fn is_available(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now - last <= self.silence)
    }

    fn excuse(&mut self, gap: Duration) {
        self.last = self.last.map(|last| last + gap);
    }
}
