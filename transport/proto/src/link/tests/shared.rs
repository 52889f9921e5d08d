//! Payloads that leave from where they lie.

use bytes::Bytes;

use super::*;
use crate::limits::SLAB_BYTES;
use crate::slab_pool::Reader;

/// Bytes that tell where they stand.
fn payload(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn gather(outbound: &mut Outbound) -> Vec<Piece> {
    let mut pieces = Vec::new();
    outbound.gather(usize::MAX, &mut pieces);
    pieces
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.to_vec()).collect()
}

fn is_shared(piece: &Piece) -> bool {
    matches!(piece, Piece::Shared(_))
}

fn share(outbound: &mut Outbound, slabs: &mut SlabPool, payload: &Bytes) -> u64 {
    let pushed = outbound.push_shared(slabs, tell(&message(1)), payload);
    pushed.unwrap()
}

fn write(outbound: &mut Outbound, slabs: &mut SlabPool, payload: &[u8]) -> u64 {
    let pushed = outbound.push(slabs, tell(&message(1)), payload);
    pushed.unwrap()
}

fn grant(received_to: u64) -> Grant {
    let limit = received_to + u64::from(WINDOW);
    Grant { received_to, limit }
}

#[test]
fn a_shared_payload_leaves_in_the_very_bytes_as_if_it_were_written() {
    let messages = [payload(10), payload(5000), payload(0), payload(70_000)];
    let (mut shared, mut slabs) = (outbound(), pool());
    let (mut written, mut other_slabs) = (outbound(), pool());
    for bytes in &messages {
        let positions = [
            share(&mut shared, &mut slabs, bytes),
            write(&mut written, &mut other_slabs, bytes),
            write(&mut shared, &mut slabs, b"between"),
            write(&mut written, &mut other_slabs, b"between"),
        ];
        assert_eq!(positions[0], positions[1]);
        assert_eq!(positions[2], positions[3]);
    }
    let pieces = gather(&mut shared);
    assert_eq!(joined(&pieces), send(&mut written), "checksums and all");
    for bytes in messages.iter().filter(|bytes| !bytes.is_empty()) {
        let itself = |piece: &&Piece| is_shared(piece) && piece.as_ptr() == bytes.as_ptr();
        assert_eq!(pieces.iter().filter(itself).count(), 1, "it was not copied");
    }
}

