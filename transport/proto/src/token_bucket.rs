//! A rate limit: so many at once, so many in the long run.

use std::time::Duration;

use crate::time::Instant;

/// A token bucket. Empty buckets fill steadily; whoever acts takes a token first.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    burst: u32,
    /// The time one token takes to come.
    interval: Duration,
    tokens: u32,
    /// When the last of `tokens` came.
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens, which refills by `per_second`.
    ///
    /// # Panics
    /// If `per_second` is 0.
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self {
            burst,
            interval: Duration::from_secs(1) / per_second,
            tokens: burst,
            filled: Instant::ZERO,
        }
    }

    /// Takes a token, if there is one. Says whether there was.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let there_is = self.tokens > 0;
        self.tokens -= u32::from(there_is);
        there_is
    }

    fn fill(&mut self, now: Instant) {
        let intervals = (now - self.filled).as_nanos() / self.interval.as_nanos();
        let missing = self.burst - self.tokens;
        match u32::try_from(intervals) {
            Ok(new) if new < missing => {
                self.tokens += new;
                self.filled = self.filled + self.interval * new;
            }
            _ => {
                self.tokens = self.burst;
                self.filled = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn one_over_the_burst_waits_for_the_next_token() {
        let mut bucket = TokenBucket::new(3, 10);
        let now = at(1_000_000);
        assert_eq!(
            [(); 4].map(|()| bucket.take(now)),
            [true, true, true, false]
        );
        assert!(!bucket.take(at(1_000_099)));
        assert!(bucket.take(at(1_000_100)));
        assert!(!bucket.take(at(1_000_199)));
        assert!(bucket.take(at(1_000_200)));
    }

    #[test]
    fn a_long_rest_fills_it_and_no_more() {
        let mut bucket = TokenBucket::new(2, 1);
        assert_eq!([(); 3].map(|()| bucket.take(at(0))), [true, true, false]);
        let later = at(86_400_000);
        assert_eq!([(); 3].map(|()| bucket.take(later)), [true, true, false]);
    }

    #[test]
    fn time_that_stands_still_gives_nothing() {
        let mut bucket = TokenBucket::new(1, 1);
        assert!(bucket.take(at(5000)));
        assert!(!bucket.take(at(5000)));
        assert!(!bucket.take(at(4000)), "nor does time that runs back");
    }
}
