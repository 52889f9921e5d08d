//! What only the transport over io_uring does: buffers that run out, sleeping and waking, handing
//! sockets over, ending in the middle of everything.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ringmesh_proto::slab::Slab;
use ringmesh_transport::contract::{PREFACE_BYTES, Piece};
use ringmesh_transport::tcp::{BulkMode, Settings};
use ringmesh_transport::{Chunk, ConnectionId, Event, TcpTransport, Transport};

const PATIENCE: Duration = Duration::from_secs(30);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Parks until `pick` finds its event; other events are dropped.
fn wait<R>(transport: &mut TcpTransport, mut pick: impl FnMut(Event) -> Option<R>) -> R {
    let deadline = Instant::now() + PATIENCE;
    let mut events = VecDeque::new();
    loop {
        transport.poll(&mut events);
        while let Some(event) = events.pop_front() {
            if let Some(found) = pick(event) {
                assert!(events.is_empty(), "the test would lose {events:?}");
                return found;
            }
        }
        assert!(Instant::now() < deadline, "waited too long");
        transport.park(Some(Duration::from_millis(100))).unwrap();
    }
}

/// A transport that listens, a plain socket that connected to it, and the accepted connection.
fn accepted(settings: Settings) -> (TcpTransport, TcpStream, ConnectionId) {
    let mut transport = TcpTransport::new(settings).unwrap();
    let address = transport.listen(ANY_PORT).unwrap();
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(&[1; PREFACE_BYTES]).unwrap();
    let id = wait(&mut transport, |event| match event {
        Event::Preface { connection, .. } => Some(connection),
        _ => None,
    });
    (transport, peer, id)
}

fn slice_of(bytes: &[u8]) -> Piece {
    let mut slab = Slab::with_capacity(bytes.len());
    slab.tail_mut().copy_from_slice(bytes);
    slab.advance(bytes.len());
    slab.freeze().into()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index * 31 + (index >> 8) * 7) as u8)
        .collect()
}

