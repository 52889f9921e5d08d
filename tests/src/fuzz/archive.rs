//! Payloads of a peer, read as messages.

use std::fmt::Debug;

use ringmesh::__private::{
    Finding, Made, Place, Resolve, Resolved, Select, Selected, Spawn, SpawnVerdict, Spawned, Spot,
    Strategy, StrategyKind, Verdict,
};
use ringmesh::message::{Message, Older};
use ringmesh::{Upgrade, message, wire};
use ringmesh_proto::archive::{
    ARCHIVE_BYTES_MAX, Archivable, access, deserialize, encode, explain, measure,
};
use ringmesh_proto::upgrade::UpgradeError;

/// Numbers alone: validated by its length.
#[message(id = "fuzz.Tick", v = 1, pod)]
#[derive(Debug, PartialEq)]
struct Tick {
    sequence: u64,
    price: i64,
    level: [u16; 4],
}

/// No data out of line, but bytes that mean nothing.
#[message(id = "fuzz.Flags", v = 1)]
#[derive(Debug, PartialEq)]
struct Flags {
    urgent: bool,
    letter: char,
    side: Option<Side>,
}

/// Text, lists, and lists of both: everything that is out of line.
#[message(id = "fuzz.Order", v = 1)]
#[derive(Debug, PartialEq)]
struct Order {
    account: String,
    note: Option<String>,
    legs: Vec<Leg>,
    tags: Box<[Box<str>]>,
    grid: [Vec<Vec<u16>>; 2],
    body: Vec<u8>,
}

/// The next version of an order, as its reader makes it of an old one.
#[message(id = "fuzz.Order", v = 2, upgrades(Order))]
#[derive(Debug, PartialEq)]
struct LaterOrder {
    legs: Vec<Leg>,
    account: Box<str>,
    notes: Vec<String>,
}

impl Upgrade<Order> for LaterOrder {
    fn upgrade(old: Order) -> Self {
        Self {
            legs: old.legs,
            account: old.account.into(),
            notes: old.note.into_iter().collect(),
        }
    }
}

#[wire]
#[derive(Debug, PartialEq)]
enum Side {
    Buy,
    Sell,
}

#[wire]
#[derive(Debug, PartialEq)]
enum Leg {
    Market,
    Limit { price: i64, venue: String },
    Basket(Vec<(char, Option<u32>)>),
}

/// The first byte chooses a message of the tests or of the engine, the rest is its payload.
///
/// # Panics
/// When an archive that was accepted cannot be walked, or does not survive another round.
pub fn archive(bytes: &[u8]) {
    let Some((choice, payload)) = bytes.split_first() else {
        return;
    };
    match choice % 10 {
        0 => read::<Tick>(payload),
        1 => read::<Flags>(payload),
        2 => read::<Order>(payload),
        3 => read::<Resolve>(payload),
        4 => read::<Resolved>(payload),
        6 => read::<Select>(payload),
        7 => read::<Selected>(payload),
        8 => read::<Spawn>(payload),
        9 => read::<Spawned>(payload),
        _ => upgrade::<Order, LaterOrder>(payload),
    }
}

/// What is accepted can be read to the last field, and means the same after another round.
fn read<M: Archivable + Debug + PartialEq>(payload: &[u8]) {
    let Ok(archived) = access::<M>(payload) else {
        assert!(explain::<M>(payload).is_some(), "refused without a reason");
        return;
    };
    assert_eq!(
        explain::<M>(payload),
        None,
        "accepted with a reason to refuse"
    );
    let value = deserialize::<M>(archived);
    let size = measure(&value).expect("what was read can be measured");
    // Otherwise a small payload could stand for a large value: the same bytes read many times.
    assert!(size <= payload.len(), "{size} bytes from {}", payload.len());
    let mut again = vec![0; size];
    assert_eq!(encode(&value, &mut again), Ok(size), "the measure is exact");
    let archived = access::<M>(&again).expect("what was encoded is accepted");
    assert_eq!(deserialize::<M>(archived), value);
}

/// What is accepted as the older version becomes what its author says, within the limit.
fn upgrade<Old: Message, New: Upgrade<Old> + Debug + PartialEq>(payload: &[u8]) {
    let older = Older::of::<Old, New>();
    let upgraded = older.upgrade(payload, ARCHIVE_BYTES_MAX);
    let archived = match access::<Old>(payload) {
        Ok(archived) => archived,
        Err(error) => return assert_eq!(upgraded, Err(UpgradeError::Invalid(error))),
    };
    let bytes = upgraded.expect("a valid one is upgraded");
    let value = deserialize::<New>(access::<New>(&bytes).expect("what was encoded is accepted"));
    assert_eq!(value, New::upgrade(deserialize::<Old>(archived)));
    let limit = bytes.len() - 1;
    let one_over = UpgradeError::TooLarge {
        bytes: bytes.len(),
        limit,
    };
    assert_eq!(older.upgrade(payload, limit), Err(one_over));
}

