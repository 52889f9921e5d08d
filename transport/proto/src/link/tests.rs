mod busy;
mod closing;
mod forming;
mod here;
mod model;
mod resuming;
mod shared;
mod system;
mod within_process;

use super::*;
use crate::archive::EncodeError;
use crate::frame::body::{ByeReason, DefineTarget, DefineType, ErrorCode, Grant, Notice, Pong};
use crate::frame::{Extension, Frame, Parse, parse};
use crate::kind::Kind;
use crate::limits::{
    ASKS_OUTSTANDING_MAX, DEFERRED_WINDOWS, NOTICES_MAX, TARGET_NUMBER_MAX, TYPE_NUMBER_MAX,
    WINDOW_BYTES, window_bytes_min,
};
use crate::message::{MessageId, MessageType};
use crate::piece::Piece;
use crate::slab_pool::SlabPool;

const CAP: u32 = 128 << 10;
const WINDOW: u32 = 256 << 10;
const TARGET: Target = Target {
    slot: 1,
    generation: 2,
};

fn message(id: u64) -> MessageType {
    MessageType {
        id: MessageId::from_u64(id),
        version: 1,
        fingerprint: 3,
    }
}

fn tell(message: &MessageType) -> SendHead<'_> {
    SendHead::Tell {
        message,
        target: TARGET,
    }
}

fn pool() -> SlabPool {
    SlabPool::new(4 << 20, CAP)
}

fn outbound() -> Outbound {
    Outbound::new(CAP, u64::from(WINDOW), WINDOW)
}

fn extension(correlation: u64) -> Extension {
    Extension {
        correlation,
        remaining_us: 1,
        code: 0,
    }
}

/// Everything there is to send, and the send is done.
fn send(outbound: &mut Outbound) -> Vec<u8> {
    let mut slices: Vec<Piece> = Vec::new();
    let bytes = outbound.gather(usize::MAX, &mut slices);
    outbound.handle_sent();
    let sent = slices
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect::<Vec<_>>();
    assert_eq!(sent.len(), bytes);
    sent
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        match parse(bytes, CAP) {
            Ok(Parse::Complete(frame)) => {
                frames.push(frame);
                bytes = &bytes[frame.wire_bytes..];
            }
            other => panic!("not whole frames: {other:?}"),
        }
    }
    frames
}

fn kinds(bytes: &[u8]) -> Vec<Kind> {
    frames(bytes)
        .iter()
        .map(|frame| frame.header.kind)
        .collect()
}

fn ack_all(outbound: &mut Outbound, slabs: &mut SlabPool) -> Freed {
    let Positions { sent, .. } = outbound.positions();
    let grant = Grant {
        received_to: sent,
        limit: sent + u64::from(WINDOW),
    };
    outbound.handle_grant(grant, slabs).unwrap()
}

/// A payload that does not know its length.
struct Unmeasured<'a>(&'a [u8]);

impl Payload for Unmeasured<'_> {
    fn exact_bytes(&self) -> Option<usize> {
        None
    }

    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        self.0.write(into)
    }
}

/// A payload that cannot be encoded, and shows it only when there is room.
struct Broken;

impl Payload for Broken {
    fn exact_bytes(&self) -> Option<usize> {
        Some(100)
    }

    fn write(&self, _: &mut [u8]) -> Result<usize, EncodeError> {
        Err(EncodeError::Failed)
    }
}