#[test]
fn receiving_pauses_while_all_buffers_are_held_and_goes_on_after() {
    let mut settings = Settings::default();
    settings.receive_buffers = 4;
    settings.receive_buffer_bytes = 4096;
    settings.bulk = BulkMode::Off;
    let (mut transport, mut peer, id) = accepted(settings);
    transport.start_receiving(id);
    let bytes = pattern(1 << 20);
    let sent = bytes.clone();
    let writer = thread::spawn(move || peer.write_all(&sent).map(|()| peer).unwrap());
    let mut received = Vec::new();
    let mut held: Vec<Chunk> = Vec::new();
    let mut events = VecDeque::new();
    let deadline = Instant::now() + PATIENCE;
    while received.len() < bytes.len() {
        assert!(
            Instant::now() < deadline,
            "stalled at {} bytes",
            received.len()
        );
        // Held until the pool is dry and a turn brought nothing, then released at once.
        let brought = transport.poll(&mut events);
        for event in events.drain(..) {
            if let Event::Received { chunk, .. } = event {
                held.push(chunk);
            }
        }
        let dry = transport.buffer_use().pinned == 4;
        if (dry && !brought)
            || held.iter().map(|chunk| chunk.len()).sum::<usize>() + received.len() == bytes.len()
        {
            held.drain(..)
                .for_each(|chunk| received.extend_from_slice(&chunk));
        }
        transport.park(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(received == bytes);
    assert!(
        transport.counters().receives_starved > 0,
        "the pool never ran dry"
    );
    writer.join().unwrap();
}

#[test]
fn a_stream_switches_to_bulk_and_its_chunks_join() {
    let (mut transport, mut peer, id) = accepted(Settings::default());
    transport.start_receiving(id);
    let bytes = pattern(32 << 20);
    let sent = bytes.clone();
    let writer = thread::spawn(move || {
        peer.write_all(&sent).unwrap();
        for _ in 0..200 {
            // Small ones, each awaited, bring it back to multishot.
            peer.write_all(b"x").unwrap();
            peer.read_exact(&mut [0]).unwrap();
        }
        peer
    });
    let (mut at, mut joined, mut answered) = (0, 0, 0);
    let mut last: Option<Chunk> = None;
    let mut events = VecDeque::new();
    let (mut sending, deadline) = (false, Instant::now() + PATIENCE);
    while answered < 200 {
        assert!(Instant::now() < deadline, "stalled at {at}");
        transport.park(Some(Duration::from_millis(100))).unwrap();
        transport.poll(&mut events);
        for event in events.drain(..) {
            let chunk = match event {
                Event::Received { chunk, .. } => chunk,
                Event::Sent { .. } => {
                    (sending, answered) = (false, answered + 1);
                    continue;
                }
                other => panic!("unexpected {other:?}"),
            };
            let end = bytes.len().min(at + chunk.len());
            assert!(at >= bytes.len() || chunk[..end - at] == bytes[at..end]);
            at += chunk.len();
            let unjoined = match last.as_mut() {
                Some(before) => before.try_join(chunk).err(),
                None => Some(chunk),
            };
            joined += usize::from(unjoined.is_none());
            last = unjoined.or_else(|| last.filter(|joined| joined.len() < 256 * 1024));
        }
        if !sending && at > bytes.len() + answered {
            transport.send(id, &mut vec![slice_of(b"y")]);
            sending = true;
        }
    }
    drop(last);
    let counters = transport.counters();
    println!("{counters:?}, {joined} joined");
    assert!(counters.receives_bulk > 0, "never switched to bulk");
    assert!(joined > 0, "chunks of a large buffer are neighbours");
    let before = counters.receives_bulk;
    let mut peer: TcpStream = writer.join().unwrap();
    peer.write_all(b"z").unwrap();
    wait(&mut transport, |event| {
        matches!(event, Event::Received { .. }).then_some(())
    });
    assert_eq!(
        transport.counters().receives_bulk,
        before,
        "back to multishot"
    );
    assert_eq!(transport.buffer_use().pinned, 0);
}

#[test]
fn chunks_outlive_the_transport() {
    let (mut transport, mut peer, id) = accepted(Settings::default());
    transport.start_receiving(id);
    peer.write_all(b"to stay").unwrap();
    let chunk = wait(&mut transport, |event| match event {
        Event::Received { chunk, .. } => Some(chunk),
        _ => None,
    });
    let copy = chunk.clone();
    drop(transport);
    drop(chunk);
    assert_eq!(&*copy, b"to stay");
}

#[test]
fn a_transport_can_be_dropped_in_the_middle_of_everything() {
    for round in 0..8 {
        let (mut transport, mut peer, id) = accepted(Settings::default());
        let nobody = TcpListener::bind(ANY_PORT).unwrap();
        transport.dial(nobody.local_addr().unwrap()).unwrap();
        transport.start_receiving(id);
        transport.send(id, &mut vec![slice_of(&pattern(8 << 20))]);
        peer.set_nonblocking(true).unwrap();
        let _ = peer.write(&pattern(1 << 20));
        for _ in 0..round {
            transport.submit().unwrap();
            transport.poll(&mut VecDeque::new());
        }
        let started = Instant::now();
        drop(transport);
        assert!(
            started.elapsed() < Duration::from_millis(900),
            "the kernel owed a completion"
        );
        drop(nobody);
    }
}

#[test]
fn a_socket_moves_to_another_core_with_every_byte() {
    let (mut first, mut peer, id) = accepted(Settings::default());
    peer.write_all(b"pipelined").unwrap();
    let socket = first
        .detach(id)
        .expect("a connection that said its preface");
    assert!(first.detach(id).is_none());
    let reader = thread::spawn(move || {
        let mut second = TcpTransport::new(Settings::default()).unwrap();
        let id = second.adopt(socket).unwrap();
        second.start_receiving(id);
        let mut bytes = Vec::new();
        while bytes.len() < 9 {
            let chunk = wait(&mut second, |event| match event {
                Event::Received { chunk, .. } => Some(chunk),
                _ => None,
            });
            bytes.extend_from_slice(&chunk);
        }
        second.send(id, &mut vec![slice_of(b"answer")]);
        wait(&mut second, |event| {
            matches!(event, Event::Sent { .. }).then_some(())
        });
        second.close(id);
        wait(&mut second, |event| {
            matches!(event, Event::Closed { .. }).then_some(())
        });
        bytes
    });
    assert_eq!(reader.join().unwrap(), b"pipelined");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    let mut events = VecDeque::new();
    first.submit().unwrap();
    assert!(
        !first.poll(&mut events),
        "a detached connection is never closed: {events:?}"
    );
}

#[test]
fn park_sleeps_until_its_timeout_and_no_longer() {
    let mut transport = TcpTransport::new(Settings::default()).unwrap();
    transport.submit().unwrap();
    let started = Instant::now();
    transport.park(Some(Duration::from_millis(30))).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!transport.poll(&mut VecDeque::new()));
    let before = transport.counters();
    transport.submit().unwrap();
    assert_eq!(
        transport.counters().enters,
        before.enters,
        "nothing to do, no system call"
    );
    assert_eq!(before.parks, 1);
}

#[test]
fn a_doorbell_wakes_a_parked_core_and_is_never_lost() {
    let mut transport = TcpTransport::new(Settings::default()).unwrap();
    let doorbell = transport.doorbell();
    let (tell, told) = std::sync::mpsc::sync_channel(0);
    let ringer = thread::spawn(move || {
        while told.recv().is_ok() {
            doorbell.ring();
        }
    });
    for _ in 0..2000 {
        tell.send(()).unwrap();
        wait(&mut transport, |event| {
            matches!(event, Event::Doorbell).then_some(())
        });
    }
    drop(tell);
    ringer.join().unwrap();
}

#[test]
fn a_ring_before_parking_keeps_the_core_awake() {
    let mut transport = TcpTransport::new(Settings::default()).unwrap();
    transport.doorbell().ring();
    let started = Instant::now();
    transport.park(None).unwrap();
    assert!(started.elapsed() < PATIENCE);
    wait(&mut transport, |event| {
        matches!(event, Event::Doorbell).then_some(())
    });
}

#[test]
fn a_peer_that_resets_under_load_closes_the_connection() {
    let (mut transport, peer, id) = accepted(Settings::default());
    transport.start_receiving(id);
    transport.send(id, &mut vec![slice_of(&pattern(8 << 20))]);
    transport.submit().unwrap();
    socket2::SockRef::from(&peer.as_fd())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    let reason = wait(&mut transport, |event| match event {
        Event::Closed { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(
        matches!(reason, ringmesh_transport::CloseReason::Broken(_)),
        "{reason:?}"
    );
}

#[test]
fn a_full_transport_sheds_connections_and_refuses_dials() {
    let mut settings = Settings::default();
    settings.connections_max = 1;
    let (mut transport, _peer, _) = accepted(settings);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    assert!(transport.dial(address).is_err());
    transport.stop_listening();
    let address = transport.listen(ANY_PORT).unwrap();
    let mut shed = TcpStream::connect(address).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while transport.counters().shed == 0 {
        assert!(Instant::now() < deadline);
        transport.park(Some(Duration::from_millis(10))).unwrap();
        transport.poll(&mut VecDeque::new());
    }
    shed.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(shed.read(&mut [0]).unwrap(), 0);
}
