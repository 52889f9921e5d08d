//! Who cannot reach whom, as each observer says for itself.
//!
//! A [`Row`] is all that one observer says, under a version of its own that only it raises: of two
//! rows the later one holds, whole. So no observer's word is ever mixed from two of its states, and
//! nobody speaks for another.

use std::collections::BTreeMap;

use ringmesh_proto::address::Uid;

/// Why an observer says that it cannot reach a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Its answers stay out.
    Silence = 1,
    /// Its connections ended without goodbye, and its host refuses new ones.
    Refused = 2,
    /// Another start of its process is at its address. It never comes back.
    Restarted = 3,
    /// A quarantine parts the two. It never comes back.
    Quarantined = 4,
}

impl Reason {
    /// The reason with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Silence),
            2 => Some(Self::Refused),
            3 => Some(Self::Restarted),
            4 => Some(Self::Quarantined),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether the member may be reached again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Restarted | Self::Quarantined)
    }

    /// The word for it in events and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Refused => "refused",
            Self::Restarted => "restarted",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What an observer says of one member that it cannot reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Why.
    pub reason: Reason,
    /// Others of whom it was heard that they hear the member, or do not: observers that were asked
    /// at the first doubt. In order of their uids.
    pub witnesses: Vec<Witness>,
}

/// What another observer answered, asked of a member in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    /// Who answered.
    pub observer: Uid,
    /// Whether it had heard of the member lately.
    pub hears: bool,
}

/// All that one observer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Raised by the observer with each change.
    pub version: u64,
    /// By member. What is not there is reachable.
    pub records: BTreeMap<Uid, Record>,
}

/// What all observers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachability(BTreeMap<Uid, Row>);

impl Reachability {
    /// An observer says that it cannot reach a member. Says whether that is news.
    ///
    /// A final reason stays, whatever else is found later.
    pub fn accuse(&mut self, observer: Uid, subject: Uid, record: Record) -> bool {
        let row = self.0.entry(observer).or_default();
        let known = row.records.get(&subject);
        if known.is_some_and(|it| *it == record || it.reason.is_final()) {
            return false;
        }
        row.version = row.version.saturating_add(1);
        row.records.insert(subject, record);
        true
    }

    /// An observer says that it reaches a member again. Says whether that is news: never after a
    /// final reason.
    pub fn clear(&mut self, observer: Uid, subject: Uid) -> bool {
        let Some(row) = self.0.get_mut(&observer) else {
            return false;
        };
        let known = row.records.get(&subject);
        if known.is_none_or(|it| it.reason.is_final()) {
            return false;
        }
        row.records.remove(&subject);
        // The row stays though it is empty: an older one must not come back.
        row.version = row.version.saturating_add(1);
        true
    }

    /// What an observer says of a member.
    pub fn record(&self, observer: Uid, subject: Uid) -> Option<&Record> {
        self.0.get(&observer)?.records.get(&subject)
    }

    /// All that an observer says.
    pub fn row(&self, observer: Uid) -> Option<&Row> {
        self.0.get(&observer)
    }