#[test]
fn definitions_go_in_front_of_the_first_frame_only() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &b"one"[..]),
        Ok(36 + 28)
    );
    outbound
        .push(&mut slabs, tell(&message(1)), &b"two"[..])
        .unwrap();
    outbound
        .push(&mut slabs, tell(&message(2)), &b"three"[..])
        .unwrap();
    let bytes = send(&mut outbound);
    let expected = [
        Kind::DefineType,
        Kind::DefineTarget,
        Kind::Tell,
        Kind::Tell,
        Kind::DefineType,
        Kind::Tell,
    ];
    assert_eq!(kinds(&bytes), expected);
    let frames = frames(&bytes);
    assert_eq!(DefineType::parse(&frames[4]).unwrap().message, message(2));
    assert_eq!(DefineTarget::parse(&frames[1]).unwrap().target, TARGET);
    assert_eq!(
        (frames[5].header.type_number, frames[5].header.target_number),
        (2, 1)
    );
    assert_eq!(frames[5].payload, b"three");
}

#[test]
fn a_push_without_credit_leaves_no_trace() {
    let mut slabs = pool();
    let limit = 64 + 16 + 10;
    let mut outbound = Outbound::new(CAP, limit, WINDOW);
    let before = outbound.positions();
    let over = [0; 11];
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &over[..]),
        Err(PushError::NoCredit)
    );
    let unmeasured = Unmeasured(&over);
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &unmeasured),
        Err(PushError::NoCredit)
    );
    assert_eq!(outbound.positions(), before);
    assert!(outbound.is_idle() && !outbound.has_unsent());
    assert_eq!(slabs.stats().in_use_bytes, 0);
    // The definitions were not given: they come with the frame that fits to the last byte.
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &over[1..]),
        Ok(64)
    );
    let bytes = send(&mut outbound);
    assert_eq!(
        kinds(&bytes),
        [Kind::DefineType, Kind::DefineTarget, Kind::Tell]
    );
    assert_eq!(bytes.len() as u64, limit);
}

#[test]
fn one_over_the_cap_is_a_typed_error_and_the_next_message_is_fine() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let payload = vec![1; CAP as usize + 1];
    let limit = CAP as usize;
    let error = Err(PushError::TooLarge {
        bytes: limit + 1,
        limit,
    });
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &payload[..]),
        error
    );
    let unmeasured = Unmeasured(&payload);
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &unmeasured),
        error
    );
    assert_eq!(slabs.stats().in_use_bytes, 0);
    outbound
        .push(&mut slabs, tell(&message(1)), &payload[1..])
        .unwrap();
    let bytes = send(&mut outbound);
    assert_eq!(frames(&bytes)[2].payload.len(), limit);
    // The extension of an ask counts towards its body.
    let head = SendHead::Ask {
        message: &message(1),
        target: TARGET,
        extension: extension(1),
    };
    ack_all(&mut outbound, &mut slabs);
    assert!(matches!(
        outbound.push(&mut slabs, head, &payload[1..]),
        Err(PushError::TooLarge { .. })
    ));
    outbound.push(&mut slabs, head, &payload[17..]).unwrap();
}

#[test]
fn a_payload_of_unknown_length_lands_like_any_other() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let large = vec![9; 70 << 10];
    for payload in [&b""[..], b"small", &large, b"after", b""] {
        outbound
            .push(&mut slabs, tell(&message(1)), &Unmeasured(payload))
            .unwrap();
    }
    let bytes = send(&mut outbound);
    let tells: Vec<_> = frames(&bytes)[2..]
        .iter()
        .map(|frame| frame.payload.len())
        .collect();
    assert_eq!(tells, [0, 5, 70 << 10, 5, 0]);
}

#[test]
fn a_payload_that_cannot_be_encoded_leaves_no_slab_behind() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &Broken),
        Err(PushError::Encode)
    );
    assert!(outbound.is_idle());
    assert_eq!(slabs.stats().in_use_bytes, 0);
    outbound
        .push(&mut slabs, tell(&message(1)), &b"x"[..])
        .unwrap();
    assert_eq!(
        outbound.push(&mut slabs, tell(&message(1)), &Broken),
        Err(PushError::Encode)
    );
    assert_eq!(frames(&send(&mut outbound)).len(), 3);
}