#[test]
fn questions_and_answers_are_shared_too() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let bytes = payload(6000);
    let (message, target) = (message(1), TARGET);
    let head = SendHead::Ask {
        message: &message,
        target,
        extension: extension(7),
    };
    outbound.push_shared(&mut slabs, head, &bytes).unwrap();
    let answered = outbound.push_reply_shared(&mut slabs, &message, extension(8), &bytes);
    assert_eq!(answered, Ok(Answered::Written));
    let pieces = gather(&mut outbound);
    assert_eq!(pieces.iter().filter(|piece| is_shared(piece)).count(), 2);
    let sent = joined(&pieces);
    let frames: Vec<_> = frames(&sent)[2..]
        .iter()
        .map(|frame| {
            let correlation = frame.extension.map(|it| it.correlation);
            (frame.header.kind, correlation, frame.payload)
        })
        .collect();
    let expected = [
        (Kind::Ask, Some(7), &bytes[..]),
        (Kind::Reply, Some(8), &bytes[..]),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn a_payload_goes_home_when_it_is_the_peers_and_not_before() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let all: Vec<Bytes> = (0..4).map(|_| payload(5000)).collect();
    let ends: Vec<u64> = all
        .iter()
        .map(|bytes| {
            share(&mut outbound, &mut slabs, bytes);
            outbound.positions().tail
        })
        .collect();
    drop(gather(&mut outbound));
    outbound.handle_sent();
    assert!(all.iter().all(|bytes| !bytes.is_unique()), "they are kept");
    let kept = slabs.stats().in_use_bytes;
    assert_eq!(kept, SLAB_BYTES as usize + 4 * 5000);
    for (count, end) in ends.iter().enumerate().take(3) {
        outbound.handle_grant(grant(end - 1), &mut slabs).unwrap();
        assert!(!all[count].is_unique(), "its last byte is missing");
        outbound.handle_grant(grant(*end), &mut slabs).unwrap();
        assert!(all[count].is_unique() && !all[count + 1].is_unique());
        assert_eq!(slabs.stats().in_use_bytes, kept - (count + 1) * 5000);
    }
    let freed = ack_all(&mut outbound, &mut slabs);
    assert_eq!(freed.messages, 4);
    assert!(all[3].is_unique() && outbound.is_idle());
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

/// A small stream of both kinds, cut at every byte: what leaves again is what left before.
#[test]
fn a_stream_goes_on_at_every_boundary_and_at_no_other_byte() {
    let pushed = |payloads: &[Bytes]| {
        let (mut outbound, mut slabs) = (outbound(), pool());
        for (number, bytes) in payloads.iter().enumerate() {
            if number % 3 == 1 {
                write(&mut outbound, &mut slabs, bytes);
            } else {
                share(&mut outbound, &mut slabs, bytes);
            }
        }
        (outbound, slabs)
    };
    let payloads: Vec<Bytes> = (0..7).map(|number| payload(9 * number)).collect();
    let (mut first, _slabs) = pushed(&payloads);
    let all = send(&mut first);
    drop(first);
    let mut boundaries = vec![0];
    for frame in frames(&all) {
        boundaries.push(boundaries[boundaries.len() - 1] + frame.wire_bytes);
    }
    for position in 0..=all.len() {
        let (mut outbound, mut slabs) = pushed(&payloads);
        send(&mut outbound);
        write(&mut outbound, &mut slabs, b"behind");
        outbound.handle_lost();
        let resumed = outbound.resume(grant(position as u64), &mut slabs);
        if !boundaries.contains(&position) {
            assert!(resumed.is_err(), "{position} lies within a frame");
            continue;
        }
        resumed.unwrap();
        let again = send(&mut outbound);
        let (old, new) = again.split_at(all.len() - position);
        assert_eq!(old, &all[position..], "from {position}");
        assert_eq!(kinds(new), [Kind::Tell]);
        ack_all(&mut outbound, &mut slabs);
        assert_eq!(slabs.stats().in_use_bytes, 0);
    }
    assert!(
        payloads
            .iter()
            .all(|bytes| bytes.is_empty() || bytes.is_unique())
    );
}

#[test]
fn an_ended_link_shows_shared_payloads_and_lets_them_go() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let all: Vec<Bytes> = [5000, 6000, 7000].map(payload).into();
    share(&mut outbound, &mut slabs, &all[0]);
    let acknowledged = outbound.positions().tail;
    share(&mut outbound, &mut slabs, &all[1]);
    write(&mut outbound, &mut slabs, b"written");
    send(&mut outbound);
    share(&mut outbound, &mut slabs, &all[2]);
    outbound
        .handle_grant(grant(acknowledged), &mut slabs)
        .unwrap();
    let mut shown = Vec::new();
    let counted = outbound.drain_unacknowledged(&mut slabs, |lost| {
        shown.push((lost.kind, lost.payload.to_vec(), lost.sent));
    });
    assert_eq!(counted, 1);
    let expected = [
        (Kind::Tell, all[1].to_vec(), true),
        (Kind::Tell, b"written".to_vec(), true),
        (Kind::Tell, all[2].to_vec(), false),
    ];
    assert_eq!(shown, expected);
    assert!(all.iter().all(Bytes::is_unique));
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

#[test]
fn one_over_what_there_is_of_credit_or_memory_is_refused_and_leaves_no_trace() {
    let mut outbound: Outbound = Outbound::new(CAP, 9000, WINDOW);
    let mut slabs = pool();
    let bytes = payload(9000);
    let refused = outbound.push_shared(&mut slabs, tell(&message(1)), &bytes);
    assert_eq!(refused, Err(PushError::NoCredit));
    let long = payload(CAP as usize + 1);
    let refused = outbound.push_shared(&mut slabs, tell(&message(1)), &long);
    assert!(matches!(refused, Err(PushError::TooLarge { .. })));
    outbound.handle_grant(grant(0), &mut slabs).unwrap();
    for budget in [8999, SLAB_BYTES as usize + 8999] {
        let mut slabs = SlabPool::new(budget, CAP);
        let refused = outbound.push_shared(&mut slabs, tell(&message(1)), &bytes);
        assert_eq!(refused, Err(PushError::NoMemory));
        assert_eq!(slabs.stats().in_use_bytes, 0);
        assert!(slabs.is_short());
    }
    assert!(bytes.is_unique() && outbound.is_idle());
    share(&mut outbound, &mut slabs, &bytes);
    let kinds = kinds(&send(&mut outbound));
    assert_eq!(kinds, [Kind::DefineType, Kind::DefineTarget, Kind::Tell]);
}

#[test]
fn a_link_within_the_process_copies() {
    let mut outbound: Outbound =
        Outbound::within_process((CAP, CAP), u64::from(WINDOW), WINDOW, Reader::OtherCore);
    let mut slabs = pool();
    let bytes = payload(5000);
    share(&mut outbound, &mut slabs, &bytes);
    assert!(bytes.is_unique());
    assert!(!gather(&mut outbound).iter().any(is_shared));
}

#[test]
fn what_one_send_takes_is_bounded_however_much_is_shared() {
    let mut outbound: Outbound = Outbound::new(CAP, 1 << 20, 1 << 20);
    let mut slabs = pool();
    let bytes = payload(50_000);
    let mut pushed = 0;
    while outbound
        .push_shared(&mut slabs, tell(&message(1)), &bytes)
        .is_ok()
    {
        pushed += 1;
    }
    let mut sends = 0;
    let mut sent = 0;
    while sent < pushed {
        let mut pieces = Vec::new();
        let taken = outbound.gather(1, &mut pieces);
        outbound.handle_sent();
        assert!(taken <= 5 * SLAB_BYTES as usize, "{taken}");
        sent += pieces.iter().filter(|piece| is_shared(piece)).count();
        sends += 1;
    }
    assert!(sends > 1 && outbound.positions().sent == outbound.positions().tail);
}
