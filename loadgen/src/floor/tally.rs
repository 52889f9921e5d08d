//! What the receiving half of the floor counted, as the payload of its last record.

use crate::cost::Cost;

/// Counts of one measured interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Whole, checked records.
    pub(crate) records: u64,
    /// Sum of their first 8 bytes, wrapping.
    pub(crate) sum: u64,
    /// What the interval cost the receiving process.
    pub(crate) cost: Cost,
}

/// Bytes of an encoded tally.
pub(crate) const TALLY_BYTES: usize = 32;

impl Tally {
    /// The bytes for the wire.
    pub(crate) fn to_bytes(self) -> [u8; TALLY_BYTES] {
        let mut bytes = [0; TALLY_BYTES];
        let words = [
            self.records,
            self.sum,
            self.cost.cpu_ns,
            self.cost.allocations,
        ];
        for (target, word) in bytes.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Tally::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let &[records, sum, cpu_ns, allocations] = words else {
            return None;
        };
        Some(Self {
            records: u64::from_le_bytes(records),
            sum: u64::from_le_bytes(sum),
            cost: Cost {
                cpu_ns: u64::from_le_bytes(cpu_ns),
                allocations: u64::from_le_bytes(allocations),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_reads_back() {
        let tally = Tally {
            records: 1,
            sum: 2,
            cost: Cost {
                cpu_ns: 3,
                allocations: u64::MAX,
            },
        };
        assert_eq!(Tally::from_bytes(&tally.to_bytes()), Some(tally));
        assert_eq!(Tally::from_bytes(&tally.to_bytes()[1..]), None);
    }
}
