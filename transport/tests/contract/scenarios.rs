//! The scenarios, each generic over what makes the transports.

use std::io;

use ringmesh_proto::limits::PACED_BYTES_MAX;
use ringmesh_transport::contract::PREFACE_BYTES;
use ringmesh_transport::{Chunk, CloseReason, Piece, Transport};

use crate::rig::{Pair, Rig, pattern, slab_of};

pub(crate) fn a_preface_in_single_bytes_loses_nothing_behind_it<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let bytes = pattern(1, PREFACE_BYTES + 300);
    let out = pair.dialler.dial(pair.address);
    pair.until("connected", |pair| pair.dialler.record(out).connected);
    for (index, byte) in bytes[..PREFACE_BYTES + 40].iter().enumerate() {
        pair.dialler.send(out, &[*byte]);
        pair.until("a byte is sent", |pair| {
            pair.dialler.record(out).sent == index + 1
        });
    }
    pair.dialler.send(out, &bytes[PREFACE_BYTES + 40..]);
    pair.until("the preface arrives", |pair| {
        pair.listener
            .incoming
            .first()
            .is_some_and(|id| pair.listener.record(*id).preface.is_some())
    });
    let inward = pair.listener.incoming[0];
    assert_eq!(
        pair.listener.record(inward).preface.unwrap()[..],
        bytes[..PREFACE_BYTES]
    );
    assert!(
        pair.listener.record(inward).received.is_empty(),
        "received before it was asked to"
    );
    pair.listener.transport.start_receiving(inward);
    pair.until("the rest arrives", |pair| {
        pair.listener.record(inward).received.len() >= 300
    });
    assert_eq!(
        pair.listener.record(inward).received,
        bytes[PREFACE_BYTES..]
    );
}

pub(crate) fn a_dial_to_nobody_fails<R: Rig>() {
    let mut pair = Pair::new::<R>();
    pair.listener.transport.stop_listening();
    let out = pair.dialler.dial(pair.address);
    pair.until("the dial fails", |pair| pair.dialler.is_closed(out));
    let reason = &pair.dialler.record(out).closed;
    let refused = io::ErrorKind::ConnectionRefused;
    assert!(matches!(reason, Some(CloseReason::DialFailed(error)) if error.kind() == refused));
    assert!(!pair.dialler.record(out).connected);
}

pub(crate) fn a_port_in_use_is_an_error<R: Rig>() {
    let mut pair = Pair::new::<R>();
    for node in [&mut pair.dialler, &mut pair.listener] {
        let error = node.transport.listen(pair.address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}

pub(crate) fn large_transfers_both_ways_arrive_whole<R: Rig>() {
    const SEND_BYTES: [usize; 5] = [1, 70_000, 999, 262_144, 16];
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    let there = pattern(2, 3 << 20);
    let back = pattern(3, 2 << 20);
    let (mut there_at, mut back_at, mut turn) = (0, 0, 0);
    let (mut there_sends, mut back_sends) = (1, 0);
    while there_at < there.len() || back_at < back.len() {
        turn += 1;
        let len = SEND_BYTES[turn % SEND_BYTES.len()];
        if there_at < there.len() && pair.dialler.record(out).sent == there_sends {
            let end = there.len().min(there_at + len);
            pair.dialler.send(out, &there[there_at..end]);
            (there_at, there_sends) = (end, there_sends + 1);
        }
        if back_at < back.len() && pair.listener.record(inward).sent == back_sends {
            let end = back.len().min(back_at + len);
            pair.listener.send(inward, &back[back_at..end]);
            (back_at, back_sends) = (end, back_sends + 1);
        }
        pair.turn();
    }
    pair.until("all has arrived", |pair| {
        pair.listener.record(inward).received.len() >= there.len()
            && pair.dialler.record(out).received.len() >= back.len()
    });
    assert!(pair.listener.record(inward).received == there);
    assert!(pair.dialler.record(out).received == back);
    let sent = pair.dialler.transport.counters().bytes_sent;
    assert_eq!(sent, (there.len() + PREFACE_BYTES) as u64);
    assert_eq!(
        pair.dialler.transport.counters().bytes_received,
        back.len() as u64
    );
}

pub(crate) fn one_over_the_bound_of_a_paced_piece_never_moves<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    pair.listener.transport.pace(inward);
    pair.dialler.transport.pace(out);
    // What was asked for before ends first; a second wish changes nothing.
    pair.listener.transport.pace(inward);
    (0..4).for_each(|_| pair.turn());
    let bytes = pattern(2, 20 * PACED_BYTES_MAX + 1);
    let (head, tail) = bytes.split_at(3 * PACED_BYTES_MAX + 7);
    let mut slices = vec![slab_of(head).1.into(), slab_of(tail).1.into()];
    pair.dialler.transport.send(out, &mut slices);
    let mut before = 0;
    while before < bytes.len() {
        pair.turn();
        let now = pair.listener.record(inward).received.len();
        assert!(now - before <= PACED_BYTES_MAX, "{} at once", now - before);
        before = now;
    }
    assert!(pair.listener.record(inward).received == bytes);
    pair.until("the send is over", |pair| {
        pair.dialler.record(out).sent == 2
    });
    for counters in [&pair.dialler, &pair.listener].map(|node| node.transport.counters()) {
        assert!(
            counters.paced_bytes_max <= PACED_BYTES_MAX as u64,
            "{counters:?}"
        );
    }
}

pub(crate) fn a_peer_that_closes_is_heard_to_the_end<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    let last = pattern(4, 40_000);
    pair.dialler.send(out, &last);
    pair.until("the last words are sent", |pair| {
        pair.dialler.record(out).sent == 2
    });
    pair.dialler.transport.close(out);
    pair.until("this side is closed", |pair| pair.dialler.is_closed(out));
    assert!(matches!(
        pair.dialler.record(out).closed,
        Some(CloseReason::Local)
    ));
    pair.listener.transport.start_receiving(inward);
    pair.until("the peer is closed", |pair| pair.listener.is_closed(inward));
    assert!(matches!(
        pair.listener.record(inward).closed,
        Some(CloseReason::PeerClosed)
    ));
    assert!(pair.listener.record(inward).received == last);
}