/// A valid payload of each message, small and rich.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let leg = || Leg::Limit {
        price: -1,
        venue: "a venue out of line".to_owned(),
    };
    let order = Order {
        account: "inline".to_owned(),
        note: Some("a note that is out of line".to_owned()),
        legs: vec![
            Leg::Market,
            leg(),
            Leg::Basket(vec![('x', None), ('ä', Some(7))]),
        ],
        tags: ["a".into(), "a tag that is out of line".into()].into(),
        grid: [vec![vec![1, 2], vec![]], vec![]],
        body: (0..32).collect(),
    };
    let empty = Order {
        account: String::new(),
        note: None,
        legs: Vec::new(),
        tags: Box::default(),
        grid: [Vec::new(), Vec::new()],
        body: Vec::new(),
    };
    let mut seeds = engine_seeds();
    seeds.extend([
        seed(
            "tick",
            0,
            &Tick {
                sequence: 1,
                price: -2,
                level: [3, 4, 5, 6],
            },
        ),
        seed(
            "flags-buy",
            1,
            &Flags {
                urgent: true,
                letter: 'ß',
                side: Some(Side::Buy),
            },
        ),
        seed(
            "flags-sell",
            1,
            &Flags {
                urgent: false,
                letter: '\0',
                side: Some(Side::Sell),
            },
        ),
        seed(
            "flags-none",
            1,
            &Flags {
                urgent: false,
                letter: 'a',
                side: None,
            },
        ),
        seed("order-empty", 2, &empty),
        seed("order-rich", 2, &order),
        seed("older-order-empty", 5, &empty),
        seed("older-order-rich", 5, &order),
    ]);
    seeds
}

/// The messages of the engine itself.
fn engine_seeds() -> Vec<(String, Vec<u8>)> {
    let resolve = |name: &str| Resolve {
        name: name.to_owned(),
        protocol: 0x0123_4567_89AB_CDEF,
    };
    let resolved = |finding| Resolved {
        finding,
        core: 1,
        slot: 2,
        generation: 3,
    };
    let mut seeds = vec![
        seed("resolve-inline", 3, &resolve("echo")),
        seed("resolve", 3, &resolve("a name that is out of line")),
        seed("resolved-found", 4, &resolved(Finding::Found)),
        seed("resolved-not-found", 4, &resolved(Finding::NotFound)),
        seed("resolved-wrong", 4, &resolved(Finding::WrongProtocol)),
    ];
    seeds.extend(select_seeds());
    seeds.extend(spawn_seeds());
    seeds
}

fn select_seeds() -> Vec<(String, Vec<u8>)> {
    let select = |after: &str| Select {
        pattern: "a name/that is out of line/*".to_owned(),
        protocol: 0x0123_4567_89AB_CDEF,
        after: after.to_owned(),
    };
    let spot = |slot| Spot {
        core: 1,
        slot,
        generation: 3,
    };
    let selected = |verdict, count| Selected {
        verdict,
        spots: (0..count).map(spot).collect(),
        last: "x".repeat(count as usize),
    };
    vec![
        seed("select", 6, &select("")),
        seed("select-on", 6, &select("a name/that is out of line/b")),
        seed("selected", 7, &selected(Verdict::Looked, 20)),
        seed("selected-none", 7, &selected(Verdict::NoPattern, 0)),
        seed("selected-refused", 7, &selected(Verdict::Refused, 0)),
    ]
}

fn spawn_seeds() -> Vec<(String, Vec<u8>)> {
    let place = Place {
        slot: 2,
        generation: 3,
    };
    let spawn = |name: Option<&str>, kind| Spawn {
        key: "tests.a key that is out of line".to_owned(),
        args_id: 1,
        args_version: 2,
        args_fingerprint: 3,
        args: vec![4; 40],
        name: name.map(str::to_owned),
        core: name.map(|_| 5),
        strategy: Strategy {
            kind,
            pause_min: 6,
            pause_max: 7,
            at_most: name.map(|_| 8),
            within: 9,
            escalates: name.is_some(),
        },
        stand_in: place,
    };
    let spawned = |verdict, made| Spawned {
        verdict,
        reason: "a reason that is out of line".to_owned(),
        made,
    };
    let made = |token| {
        Some(Made {
            child: place,
            guardian: place,
            token,
        })
    };
    let again = spawn(Some("name"), StrategyKind::Restart);
    let tied = spawned(SpawnVerdict::Made, made(Some(place)));
    vec![
        seed("spawn", 8, &spawn(None, StrategyKind::Stop)),
        seed("spawn-named", 8, &again),
        seed("spawned", 9, &spawned(SpawnVerdict::Made, made(None))),
        seed("spawned-tied", 9, &tied),
        seed("spawned-not", 9, &spawned(SpawnVerdict::NoRoom, None)),
    ]
}

fn seed<M: Archivable>(name: &str, choice: u8, message: &M) -> (String, Vec<u8>) {
    let size = measure(message).expect("a seed can be measured");
    let mut bytes = vec![choice; 1 + size];
    encode(message, &mut bytes[1..]).expect("a seed can be encoded");
    (name.to_owned(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_accepted() {
        for (name, bytes) in seeds() {
            let (choice, payload) = bytes.split_first().expect("a seed is not empty");
            let accepted = match choice {
                0 => access::<Tick>(payload).is_ok(),
                1 => access::<Flags>(payload).is_ok(),
                2 => access::<Order>(payload).is_ok(),
                3 => access::<Resolve>(payload).is_ok(),
                4 => access::<Resolved>(payload).is_ok(),
                6 => access::<Select>(payload).is_ok(),
                7 => access::<Selected>(payload).is_ok(),
                8 => access::<Spawn>(payload).is_ok(),
                9 => access::<Spawned>(payload).is_ok(),
                _ => access::<Order>(payload).is_ok(),
            };
            assert!(accepted, "{name}");
        }
    }
}
