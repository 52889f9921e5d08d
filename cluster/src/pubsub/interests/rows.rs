//! The patterns that are subscribed to on one core, and how they are found by a topic.

use rustc_hash::FxHashMap;

use super::{AnnouncementId, NONE};
use crate::pubsub::cache::Basis;
use crate::pubsub::key::Meaning;
use crate::pubsub::limits::SHAPES_OF_CORE_MAX;
use crate::pubsub::shape::{Shape, Shapes, hash};
use crate::pubsub::topics::make_room;
use crate::registry::Key;

/// One pattern with one message type and group, or one path, and who subscribes to it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) announcement: AnnouncementId,
    /// The slots of those who do.
    pub(super) members: Vec<u32>,
    /// The next row of a text with the same hash.
    next: u32,
}

impl Row {
    pub(super) fn new(key: Key, announcement: AnnouncementId) -> Self {
        Self {
            key,
            announcement,
            members: Vec::with_capacity(1),
            next: NONE,
        }
    }

    pub(super) fn weight(&self) -> u32 {
        // Their number is bounded by one of 32 bits.
        self.members.len() as u32
    }
}

const BUCKETS: usize = 256;

/// All rows of a core.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    /// Where each slot that is a member of a row stands among its members.
    places: Vec<u32>,
    /// The first row of each hash of a text.
    heads: FxHashMap<u64, u32>,
    shapes: Shapes,
    /// Raised with each change.
    version: u64,
    /// When something in a bucket of hashes changed last, and when the shapes did.
    changed: Box<[u64; BUCKETS]>,
    shapes_changed: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
            places: Vec::new(),
            heads: FxHashMap::default(),
            shapes: Shapes::default(),
            version: 0,
            changed: Box::new([0; BUCKETS]),
            shapes_changed: 0,
        }
    }
}

fn text_hash(key: &Key) -> u64 {
    Meaning::of(key).map_or(0, |it| hash(it.text.as_bytes()))
}

fn bucket(hash: u64) -> u16 {
    (hash % BUCKETS as u64) as u16
}

impl Rows {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, row: u32) -> Option<&Row> {
        self.rows.get(row as usize)?.as_ref()
    }

    /// The row that is announced with that number. It is rarely asked for, and searched for.
    pub(super) fn announced(&self, id: AnnouncementId) -> Option<u32> {
        let is_it = |it: &Option<Row>| it.as_ref().is_some_and(|row| row.announcement == id);
        let place = self.rows.iter().position(is_it)?;
        u32::try_from(place).ok()
    }

    /// The row of that key.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let mut found = None;
        self.walk(text_hash(key), |number, row| {
            if row.key == *key {
                found = Some(number);
            }
        });
        found
    }

    /// Whether a row of that shape can be added.
    pub(super) fn has_room_for(&self, shape: Option<Shape>) -> bool {
        let is_known = shape.is_none_or(|it| self.shapes.has(it));
        is_known || self.shapes.len() < SHAPES_OF_CORE_MAX
    }

    pub(super) fn add(&mut self, mut row: Row, shape: Option<Shape>) -> u32 {
        let hash = text_hash(&row.key);
        let number = self.free.pop().unwrap_or_else(|| {
            make_room(&mut self.rows);
            self.rows.push(None);
            // There is a subscription for each.
            (self.rows.len() - 1) as u32
        });
        row.next = self.heads.insert(hash, number).unwrap_or(NONE);
        self.rows[number as usize] = Some(row);
        self.touch(hash);
        if shape.is_some_and(|it| self.shapes.add(it)) {
            self.shapes_changed = self.version;
        }
        number
    }

    /// Somebody subscribes to that row. Its bytes, announcement and weight.
    pub(super) fn enter(&mut self, row: u32, slot: u32) -> (usize, AnnouncementId, u32) {
        if self.places.len() <= slot as usize {
            make_room(&mut self.places);
            self.places.resize(slot as usize + 1, 0);
        }
        self.change(row, |members, places| {
            // Their number is bounded by one of 32 bits.
            places[slot as usize] = members.len() as u32;
            members.push(slot);
        })
    }

    /// Somebody does not any more; with the last one the row goes. The same. It takes no longer
    /// however many others do: the last of them takes the place of who leaves.
    pub(super) fn leave(&mut self, row: u32, slot: u32) -> (usize, AnnouncementId, u32) {
        let left = self.change(row, |members, places| {
            let place = places[slot as usize];
            members.swap_remove(place as usize);
            if let Some(moved) = members.get(place as usize) {
                places[*moved as usize] = place;
            }
        });
        if left.2 == 0 {
            self.remove(row);
        }
        left
    }

    fn change(
        &mut self,
        row: u32,
        change: impl FnOnce(&mut Vec<u32>, &mut [u32]),
    ) -> (usize, AnnouncementId, u32) {
        let Some(row) = self.rows.get_mut(row as usize).and_then(Option::as_mut) else {
            return (0, AnnouncementId(0), 0);
        };
        change(&mut row.members, &mut self.places);
        let changed = (row.key.name().len(), row.announcement, row.weight());
        let hash = text_hash(&row.key);
        self.touch(hash);
        changed
    }

    fn remove(&mut self, number: u32) {
        let Some(row) = self.rows.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(number);
        let hash = text_hash(&row.key);
        if self.heads.get(&hash) == Some(&number) {
            match row.next {
                NONE => self.heads.remove(&hash),
                next => self.heads.insert(hash, next),
            };
        } else if let Some(first) = self.heads.get(&hash) {
            self.unlink(*first, number, row.next);
        }
        let shape = Meaning::of(&row.key).and_then(|it| it.shape());
        if shape.is_some_and(|it| self.shapes.remove(it)) {
            self.shapes_changed = self.version;
        }
    }

    fn unlink(&mut self, first: u32, gone: u32, next: u32) {
        let mut at = first;
        while let Some(row) = self.rows.get_mut(at as usize).and_then(Option::as_mut) {
            if row.next == gone {
                row.next = next;
                return;
            }
            at = row.next;
        }
    }

    fn touch(&mut self, hash: u64) {
        self.version += 1;
        self.changed[usize::from(bucket(hash))] = self.version;
    }

    fn walk<'a>(&'a self, hash: u64, mut visit: impl FnMut(u32, &'a Row)) {
        let mut at = self.heads.get(&hash).copied().unwrap_or(NONE);
        while let Some(row) = self.get(at) {
            visit(at, row);
            at = row.next;
        }
    }

    /// Visits the rows whose patterns a topic matches. On what that rests.
    pub(super) fn visit<'a>(&'a self, topic: &str, mut visit: impl FnMut(&'a Row)) -> Basis {
        let mut basis = Basis {
            made: self.version,
            checked: self.version,
            buckets: Vec::with_capacity(1 + self.shapes.len()),
        };
        self.shapes.visit(topic, |text, hash| {
            basis.buckets.push(bucket(hash));
            self.walk(hash, |_, row| {
                let meaning = Meaning::of(&row.key);
                if meaning.is_some_and(|it| it.text == text && !it.is_path) {
                    visit(row);
                }
            });
        });
        basis
    }

    /// Whether what rests on that still holds.
    pub(super) fn is_current(&self, basis: &mut Basis) -> bool {
        if basis.checked == self.version {
            return true;
        }
        let mut buckets = basis.buckets.iter();
        let is_current = self.shapes_changed <= basis.made
            && buckets.all(|it| self.changed[usize::from(*it)] <= basis.made);
        if is_current {
            basis.checked = self.version;
        }
        is_current
    }
}
