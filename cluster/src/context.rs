//! What a machine is given with each call: the time, randomness and where its effects go.

use ringmesh_proto::time::Instant;

use crate::effect::Outbox;

/// What a machine is given with each call.
#[derive(Debug)]
pub struct Context<'a> {
    /// The driver's monotonic time.
    pub now: Instant,
    /// Randomness for this call.
    pub random: Random,
    /// Where effects go; the driver carries them out after the call, in order.
    pub out: &'a mut Outbox,
}

impl<'a> Context<'a> {
    /// A context for one call. Drivers draw a new `seed` for each: from the system's random source,
    /// or from the one of a simulated world.
    pub fn new(now: Instant, seed: u64, out: &'a mut Outbox) -> Self {
        let random = Random::new(seed);
        Self { now, random, out }
    }
}

/// A small generator: SplitMix64, which gives the same numbers for the same seed everywhere.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014). Not for
/// secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of the numbers that belong to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 if that is 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        // A bias of 2^-54 at a thousand members is none.
        let product = self.next_u64() as u128 * bound as u128;
        (product >> 64) as usize
    }

    /// Whether something happens that does so in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// Takes up to `count` of `items`, each with the same chance, in a random order.
    pub fn pick<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        let taken = count.min(items.len());
        for place in 0..taken {
            let other = place + self.below(items.len() - place);
            items.swap(place, other);
        }
        items.truncate(taken);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_those_of_the_paper() {
        let mut random = Random::new(1_234_567);
        let numbers = [(); 3].map(|()| random.next_u64());
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, known);
    }

    #[test]
    fn each_is_picked_as_often_as_another_and_once_at_most() {
        let mut random = Random::new(7);
        let mut picked = [0; 5];
        for _ in 0..10_000 {
            let mut few = random.pick((0..5).collect(), 2);
            few.iter().for_each(|item: &usize| picked[*item] += 1);
            few.dedup();
            assert_eq!(few.len(), 2);
        }
        assert!(
            picked.iter().all(|times| (3_800..4_200).contains(times)),
            "{picked:?}"
        );
        assert_eq!(random.pick(vec![1, 2], 9).len(), 2);
        assert_eq!(random.below(0), 0);
    }
}
