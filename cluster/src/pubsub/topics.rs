//! Who in the cluster subscribes to what: an immutable value that the cores of a node share.
//!
//! It is made of what the registry publishes, step by step: a change copies the shelf that it is in
//! and nothing else. An entry takes 16 bytes in it besides the one that the registry holds anyway,
//! once for all cores, which is why it is shared and not made by each core.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmesh_proto::address::Uid;

use super::cache::Basis;
use super::key::Meaning;
use super::limits::SHAPES_MAX;
use super::name::Topic;
use super::shape::{Shape, Shapes, hash};
use crate::registry::{Difference, Entry, EntryId, Kind, Publication, Snapshot, Standing};

const SHELVES: usize = 1024;

const OWN_SHELVES: usize = 256;

#[derive(Clone, Debug)]
struct Row {
    hash: u32,
    owner: u32,
    entry: Arc<Entry>,
}

/// Entries whose texts have hashes with the same lowest bits, by the highest.
#[derive(Clone, Debug, Default)]
struct Shelf {
    changed: u64,
    rows: Vec<Row>,
}

/// Whose entries some are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Uid,
    pub(super) standing: Standing,
}

/// An entry of the node itself, by its number.
type Own = (EntryId, Arc<Entry>);

/// What is subscribed to and put under a path, in all of the cluster, as of some moment.
#[derive(Clone, Debug)]
pub struct Topics {
    own: Uid,
    /// Raised with each change.
    version: u64,
    shelves: Vec<Arc<Shelf>>,
    own_shelves: Vec<Arc<Vec<Own>>>,
    shapes: Arc<Shapes>,
    owners: Vec<Option<Owner>>,
    /// When the shapes, or who counts, changed last.
    changed: u64,
    skipped: u64,
}

impl Topics {
    /// Those of a node that knows of none.
    pub fn new(own: Uid) -> Self {
        Self {
            own,
            version: 0,
            shelves: vec![Arc::default(); SHELVES],
            own_shelves: vec![Arc::default(); OWN_SHELVES],
            shapes: Arc::default(),
            owners: Vec::new(),
            changed: 0,
            skipped: 0,
        }
    }

    /// Those of a node that has that snapshot.
    pub fn of(own: Uid, snapshot: &Snapshot) -> Self {
        let mut topics = Self::new(own);
        topics.version = 1;
        for listing in snapshot.listings() {
            let owner = topics.stand(listing.owner().uid, listing.standing());
            for entry in listing.entries() {
                topics.add(owner, entry);
            }
        }
        topics
    }

    /// The registry has published this. What cores share of the value before stays as it is.
    pub fn apply(&mut self, publication: &Publication) {
        self.version += 1;
        for difference in &publication.differences {
            match difference {
                Difference::Entry {
                    owner,
                    before,
                    after,
                } => {
                    let owner = self.owner_number(*owner).unwrap_or_else(|| {
                        let listing = publication.snapshot.listing(*owner);
                        let standing = listing.map_or(Standing::Apart, |it| it.standing());
                        self.stand(*owner, standing)
                    });
                    if let Some(before) = before {
                        self.remove(owner, before);
                    }
                    if let Some(after) = after {
                        self.add(owner, after);
                    }
                }
                Difference::Standing { owner, standing } => match standing {
                    Some(standing) => drop(self.stand(*owner, *standing)),
                    None => self.forget(*owner),
                },
            }
        }
        // A node never tells of its own standing but in its listing.
        let own = publication.snapshot.listing(self.own);
        if let Some(own) = own {
            self.stand(self.own, own.standing());
        }
    }

    /// Raised with each publication.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Entries that were not taken in: no node that keeps the rules announces them, or there are
    /// wildcards at too many different places.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The names of all topics and patterns that somebody who can be reached subscribes to.
    pub fn names(&self) -> BTreeSet<&str> {
        let subscribed = self.counting().filter(|it| !it.1.is_path);
        subscribed.map(|(_, it)| it.text).collect()
    }

