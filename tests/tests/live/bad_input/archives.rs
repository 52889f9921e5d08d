//! Archives that lie: they come in undamaged frames, and are refused all the same.

use std::mem::offset_of;

use ringmesh_proto::archive::{access, deserialize};
use ringmesh_tests::live::messages::{ArchivedParcel, Content, Parcel};
use ringmesh_tests::live::raw::frames as make;
use ringmesh_tests::live::seed;
use ringmesh_tests::live::watched::Watched;

use super::link_for;

const LABEL: &str = "a label that lies out of line";

fn parcel() -> Parcel {
    Parcel {
        label: LABEL.to_owned(),
        weights: vec![1, 2, 3],
        note: Some("a note that lies out of line".to_owned()),
        content: Content::Books(vec![4, 5]),
        fragile: true,
        letter: 'ß',
    }
}

/// The archive of [`parcel`], changed.
struct Forgery {
    bytes: Vec<u8>,
}

impl Forgery {
    fn new() -> Self {
        Self {
            bytes: make::archived(&parcel()),
        }
    }

    /// Overwrites bytes at an offset of the root, which stands at the end.
    fn at(mut self, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let start = self.bytes.len() - size_of::<ArchivedParcel>() + offset;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.bytes
    }

    /// Overwrites the first byte of a text.
    fn in_text(mut self, text: &str, byte: u8) -> Vec<u8> {
        let windows = self.bytes.windows(text.len());
        let start = windows
            .enumerate()
            .find(|(_, window)| *window == text.as_bytes());
        let (start, _) = start.expect("the text is in the archive");
        self.bytes[start] = byte;
        self.bytes
    }
}

/// Offset, and then length, of an archived vector; a text has its length first.
const LABEL_LENGTH: usize = offset_of!(ArchivedParcel, label);
const LABEL_OFFSET: usize = LABEL_LENGTH + 4;
const WEIGHTS_OFFSET: usize = offset_of!(ArchivedParcel, weights);
const WEIGHTS_LENGTH: usize = WEIGHTS_OFFSET + 4;
const NOTE_TAG: usize = offset_of!(ArchivedParcel, note);
const CONTENT_TAG: usize = offset_of!(ArchivedParcel, content);
const CONTENT_OFFSET: usize = CONTENT_TAG + 1;
const CONTENT_LENGTH: usize = CONTENT_OFFSET + 4;
const FRAGILE: usize = offset_of!(ArchivedParcel, fragile);
const LETTER: usize = offset_of!(ArchivedParcel, letter);

fn forgeries() -> Vec<(&'static str, Vec<u8>)> {
    let at = |offset, bytes: &[u8]| Forgery::new().at(offset, bytes);
    let number = |offset, value: i32| at(offset, &value.to_le_bytes());
    let whole = Forgery::new().bytes;
    vec![
        ("a text far behind the end", number(LABEL_OFFSET, i32::MAX)),
        (
            "a text far before the start",
            number(LABEL_OFFSET, i32::MIN),
        ),
        (
            "a text just before the start",
            number(LABEL_OFFSET, -(whole.len() as i32)),
        ),
        ("a text in the root", number(LABEL_OFFSET, 0)),
        (
            "a text without an end",
            number(LABEL_LENGTH, i32::from_le_bytes([0xbf, 0xff, 0xff, 0xff])),
        ),
        (
            "a vector far behind the end",
            number(WEIGHTS_OFFSET, i32::MAX),
        ),
        (
            "a vector far before the start",
            number(WEIGHTS_OFFSET, i32::MIN),
        ),
        ("a vector in the root", number(WEIGHTS_OFFSET, 0)),
        ("a vector of one more", number(WEIGHTS_LENGTH, 1 << 20)),
        ("a vector whose bytes overflow", number(WEIGHTS_LENGTH, -1)),
        (
            "a vector whose bytes wrap around",
            number(WEIGHTS_LENGTH, 0x4000_0001),
        ),
        ("an option that is neither", at(NOTE_TAG, &[7])),
        ("an enum without that variant", at(CONTENT_TAG, &[9])),
        ("an enum's data far away", number(CONTENT_OFFSET, i32::MIN)),
        (
            "an enum's data without end",
            number(CONTENT_LENGTH, i32::MAX),
        ),
        ("a flag of two", at(FRAGILE, &[2])),
        (
            "half of a surrogate pair",
            at(LETTER, &0xd800_u32.to_le_bytes()),
        ),
        (
            "a letter beyond the last",
            at(LETTER, &0x0011_0000_u32.to_le_bytes()),
        ),
        (
            "a text that is not UTF-8",
            Forgery::new().in_text(LABEL, 0xff),
        ),
        (
            "a text that begins in a letter",
            Forgery::new().in_text("a note", 0x80),
        ),
        ("nothing", Vec::new()),
        (
            "less than a root",
            whole[1 + whole.len() - size_of::<ArchivedParcel>()..].to_vec(),
        ),
        ("without its first byte", whole[1..].to_vec()),
        ("without its last byte", whole[..whole.len() - 1].to_vec()),
    ]
}

