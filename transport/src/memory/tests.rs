//! The bounds of a network in memory, and what is left when a transport ends.

use ringmesh_proto::slab::Slab;

use super::stream::{BACKLOG, PIPE_BYTES_MAX};
use super::*;
use crate::contract::{PREFACE_BYTES, Piece};

/// More polls than anything here takes: a poll moves a byte at least.
const POLLS: usize = 8 * PIPE_BYTES_MAX;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn slice_of(len: usize) -> Piece {
    let mut slab = Slab::with_capacity(len);
    slab.tail_mut().fill(7);
    slab.advance(len);
    slab.freeze().into()
}

fn polled(transport: &mut MemoryTransport) -> Vec<Event> {
    let mut events = VecDeque::new();
    transport.poll(&mut events);
    events.into()
}

/// A dialler and a listener with a connection that said its preface.
fn connected() -> (MemoryTransport, ConnectionId, MemoryTransport, ConnectionId) {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = (network.transport(1), network.transport(2));
    let at = far.listen(address()).unwrap();
    let out = near.dial(at).unwrap();
    polled(&mut near);
    near.send(out, &mut vec![slice_of(PREFACE_BYTES)]);
    for _ in 0..POLLS {
        polled(&mut near);
        for event in polled(&mut far) {
            if let Event::Preface { connection, .. } = event {
                return (near, out, far, connection);
            }
        }
    }
    panic!("no preface came");
}

#[test]
fn a_stream_one_over_its_bytes_waits_for_its_reader() {
    let (mut near, out, mut far, inward) = connected();
    for (more, is_sent) in [(0, true), (1, false)] {
        near.send(out, &mut vec![slice_of(PIPE_BYTES_MAX + more)]);
        let mut sent = false;
        for _ in 0..POLLS {
            let events = polled(&mut near);
            sent |= events
                .iter()
                .any(|event| matches!(event, Event::Sent { .. }));
            if !near.has_news() {
                break;
            }
        }
        assert!(!near.has_news(), "it looks again and again");
        assert_eq!(sent, is_sent);
        far.start_receiving(inward);
        let mut received = 0;
        while received < PIPE_BYTES_MAX + more {
            let events = polled(&mut far);
            received += events
                .iter()
                .map(|event| match event {
                    Event::Received { chunk, .. } => chunk.len(),
                    _ => 0,
                })
                .sum::<usize>();
            polled(&mut near);
        }
        // Nobody reads any more.
        far.connections.get_mut(inward).unwrap().receiving = false;
    }
}

#[test]
fn one_over_the_dials_that_wait_is_refused() {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = (network.transport(1), network.transport(2));
    let at = far.listen(address()).unwrap();
    for _ in 0..=BACKLOG {
        near.dial(at).unwrap();
    }
    let refused = polled(&mut near)
        .iter()
        .filter(|event| matches!(event, Event::Closed { .. }))
        .count();
    assert_eq!(refused, 1);
    let incoming = polled(&mut far).len();
    assert_eq!(incoming, BACKLOG);
}

#[test]
fn one_over_the_connections_of_a_transport_is_refused_and_shed() {
    let network = MemoryNetwork::new();
    let (mut near, mut far) = (network.transport(1), network.transport(2));
    let at = far.listen(address()).unwrap();
    // Nobody listens there: each of them ends with the next poll.
    let nowhere = SocketAddr::from(([127, 0, 0, 9], 9));
    for _ in 0..CONNECTIONS_MAX {
        far.dial(nowhere).unwrap();
    }
    let refused = far.dial(nowhere).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    assert_eq!(far.counters().dialled, u64::from(CONNECTIONS_MAX));
    // Nor is there a place for one that comes, which hears so.
    let mut events = VecDeque::new();
    let out = near.dial(at).unwrap();
    polled(&mut near);
    near.start_receiving(out);
    let incoming = far.inbox.take().expect("somebody dialled").incoming;
    incoming
        .into_iter()
        .for_each(|end| far.accept(end, &mut events));
    assert_eq!((far.counters().shed, far.counters().accepted), (1, 0));
    assert!(events.is_empty(), "{events:?}");
    let closed =
        |event: &Event| matches!(event, Event::Closed { connection, .. } if *connection == out);
    assert!((0..POLLS).any(|_| polled(&mut near).iter().any(closed)));
    // Nor for one that another core hands over.
    let (near, out, mut third, inward) = connected();
    let detached = third.detach(inward).expect("it has said nothing more");
    let refused = far.adopt(detached).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    drop((near, out));
    // When one has ended there is.
    assert_eq!(polled(&mut far).len(), CONNECTIONS_MAX as usize);
    far.dial(nowhere).unwrap();
}

#[test]
fn the_end_of_a_transport_is_heard_and_frees_its_address() {
    let (mut near, out, far, _) = connected();
    let at = far.listening.unwrap();
    near.start_receiving(out);
    assert!(near.reaches(at));
    drop(far);
    assert!(!near.reaches(at));
    let events = polled(&mut near);
    let closed = |event: &Event| {
        matches!(
            event,
            Event::Closed {
                reason: CloseReason::PeerClosed,
                ..
            }
        )
    };
    assert!(events.iter().any(closed), "{events:?}");
}

#[test]
fn a_cut_breaks_every_stream_once() {
    let (mut near, out, mut far, inward) = connected();
    let network = near.network.clone();
    near.start_receiving(out);
    far.start_receiving(inward);
    assert_eq!((network.cut(), network.cut()), (1, 0));
    for transport in [&mut near, &mut far] {
        let broken = |event: &Event| {
            matches!(
                event,
                Event::Closed {
                    reason: CloseReason::Broken(_),
                    ..
                }
            )
        };
        assert!(polled(transport).iter().any(broken));
    }
    assert_eq!(network.cut(), 0);
}
