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
//! are [not settled](Voice::Passing), and in the worst case each that agrees is out of the
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
//! again, whatever their disks have lost: all agree then. Where fewer than half may go on, one that
//! did may leave to others that nobody else has ever heard of: there nobody forgets who leaves
//! others behind.
//!
//! Data centres decide on their own members, each for itself: so more than half have to agree in
//! each of them. Where only some members have a say in what becomes of the others these have to,
//! and where fewer than half may go on by themselves all have: the [`Electorate`] says who.
//!
//! What the argument does not cover: the command `down` gives members up that may go on; and
//! whoever was replaced by a later process start at its address was given up by nobody. A disk
//! that cannot be written holds up nobody for long, so what is on it may be older than what others
//! counted on. Only the first seed founds a cluster: where seeds are in another order on another
//! node there are two that do, and only [promises](super::machine) keep them apart for a while.
//! Whoever agreed is bound for a few seconds, and by nothing that is written down.

use std::collections::{BTreeMap, BTreeSet};
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
    /// What its word is worth.
    pub voice: Voice,
}

/// What the word of a member that is remembered is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Voice {
    /// It is no help, but waited for: it was on its way in or out, or those that would go on
    /// without others do not ask most of them.
    Passing = 0,
    /// It was one of those of whom most decide who goes on.
    Settled = 1,
    /// It had no say in that.
    None = 2,
}

/// Who decides that some members go on without others. So these are who has to agree, that they do
/// not, before another cluster is founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Electorate {
    /// More than half of the members with the role, or of all. One with the role that was on its
    /// way in or out is waited for.
    Most {
        /// The role.
        role: Option<Box<str>>,
    },
    /// Whoever sees a reason to: fewer than half may go on.
    Anybody,
}

impl Default for Electorate {
    fn default() -> Self {
        Self::Most { role: None }
    }
}

impl Electorate {
    /// Who of a data centre's members has a say.
    fn has_say(&self, member: &Member) -> bool {
        match self {
            Self::Most { role: Some(role) } => member.roles().has(role),
            Self::Most { role: None } | Self::Anybody => true,
        }
    }

    /// What the word of a member is worth; `is_anybody` if anybody of its data centre has a say.
    fn voice(&self, member: &Member, is_anybody: bool) -> Voice {
        match self {
            Self::Most { .. } if is_anybody && !self.has_say(member) => Voice::None,
            Self::Most { .. } if is_anybody && is_settled(member.status()) => Voice::Settled,
            _ => Voice::Passing,
        }
    }
}

impl Voice {
    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// The voice with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Passing),
            1 => Some(Self::Settled),
            2 => Some(Self::None),
            _ => None,
        }
    }
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
    fn add(&mut self, voice: Voice, word: Word) {
        match (word, voice) {
            (_, Voice::None) => {}
            (Word::Silent, _) => self.silent += 1,
            (Word::Agrees, Voice::Settled) => self.agree += 1,
            (Word::Forgot, Voice::Settled) => self.forgot += 1,
            // In the worst case it is not in the cluster any more, or never was.
            (Word::Agrees | Word::Forgot, Voice::Passing) => {}
        }
    }

    fn is_enough(&self) -> bool {
        self.silent == 0 || self.agree > self.forgot + self.silent
    }
}

impl Memory {
    /// What there is to remember of a view.
    pub fn of(view: &Gossip, electorate: &Electorate) -> Self {
        let with_say = view.members().filter(|it| electorate.has_say(it));
        let with_say: BTreeSet<&str> = with_say.map(|it| it.roles().data_centre()).collect();
        let remembered = |it: &Member| {
            let data_centre = it.roles().data_centre();
            Remembered {
                node: it.node().clone(),
                data_centre: data_centre.into(),
                voice: electorate.voice(it, with_say.contains(data_centre)),
            }
        };
        Self {
            cluster: view.cluster(),
            members: view.members().map(remembered).collect(),
        }
    }

    /// Whether another cluster may be founded as far as this memory goes: of each data centre more
    /// than half of those agree that have a say in it, or all.
    pub fn allows(&self, word: impl Fn(&Address) -> Word) -> bool {
        let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
        for it in &*self.members {
            let count = counts.entry(&it.data_centre).or_default();
            count.add(it.voice, word(&it.node.address));
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
    use super::super::testing::{View, node};
    use super::*;

    fn memory(members: &[(u64, bool)]) -> Memory {
        let remembered = |(number, is_settled): &(u64, bool)| Remembered {
            node: node(*number),
            data_centre: if *number < 10 { "here" } else { "there" }.into(),
            voice: match is_settled {
                true => Voice::Settled,
                false => Voice::Passing,
            },
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
    fn of_those_with_a_say_most_have_to_agree_and_where_nobody_has_one_all() {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up), (3, Status::Leaving)]);
        view.add_in("east", 4, Status::Up);
        view.add_in("east", 5, Status::Up);
        let voices = |electorate: &Electorate| -> Vec<Voice> {
            let memory = Memory::of(view.gossip(), electorate);
            memory.members.iter().map(|it| it.voice).collect()
        };
        use Voice::{None as Mute, Passing, Settled};
        let all = [Settled, Settled, Passing, Settled, Settled];
        assert_eq!(voices(&Electorate::default()), all);
        let role = |role: &str| Electorate::Most {
            role: Some(role.into()),
        };
        let one = [Passing, Passing, Passing, Settled, Settled];
        assert_eq!(voices(&role("dc-east")), one, "nobody of the other has it");
        assert_eq!(voices(&role("back")), [Passing; 5]);
        assert_eq!(voices(&Electorate::Anybody), [Passing; 5]);
        let mut members = memory(&[(1, true), (2, true), (3, true), (4, true)]);
        let mute = Arc::get_mut(&mut members.members).expect("one owner");
        mute[2..].iter_mut().for_each(|it| it.voice = Mute);
        assert!(!allows(&members, &[1, 3, 4], &[]), "one of two");
        assert!(allows(&members, &[1, 2], &[]), "the others are not asked");
    }

    #[test]
    fn each_data_centre_has_to_agree() {
        let both = settled(&[1, 2, 3, 11, 12]);
        assert!(!allows(&both, &[1, 2, 3], &[]));
        assert!(!allows(&both, &[1, 2, 3, 11], &[]));
        assert!(allows(&both, &[1, 2, 11, 12], &[]));
    }
}
