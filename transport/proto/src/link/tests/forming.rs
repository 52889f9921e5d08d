//! A sending half before the first connection of its link.

use bytes::Bytes;

use super::*;
use crate::limits::{FORMING_WINDOW_BYTES, FRAME_BYTES_MIN, WINDOW_BYTES_MAX, window_bytes_min};

#[test]
fn what_is_pushed_before_a_connection_leaves_from_the_first_position() {
    let (mut outbound, mut slabs) = (<Outbound>::forming(WINDOW), pool());
    let pushed = |outbound: &mut Outbound, slabs: &mut SlabPool, bytes: &[u8]| {
        outbound.push(slabs, tell(&message(1)), bytes)
    };
    for number in 0..3 {
        pushed(&mut outbound, &mut slabs, &[number; 100]).unwrap();
    }
    assert_eq!(outbound.gather(usize::MAX, &mut Vec::new()), 0);
    outbound.open(CAP, u64::from(WINDOW));
    assert_eq!(outbound.body_cap(), CAP);
    pushed(&mut outbound, &mut slabs, &[3; 100]).unwrap();
    let bytes = send(&mut outbound);
    assert_eq!(bytes.len() as u64, outbound.positions().tail);
    let definitions = [Kind::DefineType, Kind::DefineTarget];
    assert_eq!(kinds(&bytes), [&definitions[..], &[Kind::Tell; 4]].concat());
    assert_eq!(ack_all(&mut outbound, &mut slabs).messages, 4);
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

#[test]
fn one_over_what_every_peer_takes_finds_no_room_before_a_connection() {
    for window in [window_bytes_min(FRAME_BYTES_MIN), WINDOW_BYTES_MAX] {
        let (mut outbound, mut slabs) = (<Outbound>::forming(window), pool());
        let limit = FRAME_BYTES_MIN as usize;
        let mut push = |bytes: usize| {
            let payload = vec![1; bytes];
            outbound.push(&mut slabs, tell(&message(1)), &payload[..])
        };
        let refused = push(limit + 1).unwrap_err();
        let bytes = limit + 1;
        assert_eq!(refused, PushError::TooLarge { bytes, limit });
        while push(1000).is_ok() {}
        assert_eq!(push(1000), Err(PushError::NoCredit));
        let tail = outbound.positions().tail;
        assert!(tail <= u64::from(FORMING_WINDOW_BYTES));
        assert!(tail + 1100 > u64::from(FORMING_WINDOW_BYTES));
    }
}

#[test]
fn one_over_the_credit_finds_no_room_after_the_first_connection_however_long_it_is() {
    let (mut outbound, mut slabs) = (<Outbound>::forming(WINDOW), pool());
    let limit = u64::from(window_bytes_min(CAP));
    outbound.open(CAP, limit);
    let bodies = [CAP as usize, FRAME_BYTES_MIN as usize + 1];
    for bytes in bodies {
        let payload = vec![1; bytes];
        while outbound
            .push(&mut slabs, tell(&message(1)), &payload[..])
            .is_ok()
        {}
        assert!(outbound.positions().tail <= limit, "{bytes}");
    }
}

#[test]
fn questions_that_waited_leave_with_what_is_left_of_their_time() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let ask = |outbound: &mut Outbound, slabs: &mut SlabPool, number: u64, bytes: usize| {
        let head = SendHead::Ask {
            message: &message(1),
            target: TARGET,
            extension: Extension {
                remaining_us: 9,
                ..extension(number)
            },
        };
        let payload = Bytes::from(vec![1; bytes]);
        let pushed = match number {
            2 | 5 => outbound.push_shared(slabs, head, &payload),
            _ => outbound.push(slabs, head, &payload[..]),
        };
        pushed.unwrap();
    };
    ask(&mut outbound, &mut slabs, 1, 10);
    let first = send(&mut outbound);
    // Of two slabs, the first of which was handed out in part.
    for number in 2..6 {
        ask(&mut outbound, &mut slabs, number, 30_000);
    }
    outbound.handle_lost();
    outbound.retime(|number| if number == 3 { 0 } else { number as u32 });
    let resumed = outbound.resume(
        Grant {
            received_to: 0,
            limit: 0,
        },
        &mut slabs,
    );
    resumed.unwrap();
    let all = send(&mut outbound);
    assert_eq!(all[..first.len()], first, "the peer may have read it");
    // With right checksums.
    let times: Vec<u32> = frames(&all)
        .iter()
        .filter_map(|frame| frame.extension)
        .map(|extension| extension.remaining_us)
        .collect();
    assert_eq!(times, [9, 2, 0, 4, 5]);
    ack_all(&mut outbound, &mut slabs);
    assert_eq!(slabs.stats().in_use_bytes, 0);
}
