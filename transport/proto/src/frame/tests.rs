use proptest::prelude::*;

use super::body::*;
use super::*;
use crate::address::{Address, CoreId, Uid};
use crate::kind::Kind;
use crate::limits::{
    FRAME_BYTES_BEFORE_ACCEPT, HELLO_BYTES_MAX, REFUSE_TEXT_BYTES_MAX, SYSTEM_BODY_BYTES_MAX,
    TARGET_NUMBER_MAX, TYPE_NUMBER_MAX,
};
use crate::link::Target;
use crate::message::{MessageId, MessageType};

const CAP: u32 = 256 << 10;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame from its head and payload.
fn bytes_of(head: &Head, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + payload.len()];
    let length = encode(&mut bytes, head, payload);
    bytes.truncate(length);
    bytes
}

/// A frame from a body type's `encode`.
fn written(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; 128];
    let length = encode(&mut bytes);
    bytes.truncate(length);
    bytes
}

fn appended(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    match parse(bytes, CAP) {
        Ok(Parse::Complete(frame)) if frame.wire_bytes == bytes.len() => frame,
        other => panic!("not one frame: {other:?}"),
    }
}

fn extension() -> Extension {
    Extension {
        correlation: 0x0807_0605_0403_0201,
        remaining_us: 0x0C0B_0A09,
        code: 0,
    }
}

fn head(kind: Kind) -> Head {
    let shape = kind.shape();
    Head {
        kind,
        type_number: shape.type_number.0.max(shape.type_number.1 / 2),
        target_number: shape.target_number.0.max(shape.target_number.1 / 2),
        extension: kind.has_extension().then(extension),
    }
}

fn definition() -> DefineType {
    DefineType {
        number: 2,
        message: MessageType {
            id: MessageId::from_u64(0x1111_2222_3333_4444),
            version: 5,
            fingerprint: 0x6666_7777_8888_9999,
        },
    }
}

fn offer() -> Offer {
    Offer {
        body_cap: CAP,
        limit: 1 << 20,
        features: 0,
        link: 0x77,
        received_to: None,
        cores: 4,
        links_max: 64,
    }
}

fn address(host: &str) -> Address {
    Address::new("demo", host, 2552).unwrap()
}

fn hello() -> Hello {
    Hello {
        from: address("10.0.0.1"),
        to: address("::1"),
        offer: offer(),
    }
}

fn accept() -> Accept {
    Accept {
        from: address("::1"),
        to: address("10.0.0.1"),
        offer: Offer {
            received_to: Some(0x99),
            ..offer()
        },
        uid: Uid::new(7).unwrap(),
        nonce: 9,
    }
}

fn refuse() -> Refuse {
    Refuse {
        reason: RefuseReason::Cluster,
        text: "no".to_owned(),
    }
}

fn watch() -> System {
    System::Watch {
        watch: Watch {
            watched: 0x0A0B_0C0D,
            watcher: 0x0102,
        },
        watcher_core: CoreId(3),
        core: CoreId(4),
        slot: 5,
    }
}

/// One frame of every kind.
fn all_kinds() -> [Vec<u8>; 19] {
    let target = Target {
        slot: 3,
        generation: 0x0A0B_0C0D,
    };
    let message = |kind| Head {
        type_number: 2,
        target_number: if kind == Kind::Reply { 0 } else { 0x1_0000 },
        ..head(kind)
    };
    let error = Head {
        extension: Some(Extension {
            correlation: 1,
            remaining_us: 0,
            code: ErrorCode::Overloaded.to_wire(),
        }),
        ..Head::plain(Kind::Error)
    };
    let notice = |busy| Notice {
        target_number: 4,
        busy,
    };
    let grant = Grant {
        received_to: 0x100,
        limit: 0x10_0100,
    };
    [
        bytes_of(&message(Kind::Tell), b"payload"),
        bytes_of(&message(Kind::Ask), b"question"),
        bytes_of(&message(Kind::Reply), b"answer"),
        bytes_of(&error, b""),
        bytes_of(&head(Kind::Cancel), b""),
        written(|into| definition().encode(into)),
        written(|into| DefineTarget { number: 1, target }.encode(into)),
        written(|into| grant.encode(into)),
        written(|into| notice(true).encode(into)),
        written(|into| notice(false).encode(into)),
        appended(|into| hello().encode(into)),
        appended(|into| accept().encode(into)),
        appended(|into| refuse().encode(into)),
        written(|into| Ping { nonce: 0x55 }.encode(into)),
        written(|into| Pong { nonce: 0x55 }.encode(into)),
        written(|into| {
            Bye {
                reason: ByeReason::Stopping,
            }
            .encode(into)
        }),
        written(|into| Rest.encode(into)),
        written(|into| watch().encode(into)),
        bytes_of(&Head::plain(Kind::Cluster), b"gossip"),
    ]
}

