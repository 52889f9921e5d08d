//! What is random about one direction of one connection.

use std::ops::RangeInclusive;

use fastrand::Rng;

use crate::faults::{Action, Direction, Strike, Way};

/// Draws the places of random strikes. They depend on the seed and on bytes, not on how those came
/// in pieces.
#[derive(Debug)]
pub(crate) struct Luck {
    flips: Draw,
    cuts: Draw,
}

#[derive(Debug)]
struct Draw {
    rng: Rng,
    drawn_from: Option<RangeInclusive<u64>>,
    at: u64,
}

/// The generator of one direction of a connection.
pub(crate) fn generator(seed: u64, connection: u64, direction: Direction, use_of: u64) -> Rng {
    // An odd factor spreads neighbours over all bits.
    let name = connection * 8 + use_of * 2 + direction as u64;
    Rng::with_seed(seed ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Luck {
    pub(crate) fn new(seed: u64, connection: u64, direction: Direction) -> Self {
        let draw = |use_of| Draw {
            rng: generator(seed, connection, direction, use_of),
            drawn_from: None,
            at: 0,
        };
        Self {
            flips: draw(0),
            cuts: draw(1),
        }
    }

    /// The next strike of a direction at byte `from` or behind it.
    pub(crate) fn next(&mut self, way: &Way, from: u64) -> Option<Strike> {
        let listed = way.strikes.iter().filter(|strike| strike.position >= from);
        let listed = listed.min_by_key(|strike| strike.position).copied();
        let flip = self.flips.next(way.flip_every.as_ref(), from);
        let flip = flip.map(|at| Strike::flip(at, 1 << (self.flips.mask(at) % 8)));
        let cut = self.cuts.next(way.cut_every.as_ref(), from);
        let cut = cut.map(|at| Strike {
            position: at,
            action: Action::Cut(way.cut_with),
        });
        let all = [listed, flip, cut].into_iter().flatten();
        all.min_by_key(|strike| strike.position)
    }
}

impl Draw {
    fn next(&mut self, range: Option<&RangeInclusive<u64>>, from: u64) -> Option<u64> {
        if self.drawn_from.as_ref() != range || self.at < from {
            self.drawn_from = range.cloned();
            let (least, most) = (*range?.start(), *range?.end());
            let distance = self.rng.u64(least..=most.max(least));
            self.at = from.saturating_add(distance);
        }
        range.map(|_| self.at)
    }

    /// Which bit is hit at a place: the same whenever it is asked.
    fn mask(&self, at: u64) -> u64 {
        let mut rng = self.rng.clone();
        rng.u64(..) ^ at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(seed: u64, connection: u64, steps: impl IntoIterator<Item = u64>) -> Vec<Strike> {
        let way = Way {
            flip_every: Some(10..=100),
            ..Way::default()
        };
        let mut luck = Luck::new(seed, connection, Direction::ToUpstream);
        let mut strikes = Vec::new();
        let mut position = 0;
        for step in steps {
            let end = position + step;
            let mut from = position;
            while let Some(strike) = luck.next(&way, from).filter(|it| it.position < end) {
                strikes.push(strike);
                from = strike.position + 1;
            }
            position = end;
        }
        strikes
    }

    #[test]
    fn a_seed_hits_the_same_bytes_however_they_come() {
        let whole = places(7, 1, [10_000]);
        assert!((100..1000).contains(&whole.len()), "{whole:?}");
        assert_eq!(places(7, 1, [1; 10_000]), whole);
        assert_ne!(places(8, 1, [10_000]), whole);
        assert_ne!(places(7, 2, [10_000]), whole);
        let gaps = whole
            .windows(2)
            .map(|two| two[1].position - two[0].position);
        assert!(
            gaps.clone().all(|gap| (11..=101).contains(&gap)),
            "{whole:?}"
        );
    }

    #[test]
    fn the_nearest_strike_comes_first_and_those_passed_do_not_come_back() {
        let way = Way {
            strikes: vec![Strike::half_close(30), Strike::flip(20, 1)],
            cut_every: Some(25..=25),
            ..Way::default()
        };
        let mut luck = Luck::new(1, 1, Direction::ToClient);
        let next = |luck: &mut Luck, from| luck.next(&way, from).map(|strike| strike.position);
        assert_eq!(next(&mut luck, 0), Some(20));
        assert_eq!(next(&mut luck, 21), Some(25));
        assert_eq!(next(&mut luck, 26), Some(30));
        assert_eq!(next(&mut luck, 31), Some(51));
    }
}
