//! Which patterns a name matches, by look-ups alone.
//!
//! The shape of a pattern is where its wildcards are. With the segments of a name replaced at these
//! places it is the text of the only pattern of that shape that it matches. So the patterns that
//! match are found with one look-up of a text for each shape that there is, and there are few,
//! however many patterns. The idea is that of packet classifiers: Srinivasan, Suri and Varghese,
//! "Packet Classification using Tuple Space Search" (1999).

use std::collections::BTreeMap;

use super::limits::{SEGMENTS_MAX, TOPIC_BYTES_MAX};

/// Where the wildcards of a pattern are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    /// How many segments it has, without a `**`.
    count: u8,
    /// Whether a `**` follows them.
    is_open: bool,
    /// A bit for each segment that is `*`, the first segment's the lowest.
    stars: u32,
}

impl Shape {
    /// That of a text that is a pattern; `None` if it has no wildcards.
    pub(super) fn of(pattern: &str) -> Option<Self> {
        let mut shape = Self {
            count: 0,
            is_open: false,
            stars: 0,
        };
        for segment in pattern.split('.') {
            match segment {
                "**" => shape.is_open = true,
                _ => {
                    shape.stars |= u32::from(segment == "*") << shape.count;
                    shape.count += 1;
                }
            }
        }
        (shape.is_open || shape.stars != 0).then_some(shape)
    }

    /// Whether a name matches a pattern of this shape.
    pub(super) fn is_instance(self, name: &str, pattern: &str) -> bool {
        let mut masked = Masked::new();
        masked.write(&Segments::of(name), self) == Some(pattern)
    }
}

/// The segments of a name.
struct Segments<'a> {
    name: &'a str,
    /// Where each ends.
    ends: [u8; SEGMENTS_MAX],
    count: usize,
}

impl<'a> Segments<'a> {
    /// Those of a text that was checked: it is no longer, and has no more of them, than it may.
    fn of(name: &'a str) -> Self {
        let mut ends = [0; SEGMENTS_MAX];
        let mut count = 0;
        let dots = name.bytes().enumerate().filter(|it| it.1 == b'.');
        let places = dots.map(|it| it.0).chain([name.len()]);
        for (end, place) in ends.iter_mut().zip(places) {
            *end = u8::try_from(place).unwrap_or(u8::MAX);
            count += 1;
        }
        Self { name, ends, count }
    }

    fn get(&self, place: usize) -> &'a str {
        let start = match place.checked_sub(1) {
            None => 0,
            Some(before) => usize::from(self.ends[before]) + 1,
        };
        self.name
            .get(start..usize::from(self.ends[place]))
            .unwrap_or_default()
    }
}

/// Room for the text of a pattern. One may be longer than the name that matches it, by a `.**`.
struct Masked {
    bytes: [u8; TOPIC_BYTES_MAX + 3],
    length: usize,
}

impl Masked {
    fn new() -> Self {
        Self {
            bytes: [0; TOPIC_BYTES_MAX + 3],
            length: 0,
        }
    }

    fn push(&mut self, segment: &str) {
        let dot = usize::from(self.length > 0);
        let end = self.length + dot + segment.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            if dot > 0 {
                room[0] = b'.';
            }
            room[dot..].copy_from_slice(segment.as_bytes());
            self.length = end;
        }
    }

    /// The pattern of that shape that a name matches, if any can.
    fn write(&mut self, segments: &Segments<'_>, shape: Shape) -> Option<&str> {
        let count = usize::from(shape.count);
        if count > segments.count || count < segments.count && !shape.is_open {
            return None;
        }
        self.length = 0;
        for place in 0..count {
            let is_star = shape.stars >> place & 1 == 1;
            self.push(if is_star { "*" } else { segments.get(place) });
        }
        if shape.is_open {
            self.push("**");
        }
        std::str::from_utf8(&self.bytes[..self.length]).ok()
    }
}

/// All shapes that there are, each with how many patterns have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes(BTreeMap<Shape, u32>);

impl Shapes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, shape: Shape) -> bool {
        self.0.contains_key(&shape)
    }

    /// Another pattern has that shape. Says whether it is the first one.
    pub(super) fn add(&mut self, shape: Shape) -> bool {
        let count = self.0.entry(shape).or_default();
        *count += 1;
        *count == 1
    }

    /// One pattern less has that shape. Says whether it was the last one.
    pub(super) fn remove(&mut self, shape: Shape) -> bool {
        let Some(count) = self.0.get_mut(&shape) else {
            return false;
        };
        *count -= 1;
        let was_last = *count == 0;
        if was_last {
            self.0.remove(&shape);
        }
        was_last
    }

    /// Visits every text that a matching pattern can have, the name itself first, each with its
    /// hash.
    pub(super) fn visit(&self, name: &str, mut visit: impl FnMut(&str, u64)) {
        visit(name, hash(name.as_bytes()));
        if self.0.is_empty() {
            return;
        }
        let segments = Segments::of(name);
        let mut masked = Masked::new();
        for shape in self.0.keys() {
            if let Some(text) = masked.write(&segments, *shape) {
                visit(text, hash(text.as_bytes()));
            }
        }
    }
}

/// A number that equal texts share, all bits of which depend on all bytes. No other node is told
/// it. The words are mixed as SplitMix64 does.
pub(super) fn hash(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut hash = text.len() as u64;
    for word in words.iter().chain([&last]) {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    hash
}

/// Makes another number of a number, all bits of which depend on all of its bits.
pub(super) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