#[test]
fn golden_bytes_of_every_kind() {
    for ((kind, bytes), golden) in Kind::ALL.into_iter().zip(all_kinds()).zip(GOLDEN) {
        assert_eq!(hex(&bytes), golden, "{kind:?}");
        assert_eq!(whole(&bytes).header.kind, kind);
    }
}

#[test]
fn frames_come_back_as_they_were() {
    let bytes = bytes_of(&head(Kind::Ask), b"question");
    let frame = whole(&bytes);
    assert_eq!(frame.extension, Some(extension()));
    assert_eq!(
        (frame.payload, frame.payload_offset),
        (&b"question"[..], 32)
    );
    assert_eq!(
        (frame.header.body_bytes, frame.header.type_number),
        (24, 2048)
    );
    assert_eq!(frame.header.target_number, 32_768);
    assert_eq!(frame.header.wire_bytes(), 40);
}

#[test]
fn bodies_come_back_as_they_were() {
    let bytes = all_kinds();
    let frame = |kind: Kind| whole(&bytes[usize::from(kind.to_wire()) - 1]);
    assert_eq!(
        DefineType::parse(&frame(Kind::DefineType)),
        Ok(definition())
    );
    let target = DefineTarget::parse(&frame(Kind::DefineTarget)).unwrap();
    assert_eq!((target.number, target.target.slot), (1, 3));
    assert_eq!(target.target.generation, 0x0A0B_0C0D);
    let grant = Grant::parse(&frame(Kind::Grant)).unwrap();
    assert_eq!((grant.received_to, grant.limit), (0x100, 0x10_0100));
    for (kind, busy) in [(Kind::Busy, true), (Kind::Ready, false)] {
        let notice = Notice::parse(&frame(kind)).unwrap();
        assert_eq!((notice.target_number, notice.busy), (4, busy));
    }
    assert_eq!(Hello::parse(&frame(Kind::Hello)), Ok(hello()));
    assert_eq!(Accept::parse(&frame(Kind::Accept)), Ok(accept()));
    assert_eq!(Refuse::parse(&frame(Kind::Refuse)), Ok(refuse()));
    assert_eq!(Ping::parse(&frame(Kind::Ping)), Ok(Ping { nonce: 0x55 }));
    assert_eq!(Pong::parse(&frame(Kind::Pong)), Ok(Pong { nonce: 0x55 }));
    let bye = Bye::parse(&frame(Kind::Bye)).unwrap();
    assert_eq!(bye.reason, ByeReason::Stopping);
    assert_eq!(Rest::parse(&frame(Kind::Rest)), Ok(Rest));
    assert_eq!(System::parse(&frame(Kind::System)), Ok(watch()));
}

