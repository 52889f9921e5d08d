//! A link that goes on over another connection.

use super::*;

fn push(outbound: &mut Outbound, slabs: &mut SlabPool, payload: &[u8]) -> u64 {
    let pushed = outbound.push(slabs, tell(&message(1)), payload);
    pushed.unwrap()
}

fn grant(received_to: u64) -> Grant {
    let limit = received_to + u64::from(WINDOW);
    Grant { received_to, limit }
}

#[test]
fn the_same_bytes_leave_again_from_where_the_peer_stands() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let ends: Vec<u64> = [&b"one"[..], &[2; 70_000], b"three"]
        .iter()
        .map(|payload| {
            push(&mut outbound, &mut slabs, payload);
            outbound.positions().tail
        })
        .collect();
    let first = send(&mut outbound);
    push(&mut outbound, &mut slabs, b"four");
    outbound.handle_lost();
    assert_eq!(send_nothing(&mut outbound), 0, "there is no connection");
    let resumed = outbound.resume(grant(ends[0]), &mut slabs).unwrap();
    assert_eq!(resumed.bytes, ends[0]);
    let again = send(&mut outbound);
    let (from, old) = (ends[0] as usize, ends[2] as usize);
    assert_eq!(again[..old - from], first[from..], "to the byte");
    assert_eq!(kinds(&again[old - from..]), [Kind::Tell], "the fourth");
    let freed = ack_all(&mut outbound, &mut slabs);
    assert_eq!(resumed.messages + freed.messages, 4);
    assert!(outbound.is_idle());
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

fn send_nothing(outbound: &mut Outbound) -> usize {
    outbound.gather(usize::MAX, &mut Vec::new())
}

#[test]
fn a_position_that_cannot_be_is_refused_and_changes_nothing() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let before: Vec<u64> = (0..4)
        .map(|_| {
            push(&mut outbound, &mut slabs, &[7; 40_000]);
            outbound.positions().tail
        })
        .collect();
    send(&mut outbound);
    outbound.handle_grant(grant(before[0]), &mut slabs).unwrap();
    push(&mut outbound, &mut slabs, b"not sent");
    outbound.handle_lost();
    let positions = outbound.positions();
    let (first, last) = (positions.received_to, positions.sent);
    let boundaries = [first, before[1], before[2], last];
    for boundary in boundaries {
        assert_eq!(outbound.check_resume(boundary), Ok(()));
        for received_to in [boundary - 1, boundary + 1] {
            let violation = Violation::Position {
                received_to,
                first,
                last,
            };
            assert_eq!(outbound.check_resume(received_to), Err(violation));
            let refused = outbound.resume(grant(received_to), &mut slabs);
            assert_eq!(refused, Err(violation));
        }
    }
    for far in [0, positions.tail, u64::MAX] {
        assert!(outbound.check_resume(far).is_err());
    }
    assert_eq!(outbound.positions(), positions);
    assert_eq!(send_nothing(&mut outbound), 0, "still without connection");
    outbound.resume(grant(last), &mut slabs).unwrap();
    assert_eq!(kinds(&send(&mut outbound)), [Kind::Tell]);
}

#[test]
fn a_connection_that_brought_nothing_does_not_take_back_what_was_sent() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let ends = [1, 2, 3].map(|byte| {
        push(&mut outbound, &mut slabs, &[byte; 40_000]);
        outbound.positions().tail
    });
    send(&mut outbound);
    outbound.handle_lost();
    // A hello from before comes late, over a connection that is gone already.
    outbound.resume(grant(ends[0]), &mut slabs).unwrap();
    outbound.handle_lost();
    let Positions { sent, reached, .. } = outbound.positions();
    assert_eq!((sent, reached), (ends[0], ends[2]));
    // The peer, meanwhile, has had all of it, and says so.
    assert_eq!(outbound.check_resume(ends[2]), Ok(()));
    outbound.resume(grant(ends[1]), &mut slabs).unwrap();
    outbound.handle_lost();
    push(&mut outbound, &mut slabs, b"not sent");
    let mut sent = Vec::new();
    outbound.drain_unacknowledged(&mut slabs, |frame| sent.push(frame.sent));
    assert_eq!(sent, [true, false], "the peer may have had the third");
}

#[test]
fn what_control_frames_said_is_forgotten_but_for_the_goodbye() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    push(&mut outbound, &mut slabs, b"one");
    send(&mut outbound);
    let notice = Notice {
        target_number: 1,
        busy: true,
    };
    outbound.handle_notice(notice).unwrap();
    outbound.handle_lost();
    outbound.queue_grant(grant(0));
    outbound.queue_ping(1);
    outbound.queue_pong(1);
    assert!(outbound.queue_notice(notice));
    outbound.queue_bye(ByeReason::Stopping);
    outbound.resume(grant(0), &mut slabs).unwrap();
    let kinds = kinds(&send(&mut outbound));
    assert_eq!(
        kinds,
        [Kind::DefineType, Kind::DefineTarget, Kind::Tell, Kind::Bye]
    );
}

#[test]
fn a_recipient_that_had_no_room_is_tried_again() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    push(&mut outbound, &mut slabs, b"one");
    send(&mut outbound);
    let target_number = 1;
    let busy = true;
    let notice = Notice {
        target_number,
        busy,
    };
    outbound.handle_notice(notice).unwrap();
    let refused = outbound.push(&mut slabs, tell(&message(1)), &b"two"[..]);
    assert_eq!(refused, Err(PushError::TargetBusy));
    outbound.handle_lost();
    outbound.resume(grant(0), &mut slabs).unwrap();
    push(&mut outbound, &mut slabs, b"two");
}

#[test]
fn a_receiver_says_again_where_it_stands() {
    let mut inbound = Inbound::new(WINDOW);
    inbound.accept(1000).unwrap();
    let said = inbound.poll_grant(true).unwrap();
    assert_eq!(inbound.poll_grant(true), None, "nothing changed");
    assert_eq!(inbound.restate(), said, "it may have been lost");
    inbound.accept(500).unwrap();
    assert_eq!(inbound.restate().received_to, 1500);
    assert_eq!(inbound.poll_grant(true), None);
}