#[test]
fn one_type_too_many_is_refused_and_the_others_go_on() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    for id in 0..u64::from(TYPE_NUMBER_MAX) {
        outbound
            .push(&mut slabs, tell(&message(id)), &[][..])
            .unwrap();
        send(&mut outbound);
        ack_all(&mut outbound, &mut slabs);
    }
    let over = message(u64::from(TYPE_NUMBER_MAX));
    let refused = outbound.push(&mut slabs, tell(&over), &[][..]);
    assert_eq!(refused, Err(PushError::TypesExhausted));
    outbound
        .push(&mut slabs, tell(&message(0)), &[][..])
        .unwrap();
    assert_eq!(kinds(&send(&mut outbound)), [Kind::Tell]);
}

#[test]
fn without_memory_a_push_waits_for_other_links() {
    let mut slabs = SlabPool::new(64 << 10, CAP);
    let (mut first, mut second) = (outbound(), outbound());
    first
        .push(&mut slabs, tell(&message(1)), &b"x"[..])
        .unwrap();
    let refused = second.push(&mut slabs, tell(&message(1)), &b"y"[..]);
    assert_eq!(refused, Err(PushError::NoMemory));
    send(&mut first);
    ack_all(&mut first, &mut slabs);
    second
        .push(&mut slabs, tell(&message(1)), &b"y"[..])
        .unwrap();
}

#[test]
fn an_acknowledged_link_holds_no_slab() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    for _ in 0..10 {
        outbound
            .push(&mut slabs, tell(&message(1)), &[0; 20_000][..])
            .unwrap();
    }
    assert_eq!(outbound.in_flight_bytes(), 64 + 10 * 20_016);
    send(&mut outbound);
    let freed = ack_all(&mut outbound, &mut slabs);
    assert_eq!((freed.bytes, freed.messages), (64 + 10 * 20_016, 10));
    assert!(outbound.is_idle());
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

#[test]
fn a_slab_in_flight_is_not_written_again() {
    let mut slabs = SlabPool::new(64 << 10, CAP);
    let mut outbound = outbound();
    outbound
        .push(&mut slabs, tell(&message(1)), &b"first"[..])
        .unwrap();
    let mut slices = Vec::new();
    outbound.gather(usize::MAX, &mut slices);
    // The peer has it all, but the completion of the send has not come.
    ack_all(&mut outbound, &mut slabs);
    let refused = outbound.push(&mut slabs, tell(&message(1)), &b"second"[..]);
    assert_eq!(refused, Err(PushError::NoMemory));
    assert_eq!(frames(&slices[0])[2].payload, b"first");
    slices.clear();
    outbound.handle_sent();
    outbound
        .push(&mut slabs, tell(&message(1)), &b"second"[..])
        .unwrap();
}

#[test]
fn grants_are_absolute_and_old_ones_do_no_harm() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    outbound
        .push(&mut slabs, tell(&message(1)), &[0; 100][..])
        .unwrap();
    send(&mut outbound);
    outbound
        .push(&mut slabs, tell(&message(1)), &[0; 100][..])
        .unwrap();
    let Positions { sent, tail, .. } = outbound.positions();
    let limit = 300_000;
    let claimed = Grant {
        received_to: sent + 1,
        limit,
    };
    assert_eq!(
        outbound.handle_grant(claimed, &mut slabs),
        Err(Violation::AckBeyondSent {
            received_to: sent + 1,
            sent
        })
    );
    let grant = Grant {
        received_to: sent,
        limit,
    };
    assert_eq!(
        outbound.handle_grant(grant, &mut slabs).unwrap().bytes,
        sent
    );
    let after = outbound.positions();
    for old in [
        grant,
        Grant::default(),
        Grant {
            received_to: 5,
            limit: 7,
        },
    ] {
        let freed = outbound.handle_grant(old, &mut slabs).unwrap();
        assert_eq!(freed, Freed::default());
        assert_eq!(outbound.positions(), after);
    }
    assert_eq!(outbound.in_flight_bytes(), tail - sent);
}