    /// How many subscriptions match a topic and can be reached, those of groups among them: to that
    /// message type, or to all.
    pub fn subscribers(&self, topic: Topic<'_>, protocol: Option<u64>) -> u64 {
        let mut sum = 0;
        self.visit(topic, |owner, entry, _| {
            let is_it = protocol.is_none_or(|it| it == entry.key.protocol());
            if is_it && owner.standing == Standing::Reachable {
                sum += u64::from(entry.weight);
            }
        });
        sum
    }

    /// How many entries there are, also of owners that do not count.
    pub fn len(&self) -> usize {
        self.shelves.iter().map(|it| it.rows.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of this node with that number.
    pub(super) fn own_entry(&self, id: EntryId) -> Option<&Arc<Entry>> {
        let shelf = self.own_shelves.get(id.0 as usize % OWN_SHELVES)?;
        let place = shelf.binary_search_by_key(&id, |it| it.0).ok()?;
        Some(&shelf.get(place)?.1)
    }

    pub(super) fn own(&self) -> Uid {
        self.own
    }

    /// Visits the entries whose patterns a topic matches, and on what that rests.
    pub(super) fn visit<'a>(
        &'a self,
        topic: Topic<'_>,
        mut visit: impl FnMut(Owner, &'a Arc<Entry>, Meaning<'a>),
    ) -> Basis {
        let mut basis = self.basis(1 + self.shapes.len());
        self.shapes.visit(topic.as_str(), |text, hash| {
            basis.buckets.push((hash % SHELVES as u64) as u16);
            self.walk(text, hash, |owner, entry, meaning| {
                if !meaning.is_path {
                    visit(owner, entry, meaning);
                }
            });
        });
        basis
    }

    /// Visits what is put under a path.
    pub(super) fn visit_path<'a>(
        &'a self,
        path: &str,
        mut visit: impl FnMut(Owner, &'a Arc<Entry>),
    ) -> Basis {
        let mut basis = self.basis(1);
        let hash = hash(path.as_bytes());
        basis.buckets.push((hash % SHELVES as u64) as u16);
        self.walk(path, hash, |owner, entry, meaning| {
            if meaning.is_path {
                visit(owner, entry);
            }
        });
        basis
    }

    /// Whether what rests on that still holds.
    pub(super) fn is_current(&self, basis: &mut Basis) -> bool {
        if basis.checked == self.version {
            return true;
        }
        let mut buckets = basis.buckets.iter();
        let is_older = |it: &u16| self.shelves[usize::from(*it)].changed <= basis.made;
        let is_current = self.changed <= basis.made && buckets.all(is_older);
        if is_current {
            basis.checked = self.version;
        }
        is_current
    }

    fn basis(&self, buckets: usize) -> Basis {
        Basis {
            made: self.version,
            checked: self.version,
            buckets: Vec::with_capacity(buckets),
        }
    }

    fn walk<'a>(
        &'a self,
        text: &str,
        hash: u64,
        mut visit: impl FnMut(Owner, &'a Arc<Entry>, Meaning<'a>),
    ) {
        let rows = &self.shelves[hash as usize % SHELVES].rows;
        let high = (hash >> 32) as u32;
        let first = rows.partition_point(|it| it.hash < high);
        for row in rows[first..].iter().take_while(|it| it.hash == high) {
            let meaning = Meaning::of(&row.entry.key);
            let owner = self.owners.get(row.owner as usize).copied().flatten();
            if let (Some(meaning), Some(owner)) = (meaning, owner)
                && meaning.text == text
            {
                visit(owner, &row.entry, meaning);
            }
        }
    }

    fn counting(&self) -> impl Iterator<Item = (&Arc<Entry>, Meaning<'_>)> {
        let counts = |it: &&Row| {
            let owner = self.owners.get(it.owner as usize).copied().flatten();
            owner.is_some_and(|it| it.standing == Standing::Reachable)
        };
        let rows = self.shelves.iter().flat_map(|it| it.rows.iter());
        let rows = rows.filter(counts);
        rows.filter_map(|it| Some((&it.entry, Meaning::of(&it.entry.key)?)))
    }

    fn owner_number(&self, uid: Uid) -> Option<u32> {
        let is_it = |it: &Option<Owner>| it.is_some_and(|it| it.uid == uid);
        let place = self.owners.iter().position(is_it)?;
        u32::try_from(place).ok()
    }