pub(crate) fn a_peer_that_closes_before_its_preface_is_reported<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let out = pair.dialler.dial(pair.address);
    pair.until("connected", |pair| pair.dialler.record(out).connected);
    pair.dialler.send(out, &[7; PREFACE_BYTES - 1]);
    pair.until("sent", |pair| pair.dialler.record(out).sent == 1);
    pair.until("incoming", |pair| pair.listener.incoming.len() == 1);
    pair.dialler.transport.close(out);
    let inward = pair.listener.incoming[0];
    pair.until("both ends are closed", |pair| {
        pair.listener.is_closed(inward) && pair.dialler.is_closed(out)
    });
    assert!(matches!(
        pair.listener.record(inward).closed,
        Some(CloseReason::PeerClosed)
    ));
    assert_eq!(pair.listener.record(inward).preface, None);
}

pub(crate) fn a_reset_ends_the_connection<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    pair.dialler.transport.start_receiving(out);
    pair.turn();
    R::reset(&mut pair.listener.transport, inward);
    pair.until("the reset is seen", |pair| pair.dialler.is_closed(out));
    let reason = &pair.dialler.record(out).closed;
    let reset = io::ErrorKind::ConnectionReset;
    assert!(matches!(reason, Some(CloseReason::Broken(error)) if error.kind() == reset));
}

pub(crate) fn closing_while_both_ends_send_ends_both<R: Rig>() {
    let mut pair = Pair::new::<R>();
    for fill in 1..10 {
        let (out, inward) = pair.connect_receiving(fill);
        let bytes = pattern(5, 1 << 20);
        pair.dialler.send(out, &bytes);
        pair.listener.send(inward, &bytes);
        for _ in 0..fill {
            pair.turn();
        }
        pair.dialler.transport.close(out);
        pair.until("both ends are closed", |pair| {
            pair.dialler.is_closed(out) && pair.listener.is_closed(inward)
        });
        assert!(matches!(
            pair.dialler.record(out).closed,
            Some(CloseReason::Local)
        ));
        let received = &pair.listener.record(inward).received;
        assert!(
            *received == bytes[..received.len()],
            "what arrived is a prefix of what was sent"
        );
    }
}

pub(crate) fn dead_ids_are_ignored<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (dead, _) = pair.connect_receiving(1);
    pair.dialler.transport.close(dead);
    pair.until("closed", |pair| pair.dialler.is_closed(dead));
    let (live, inward) = pair.connect_receiving(2);
    assert_eq!(live.slot, dead.slot, "the slot is reused");
    pair.dialler.send(dead, b"lost");
    pair.dialler.transport.start_receiving(dead);
    pair.dialler.transport.close(dead);
    pair.dialler.transport.close(dead);
    assert!(pair.dialler.transport.detach(dead).is_none());
    pair.dialler.send(live, b"kept");
    pair.until("bytes arrive", |pair| {
        pair.listener.record(inward).received.len() >= 4
    });
    assert_eq!(pair.listener.record(inward).received, b"kept");
    assert!(!pair.dialler.is_closed(live));
}