#[test]
fn a_peer_cannot_make_this_side_retain_more_than_its_window() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let boundless = Grant {
        received_to: 0,
        limit: u64::MAX,
    };
    outbound.handle_grant(boundless, &mut slabs).unwrap();
    while outbound
        .push(&mut slabs, tell(&message(1)), &[0; 1000][..])
        .is_ok()
    {}
    assert!(outbound.in_flight_bytes() <= u64::from(WINDOW));
}

#[test]
fn gathering_ends_with_a_slab_and_waits_for_the_last_send() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    for _ in 0..12 {
        outbound
            .push(&mut slabs, tell(&message(1)), &[0; 20_000][..])
            .unwrap();
    }
    let mut slices = Vec::new();
    let first = outbound.gather(1, &mut slices);
    assert_eq!((slices.len(), first), (1, 64 + 3 * 20_016));
    assert_eq!(outbound.gather(1, &mut slices), 0, "a send is under way");
    outbound.handle_sent();
    let next = outbound.gather(130_000, &mut slices);
    assert_eq!((slices.len(), next), (3, 6 * 20_016));
    outbound.handle_sent();
    send(&mut outbound);
    assert!(!outbound.has_unsent());
}

#[test]
fn control_frames_go_first_and_take_no_position() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    outbound
        .push(&mut slabs, tell(&message(1)), &b"x"[..])
        .unwrap();
    let tail = outbound.positions().tail;
    let grant = |received_to| Grant {
        received_to,
        limit: 9,
    };
    outbound.queue_grant(grant(1));
    outbound.queue_grant(grant(2));
    outbound.queue_ping(3);
    outbound.queue_pong(4);
    let notice = Notice {
        target_number: 5,
        busy: true,
    };
    assert!(outbound.queue_notice(notice));
    let bytes = send(&mut outbound);
    let expected = [
        Kind::Grant,
        Kind::Ping,
        Kind::Pong,
        Kind::Busy,
        Kind::DefineType,
        Kind::DefineTarget,
        Kind::Tell,
    ];
    assert_eq!(kinds(&bytes), expected);
    assert_eq!(Grant::parse(&frames(&bytes)[0]), Ok(grant(2)));
    assert_eq!(Pong::parse(&frames(&bytes)[2]).unwrap().nonce, 4);
    assert_eq!(outbound.positions().tail, tail);
    assert!(!outbound.has_unsent());
}

#[test]
fn one_over_the_notices_is_refused_and_none_is_lost() {
    let mut outbound = outbound();
    let notice = |target_number| Notice {
        target_number,
        busy: true,
    };
    for number in 0..NOTICES_MAX as u32 {
        assert!(outbound.queue_notice(notice(number + 1)));
    }
    assert!(!outbound.queue_notice(notice(1)));
    let mut numbers = Vec::new();
    let mut held = Vec::new();
    while outbound.has_unsent() {
        // The kernel holds every slice, so no control slab can be used twice.
        let from = held.len();
        outbound.gather(usize::MAX, &mut held);
        outbound.handle_sent();
        let sent = held[from..].iter();
        numbers.extend(
            sent.flat_map(|slice| frames(slice))
                .map(|f| f.header.target_number),
        );
    }
    assert_eq!(numbers, (1..=NOTICES_MAX as u32).collect::<Vec<_>>());
}