    /// Whether the entries of an owner count. The number of the owner.
    fn stand(&mut self, uid: Uid, standing: Standing) -> u32 {
        let owner = Some(Owner { uid, standing });
        let place = match self.owner_number(uid) {
            Some(known) => known as usize,
            None => {
                let free = self.owners.iter().position(Option::is_none);
                free.unwrap_or_else(|| {
                    self.owners.push(None);
                    self.owners.len() - 1
                })
            }
        };
        if self.owners[place] != owner {
            self.owners[place] = owner;
            self.changed = self.version;
        }
        // As many as members, which are few.
        place as u32
    }

    /// An owner is no more, and none of its entries.
    fn forget(&mut self, uid: Uid) {
        let Some(owner) = self.owner_number(uid) else {
            return;
        };
        let rows = self.shelves.iter().flat_map(|it| it.rows.iter());
        let rows = rows.filter(|it| it.owner == owner);
        let gone: Vec<Arc<Entry>> = rows.map(|it| Arc::clone(&it.entry)).collect();
        for entry in gone {
            self.remove(owner, &entry);
        }
        self.owners[owner as usize] = None;
        self.changed = self.version;
    }

    fn add(&mut self, owner: u32, entry: &Arc<Entry>) {
        let Some(meaning) = Meaning::of(&entry.key) else {
            return;
        };
        let shape = meaning.shape();
        let is_over = |it: Shape| !self.shapes.has(it) && self.shapes.len() >= SHAPES_MAX;
        if !meaning.is_sound() || shape.is_some_and(is_over) {
            self.skipped += 1;
            return;
        }
        if shape.is_some_and(|it| Arc::make_mut(&mut self.shapes).add(it)) {
            self.changed = self.version;
        }
        let hash = hash(meaning.text.as_bytes());
        let shelf = Arc::make_mut(&mut self.shelves[hash as usize % SHELVES]);
        shelf.changed = self.version;
        let row = Row {
            hash: (hash >> 32) as u32,
            owner,
            entry: Arc::clone(entry),
        };
        let order = |it: &Row| (it.hash, it.owner, it.entry.id);
        let place = shelf.rows.partition_point(|it| order(it) < order(&row));
        make_room(&mut shelf.rows);
        shelf.rows.insert(place, row);
        if self.is_own(owner) && entry.key.kind() == Kind::TOPIC {
            let shelf = &mut self.own_shelves[entry.id.0 as usize % OWN_SHELVES];
            let shelf = Arc::make_mut(shelf);
            let place = shelf.partition_point(|it| it.0 < entry.id);
            make_room(shelf);
            shelf.insert(place, (entry.id, Arc::clone(entry)));
        }
    }

    fn remove(&mut self, owner: u32, entry: &Entry) {
        let Some(meaning) = Meaning::of(&entry.key) else {
            return;
        };
        let hash = hash(meaning.text.as_bytes());
        let place = hash as usize % SHELVES;
        let order = |it: &Row| (it.hash, it.owner, it.entry.id);
        let wanted = ((hash >> 32) as u32, owner, entry.id);
        let rows = &self.shelves[place].rows;
        let Ok(at) = rows.binary_search_by_key(&wanted, order) else {
            return;
        };
        let shelf = Arc::make_mut(&mut self.shelves[place]);
        shelf.changed = self.version;
        shelf.rows.remove(at);
        let shape = meaning.shape();
        if shape.is_some_and(|it| Arc::make_mut(&mut self.shapes).remove(it)) {
            self.changed = self.version;
        }
        if self.is_own(owner) {
            let shelf = &mut self.own_shelves[entry.id.0 as usize % OWN_SHELVES];
            Arc::make_mut(shelf).retain(|it| it.0 != entry.id);
        }
    }

    fn is_own(&self, owner: u32) -> bool {
        let owner = self.owners.get(owner as usize).copied().flatten();
        owner.is_some_and(|it| it.uid == self.own)
    }
}

/// Room for one more, and a few: what is held by the ten thousands is not to be half empty.
pub(super) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 8);
    }
}
