//! The world's random numbers: one seed, and a generator of its own for each purpose, so that what
//! one of them draws shifts no other.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A generator of random numbers (SplitMix64, by Steele, Lea and Flood). It is written out here so
/// that a seed means the same whichever versions of other packages are built.
#[derive(Clone, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The generator of one seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one seed for one purpose.
    pub fn split(seed: u64, purpose: &str, number: u64) -> Self {
        let mut state = mix(seed ^ STEP);
        for byte in purpose.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Self(mix(state ^ number))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`, which is 0 if that is.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number within a range.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        first + self.below((last - first).saturating_add(1))
    }

    /// True as often as `share` says, in thousandths.
    pub fn chance(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// A span between two, to the microsecond.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = self.within(least.as_micros() as u64..=most.as_micros() as u64);
        Duration::from_micros(micros)
    }

    /// A span whose mean is `mean`, as between events that know nothing of each other.
    pub fn pause(&mut self, mean: Duration) -> Duration {
        // The product of two uniform numbers stands in for an exponential distribution:
        // floating-point functions may differ from platform to platform.
        let share = (0..2).map(|_| self.below(1 << 16)).product::<u64>();
        let nanos = (u128::from(share) * mean.as_nanos() * 4) >> 32;
        Duration::from_nanos(nanos as u64)
    }

    /// One of several, by its index.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// Brings several things into a random order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.index(last + 1));
        }
    }
}

/// The last step of SplitMix64, which serves as a hash as well.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The first numbers of SplitMix64 for seed 0, as published with it.
        let mut random = Random::new(0);
        assert_eq!(random.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.number(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn purposes_do_not_shift_each_other() {
        let draw = |purpose| Random::split(7, purpose, 0).number();
        assert_eq!(draw("delay"), draw("delay"));
        assert_ne!(draw("delay"), draw("reset"));
        assert_ne!(Random::split(7, "delay", 1).number(), draw("delay"));
        assert_ne!(Random::split(8, "delay", 0).number(), draw("delay"));
    }

    #[test]
    fn draws_keep_to_their_ranges_and_reach_their_ends() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.within(3..=5)).collect();
        assert!((3..=5).all(|value| drawn.contains(&value)));
        assert!(drawn.iter().all(|value| (3..=5).contains(value)));
        assert_eq!(random.below(0), 0);
        let hits = (0..10_000).filter(|_| random.chance(250)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        let mean = Duration::from_secs(1);
        let sum: Duration = (0..10_000).map(|_| random.pause(mean)).sum();
        assert!((9_000..11_000).contains(&sum.as_secs()), "{sum:?}");
    }
}
