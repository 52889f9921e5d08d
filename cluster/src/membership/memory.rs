//! What a node remembers of its cluster over restarts.
//!
//! # When a cluster is over
//!
//! The nodes of a cluster that come back all forgot what they did, but for what they wrote down. To
//! found another cluster while somebody goes on with the first would make two of one. So whoever
//! founds asks all it remembers, and each that is in no cluster tells what it remembers itself; and
//! in **each** of these memories, the asker's own and those it was told, more than half have to
//! agree ([`Memory::allows`]). Silence agrees to nothing.
//!
//! Why that is enough: a member writes down who is in its view **before** it says that it holds
//! the view, and nobody moves on, in or out before all that decide say so. So what is written down
//! differs from the cluster as it is by such members at most as were on their way in or out: those
//! are [not settled](Remembered::is_settled), and in the worst case each that agrees is out of the
//! cluster, and each that does not is in. More than half in that case are more than half of the
//! cluster as it was when it was written down. Whoever the cluster has lost since was given up by
//! at least half of those that counted, be it after it had [given itself
//! up](Gossip::has_resigned); so one of these is among those that agree. It wrote down what came
//! of it, told that to the asker, and more than half of *that* memory had to agree; and so on, up
//! to the cluster as it is now. There, at least half of the members that count would have to go
//! on, and more than half of them agreed that they do not.
//!
//! Whoever remembers nothing has never held a view, or has left and forgotten. Where all that are
//! remembered agree it does as well as the others; else it counts as if it did not agree, for it
//! may have left after it had given others up. That way nodes that are all started again come up
//! again, whatever their disks have lost: all agree then.
//!
//! Data centres decide on their own members, each for itself: so more than half have to agree in
//! each of them.
//!
//! What the argument does not cover: a strategy that is not voted and the command `down` give
//! members up that may go on; and whoever was replaced by a later process start at its address was
//! given up by nobody. A disk that cannot be written holds up nobody for long, so what is on it may
//! be older than what others counted on. Only the first seed founds a cluster: where seeds are in
//! another order on another node there are two that do, and only [promises](super::machine) keep
//! them apart for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId};

use super::gossip::{ClusterId, Gossip};
use super::member::Member;
use super::status::Status;

/// What a node remembers of its cluster over restarts: with it, it founds no second one while those
/// it knew may still be in the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Which cluster it was in.
    pub cluster: ClusterId,
    /// Who was in it, by process start.
    pub members: Arc<[Remembered]>,
}

/// A member that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Who.
    pub node: NodeId,
    /// Its data centre.
    pub data_centre: Box<str>,
    /// Whether it was a member in full: neither on its way in nor on its way out.
    pub is_settled: bool,
}

/// What whoever is at an address said of its being in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing, or it does not agree.
    Silent,
    /// It is in none, lets the asker found one, and remembers a cluster.
    Agrees,
    /// The same, and it remembers none.
    Forgot,
}

#[derive(Debug, Default)]
struct Count {
    agree: usize,
    forgot: usize,
    silent: usize,
}

impl Count {
    fn add(&mut self, is_settled: bool, word: Word) {
        match (word, is_settled) {
            (Word::Silent, _) => self.silent += 1,
            (Word::Agrees, true) => self.agree += 1,
            (Word::Forgot, true) => self.forgot += 1,
            // In the worst case it is not in the cluster any more, or never was.
            (Word::Agrees | Word::Forgot, false) => {}
        }
    }

    fn is_enough(&self) -> bool {
        self.silent == 0 || self.agree > self.forgot + self.silent
    }
}

impl Memory {
    /// What there is to remember of a view.
    pub fn of(view: &Gossip) -> Self {
        let remembered = |it: &Member| Remembered {
            node: it.node().clone(),
            data_centre: it.roles().data_centre().into(),
            is_settled: is_settled(it.status()),
        };
        Self {
            cluster: view.cluster(),
            members: view.members().map(remembered).collect(),
        }
    }

    /// Whether another cluster may be founded as far as this memory goes: more than half of those
    /// that are remembered agree, or all.
    pub fn allows(&self, word: impl Fn(&Address) -> Word) -> bool {
        let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
        for it in &*self.members {
            let count = counts.entry(&it.data_centre).or_default();
            count.add(it.is_settled, word(&it.node.address));
        }
        counts.values().all(Count::is_enough)
    }
}

const fn is_settled(status: Status) -> bool {
    matches!(
        status,
        Status::Up | Status::PreparingForShutdown | Status::ReadyForShutdown
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::node;
    use super::*;

    fn memory(members: &[(u64, bool)]) -> Memory {
        let remembered = |(number, is_settled): &(u64, bool)| Remembered {
            node: node(*number),
            data_centre: if *number < 10 { "here" } else { "there" }.into(),
            is_settled: *is_settled,
        };
        Memory {
            cluster: ClusterId(7),
            members: members.iter().map(remembered).collect(),
        }
    }

    fn settled(numbers: &[u64]) -> Memory {
        let members: Vec<_> = numbers.iter().map(|it| (*it, true)).collect();
        memory(&members)
    }

    fn allows(memory: &Memory, agree: &[u64], forgot: &[u64]) -> bool {
        let is_one =
            |of: &[u64], address: &Address| of.iter().any(|it| node(*it).address == *address);
        memory.allows(|address| match () {
            () if is_one(agree, address) => Word::Agrees,
            () if is_one(forgot, address) => Word::Forgot,
            () => Word::Silent,
        })
    }

    #[test]
    fn more_than_half_have_to_agree() {
        let four = settled(&[1, 2, 3, 4]);
        assert!(!allows(&four, &[1, 2], &[]));
        assert!(allows(&four, &[1, 2, 3], &[]));
        assert!(allows(&settled(&[1]), &[1], &[]));
        assert!(!allows(&settled(&[1, 2]), &[1], &[]));
    }

    #[test]
    fn whoever_was_on_its_way_never_helps_and_is_waited_for() {
        let entering = memory(&[(1, true), (2, true), (3, true), (4, false), (5, false)]);
        assert!(!allows(&entering, &[1, 4, 5], &[]));
        assert!(allows(&entering, &[1, 2, 3], &[]), "three of five at most");
        assert!(
            !allows(&entering, &[1, 2, 4], &[]),
            "3 and 5 may be most of them"
        );
        assert!(allows(&entering, &[1, 2, 4, 5], &[]));
    }

    #[test]
    fn whoever_forgot_counts_only_where_all_agree() {
        let three = settled(&[1, 2, 3]);
        assert!(!allows(&three, &[1], &[2]));
        assert!(allows(&three, &[1], &[2, 3]));
        assert!(allows(&three, &[1, 3], &[2]));
        let entering = memory(&[(1, false), (2, false)]);
        assert!(!allows(&entering, &[1], &[]));
        assert!(allows(&entering, &[1], &[2]));
    }

    #[test]
    fn each_data_centre_has_to_agree() {
        let both = settled(&[1, 2, 3, 11, 12]);
        assert!(!allows(&both, &[1, 2, 3], &[]));
        assert!(!allows(&both, &[1, 2, 3, 11], &[]));
        assert!(allows(&both, &[1, 2, 11, 12], &[]));
    }
}