    /// All rows, by observer.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (Uid, &Row)> {
        self.0.iter().map(|(observer, row)| (*observer, row))
    }

    /// Whoever says that it cannot reach a member, and why, in order of their uids.
    pub fn observers_of(&self, subject: Uid) -> impl Iterator<Item = (Uid, &Record)> {
        let records = self.0.iter();
        records.filter_map(move |(observer, row)| Some((*observer, row.records.get(&subject)?)))
    }

    /// Every word of an observer about a member.
    pub fn records(&self) -> impl Iterator<Item = (Uid, Uid, &Record)> {
        self.0.iter().flat_map(|(observer, row)| {
            let records = row.records.iter();
            records.map(|(subject, record)| (*observer, *subject, record))
        })
    }

    /// Whether any observer says that it cannot reach the member.
    pub fn is_accused(&self, subject: Uid) -> bool {
        self.0
            .values()
            .any(|row| row.records.contains_key(&subject))
    }

    /// Takes over what another view knows beyond this one: the later of the rows of each observer.
    pub fn merge(&mut self, other: &Self) {
        for (observer, theirs) in &other.0 {
            let mine = self.0.entry(*observer).or_default();
            if theirs.version > mine.version {
                mine.clone_from(theirs);
            }
        }
    }

    /// Forgets all that is said by or of whoever `keep` does not want, be it as a witness.
    ///
    /// That changes no version: all views forget the same, once they know whom.
    pub fn retain(&mut self, mut keep: impl FnMut(Uid) -> bool) {
        self.0.retain(|observer, row| {
            row.records.retain(|subject, _| keep(*subject));
            for record in row.records.values_mut() {
                record.witnesses.retain(|it| keep(it.observer));
            }
            keep(*observer)
        });
    }

    /// Takes a row over as another node describes it.
    pub(super) fn insert(&mut self, observer: Uid, row: Row) {
        self.0.insert(observer, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(value: u64) -> Uid {
        Uid::new(value).expect("not zero")
    }

    fn because(reason: Reason) -> Record {
        let witnesses = Vec::new();
        Record { reason, witnesses }
    }

    #[test]
    fn a_member_is_reached_when_each_that_accused_it_has_cleared_it() {
        let mut table = Reachability::default();
        assert!(table.accuse(uid(1), uid(9), because(Reason::Silence)));
        assert!(table.accuse(uid(2), uid(9), because(Reason::Refused)));
        assert!(table.clear(uid(1), uid(9)));
        assert!(table.is_accused(uid(9)));
        assert!(table.clear(uid(2), uid(9)));
        assert!(!table.is_accused(uid(9)));
    }

    #[test]
    fn what_changes_nothing_raises_no_version() {
        let mut table = Reachability::default();
        assert!(!table.clear(uid(1), uid(9)));
        assert!(table.row(uid(1)).is_none());
        table.accuse(uid(1), uid(9), because(Reason::Silence));
        assert!(!table.accuse(uid(1), uid(9), because(Reason::Silence)));
        assert_eq!(table.row(uid(1)).unwrap().version, 1);
        assert!(table.accuse(uid(1), uid(9), because(Reason::Refused)));
        assert_eq!(table.row(uid(1)).unwrap().version, 2);
    }

    #[test]
    fn a_final_reason_stays() {
        for reason in [Reason::Restarted, Reason::Quarantined] {
            let mut table = Reachability::default();
            table.accuse(uid(1), uid(9), because(reason));
            assert!(!table.clear(uid(1), uid(9)));
            assert!(!table.accuse(uid(1), uid(9), because(Reason::Silence)));
            assert_eq!(table.record(uid(1), uid(9)).unwrap().reason, reason);
        }
    }

    #[test]
    fn an_older_row_never_comes_back_though_the_later_one_is_empty() {
        let mut table = Reachability::default();
        table.accuse(uid(1), uid(9), because(Reason::Silence));
        let older = table.clone();
        table.clear(uid(1), uid(9));
        table.merge(&older);
        assert!(!table.is_accused(uid(9)));
    }

    #[test]
    fn whoever_is_forgotten_is_forgotten_as_a_witness_too() {
        let witness = |number| Witness {
            observer: uid(number),
            hears: true,
        };
        let heard_by = |numbers: &[u64]| Record {
            reason: Reason::Silence,
            witnesses: numbers.iter().copied().map(witness).collect(),
        };
        let mut table = Reachability::default();
        table.accuse(uid(1), uid(9), heard_by(&[2, 3, 4]));
        table.accuse(uid(3), uid(9), heard_by(&[2]));
        table.retain(|it| it != uid(3));
        assert_eq!(table.record(uid(1), uid(9)), Some(&heard_by(&[2, 4])));
        assert_eq!(table.row(uid(1)).unwrap().version, 1);
        assert!(table.row(uid(3)).is_none());
    }

    #[test]
    fn the_numbers_of_reasons_are_fixed() {
        for number in 0..=u8::MAX {
            match Reason::from_wire(number) {
                Some(reason) => assert_eq!(reason.to_wire(), number),
                None => assert!(!(1..=4).contains(&number)),
            }
        }
    }
}