#[test]
fn golden_bytes_of_what_a_quarantine_and_a_client_say() {
    let bye = |reason| written(|into| Bye { reason }.encode(into));
    let refuse = |reason| {
        let text = "no".to_owned();
        appended(|into| Refuse { reason, text }.encode(into))
    };
    let said = [
        bye(ByeReason::Quarantined),
        refuse(RefuseReason::Quarantined),
        refuse(RefuseReason::Role),
        refuse(RefuseReason::AddressInUse),
    ];
    assert_eq!(said.each_ref().map(|bytes| hex(bytes)), GOLDEN_OF_OTHERS);
    let bye = Bye::parse(&whole(&said[0])).unwrap();
    assert_eq!(bye.reason, ByeReason::Quarantined);
    let refuse = Refuse::parse(&whole(&said[1])).unwrap();
    assert_eq!(refuse.reason, RefuseReason::Quarantined);
    let refuse = Refuse::parse(&whole(&said[2])).unwrap();
    assert_eq!(refuse.reason, RefuseReason::Role);
    let refuse = Refuse::parse(&whole(&said[3])).unwrap();
    assert_eq!(refuse.reason, RefuseReason::AddressInUse);
}

const GOLDEN_OF_OTHERS: [&str; 4] = [
    "02000000005e4d2510000000000000000200",
    "04000000c8a3467a0d0000000000000012006e6f",
    "04000000adc4fac20d0000000000000013006e6f",
    "0400000014fc2d5f0d0000000000000014006e6f",
];

#[test]
fn numbers_of_codes_and_reasons_are_their_own() {
    for number in 0..64 {
        let code = ErrorCode::from_wire(number);
        assert!(code.to_wire() == number || code == ErrorCode::Other);
        let number = number as u16;
        let reason = RefuseReason::from_wire(number);
        assert!(reason.to_wire() == number || reason == RefuseReason::Other);
    }
    assert_eq!(
        RefuseReason::from_wire(RefuseReason::Collision.to_wire()),
        RefuseReason::Collision
    );
    assert_eq!(
        ErrorCode::from_wire(ErrorCode::Stopping.to_wire()),
        ErrorCode::Stopping
    );
}

#[test]
fn bodies_that_end_early_or_late_are_refused() {
    for kind in [Kind::Hello, Kind::Accept] {
        let bytes = &all_kinds()[usize::from(kind.to_wire()) - 1];
        let body = whole(bytes).payload;
        for length in 0..=body.len() + 1 {
            let mut cut = body.to_vec();
            cut.resize(length, 0);
            let bytes = bytes_of(&Head::plain(kind), &cut);
            let frame = whole(&bytes);
            let parsed = match kind {
                Kind::Hello => Hello::parse(&frame).map(|_| ()),
                _ => Accept::parse(&frame).map(|_| ()),
            };
            assert_eq!(
                parsed.is_ok(),
                length == body.len(),
                "{kind:?} of {length} bytes"
            );
        }
    }
}

#[test]
fn hostile_texts_are_refused_or_made_harmless() {
    let body = whole(&all_kinds()[10]).payload.to_vec();
    for (find, put, error) in [
        (&b"demo"[..], &b"de\xFFo"[..], BodyError::Text),
        (b"demo", b"d/mo", BodyError::Address),
        (b"10.0.0.1", b"10.0.0 1", BodyError::Address),
        (b"10.0.0.1", b"TEN.0.01", BodyError::Address),
    ] {
        let mut body = body.clone();
        let at = body
            .windows(find.len())
            .position(|window| window == find)
            .unwrap();
        body[at..at + put.len()].copy_from_slice(put);
        let bytes = bytes_of(&Head::plain(Kind::Hello), &body);
        assert_eq!(Hello::parse(&whole(&bytes)), Err(error));
    }
    let bytes = bytes_of(&Head::plain(Kind::Refuse), b"\x04\0a\nb\x1b[0m");
    assert_eq!(Refuse::parse(&whole(&bytes)).unwrap().text, "a b [0m");
}

