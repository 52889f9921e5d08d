//! Sets of the cores of one node.

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::CORES_MAX;

const WORDS: usize = CORES_MAX as usize / 64;

const _: () = assert!(WORDS * 64 == CORES_MAX as usize);

/// Some of the cores of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cores([u64; WORDS]);

impl Cores {
    /// Adds a core. One that no node has is none of the set.
    pub fn insert(&mut self, core: CoreId) {
        if let Some(word) = self.0.get_mut(usize::from(core.0) / 64) {
            *word |= 1 << (core.0 % 64);
        }
    }

    /// Takes a core out.
    pub fn remove(&mut self, core: CoreId) {
        if let Some(word) = self.0.get_mut(usize::from(core.0) / 64) {
            *word &= !(1 << (core.0 % 64));
        }
    }

    /// Whether a core is in it.
    pub fn contains(&self, core: CoreId) -> bool {
        let word = self.0.get(usize::from(core.0) / 64);
        word.is_some_and(|it| it >> (core.0 % 64) & 1 == 1)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// How many are.
    pub fn len(&self) -> usize {
        let counts = self.0.iter().map(|it| it.count_ones() as usize);
        counts.sum()
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = CoreId> + use<> {
        let mut words = self.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < WORDS && words[at] == 0 {
                at += 1;
            }
            let word = words.get_mut(at)?;
            let bit = word.trailing_zeros();
            *word &= *word - 1;
            Some(CoreId(at as u16 * 64 + bit as u16))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_come_out_by_number_as_they_went_in() {
        let numbers = [255, 0, 63, 64, 7, 128];
        let mut cores = Cores::default();
        numbers.iter().for_each(|it| cores.insert(CoreId(*it)));
        cores.insert(CoreId(CORES_MAX));
        assert!(cores.contains(CoreId(63)) && !cores.contains(CoreId(CORES_MAX)));
        let sorted: Vec<u16> = cores.iter().map(|it| it.0).collect();
        assert_eq!((sorted, cores.len()), (vec![0, 7, 63, 64, 128, 255], 6));
        numbers.iter().for_each(|it| cores.remove(CoreId(*it)));
        assert!(cores.is_empty() && cores.iter().next().is_none());
    }
}