#[test]
fn a_hostile_archive_is_closed_and_never_delivered() {
    let watched = Watched::start();
    let target = watched.sink();
    let forgeries = forgeries();
    let count = forgeries.len() as u64;
    for (what, payload) in forgeries {
        assert!(
            access::<Parcel>(&payload).is_err(),
            "{what} is a good archive"
        );
        let mut peer = link_for::<Parcel>(&watched, target);
        let ending = watched.closes_one("archive", || {
            peer.send(&make::tell_bytes(&payload));
            peer.ending()
        });
        assert!(
            ending.after < std::time::Duration::from_secs(2),
            "{what}: {ending:?}"
        );
    }
    let counters = watched.node.counters();
    assert_eq!(
        (counters.dead_invalid, counters.panics),
        (count, 0),
        "{counters:?}"
    );
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn a_hostile_question_is_closed_too() {
    let watched = Watched::start();
    let target = watched.sink();
    let (_, payload) = forgeries().swap_remove(0);
    watched.closes_one("archive", || {
        let mut peer = link_for::<Parcel>(&watched, target);
        let mut question = make::ask(&parcel(), 1);
        let payload_offset = question.len() - payload.len();
        question[payload_offset..].copy_from_slice(&payload);
        make::reseal(&mut question);
        peer.send(&question);
        peer.ending()
    });
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn what_noise_makes_of_an_archive_is_delivered_as_it_reads_or_closed() {
    let mut random = seed::generator();
    let watched = Watched::start();
    let target = watched.sink();
    let good = make::archived(&parcel());
    let mut expected = ringmesh_tests::live::messages::Account::default();
    let mut refused = 0;
    for _ in 0..300 {
        let mut payload = good.clone();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..payload.len());
            let any = random.u8(..);
            let values = [0, 1, 0x7f, 0x80, 0xff, any];
            payload[place] = values[random.usize(..values.len())];
        }
        let mut peer = link_for::<Parcel>(&watched, target);
        let frame = make::tell_bytes(&payload);
        peer.send(&frame);
        match access::<Parcel>(&payload).map(deserialize::<Parcel>) {
            Ok(parcel) => {
                expected.note_parcel(&format!("{parcel:?}"));
                peer.granted((make::definitions::<Parcel>(target).len() + frame.len()) as u64);
            }
            Err(_) => {
                refused += 1;
                peer.ending();
            }
        }
    }
    let counters = watched.node.counters();
    assert_eq!(
        (counters.dead_invalid, counters.panics),
        (refused, 0),
        "{counters:?}"
    );
    assert_eq!(watched.account(), expected);
    assert!(
        refused > 0 && expected.count > 0,
        "{refused} refused, {expected:?}"
    );
    watched.saw_nothing();
}