#[test]
fn the_goodbye_goes_last_and_nothing_follows() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    outbound
        .push(&mut slabs, tell(&message(1)), &[0; 50_000][..])
        .unwrap();
    outbound
        .push(&mut slabs, tell(&message(1)), &[0; 50_000][..])
        .unwrap();
    outbound.queue_bye(ByeReason::Stopping);
    let refused = outbound.push(&mut slabs, tell(&message(1)), &b"x"[..]);
    assert_eq!(refused, Err(PushError::Ending));
    let mut slices = Vec::new();
    outbound.gather(1, &mut slices);
    outbound.handle_sent();
    assert!(!kinds(&slices[0]).contains(&Kind::Bye));
    let kinds = kinds(&send(&mut outbound));
    assert_eq!(kinds, [Kind::Tell, Kind::Bye]);
    outbound.queue_ping(1);
    outbound.queue_bye(ByeReason::Stopping);
    assert!(!outbound.has_unsent());
    assert_eq!(send(&mut outbound), []);
    ack_all(&mut outbound, &mut slabs);
    let refused = outbound.push(&mut slabs, tell(&message(1)), &b"x"[..]);
    assert_eq!(refused, Err(PushError::Ending));
}

#[test]
fn answers_wait_for_credit_in_order_and_go_before_anything_new() {
    let mut slabs = pool();
    let mut outbound = Outbound::new(CAP, 200, WINDOW);
    let long = [7; 300];
    let reply = |outbound: &mut Outbound, slabs: &mut SlabPool, correlation, payload: &[u8]| {
        outbound
            .push_reply(slabs, &message(1), extension(correlation), payload)
            .unwrap()
    };
    assert_eq!(
        reply(&mut outbound, &mut slabs, 1, b"short"),
        Answered::Written
    );
    assert_eq!(
        reply(&mut outbound, &mut slabs, 2, &long),
        Answered::Deferred
    );
    // It would fit, and waits behind the other.
    assert_eq!(
        reply(&mut outbound, &mut slabs, 3, b"x"),
        Answered::Deferred
    );
    let failed = outbound
        .push_error(&mut slabs, 4, ErrorCode::Failed)
        .unwrap();
    assert_eq!((failed, outbound.deferred()), (Answered::Deferred, 3));
    let refused = outbound.push(&mut slabs, tell(&message(1)), &b"x"[..]);
    assert_eq!(refused, Err(PushError::NoCredit));
    assert!(!outbound.is_idle());
    let grant = Grant {
        received_to: 0,
        limit: 100_000,
    };
    outbound.handle_grant(grant, &mut slabs).unwrap();
    outbound
        .push(&mut slabs, tell(&message(1)), &b"x"[..])
        .unwrap();
    let bytes = send(&mut outbound);
    let order: Vec<_> = frames(&bytes)
        .iter()
        .filter_map(|frame| frame.extension.map(|extension| extension.correlation))
        .collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert_eq!(kinds(&bytes).last(), Some(&Kind::Tell));
}

#[test]
fn one_over_the_deferred_bytes_is_answered_as_overloaded() {
    let mut slabs = pool();
    let mut outbound: Outbound = Outbound::new(CAP, 0, WINDOW);
    let payload = vec![1; WINDOW as usize / 4];
    let kept = u64::from(4 * DEFERRED_WINDOWS);
    for correlation in 0..kept {
        let extension = extension(correlation);
        let answered = outbound.push_reply(&mut slabs, &message(1), extension, &payload[..]);
        assert_eq!(answered, Ok(Answered::Deferred));
    }
    let one_byte = &payload[..1];
    let overloaded = outbound.push_reply(&mut slabs, &message(1), extension(kept), one_byte);
    assert_eq!(overloaded, Ok(Answered::Overloaded));
    let mut answers = Vec::new();
    while answers.len() < kept as usize + 1 {
        ack_all(&mut outbound, &mut slabs);
        let bytes = send(&mut outbound);
        let found = frames(&bytes)
            .into_iter()
            .filter_map(|frame| frame.extension);
        answers.extend(found.map(|extension| (extension.correlation, extension.code)));
    }
    assert_eq!(
        answers.last(),
        Some(&(kept, ErrorCode::Overloaded.to_wire()))
    );
    assert!(
        answers
            .iter()
            .map(|(correlation, _)| *correlation)
            .eq(0..=kept)
    );
}

