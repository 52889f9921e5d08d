//! What nodes tell each other of their actors.

use super::*;
use crate::frame::body::{System, Watch};
use crate::limits::FRAME_BYTES_ORDINARY;

fn unwatch(watched: u64) -> System {
    let watcher = 7;
    System::Unwatch {
        watch: Watch { watched, watcher },
    }
}

fn watches(bytes: &[u8]) -> Vec<System> {
    let frames = frames(bytes);
    frames
        .iter()
        .map(|frame| System::parse(frame).unwrap())
        .collect()
}

#[test]
fn what_a_lost_connection_took_with_it_leaves_again_and_counts_as_no_message() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    assert_eq!(outbound.push_system(&mut slabs, &unwatch(1)), Ok(0));
    let first = outbound.positions().tail;
    outbound.push_system(&mut slabs, &unwatch(2)).unwrap();
    let both = send(&mut outbound);
    assert_eq!(watches(&both), [unwatch(1), unwatch(2)]);
    outbound.push_system(&mut slabs, &unwatch(3)).unwrap();
    outbound.handle_lost();
    let grant = Grant {
        received_to: first,
        limit: first + u64::from(WINDOW),
    };
    let resumed = outbound.resume(grant, &mut slabs).unwrap();
    assert_eq!(watches(&send(&mut outbound)), [unwatch(2), unwatch(3)]);
    let freed = ack_all(&mut outbound, &mut slabs);
    assert_eq!((resumed.messages, freed.messages), (0, 0));
    assert!(outbound.is_idle());
    assert_eq!(slabs.stats().in_use_bytes, 0);
}

#[test]
fn what_members_tell_each_other_keeps_its_place_among_the_rest() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    outbound.push_system(&mut slabs, &unwatch(1)).unwrap();
    outbound.push_cluster(&mut slabs, b"gossip").unwrap();
    let sent = send(&mut outbound);
    let kinds = frames(&sent).into_iter().map(|frame| frame.header.kind);
    assert!(kinds.eq([Kind::System, Kind::Cluster]));
    let longest = vec![0; FRAME_BYTES_ORDINARY as usize + 1];
    let refused = outbound.push_cluster(&mut slabs, &longest);
    assert!(matches!(refused, Err(PushError::TooLarge { .. })));
    assert_eq!(ack_all(&mut outbound, &mut slabs).messages, 0);
    assert!(outbound.is_idle());
}

#[test]
fn without_credit_nothing_is_written_and_a_grant_makes_room() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let mut pushed = 0;
    while outbound.push_system(&mut slabs, &unwatch(pushed)).is_ok() {
        pushed += 1;
    }
    let positions = outbound.positions();
    let refused = outbound.push_system(&mut slabs, &unwatch(pushed));
    assert_eq!(refused, Err(PushError::NoCredit));
    assert_eq!(outbound.positions(), positions);
    let sent = watches(&send(&mut outbound));
    assert!(sent.into_iter().eq((0..pushed).map(unwatch)));
    ack_all(&mut outbound, &mut slabs);
    outbound.push_system(&mut slabs, &unwatch(pushed)).unwrap();
    assert_eq!(watches(&send(&mut outbound)), [unwatch(pushed)]);
}
