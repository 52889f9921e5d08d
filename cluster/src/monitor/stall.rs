//! Whether this node itself is away too often to judge others.

use std::collections::VecDeque;
use std::time::Duration;

use ringmesh_proto::time::Instant;

/// From more stalls than this within [`STALLS_WITHIN`] on, others should watch in its place.
pub const STALLS: usize = 3;

/// See [`STALLS`].
pub const STALLS_WITHIN: Duration = Duration::from_secs(60);

/// When this node stalled lately.
#[derive(Debug, Default)]
pub(super) struct Stalls(VecDeque<Instant>);

impl Stalls {
    pub(super) fn note(&mut self, now: Instant) {
        if self.0.len() > STALLS {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    pub(super) fn is_stalling(&self, now: Instant) -> bool {
        let lately = self.0.iter().filter(|at| now - **at < STALLS_WITHIN);
        lately.count() > STALLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn one_over_the_stalls_of_a_minute_is_too_many() {
        let mut stalls = Stalls::default();
        (0..STALLS as u64).for_each(|second| stalls.note(at(100 + second)));
        assert!(!stalls.is_stalling(at(103)));
        stalls.note(at(103));
        assert!(stalls.is_stalling(at(103)) && stalls.is_stalling(at(159)));
        assert!(!stalls.is_stalling(at(160)), "the first is too long ago");
    }

    #[test]
    fn no_more_of_them_are_remembered_than_count() {
        let mut stalls = Stalls::default();
        (0..1000).for_each(|second| stalls.note(at(second)));
        assert_eq!(stalls.0.len(), STALLS + 1);
    }
}