#[test]
fn one_over_the_outstanding_asks_ends_the_link() {
    let mut slabs = pool();
    let mut outbound: Outbound = Outbound::new(CAP, 0, WINDOW);
    for correlation in 0..ASKS_OUTSTANDING_MAX as u64 {
        outbound
            .push_error(&mut slabs, correlation, ErrorCode::Failed)
            .map(drop)
            .unwrap();
    }
    let error = outbound.push_error(&mut slabs, 0, ErrorCode::Failed);
    assert_eq!(error, Err(PushError::TooManyAnswers));
    let reply = outbound.push_reply(&mut slabs, &message(1), extension(0), &b"x"[..]);
    assert_eq!(reply, Err(PushError::TooManyAnswers));
    assert_eq!(outbound.deferred(), ASKS_OUTSTANDING_MAX);
}

#[test]
fn an_ended_link_accounts_for_every_message() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    for _ in 0..2 {
        outbound
            .push(&mut slabs, tell(&message(1)), &b"acked"[..])
            .unwrap();
    }
    send(&mut outbound);
    let Positions { sent, .. } = outbound.positions();
    outbound
        .push(&mut slabs, tell(&message(1)), &b"sent"[..])
        .unwrap();
    send(&mut outbound);
    let grant = Grant {
        received_to: sent,
        limit: sent + 21 + 37,
    };
    let freed = outbound.handle_grant(grant, &mut slabs).unwrap();
    assert_eq!(freed.messages, 0, "their slab is not the peer's as a whole");
    let grant = Grant {
        limit: 100_000,
        ..grant
    };
    outbound.handle_grant(grant, &mut slabs).unwrap();
    let head = SendHead::Ask {
        message: &message(2),
        target: TARGET,
        extension: extension(7),
    };
    outbound.push(&mut slabs, head, &b"asked"[..]).unwrap();
    outbound.push_cancel(&mut slabs, extension(7)).unwrap();
    let unencodable = vec![0; CAP as usize - 16];
    let mut deferred = 0;
    while deferred == 0 {
        let answer = outbound.push_reply(&mut slabs, &message(1), extension(8), &unencodable[..]);
        deferred += u32::from(answer == Ok(Answered::Deferred));
    }
    let mut seen = Vec::new();
    let acknowledged = outbound.drain_unacknowledged(&mut slabs, |lost| {
        seen.push((
            lost.kind,
            lost.extension.map(|e| e.correlation),
            lost.payload.len(),
            lost.sent,
        ));
    });
    assert_eq!(acknowledged, 2);
    assert_eq!(seen[0], (Kind::Tell, None, 4, true));
    assert_eq!(seen[1], (Kind::Ask, Some(7), 5, false));
    assert_eq!(seen[2], (Kind::Cancel, Some(7), 0, false));
    assert!(
        seen[3..]
            .iter()
            .all(|lost| *lost == (Kind::Reply, Some(8), CAP as usize - 16, false))
    );
    assert!(seen.len() >= 4);
    assert_eq!(slabs.stats().in_use_bytes, 0);
    assert!(!outbound.has_unsent());
}

#[test]
#[should_panic(expected = "too small")]
fn one_byte_less_than_the_smallest_window_is_a_bug() {
    let _: Outbound = Outbound::new(CAP, 0, window_bytes_min(CAP) - 1);
}

#[test]
fn one_over_the_granted_limit_is_a_violation() {
    let mut inbound = Inbound::new(WINDOW_BYTES);
    inbound.accept(WINDOW_BYTES as usize).unwrap();
    let limit = u64::from(WINDOW_BYTES);
    assert_eq!(
        inbound.accept(1),
        Err(Violation::BeyondLimit {
            end: limit + 1,
            limit
        })
    );
    assert_eq!(inbound.received_to(), limit);
}

