//! Where a member is in its life.

use std::fmt;

/// Where a member is in its life, in the order of rank: in a merge the higher one wins.
///
/// The order is that of no return, not that of what is allowed next: see
/// [`may_become`](Self::may_become).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// It was let in, and counts for nothing yet.
    Joining = 1,
    /// As joining, but may work already, while not all members can be reached.
    WeaklyUp = 2,
    /// A member in full.
    Up = 3,
    /// The whole cluster is to be shut down, and it was told so.
    PreparingForShutdown = 4,
    /// As before, and every member knows.
    ReadyForShutdown = 5,
    /// It wants to leave.
    Leaving = 6,
    /// Every member knows that it leaves: it ends its work, and then itself.
    Exiting = 7,
    /// It was given up, and will not come back.
    Down = 8,
    /// It is no member any more. Only in events, never in a table.
    Removed = 9,
}

impl Status {
    /// Every status, by rank.
    pub const ALL: [Self; 9] = [
        Self::Joining,
        Self::WeaklyUp,
        Self::Up,
        Self::PreparingForShutdown,
        Self::ReadyForShutdown,
        Self::Leaving,
        Self::Exiting,
        Self::Down,
        Self::Removed,
    ];

    /// The status with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        if number == 0 || number as usize > Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[number as usize - 1])
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether a command or the leader may make a member of this status one of `next`. A merge may
    /// skip what lies between.
    pub const fn may_become(self, next: Self) -> bool {
        use Status::*;
        match next {
            Joining => false,
            WeaklyUp => matches!(self, Joining),
            Up => matches!(self, Joining | WeaklyUp),
            PreparingForShutdown => matches!(self, Up),
            ReadyForShutdown => matches!(self, PreparingForShutdown),
            Leaving => self.rank() < Leaving.rank(),
            Exiting => matches!(self, Leaving),
            Down => self.rank() < Down.rank(),
            Removed => matches!(self, Exiting | Down),
        }
    }

    /// Whether it takes part in deciding: its having seen a version is waited for, and it may lead.
    pub const fn is_deciding(self) -> bool {
        use Status::*;
        matches!(self, Up | PreparingForShutdown | ReadyForShutdown | Leaving)
    }

    /// Whether it has not become a member in full yet.
    pub const fn is_entering(self) -> bool {
        matches!(self, Self::Joining | Self::WeaklyUp)
    }

    /// Whether it is on its way out so far that nobody waits for it.
    pub const fn is_departing(self) -> bool {
        matches!(self, Self::Exiting | Self::Down | Self::Removed)
    }

    /// The word for it in events and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::WeaklyUp => "weakly_up",
            Self::Up => "up",
            Self::PreparingForShutdown => "preparing",
            Self::ReadyForShutdown => "ready",
            Self::Leaving => "leaving",
            Self::Exiting => "exiting",
            Self::Down => "down",
            Self::Removed => "removed",
        }
    }

    const fn rank(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::Status::*;
    use super::*;

    #[test]
    fn the_numbers_are_fixed_and_in_order_of_rank() {
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.to_wire()), index + 1);
            assert_eq!(Status::from_wire(status.to_wire()), Some(status));
        }
        assert_eq!(Status::from_wire(0), None);
        assert_eq!(Status::from_wire(10), None);
        assert!(Status::ALL.is_sorted());
    }

    #[test]
    fn what_may_follow_what() {
        let table: [(Status, &[Status]); 9] = [
            (Joining, &[WeaklyUp, Up, Leaving, Down]),
            (WeaklyUp, &[Up, Leaving, Down]),
            (Up, &[PreparingForShutdown, Leaving, Down]),
            (PreparingForShutdown, &[ReadyForShutdown, Leaving, Down]),
            (ReadyForShutdown, &[Leaving, Down]),
            (Leaving, &[Exiting, Down]),
            (Exiting, &[Down, Removed]),
            (Down, &[Removed]),
            (Removed, &[]),
        ];
        for (from, allowed) in table {
            for to in Status::ALL {
                assert_eq!(from.may_become(to), allowed.contains(&to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn nothing_may_become_what_ranks_below_it() {
        for from in Status::ALL {
            for to in Status::ALL {
                assert!(!from.may_become(to) || from < to);
            }
        }
    }

    /// Each row of the table names a status, and all that may follow it.
    #[test]
    fn the_table_in_the_map_says_the_same() {
        let document = include_str!("../../../ARCHITECTURE.md");
        let (_, table) = document.split_once("```text status").expect("the table");
        let (table, _) = table.split_once("```").expect("its end");
        let known = |word: &str| {
            let mut all = Status::ALL.into_iter();
            let found = all.find(|it| it.label() == word.trim_end_matches(','));
            found.unwrap_or_else(|| panic!("no status is called {word:?}"))
        };
        let mut told = Vec::new();
        let mut words = table.split_whitespace();
        while let Some(from) = words.next() {
            assert_eq!(words.next(), Some("->"), "behind {from}");
            loop {
                let to = words.next().expect("what follows");
                told.push((known(from), known(to)));
                if !to.ends_with(',') {
                    break;
                }
            }
        }
        let pairs = Status::ALL
            .into_iter()
            .flat_map(|from| Status::ALL.map(|to| (from, to)));
        let allowed: Vec<_> = pairs.filter(|(from, to)| from.may_become(*to)).collect();
        told.sort_unstable();
        assert_eq!(told, allowed);
    }
}