pub(crate) fn slots_are_reused_under_new_ids<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let mut first = None;
    for cycle in 0..200_usize {
        let (out, inward) = pair.connect_receiving(cycle as u8);
        let slots = (out.slot, inward.slot);
        assert_eq!(*first.get_or_insert(slots), slots);
        if cycle % 2 == 0 {
            pair.dialler.transport.close(out);
        } else {
            pair.listener.transport.close(inward);
        }
        pair.until("both ends are closed", |pair| {
            pair.dialler.is_closed(out) && pair.listener.is_closed(inward)
        });
    }
    assert_eq!(pair.dialler.transport.counters().closed, 200);
    assert_eq!(pair.listener.transport.counters().accepted, 200);
}

pub(crate) fn slices_are_kept_until_sent<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    let bytes = pattern(6, 16 << 20);
    let (mut slab, slice) = slab_of(&bytes);
    let mut pieces = vec![slice.into()];
    pair.dialler.transport.send(out, &mut pieces);
    assert!(pieces.is_empty());
    for _ in 0..50 {
        pair.turn();
    }
    assert_eq!(
        pair.dialler.record(out).sent,
        1,
        "nobody receives, so it cannot all be taken"
    );
    assert!(!slab.reclaim(), "the transport still holds the slice");
    pair.listener.transport.start_receiving(inward);
    pair.until("sent", |pair| pair.dialler.record(out).sent == 2);
    assert!(slab.reclaim(), "the slice is released with `Sent`");
    pair.until("arrived", |pair| {
        pair.listener.record(inward).received.len() >= bytes.len()
    });
    assert!(pair.listener.record(inward).received == bytes);
}

pub(crate) fn more_slices_than_one_call_takes_arrive_in_order<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    let bytes = pattern(7, 25_000);
    let (_slab, whole) = slab_of(&bytes);
    let mut pieces: Vec<Piece> = (0..bytes.len())
        .step_by(10)
        .map(|start| whole.slice(start..start + 10).into())
        .collect();
    pieces.insert(3, whole.slice(0..0).into());
    pair.dialler.transport.send(out, &mut pieces);
    pair.until("all arrived", |pair| {
        pair.listener.record(inward).received.len() >= bytes.len()
            && pair.dialler.record(out).sent == 2
    });
    assert!(pair.listener.record(inward).received == bytes);
}

/// Pieces of both kinds, of all lengths, more than the socket takes at once: sends end anywhere.
pub(crate) fn pieces_of_both_kinds_arrive_in_order<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    let bytes = pattern(9, 12 << 20);
    let (mut slab, whole) = slab_of(&bytes);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    for number in 0.. {
        let len = (16 << (number % 15)).min(bytes.len() - at);
        if len == 0 {
            break;
        }
        pieces.push(if number % 2 == 0 {
            whole.slice(at..at + len).into()
        } else {
            Piece::Shared(Chunk::copied_from(&bytes[at..at + len]))
        });
        at += len;
    }
    drop(whole);
    pair.dialler.transport.send(out, &mut pieces);
    assert!(pieces.is_empty());
    pair.listener.transport.start_receiving(inward);
    pair.until("all arrived", |pair| {
        pair.listener.record(inward).received.len() >= bytes.len()
            && pair.dialler.record(out).sent == 2
    });
    assert!(pair.listener.record(inward).received == bytes);
    assert!(slab.reclaim(), "the pieces are released with `Sent`");
}

/// What was received leaves from the buffers it came in, which are free when it was sent.
pub(crate) fn received_bytes_leave_again_from_their_buffers<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    pair.listener.holds = true;
    let bytes = pattern(10, 300_000);
    pair.dialler.send(out, &bytes);
    let mut sent = 0;
    while pair.dialler.record(out).received.len() < bytes.len() {
        pair.until("bytes to send on, or all are sent", |pair| {
            !pair.listener.held.is_empty() || pair.dialler.record(out).received.len() >= bytes.len()
        });
        let mut pieces: Vec<_> = pair.listener.held.drain(..).map(Piece::Shared).collect();
        pair.listener.transport.send(inward, &mut pieces);
        sent += 1;
        pair.until("sent on", |pair| pair.listener.record(inward).sent == sent);
    }
    assert!(pair.dialler.record(out).received == bytes);
    assert_eq!(pair.listener.transport.buffer_use().pinned, 0);
}

