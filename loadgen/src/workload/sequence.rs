//! Tells from the numbers of messages what was lost, doubled or reordered on the way.

use std::ops::Range;

/// Gaps remembered at one time; what would fill a forgotten one counts as duplicated.
const GAPS_MAX: usize = 1024;

/// The numbers 0, 1, 2 ... as they arrive. A number in order costs one comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    next: u64,
    /// Of those below it, how many have not arrived.
    missing: u64,
    duplicated: u64,
    reordered: u64,
    /// Numbers that were jumped over, in ascending order.
    gaps: Vec<Range<u64>>,
}

impl Sequence {
    /// Takes the next number that arrived. Says whether it is the one behind the last.
    #[inline]
    pub(crate) fn arrive(&mut self, number: u64) -> bool {
        if number == self.next {
            self.next += 1;
            return true;
        }
        self.arrive_out_of_order(number);
        false
    }

    /// Different numbers that arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.next - self.missing
    }

    /// Numbers that arrived again.
    pub(crate) fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Numbers that arrived after a higher one, for the first time.
    pub(crate) fn reordered(&self) -> u64 {
        self.reordered
    }

    #[cold]
    fn arrive_out_of_order(&mut self, number: u64) {
        if number > self.next {
            if self.gaps.len() < GAPS_MAX {
                self.gaps.push(self.next..number);
            }
            self.missing += number - self.next;
            self.next = number + 1;
        } else if self.fill(number) {
            self.reordered += 1;
            self.missing -= 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Takes `number` out of the gap that holds it, if one does.
    fn fill(&mut self, number: u64) -> bool {
        let Some(place) = self.gaps.iter().position(|gap| gap.contains(&number)) else {
            return false;
        };
        let gap = self.gaps.remove(place);
        let halves = [number + 1..gap.end, gap.start..number];
        for half in halves.into_iter().filter(|half| !half.is_empty()) {
            self.gaps.insert(place, half);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = u64>) -> [u64; 3] {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.arrive(number);
        }
        [
            sequence.arrived(),
            sequence.duplicated(),
            sequence.reordered(),
        ]
    }

    #[test]
    fn in_order_is_clean() {
        assert_eq!(after(0..1000), [1000, 0, 0]);
    }

    #[test]
    fn what_never_comes_is_not_counted_as_arrived() {
        assert_eq!(after([0, 1, 5, 6]), [4, 0, 0]);
        assert_eq!(after([3]), [1, 0, 0]);
        let mut sequence = Sequence::default();
        for (number, is_next) in [(0, true), (2, false), (1, false), (3, true)] {
            assert_eq!(sequence.arrive(number), is_next, "at {number}");
        }
    }

    #[test]
    fn a_late_number_is_reordered_once_and_then_doubled() {
        assert_eq!(after([0, 2, 1]), [3, 0, 1]);
        assert_eq!(after([0, 2, 1, 1, 2, 0]), [3, 3, 1]);
    }

    #[test]
    fn a_gap_fills_from_any_side() {
        assert_eq!(after([9, 0, 8, 4, 5, 3, 1, 2, 7, 6]), [10, 0, 9]);
        assert_eq!(after([9, 4, 4]), [2, 1, 1]);
    }

    #[test]
    fn forgotten_gaps_are_bounded() {
        let numbers = (0..3 * GAPS_MAX as u64).map(|number| number * 2);
        let mut sequence = Sequence::default();
        numbers.for_each(|number| assert!(sequence.arrive(number) == (number == 0)));
        assert_eq!(sequence.gaps.len(), GAPS_MAX);
        assert_eq!(sequence.arrived(), 3 * GAPS_MAX as u64);
    }
}
