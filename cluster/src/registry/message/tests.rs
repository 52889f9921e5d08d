use proptest::prelude::*;

use super::*;
use crate::membership::testing::uid;
use crate::registry::limits::{KEY_NAME_BYTES_MAX, PART_BYTES_MAX};
use crate::registry::testing::entry;

fn all() -> Vec<(Body, &'static str)> {
    let changes = vec![Change::Put(entry(1, "ab")), Change::Remove(EntryId(2))];
    vec![
        (Body::Check { sum: 3 }, "0300000000000000"),
        (
            Body::Digest {
                is_question: true,
                versions: vec![(uid(4), 5)],
            },
            "01010004000000000000000500000000000000",
        ),
        (
            Body::Ask {
                from: 6,
                after: EntryId(7),
            },
            "06000000000000000700000000000000",
        ),
        (
            Body::Delta {
                from: 1,
                is_to_be_confirmed: true,
                changes,
            },
            "010000000000000001020001010000000000000001050000000000000002616203000700000009000000\
             0000000001000000020200000000000000",
        ),
        (
            Body::Chunk {
                after: EntryId(1),
                is_last: true,
                is_to_be_confirmed: false,
                entries: vec![entry(2, "c")],
            },
            "0100000000000000010001000200000000000000010500000000000000016303000700000009000000\
             0000000001000000",
        ),
        (Body::Confirm { counter: 8 }, "0800000000000000"),
    ]
}

fn message(body: Body) -> Message {
    let (to, latest) = (uid(9), 10);
    Message { to, latest, body }
}

#[test]
fn the_bytes_are_fixed_and_come_back() {
    for (place, (body, golden)) in all().into_iter().enumerate() {
        let message = message(body);
        let bytes = message.to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = 64 + place;
        let golden = format!("{tag:02x}09000000000000000a00000000000000{golden}");
        assert_eq!(hex, golden);
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
        assert!(TAGS.contains(&bytes[0]));
    }
}

#[test]
fn what_ends_anywhere_else_is_refused() {
    for (body, _) in all() {
        let bytes = message(body).to_bytes();
        for end in 0..bytes.len() {
            let cut = Message::from_bytes(&bytes[..end]);
            assert_eq!(cut, Err(CodecError::Length), "at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Message::from_bytes(&longer), Err(CodecError::Length));
        let mut other = bytes;
        other[0] = CONFIRM + 1;
        assert_eq!(Message::from_bytes(&other), Err(CodecError::Unknown));
    }
}

fn refused(body: Body) -> CodecError {
    let bytes = message(body).to_bytes();
    Message::from_bytes(&bytes).expect_err("nobody may say that")
}

#[test]
fn what_no_registry_says_is_refused() {
    let digest = |versions| Body::Digest {
        is_question: false,
        versions,
    };
    let twice = digest(vec![(uid(1), 1), (uid(1), 2)]);
    assert_eq!(refused(twice), CodecError::State);
    for from in [10, u64::MAX] {
        let beyond = Body::Delta {
            from,
            is_to_be_confirmed: false,
            changes: vec![Change::Remove(EntryId(1))],
        };
        assert_eq!(refused(beyond), CodecError::State, "later than the latest");
    }
    let chunk = |after, entries| Body::Chunk {
        after: EntryId(after),
        is_last: false,
        is_to_be_confirmed: false,
        entries,
    };
    let behind = chunk(2, vec![entry(2, "a")]);
    assert_eq!(refused(behind), CodecError::State);
    let backwards = chunk(0, vec![entry(2, "a"), entry(1, "a")]);
    assert_eq!(refused(backwards), CodecError::State);
    assert_eq!(
        refused(chunk(0, vec![])),
        CodecError::State,
        "leads nowhere"
    );
    assert_eq!(refused(chunk(0, vec![entry(0, "a")])), CodecError::Number);
}

#[test]
fn one_over_the_members_is_no_digest() {
    let digest = |count: u64| {
        let versions = (1..=count).map(|it| (uid(it), it)).collect();
        let is_question = true;
        let body = Body::Digest {
            is_question,
            versions,
        };
        Message::from_bytes(&message(body).to_bytes()).map(|_| ())
    };
    assert_eq!(digest(MEMBERS_MAX as u64), Ok(()));
    assert_eq!(digest(MEMBERS_MAX as u64 + 1), Err(CodecError::State));
}

#[test]
fn the_largest_messages_fit_the_control_lane_and_a_count() {
    let room = ringmesh_proto::limits::FRAME_BYTES_CONTROL as usize - 256;
    let digest = 32 + MEMBERS_MAX * 16;
    assert!(digest < room && PART_BYTES_MAX + KEY_NAME_BYTES_MAX + 256 < room);
    let smallest = Change::Remove(EntryId(1)).bytes();
    assert!(PART_BYTES_MAX / smallest <= usize::from(u16::MAX));
}

proptest! {
    #[test]
    fn bytes_that_are_a_message_are_its_one_spelling(
        tag in 60_u8..72,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        bytes.insert(0, tag);
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_message_with_bytes_changed_is_refused_or_another_one(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = message(all()[which].0.clone()).to_bytes();
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }

    #[test]
    fn entries_come_back(
        id in 1_u64..,
        name in "\\PC{1,60}",
        weight in any::<u32>(),
        core in 0_u16..256,
    ) {
        let mut entry = Entry::clone(&entry(id, &name));
        entry.weight = weight;
        entry.place.core.0 = core;
        let change = Change::Put(Arc::new(entry));
        let size = change.bytes();
        let body = Body::Delta { from: 0, is_to_be_confirmed: false, changes: vec![change] };
        let message = message(body);
        let bytes = message.to_bytes();
        prop_assert_eq!(bytes.len(), 28 + size);
        prop_assert_eq!(Message::from_bytes(&bytes), Ok(message));
    }
}