#[test]
fn grants_come_by_bytes_or_when_forced_and_say_nothing_twice() {
    let mut inbound = Inbound::new(1 << 20);
    assert_eq!(inbound.poll_grant(true), None);
    inbound.accept((128 << 10) - 1).unwrap();
    assert_eq!(inbound.poll_grant(false), None);
    inbound.accept(1).unwrap();
    let received_to = 128 << 10;
    let limit = received_to + (1 << 20);
    assert_eq!(
        inbound.poll_grant(false),
        Some(Grant { received_to, limit })
    );
    assert_eq!(inbound.poll_grant(true), None);
    inbound.accept(1).unwrap();
    assert_eq!(inbound.poll_grant(false), None);
    assert!(inbound.poll_grant(true).is_some());
}

#[test]
fn a_small_window_grants_by_its_quarter() {
    let mut inbound = Inbound::new(window_bytes_min(32 << 10));
    inbound.accept(24 << 10).unwrap();
    assert!(inbound.poll_grant(false).is_some());
}

#[test]
fn held_bytes_come_off_the_credit_and_no_limit_moves_back() {
    let mut inbound = Inbound::new(WINDOW);
    let window = u64::from(WINDOW);
    inbound.accept(1000).unwrap();
    inbound.hold(1000);
    let grant = inbound.poll_grant(true).unwrap();
    assert_eq!((grant.received_to, grant.limit), (1000, window));
    inbound.hold(WINDOW as usize);
    inbound.accept(500).unwrap();
    assert_eq!(inbound.poll_grant(true).unwrap().limit, window);
    inbound.release(WINDOW as usize);
    inbound.release(1000);
    assert_eq!(inbound.held_bytes(), 0);
    let grant = inbound.poll_grant(true).unwrap();
    assert_eq!((grant.received_to, grant.limit), (1500, 1500 + window));
}

#[test]
fn numbers_out_of_order_or_one_over_the_last_are_violations() {
    let mut inbound = Inbound::new(WINDOW);
    let of_type = |number| DefineType {
        number,
        message: message(u64::from(number)),
    };
    let of_target = |number, slot| DefineTarget {
        number,
        target: Target {
            slot,
            generation: 0,
        },
    };
    // A high number makes no table of its size.
    assert_eq!(
        inbound.define_type(&of_type(4096)),
        Err(Violation::TypeOutOfTurn(4096))
    );
    let out_of_turn = inbound.define_target(&of_target(65_535, 0));
    assert_eq!(out_of_turn, Err(Violation::TargetOutOfTurn(65_535)));
    for number in 1..=TYPE_NUMBER_MAX {
        inbound.define_type(&of_type(number)).unwrap();
    }
    for number in [0, 1, TYPE_NUMBER_MAX, TYPE_NUMBER_MAX + 1] {
        let again = inbound.define_type(&of_type(number));
        assert_eq!(again, Err(Violation::TypeOutOfTurn(number)));
    }
    for number in 1..=TARGET_NUMBER_MAX {
        assert_eq!(
            inbound.define_target(&of_target(number, number)),
            Ok(Defined::New)
        );
    }
    for number in [0, TARGET_NUMBER_MAX + 1] {
        let over = inbound.define_target(&of_target(number, 0));
        assert_eq!(over, Err(Violation::TargetOutOfTurn(number)));
    }
    assert_eq!(inbound.define_target(&of_target(2, 77)), Ok(Defined::Anew));
    assert_eq!(inbound.target(2).unwrap().slot, 77);
    assert_eq!(inbound.target(3).unwrap().slot, 3);
    assert_eq!(inbound.message_type(5), Ok(&message(5)));
}

#[test]
fn undefined_numbers_are_violations() {
    let inbound = Inbound::new(WINDOW);
    for number in [0, 1, u16::MAX] {
        assert_eq!(
            inbound.message_type(number),
            Err(Violation::UndefinedType(number))
        );
        let number = u32::from(number);
        assert_eq!(
            inbound.target(number),
            Err(Violation::UndefinedTarget(number))
        );
    }
}