#[test]
fn one_over_the_longest_text_of_a_refusal_is_cut_off_and_never_taken() {
    let text_sent = |text: String| {
        let reason = RefuseReason::Other;
        let bytes = appended(|into| Refuse { reason, text }.encode(into));
        Refuse::parse(&whole(&bytes)).unwrap().text
    };
    let longest = "x".repeat(REFUSE_TEXT_BYTES_MAX);
    assert_eq!(text_sent(longest.clone()), longest);
    assert_eq!(text_sent(longest.clone() + "y"), longest);
    // A letter that the limit would halve is left out.
    let letters = text_sent("\u{e9}".repeat(REFUSE_TEXT_BYTES_MAX));
    assert_eq!(letters.len(), REFUSE_TEXT_BYTES_MAX - 1);
    let over = vec![b'x'; 2 + REFUSE_TEXT_BYTES_MAX + 1];
    let kind = Kind::Refuse;
    let bytes = over.len() as u32;
    assert_eq!(
        parse(&bytes_of(&Head::plain(kind), &over), CAP),
        Err(FrameError::BodyLength { kind, bytes })
    );
}

#[test]
fn one_over_the_longest_system_body_is_refused() {
    let kind = Kind::System;
    let length = |bytes: u32| bytes_of(&Head::plain(kind), &vec![0; bytes as usize]);
    assert!(parse(&length(SYSTEM_BODY_BYTES_MAX), CAP).is_ok());
    let bytes = SYSTEM_BODY_BYTES_MAX + 1;
    let refused = FrameError::BodyLength { kind, bytes };
    assert_eq!(parse(&length(bytes), CAP), Err(refused));
}