pub(crate) fn an_empty_send_completes<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, _) = pair.connect_receiving(1);
    pair.dialler.transport.send(out, &mut Vec::new());
    pair.until("sent", |pair| pair.dialler.record(out).sent == 2);
    pair.dialler.send(out, &[]);
    pair.until("sent again", |pair| pair.dialler.record(out).sent == 3);
}

pub(crate) fn a_closed_listener_refuses_and_its_connections_live<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    pair.listener.transport.stop_listening();
    let refused = pair.dialler.dial(pair.address);
    pair.until("refused", |pair| pair.dialler.is_closed(refused));
    pair.dialler.send(out, b"still here");
    pair.until("arrived", |pair| {
        pair.listener.record(inward).received.len() >= 10
    });
    assert_eq!(
        pair.listener.transport.listen(pair.address).unwrap(),
        pair.address
    );
    pair.connect_receiving(2);
}

pub(crate) fn a_dial_can_be_closed_at_once<R: Rig>() {
    let mut pair = Pair::new::<R>();
    for turns in 0..4 {
        let out = pair.dialler.dial(pair.address);
        for _ in 0..turns {
            pair.turn();
        }
        pair.dialler.transport.close(out);
        pair.until("closed", |pair| pair.dialler.is_closed(out));
        assert!(matches!(
            pair.dialler.record(out).closed,
            Some(CloseReason::Local)
        ));
    }
    pair.connect_receiving(9);
}

pub(crate) fn held_chunks_stay_as_they_are<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect_receiving(1);
    pair.listener.holds = true;
    let bytes = pattern(8, 100_000);
    pair.dialler.send(out, &bytes);
    let mut copied = Vec::new();
    pair.until("the first bytes arrive", |pair| {
        !pair.listener.held.is_empty()
    });
    while copied.len() < bytes.len() {
        for _ in 0..20 {
            pair.turn();
        }
        let pinned = pair.listener.transport.buffer_use();
        assert!(pinned.pinned <= pinned.total);
        // Chunks were held over many turns; they must still read as they were received.
        for chunk in pair.listener.held.drain(..) {
            copied.extend_from_slice(&chunk);
        }
    }
    assert!(copied == bytes);
    assert!(pair.listener.record(inward).received == bytes);
    assert_eq!(pair.listener.transport.buffer_use().pinned, 0);
}

pub(crate) fn a_detached_connection_goes_on_where_it_is_adopted<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    pair.dialler.transport.start_receiving(out);
    pair.dialler.send(out, b"before");
    pair.until("sent", |pair| pair.dialler.record(out).sent == 2);
    let detached = pair.listener.transport.detach(inward).unwrap();
    assert!(pair.listener.transport.detach(inward).is_none());
    pair.dialler.send(out, b", after");
    pair.until("sent again", |pair| pair.dialler.record(out).sent == 3);
    let adopted = pair.listener.adopt(detached);
    pair.listener.transport.start_receiving(adopted);
    pair.listener.send(adopted, b"answer");
    pair.until("both are heard", |pair| {
        pair.listener.record(adopted).received.len() >= 13
            && pair.dialler.record(out).received.len() >= 6
    });
    assert_eq!(pair.listener.record(adopted).received, b"before, after");
    assert_eq!(pair.dialler.record(out).received, b"answer");
    assert!(
        !pair.listener.is_closed(inward),
        "a detached id says nothing more"
    );
    assert!(
        pair.listener.transport.detach(adopted).is_none(),
        "it receives"
    );
}

pub(crate) fn what_is_detached_and_dropped_ends<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, inward) = pair.connect(1);
    pair.dialler.transport.start_receiving(out);
    drop(pair.listener.transport.detach(inward).unwrap());
    pair.until("the peer hears of it", |pair| pair.dialler.is_closed(out));
    let reason = &pair.dialler.record(out).closed;
    assert!(matches!(reason, Some(CloseReason::PeerClosed)));
    assert_eq!(pair.listener.transport.counters().closed, 0);
}

pub(crate) fn a_second_send_before_sent_panics<R: Rig>() {
    let mut pair = Pair::new::<R>();
    let (out, _) = pair.connect(1);
    pair.dialler.send(out, b"one");
    pair.dialler.send(out, b"two");
}
