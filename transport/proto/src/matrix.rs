//! Which cores of two nodes have links when there are more pairs of cores than links between them.
//!
//! The pairs lie in a matrix, this node's cores down, the peer's across. A control core may have a
//! link with every core at the other end: names are asked for there before anything else is known
//! of a peer. Of the others those pairs may whose numbers add up to a multiple of the stride, the
//! smallest that keeps within the cap. What goes to a core without a link of its own takes the one
//! to a core near it, and changes cores once at the other end.
//!
//! Both ends come to the same matrix from the numbers of their cores and the smaller of their caps,
//! which they exchange when they shake hands.

use crate::address::CoreId;

/// The pairs of cores of two nodes that may have a link, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMatrix {
    here: u16,
    there: u16,
    /// 1: every pair has one.
    stride: u16,
}

impl LinkMatrix {
    /// The matrix of `here` cores of this node and `there` of the peer, at least one each, which
    /// are to have up to `links_max` links.
    ///
    /// That is kept unless it leaves no room for a link of each core with the control core at the
    /// other end, and with one more: there are never fewer than those.
    pub fn new(here: u16, there: u16, links_max: u32) -> Self {
        let sparsest = here.min(there).max(1);
        let mut matrix = Self {
            here,
            there,
            stride: 1,
        };
        while matrix.stride < sparsest && matrix.links() > links_max {
            matrix.stride += 1;
        }
        matrix
    }

    /// Whether a core of this node may have a link with one of the peer.
    pub fn may_link(&self, core: CoreId, to: CoreId) -> bool {
        let sum = u32::from(core.0) + u32::from(to.0);
        core.0 == 0 || to.0 == 0 || sum.is_multiple_of(u32::from(self.stride))
    }

    /// The core of the peer that `core` sends to for what goes to `to`: that one if they may have a
    /// link, or if the peer has no such core.
    pub fn way(&self, core: CoreId, to: CoreId) -> CoreId {
        if self.may_link(core, to) || to.0 >= self.there {
            return to;
        }
        let offset = (self.stride - core.0 % self.stride) % self.stride;
        let near = to.0 - to.0 % self.stride + offset;
        CoreId(if near < self.there {
            near
        } else {
            near - self.stride
        })
    }

    /// The cores of the peer.
    pub fn cores_there(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        (0..self.there).map(CoreId)
    }

    /// Whether the peer has that core.
    pub fn reaches(&self, to: CoreId) -> bool {
        to.0 < self.there
    }

    /// The links there can be between the two nodes.
    pub fn links(&self) -> u32 {
        let with_control = u32::from(self.here) + u32::from(self.there) - 1;
        let both = |residue: u16| {
            let other = (self.stride - residue) % self.stride;
            self.others(self.here, residue) * self.others(self.there, other)
        };
        with_control + (0..self.stride).map(both).sum::<u32>()
    }

    /// How many of `cores`, the control core aside, have this remainder by the stride.
    fn others(&self, cores: u16, residue: u16) -> u32 {
        let all = (u32::from(cores) + u32::from(self.stride) - 1 - u32::from(residue))
            / u32::from(self.stride);
        all - u32::from(residue == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CORES_MAX;

    const CORES: std::ops::Range<u16> = 1..11;

    fn all(caps: u32) -> impl Iterator<Item = (u16, u16, u32)> {
        let sizes = CORES.flat_map(|here| CORES.map(move |there| (here, there)));
        sizes.flat_map(move |(here, there)| (1..=caps).map(move |cap| (here, there, cap)))
    }

    fn cores(count: u16) -> impl Iterator<Item = CoreId> {
        (0..count).map(CoreId)
    }

    fn pairs(matrix: LinkMatrix) -> impl Iterator<Item = (CoreId, CoreId)> {
        let LinkMatrix { here, there, .. } = matrix;
        cores(here)
            .flat_map(move |core| cores(there).map(move |to| (core, to)))
            .filter(move |(core, to)| matrix.may_link(*core, *to))
    }

    /// What there is at the least, however small the cap.
    fn floor(here: u16, there: u16) -> u32 {
        let (here, there) = (u32::from(here), u32::from(there));
        here + there - 1 + here.max(there) - 1
    }

    #[test]
    fn both_ends_see_the_same_pairs() {
        for (here, there, cap) in all(100) {
            let (mine, yours) = (
                LinkMatrix::new(here, there, cap),
                LinkMatrix::new(there, here, cap),
            );
            for (core, to) in pairs(mine) {
                assert!(yours.may_link(to, core), "{mine:?}: {core} {to}");
            }
            assert_eq!(mine.links(), yours.links(), "{mine:?}");
        }
    }

    #[test]
    fn no_more_links_than_the_cap_unless_it_is_below_the_floor() {
        for (here, there, cap) in all(100) {
            let matrix = LinkMatrix::new(here, there, cap);
            let links = u32::try_from(pairs(matrix).count()).unwrap();
            assert_eq!(links, matrix.links(), "{matrix:?}");
            assert!(links <= cap.max(floor(here, there)), "{matrix:?} {cap}");
        }
    }

    #[test]
    fn every_pair_has_a_link_of_its_own_up_to_the_cap_and_not_one_over() {
        for (here, there, _) in all(1) {
            let every = u32::from(here) * u32::from(there);
            assert_eq!(LinkMatrix::new(here, there, every).links(), every);
            let one_less = LinkMatrix::new(here, there, every - 1);
            let can_be_fewer = here.min(there) > 1 && here.max(there) > 2;
            assert_eq!(one_less.links() < every, can_be_fewer, "{one_less:?}");
        }
    }

    #[test]
    fn every_core_is_reached_over_a_link_that_may_be() {
        for (here, there, cap) in all(100) {
            let matrix = LinkMatrix::new(here, there, cap);
            for core in cores(here) {
                for to in cores(there) {
                    let way = matrix.way(core, to);
                    assert!(way.0 < there && matrix.may_link(core, way), "{matrix:?}");
                    if matrix.may_link(core, to) {
                        assert_eq!(way, to, "{matrix:?}: {core}");
                    }
                }
                let beyond = CoreId(there);
                assert_eq!(matrix.way(core, beyond), beyond);
            }
        }
    }

    #[test]
    fn what_takes_another_way_is_spread_over_the_links_of_its_core() {
        let matrix = LinkMatrix::new(16, 16, 64);
        assert!(matrix.links() <= 64);
        for core in cores(16).skip(1) {
            let mut shared = [0; 16];
            cores(16).for_each(|to| shared[usize::from(matrix.way(core, to).0)] += 1);
            let most = shared.into_iter().max().unwrap();
            // The last few cores may have no link among them, and take the one before.
            assert!(most < 2 * matrix.stride, "{core}: {shared:?}");
        }
    }

    #[test]
    fn the_largest_nodes_keep_within_a_cap_above_their_floor() {
        let matrix = LinkMatrix::new(CORES_MAX, CORES_MAX, 1024);
        assert!(matrix.links() <= 1024);
        let sparsest = LinkMatrix::new(CORES_MAX, CORES_MAX, 1);
        assert!(sparsest.links() <= floor(CORES_MAX, CORES_MAX));
    }
}
