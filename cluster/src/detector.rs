//! Whether a node that answers heartbeats still lives, judged by when its answers came.

mod deadline;
mod phi;

use std::fmt;
use std::time::Duration;

use ringmesh_proto::time::Instant;

pub use self::deadline::DeadlineDetector;
pub use self::phi::PhiDetector;

/// A time that was computed is later by this much, so that what it names has come by then.
const ROUNDING: Duration = Duration::from_micros(1);

/// Judges one node. It is told when answers came and asked how sure it is; it owns no clock.
pub trait FailureDetector: fmt::Debug {
    /// The watch begins, or begins anew, as if an answer came that tells nothing of a rhythm: a
    /// node that never answers is noticed as one that answers no more.
    fn begin(&mut self, now: Instant);

    /// An answer came. The first call is the beginning of the watch, if that has not begun.
    fn heard(&mut self, now: Instant);

    /// How sure it is that the node is gone: never falls while nothing comes. The scale is the
    /// detector's own.
    fn suspicion(&self, now: Instant) -> f64;

    /// When it will be as sure as that, if nothing comes before; `None` if it never is, or the
    /// watch has not begun.
    fn suspects_at(&self, suspicion: f64) -> Option<Instant>;

    /// When the node will count as gone, if nothing comes before.
    fn gone_at(&self) -> Option<Instant>;

    /// Whether the node counts as living.
    fn is_available(&self, now: Instant) -> bool;

    /// This side was away itself for `gap`: what may have come meanwhile says nothing.
    fn excuse(&mut self, gap: Duration);
}

/// Which detector judges, and how patient it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judge {
    /// By how unusual the silence is, see [`PhiDetector`].
    Phi(Patience),
    /// By a fixed time, see [`DeadlineDetector`].
    Deadline {
        /// How long a node may be silent.
        silence: Duration,
    },
}

/// What a [`PhiDetector`] is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// From this phi on a node counts as gone: at 10 one accusation in 10^10 is wrong, as far as
    /// the times between answers are normally distributed.
    pub threshold: f64,
    /// A silence that is never held against a node, on top of what is usual.
    pub pause: Duration,
    /// The expected time between two answers.
    pub interval: Duration,
    /// Times between answers that are remembered, one at least.
    pub samples: usize,
    /// The times vary by this much at least: after a quiet hour a little delay is no reason.
    pub deviation_min: Duration,
    /// And by this much at most: whatever the rhythm was, a silence is noticed in time.
    pub deviation_max: Duration,
}

impl Patience {
    /// The defaults for heartbeats every `interval`: phi 10 with a pause of ten seconds over the
    /// last 200 answers, which vary by 100 ms at least, and by as much as they do.
    pub const fn every(interval: Duration) -> Self {
        Self {
            threshold: 10.0,
            pause: Duration::from_secs(10),
            interval,
            samples: 200,
            deviation_min: Duration::from_millis(100),
            deviation_max: Duration::MAX,
        }
    }
}

impl Judge {
    /// A detector that has heard nothing.
    pub fn detector(&self) -> Box<dyn FailureDetector> {
        match *self {
            Self::Phi(patience) => Box::new(PhiDetector::new(patience)),
            Self::Deadline { silence } => Box::new(DeadlineDetector::new(silence)),
        }
    }
}

#[cfg(test)]
mod tests;