#[test]
fn the_longest_hello_fits_before_accept() {
    let system = "s".repeat(64);
    let host = "h".repeat(255);
    let longest = Address::new(&system, &host, 65_535).unwrap();
    let accept = Accept {
        from: longest.clone(),
        to: longest,
        ..accept()
    };
    let bytes = appended(|into| accept.encode(into));
    assert!(bytes.len() - 16 <= HELLO_BYTES_MAX);
    match parse(&bytes, FRAME_BYTES_BEFORE_ACCEPT) {
        Ok(Parse::Complete(frame)) => assert_eq!(Accept::parse(&frame), Ok(accept)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_over_the_longest_hello_is_refused() {
    for kind in [Kind::Hello, Kind::Accept] {
        let frame = |length| bytes_of(&Head::plain(kind), &vec![0; length]);
        assert!(parse(&frame(HELLO_BYTES_MAX), CAP).is_ok());
        let bytes = HELLO_BYTES_MAX as u32 + 1;
        assert_eq!(
            parse(&frame(HELLO_BYTES_MAX + 1), CAP),
            Err(FrameError::BodyLength { kind, bytes })
        );
    }
}

/// Puts `value` at `offset` of a frame and makes its checksum right again.
fn forged(mut bytes: Vec<u8>, offset: usize, value: u8) -> Vec<u8> {
    bytes[offset] = value;
    seal(&mut bytes);
    bytes
}

#[test]
fn each_field_out_of_range_is_named() {
    let tell = bytes_of(&head(Kind::Tell), b"payload");
    let kind = Kind::Tell;
    let cases = [
        (8, 0, FrameError::UnknownKind(0)),
        (8, 20, FrameError::UnknownKind(20)),
        (8, 255, FrameError::UnknownKind(255)),
        (9, 1, FrameError::Flags { kind, flags: 1 }),
        (9, 0x80, FrameError::Flags { kind, flags: 0x80 }),
        (
            11,
            0x10 + 8,
            FrameError::TypeNumber {
                kind,
                number: 0x1800,
            },
        ),
        (
            15,
            1,
            FrameError::TargetNumber {
                kind,
                number: 0x0100_8000,
            },
        ),
    ];
    for (offset, value, expected) in cases {
        let bytes = forged(tell.clone(), offset, value);
        assert_eq!(parse(&bytes, CAP), Err(expected));
        assert!(!expected.label().is_empty());
    }
    let ask = forged(bytes_of(&head(Kind::Ask), b""), 9, 0);
    assert!(matches!(
        parse(&ask, CAP),
        Err(FrameError::Flags { flags: 0, .. })
    ));
}

#[test]
fn one_over_each_number_is_refused() {
    for (kind, type_number, target_number) in [
        (Kind::Tell, TYPE_NUMBER_MAX, TARGET_NUMBER_MAX),
        (Kind::Reply, TYPE_NUMBER_MAX, 0),
        (Kind::Cancel, 0, 0),
        (Kind::Ping, 0, 0),
        (Kind::Busy, 0, TARGET_NUMBER_MAX),
    ] {
        let fits = Head {
            type_number,
            target_number,
            ..head(kind)
        };
        let payload = vec![0; kind.shape().body_min as usize % 16];
        assert!(parse(&bytes_of(&fits, &payload), CAP).is_ok(), "{kind:?}");
        let over = Head {
            type_number: type_number + 1,
            ..fits
        };
        assert!(parse(&bytes_of(&over, &payload), CAP).is_err(), "{kind:?}");
        let over = Head {
            target_number: target_number + 1,
            ..fits
        };
        assert!(parse(&bytes_of(&over, &payload), CAP).is_err(), "{kind:?}");
    }
    for kind in [Kind::Tell, Kind::Ask] {
        let none = Head {
            type_number: 0,
            ..head(kind)
        };
        assert!(matches!(
            parse(&bytes_of(&none, b""), CAP),
            Err(FrameError::TypeNumber { .. })
        ));
    }
}

#[test]
fn declared_lengths_are_judged_before_anything_follows() {
    for declared in [CAP + 1, i32::MAX as u32, u32::MAX] {
        let bytes = declared.to_le_bytes();
        assert_eq!(
            parse(&bytes, CAP),
            Err(FrameError::TooLong { declared, cap: CAP })
        );
        let mut assembler = Assembler::default();
        let pushed = assembler.push(&bytes, CAP);
        assert_eq!(pushed, Err(FrameError::TooLong { declared, cap: CAP }));
        assert!(assembler.len() <= 4);
    }
    for declared in [0, 1, CAP] {
        let needed = 16 + declared as usize;
        let mut bytes = declared.to_le_bytes().to_vec();
        assert_eq!(parse(&bytes, CAP), Ok(Parse::Incomplete { needed: 16 }));
        bytes.resize(15, 0);
        assert_eq!(parse(&bytes, CAP), Ok(Parse::Incomplete { needed: 16 }));
        if declared > 0 {
            bytes.resize(16, 0);
            assert_eq!(parse(&bytes, CAP), Ok(Parse::Incomplete { needed }));
        }
    }
    // No frame is empty of all fields: length 0 alone is a bad checksum.
    assert_eq!(parse(&[0; 16], CAP), Err(FrameError::Checksum));
}

#[test]
fn the_largest_body_passes_and_one_more_byte_does_not() {
    let mut payload = vec![7; CAP as usize];
    let bytes = bytes_of(&head(Kind::Tell), &payload);
    assert_eq!(whole(&bytes).payload, payload);
    payload.push(7);
    let bytes = bytes_of(&head(Kind::Tell), &payload);
    assert!(matches!(
        parse(&bytes, CAP),
        Err(FrameError::TooLong { .. })
    ));
}

#[test]
fn one_over_the_cap_before_accept_is_refused_from_its_length() {
    let cap = FRAME_BYTES_BEFORE_ACCEPT;
    assert!(matches!(
        parse(&cap.to_le_bytes(), cap),
        Ok(Parse::Incomplete { .. })
    ));
    let declared = cap + 1;
    assert_eq!(
        parse(&declared.to_le_bytes(), cap),
        Err(FrameError::TooLong { declared, cap })
    );
}

/// Reads `bytes` as a tell, and as any frame: both say the same of a tell.
fn check_tell(bytes: &[u8], cap: u32) -> Option<Tell> {
    let told = parse_tell(bytes, cap, Checksums::Verified);
    let expected = match parse(bytes, cap) {
        Ok(Parse::Complete(frame)) if frame.header.kind == Kind::Tell => Some(Tell {
            type_number: frame.header.type_number,
            target_number: frame.header.target_number,
            wire_bytes: frame.wire_bytes,
        }),
        _ => None,
    };
    assert_eq!(told, expected, "{}", hex(bytes));
    told
}

#[test]
fn a_tell_is_read_by_itself_where_it_is_read_among_all_frames() {
    for (kind, bytes) in Kind::ALL.into_iter().zip(all_kinds()) {
        assert_eq!(check_tell(&bytes, CAP).is_some(), kind == Kind::Tell);
        (0..bytes.len()).for_each(|end| assert_eq!(check_tell(&bytes[..end], CAP), None));
    }
    let numbers = [0, 1, TYPE_NUMBER_MAX, TYPE_NUMBER_MAX + 1].map(u32::from);
    let targets = [0, 1, TARGET_NUMBER_MAX, TARGET_NUMBER_MAX + 1];
    for (type_number, target_number) in numbers.into_iter().zip(targets) {
        let head = Head {
            type_number: u16::try_from(type_number).unwrap(),
            target_number,
            ..head(Kind::Tell)
        };
        let bytes = bytes_of(&head, b"payload");
        let is_one = (1..=TARGET_NUMBER_MAX).contains(&target_number);
        assert_eq!(check_tell(&bytes, CAP).is_some(), is_one);
        assert!(check_tell(&bytes, 7).is_some() == is_one && check_tell(&bytes, 6).is_none());
    }
}

#[test]
fn no_flipped_bit_is_delivered() {
    for bytes in all_kinds() {
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check_tell(&flipped, CAP);
            match parse(&flipped, CAP) {
                Ok(Parse::Complete(frame)) => panic!("bit {bit} was flipped: {frame:?}"),
                // A longer length within the cap: the wait is bounded, and ends in an error.
                Ok(Parse::Incomplete { needed }) => {
                    assert!(bit < 32 && needed > bytes.len() && needed <= CAP as usize + 16);
                    flipped.resize(needed, 0xA5);
                    assert_eq!(parse(&flipped, CAP), Err(FrameError::Checksum));
                }
                Err(_) => {}
            }
        }
    }
}

/// Feeds a stream in pieces that end where `ends` says, as a receiver does: in place while frames
/// are whole, through the assembler when they are not.
fn receive(stream: &[u8], ends: &[usize]) -> Vec<(Header, Option<Extension>, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut assembler = Assembler::default();
    let mut start = 0;
    for &end in ends.iter().chain([&stream.len()]) {
        let mut piece = &stream[start..end];
        start = end;
        while !piece.is_empty() {
            if assembler.is_empty()
                && let Parse::Complete(frame) = parse(piece, CAP).unwrap()
            {
                frames.push((frame.header, frame.extension, frame.payload.to_vec()));
                piece = &piece[frame.wire_bytes..];
                continue;
            }
            piece = &piece[assembler.push(piece, CAP).unwrap()..];
            if let Parse::Complete(frame) = assembler.parse(CAP).unwrap() {
                frames.push((frame.header, frame.extension, frame.payload.to_vec()));
                assembler.clear();
            }
        }
    }
    assert!(assembler.is_empty());
    assembler.release();
    frames
}

#[test]
fn every_split_gives_the_same_frames() {
    let stream = all_kinds().concat();
    let frames = receive(&stream, &[]);
    assert_eq!(frames.len(), Kind::ALL.len());
    for first in 0..stream.len() {
        assert_eq!(receive(&stream, &[first]), frames, "split at {first}");
    }
    let each: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(receive(&stream, &each), frames, "byte by byte");
}

#[test]
fn incomplete_frames_never_ask_for_less_than_they_need() {
    for bytes in all_kinds() {
        for length in 0..bytes.len() {
            match parse(&bytes[..length], CAP) {
                Ok(Parse::Incomplete { needed }) => {
                    let expected = if length < 16 { 16 } else { bytes.len() };
                    assert_eq!(needed, expected);
                }
                other => panic!("{length} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn an_assembler_grows_by_what_arrives_and_not_by_what_is_declared() {
    let mut assembler = Assembler::default();
    assert_eq!(assembler.push(&CAP.to_le_bytes(), CAP), Ok(4));
    assert_eq!(assembler.push(&[1; 96], CAP), Ok(96));
    assert!(assembler.capacity() <= 200, "{}", assembler.capacity());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        check_tell(&bytes, CAP);
        if let Ok(Parse::Complete(frame)) = parse(&bytes, CAP) {
            prop_assert!(frame.wire_bytes <= bytes.len());
        }
    }

    #[test]
    fn random_bodies_never_panic(
        kind in 1..=17u8,
        body in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        // With a right checksum and header, so that the body itself is reached.
        let kind = Kind::from_wire(kind).unwrap();
        let shape = kind.shape();
        let mut body = body;
        let extension_bytes = kind.payload_offset() - 16;
        let least = shape.body_min as usize - extension_bytes;
        let most = (shape.body_max as usize - extension_bytes).min(600);
        body.resize(body.len().clamp(least, most), 0);
        let bytes = bytes_of(&head(kind), &body);
        let frame = whole(&bytes);
        let _ = (DefineType::parse(&frame), DefineTarget::parse(&frame), Grant::parse(&frame));
        let _ = (Hello::parse(&frame), Accept::parse(&frame), Refuse::parse(&frame));
        let _ = (Ping::parse(&frame), Pong::parse(&frame), Bye::parse(&frame));
        let _ = (Notice::parse(&frame), Rest::parse(&frame));
    }

    #[test]
    fn random_streams_survive_random_splits(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let kinds = [Kind::Tell, Kind::Ask, Kind::Reply];
        let stream: Vec<u8> = payloads
            .iter()
            .zip(kinds.into_iter().cycle())
            .flat_map(|(payload, kind)| bytes_of(&head(kind), payload))
            .collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.sort_unstable();
        let frames = receive(&stream, &ends);
        let received: Vec<_> = frames.into_iter().map(|(_, _, payload)| payload).collect();
        prop_assert_eq!(received, payloads);
    }
}

/// Computed from the layout by another program, in the order of the kinds.
const GOLDEN: [&str; 19] = [
    "07000000af8daa8101000200000001007061796c6f6164",
    "18000000de02d01802010200000001000102030405060708090a0b0c00000000\
     7175657374696f6e",
    "160000009a160adb03010200000000000102030405060708090a0b0c00000000\
     616e73776572",
    "1000000011b3ecf0040100000000000001000000000000000000000005000000",
    "100000004d85536f05010000000000000102030405060708090a0b0c00000000",
    "14000000a81cc8fa060002000000000044443333222211110500000099998888\
     77776666",
    "0c000000f41aaa5c0700000001000000030000000d0c0b0a00000000",
    "1000000040487855080000000000000000010000000000000001100000000000",
    "00000000134af8eb0900000004000000",
    "00000000f04d77650a00000004000000",
    "45000000cfe8c54c0b0000000000000000000400000010000000000000000000\
     000000007700000000000000ffffffffffffffff0400400000000464656d6f08\
     31302e302e302e31f8090464656d6f033a3a31f809",
    "550000009a0eb6b00c0000000000000000000400000010000000000000000000\
     0000000077000000000000009900000000000000040040000000070000000000\
     000009000000000000000464656d6f033a3a31f8090464656d6f0831302e302e\
     302e31f809",
    "040000008bab340f0d0000000000000004006e6f",
    "0800000036464aaf0e000000000000005500000000000000",
    "08000000a7d722010f000000000000005500000000000000",
    "02000000c30d600e10000000000000000100",
    "00000000daf7c4cb1100000000000000",
    "1900000096c6436c1200000000000000010d0c0b0a0000000002010000000000\
     000300040005000000",
    "06000000a8cd20b61300000000000000676f73736970",
];
