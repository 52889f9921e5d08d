//! Links between the cores of a node, where there are no lanes.

use super::*;
use crate::address::Uid;
use crate::frame::{Checksums, FrameError, Head, Parsed, encode, parse_tell, parse_with};
use crate::limits::SLAB_BYTES;
use crate::slab_pool::Reader;

#[test]
fn within_the_process_a_body_above_the_window_passes_one_at_a_time() {
    const LARGE: u32 = 4 * WINDOW;
    let mut pool = SlabPool::with_caps(8 << 20, &[CAP, LARGE]);
    let mut outbound =
        Outbound::within_process((LARGE, CAP), WINDOW.into(), WINDOW, Reader::OtherCore);
    let mut inbound = Inbound::within_process(WINDOW, LARGE + SLAB_BYTES);
    let large = vec![7u8; LARGE as usize];
    let (first, second) = (message(1), message(2));
    outbound.push(&mut pool, tell(&first), &large[..]).unwrap();
    let again = outbound.push(&mut pool, tell(&first), &large[..]);
    assert_eq!(again, Err(PushError::NoCredit), "it is one at a time");
    let small = outbound.push(&mut pool, tell(&second), &large[..1]);
    assert_eq!(small, Err(PushError::NoCredit), "and counts for others");
    let one_over = vec![7u8; LARGE as usize + 1];
    let refused = outbound.push(&mut pool, tell(&first), &one_over[..]);
    let (bytes, limit) = (one_over.len(), LARGE as usize);
    assert_eq!(refused, Err(PushError::TooLarge { bytes, limit }));
    let sent = send(&mut outbound).len();
    inbound.accept(sent).unwrap();
    assert!(
        inbound
            .accept(WINDOW as usize + SLAB_BYTES as usize)
            .is_err()
    );
    let grant = inbound.poll_grant(true).unwrap();
    outbound.handle_grant(grant, &mut pool).unwrap();
    assert!(outbound.is_idle());
    outbound.push(&mut pool, tell(&second), &large[..]).unwrap();
}

fn told_for(message: &MessageType) -> SendHead<'_> {
    SendHead::TellFor {
        message,
        target: TARGET,
        sender: Uid::new(0x0102_0304_0506_0708).unwrap(),
    }
}

/// The frames of a link within the process: what kind, for whom, and the payload.
fn unsealed(mut bytes: &[u8]) -> Vec<(Kind, Option<u64>, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let parsed = parse_with(bytes, CAP, Checksums::Absent, |frame| {
            assert_eq!(
                frame.payload,
                &bytes[frame.payload_offset..frame.wire_bytes]
            );
            let sender = frame.extension.map(|it| it.correlation);
            let read = (frame.header.kind, sender, frame.payload.to_vec());
            (read, frame.wire_bytes)
        });
        let Ok(Parsed::Complete((read, wire_bytes))) = parsed else {
            panic!("not whole frames: {parsed:?}");
        };
        frames.push(read);
        bytes = &bytes[wire_bytes..];
    }
    frames
}

#[test]
fn within_the_process_a_tell_says_for_whom_it_is_told() {
    let (mut pool, first) = (pool(), message(1));
    let mut outbound =
        Outbound::within_process((CAP, CAP), WINDOW.into(), WINDOW, Reader::SameCore);
    // With definitions in front, behind the last frame, without a length, and one that another
    // link would have leave from where it lies.
    let payloads: [&[u8]; 4] = [b"first", b"", &[7; 1000], &[8; 9000]];
    let lead = outbound.positions().tail;
    outbound
        .push(&mut pool, told_for(&first), payloads[0])
        .unwrap();
    let defined = outbound.positions().tail;
    outbound.push_here(told_for(&first), payloads[1]).unwrap();
    assert_eq!(outbound.positions().tail - defined, 32);
    let third = Unmeasured(payloads[2]);
    outbound.push(&mut pool, told_for(&first), &third).unwrap();
    let fourth = bytes::Bytes::from_static(&[8; 9000]);
    outbound
        .push_shared(&mut pool, told_for(&first), &fourth)
        .unwrap();
    outbound.push(&mut pool, tell(&first), &[9][..]).unwrap();
    let sent = send(&mut outbound);
    assert_eq!(outbound.positions().tail - lead, sent.len() as u64);
    let mut frames = unsealed(&sent);
    let plain = frames.pop();
    assert_eq!(plain, Some((Kind::Tell, None, vec![9])));
    let told = frames.split_off(2);
    assert_eq!(frames[0].0, Kind::DefineType);
    let expected = payloads.map(|it| (Kind::Tell, Some(0x0102_0304_0506_0708), it.to_vec()));
    assert_eq!(told, expected);
    let mut given_up = Vec::new();
    outbound.drain_unacknowledged(&mut pool, |it| given_up.push(it.payload.to_vec()));
    assert_eq!(
        given_up[..4],
        payloads,
        "they are walked as they were written"
    );
}

