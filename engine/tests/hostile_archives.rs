//! Archives from a peer that wants to do harm.
//!
//! Whatever the bytes: `access` returns, and what it accepts can be walked to the last field
//! without leaving the bytes. The walk checks every slice against the bounds itself, so it would
//! notice a hole in the validation that happens not to crash.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use ringmesh::message::Archived;
use ringmesh::{Message, message, wire};
use ringmesh_proto::archive::{access, deserialize, encode, explain, measure};

#[message(id = "test.Order", v = 1)]
#[derive(Clone, Debug, PartialEq)]
struct Order {
    sequence: u64,
    urgent: bool,
    account: String,
    note: Option<String>,
    legs: Vec<Leg>,
    tags: Box<[Box<str>]>,
    grid: [Vec<Vec<u16>>; 2],
}

#[wire]
#[derive(Clone, Debug, PartialEq)]
enum Leg {
    Market,
    Limit { price: i64, venue: String },
    Basket(Vec<(char, Option<u32>)>),
}

/// Small enough that noise is a valid archive of it now and then.
#[message(id = "test.Lists", v = 1)]
#[derive(Clone, Debug, PartialEq)]
struct Lists {
    lists: Vec<Vec<u8>>,
    text: String,
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
}

fn leg() -> impl Strategy<Value = Leg> {
    prop_oneof![
        Just(Leg::Market),
        (any::<i64>(), text()).prop_map(|(price, venue)| Leg::Limit { price, venue }),
        vec((any::<char>(), any::<Option<u32>>()), 0..4).prop_map(Leg::Basket),
    ]
}

prop_compose! {
    fn order()(
        sequence: u64,
        urgent: bool,
        account in text(),
        note in proptest::option::of(text()),
        legs in vec(leg(), 0..5),
        tags in vec(text().prop_map(String::into_boxed_str), 0..4),
        grid in [vec(vec(any::<u16>(), 0..4), 0..3), vec(vec(any::<u16>(), 0..4), 0..3)],
    ) -> Order {
        Order { sequence, urgent, account, note, legs, tags: tags.into(), grid }
    }
}

/// One thing a peer may do to an archive.
#[derive(Clone, Debug)]
enum Damage {
    FlipBit {
        at: usize,
        bit: u8,
    },
    SetByte {
        at: usize,
        to: u8,
    },
    /// Replaces what may be a pointer or a length.
    SetWord {
        at: usize,
        to: u32,
    },
    /// Replaces it by a small number, more likely to mean something.
    SetSmallWord {
        at: usize,
        to: i8,
    },
    Copy {
        from: usize,
        to: usize,
        len: usize,
    },
    Insert {
        at: usize,
        bytes: Vec<u8>,
    },
    Remove {
        at: usize,
        len: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::FlipBit { at, bit }),
        (at(), any::<u8>()).prop_map(|(at, to)| Damage::SetByte { at, to }),
        (at(), any::<u32>()).prop_map(|(at, to)| Damage::SetWord { at, to }),
        (at(), any::<i8>()).prop_map(|(at, to)| Damage::SetSmallWord { at, to }),
        (at(), at(), 1..32_usize).prop_map(|(from, to, len)| Damage::Copy { from, to, len }),
        (at(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        (at(), 1..16_usize).prop_map(|(at, len)| Damage::Remove { at, len }),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match damage {
        Damage::FlipBit { at, bit } => bytes[at % len] ^= 1 << bit,
        Damage::SetByte { at, to } => bytes[at % len] = *to,
        Damage::SetWord { at, to } => set_word(bytes, *at, to.to_le_bytes()),
        Damage::SetSmallWord { at, to } => set_word(bytes, *at, i32::from(*to).to_le_bytes()),
        Damage::Copy {
            from,
            to,
            len: count,
        } => {
            let (from, to) = (from % len, to % len);
            let count = (*count).min(len - from.max(to));
            bytes.copy_within(from..from + count, to);
        }
        Damage::Insert { at, bytes: new } => {
            bytes.splice(at % len..at % len, new.iter().copied());
        }
        Damage::Remove { at, len: count } => {
            let at = at % len;
            bytes.drain(at..(at + count).min(len));
        }
    }
}

fn set_word(bytes: &mut [u8], at: usize, word: [u8; 4]) {
    if bytes.len() >= 4 {
        let at = at % (bytes.len() - 3);
        bytes[at..at + 4].copy_from_slice(&word);
    }
}

/// Checks that the parts of one accepted archive lie within it, and how much they hold together.
struct Walk<'a> {
    bytes: &'a [u8],
    claimed: usize,
}

impl Walk<'_> {
    fn slice<T>(&mut self, slice: &[T]) {
        let (all, part) = (self.bytes.as_ptr_range(), slice.as_ptr_range());
        let (start, end) = (part.start.cast::<u8>(), part.end.cast::<u8>());
        assert!(
            all.start <= start && start <= end && end <= all.end,
            "a part out of bounds"
        );
        self.claimed += size_of_val(slice);
    }

    fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
        assert!(str::from_utf8(text.as_bytes()).is_ok(), "not UTF-8");
    }

    fn lists(&mut self, lists: &ArchivedLists) {
        self.slice(std::slice::from_ref(lists));
        self.slice(&lists.lists);
        lists.lists.iter().for_each(|list| self.slice(list));
        self.text(&lists.text);
    }

    fn order(&mut self, order: &ArchivedOrder) {
        self.slice(std::slice::from_ref(order));
        self.text(&order.account);
        order
            .note
            .as_ref()
            .into_iter()
            .for_each(|note| self.text(note));
        self.slice(&order.legs);
        for leg in order.legs.iter() {
            match leg {
                ArchivedLeg::Market => {}
                ArchivedLeg::Limit { venue, .. } => self.text(venue),
                ArchivedLeg::Basket(parts) => {
                    self.slice(parts);
                    for part in parts.iter() {
                        assert!(char::from_u32(u32::from(part.0.to_native())).is_some());
                    }
                }
            }
        }
        self.slice(&order.tags);
        order.tags.iter().for_each(|tag| self.text(tag));
        for rows in &order.grid {
            self.slice(rows);
            rows.iter().for_each(|row| self.slice(row));
        }
    }
}

/// What the engine does with bytes from a peer; says whether they were accepted.
fn receive<M: Message + Debug>(bytes: &[u8], walk: fn(&mut Walk<'_>, &Archived<M>)) -> bool
where
    Archived<M>: Debug,
{
    let accepted = match access::<M>(bytes) {
        Ok(archived) => {
            let mut claims = Walk { bytes, claimed: 0 };
            walk(&mut claims, archived);
            // Inline strings lie in the root or in an element, so they count a second time.
            assert!(
                claims.claimed <= 2 * bytes.len(),
                "parts claim more than there is"
            );
            // Both visit every field again, as user code would.
            let owned = deserialize::<M>(archived);
            assert!(!format!("{archived:?}{owned:?}").is_empty());
            true
        }
        Err(_) => false,
    };
    assert_eq!(explain::<M>(bytes).is_none(), accepted);
    accepted
}

fn receive_order(bytes: &[u8]) -> bool {
    receive::<Order>(bytes, |walk, order| walk.order(order))
}

fn encoded(order: &Order) -> Vec<u8> {
    let mut bytes = vec![0; measure(order).expect("measurable")];
    encode(order, &mut bytes).expect("measured");
    bytes
}

fn an_order() -> Order {
    Order {
        sequence: 1,
        urgent: true,
        account: "an account out of line".into(),
        note: Some("a note out of line".into()),
        legs: vec![
            Leg::Market,
            Leg::Limit {
                price: 5,
                venue: "inline".into(),
            },
            Leg::Basket(vec![('a', None), ('ß', Some(3))]),
        ],
        tags: ["short".into(), "a longer tag".into()].into(),
        grid: [vec![vec![1, 2, 3], vec![]], vec![]],
    }
}

#[test]
fn every_byte_with_every_value() {
    let good = encoded(&an_order());
    assert!(receive_order(&good));
    let mut refused = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        for value in 0..=u8::MAX {
            bytes[at] = value;
            refused += usize::from(!receive_order(&bytes));
        }
    }
    // The strings' letters and the numbers can be anything; tags, lengths and pointers cannot.
    assert!(refused > good.len() * 256 / 8, "only {refused} refused");
}

#[test]
fn every_prefix_and_every_suffix() {
    let good = encoded(&an_order());
    for cut in 0..good.len() {
        receive_order(&good[..cut]);
        // Cutting at the front takes away what something points at, or nothing did.
        receive_order(&good[cut..]);
    }
    assert!(!receive_order(&[]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_order_round_trips(order in order()) {
        let bytes = encoded(&order);
        prop_assert!(receive_order(&bytes));
        prop_assert_eq!(deserialize::<Order>(access::<Order>(&bytes).expect("accepted")), order);
    }

    #[test]
    fn damaged_archives(order in order(), damages in vec(damage(), 1..4)) {
        let mut bytes = encoded(&order);
        for damage in &damages {
            apply(damage, &mut bytes);
        }
        receive_order(&bytes);
    }

    #[test]
    fn noise(bytes in vec(any::<u8>(), 0..256)) {
        receive_order(&bytes);
        receive::<Lists>(&bytes, |walk, lists| walk.lists(lists));
    }

    /// Small words in a row: nearly every one is a pointer or a length that lies within.
    #[test]
    fn plausible_noise(words in vec(-32..32_i32, 4..32), cut in 0..4_usize) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        receive_order(&bytes[cut..]);
        receive::<Lists>(&bytes[cut..], |walk, lists| walk.lists(lists));
    }
}