/// The extension counts as a part of the body.
#[test]
fn one_over_the_cap_with_the_extension_is_refused() {
    let (mut pool, first) = (pool(), message(1));
    let mut outbound: Outbound =
        Outbound::within_process((CAP, CAP), WINDOW.into(), WINDOW, Reader::SameCore);
    let fits = vec![7; CAP as usize - 16];
    let one_over = vec![7; CAP as usize - 15];
    let refused = outbound.push(&mut pool, told_for(&first), &one_over[..]);
    let (bytes, limit) = (CAP as usize + 1, CAP as usize);
    assert_eq!(refused, Err(PushError::TooLarge { bytes, limit }));
    let pushed = outbound.push(&mut pool, told_for(&first), &fits[..]);
    assert!(pushed.is_ok());
    let none = Unmeasured(&one_over);
    let refused = outbound.push(&mut pool, told_for(&first), &none);
    assert_eq!(refused, Err(PushError::TooLarge { bytes, limit }));
}

#[test]
fn what_leaves_the_process_is_told_for_nobody_else() {
    let (mut pool, first) = (pool(), message(1));
    let mut outbound = outbound();
    // Its type and target have their numbers.
    outbound.push(&mut pool, tell(&first), &[1][..]).unwrap();
    let before = send(&mut outbound).len();
    let refused = outbound.push(&mut pool, told_for(&first), &[2][..]);
    assert_eq!(refused, Err(PushError::ForAnother));
    assert!(outbound.push_here(told_for(&first), &[2][..]).is_err());
    let shared = bytes::Bytes::from_static(&[3; 9000]);
    let refused = outbound.push_shared(&mut pool, told_for(&first), &shared);
    assert_eq!(refused, Err(PushError::ForAnother));
    assert!(send(&mut outbound).is_empty() && before > 0);
}

/// As a node writes it that breaks the rules: with a right checksum.
#[test]
fn a_tell_for_another_node_that_comes_from_another_process_is_refused() {
    let told = Head {
        kind: Kind::Tell,
        type_number: 1,
        target_number: 1,
        extension: Some(extension(7)),
    };
    let mut bytes = vec![0; told.payload_offset() + 20];
    let length = encode(&mut bytes, &told, &[5; 20]);
    assert_eq!(length, bytes.len());
    let (kind, flags) = (Kind::Tell, 1);
    assert_eq!(parse(&bytes, CAP), Err(FrameError::Flags { kind, flags }));
    assert_eq!(parse_tell(&bytes, CAP, Checksums::Verified), None);
    assert_eq!(parse_tell(&bytes, CAP, Checksums::Absent), None);
    assert_eq!(unsealed(&bytes), [(kind, Some(7), vec![5; 20])]);
    // Within the process it has to be whole, and of a tell.
    for (at, value) in [(0, 15), (8, Kind::Busy as u8), (9, 2), (9, 3), (10, 0)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let parsed = parse_with(&bytes, CAP, Checksums::Absent, |_| ());
        assert!(parsed.is_err(), "{at}: {parsed:?}");
    }
}
