//! Descriptors of the whole process: they return to where they were, and running out of them only
//! pauses accepting. One test, for it counts and exhausts what all threads share.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringmesh_proto::slab::Slab;
use ringmesh_transport::contract::PREFACE_BYTES;
use ringmesh_transport::tcp::Settings;
use ringmesh_transport::{Event, TcpTransport, Transport};

const PATIENCE: Duration = Duration::from_secs(60);
const CYCLES: usize = 2000;

#[test]
fn descriptors_come_back_and_want_of_them_pauses_accepting() {
    let before = open_descriptors();
    let mut listener = TcpTransport::new(Settings::default()).unwrap();
    let mut dialler = TcpTransport::new(Settings::default()).unwrap();
    let address = listener
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap();
    let baseline = open_descriptors();
    connect_and_close(&mut dialler, &mut listener, address);
    assert_eq!(open_descriptors(), baseline);
    assert_eq!(listener.buffer_use().pinned, 0);
    accept_without_descriptors(&mut listener, address);
    drop((dialler, listener));
    assert_eq!(open_descriptors(), before);
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each cycle dials, sends a preface, and closes from one side in turn.
fn connect_and_close(dialler: &mut TcpTransport, listener: &mut TcpTransport, to: SocketAddr) {
    let mut slab = Slab::with_capacity(PREFACE_BYTES);
    slab.advance(PREFACE_BYTES);
    let preface = slab.freeze();
    let (mut dialled, mut closed) = (0, 0);
    let mut events = VecDeque::new();
    let deadline = Instant::now() + PATIENCE;
    while closed < 2 * CYCLES {
        assert!(Instant::now() < deadline, "{closed} closed");
        while dialled < CYCLES && dialled < closed / 2 + 100 {
            dialler.dial(to).unwrap();
            dialled += 1;
        }
        for side in [&mut *dialler, &mut *listener] {
            side.park(Some(Duration::from_micros(100))).unwrap();
            side.poll(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Connected { connection } => {
                        side.send(connection, &mut vec![preface.clone().into()]);
                        side.start_receiving(connection);
                    }
                    Event::Preface { connection, .. } => {
                        side.start_receiving(connection);
                        side.close(connection);
                    }
                    Event::Closed { .. } => closed += 1,
                    Event::Incoming { .. } | Event::Sent { .. } => {}
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
    assert_eq!(listener.counters().accepted, CYCLES as u64);
}

fn accept_without_descriptors(listener: &mut TcpTransport, address: SocketAddr) {
    let null = File::open("/dev/null").unwrap();
    let mut peer = TcpStream::connect(address).unwrap();
    let mut taken = Vec::new();
    let full = loop {
        match null.try_clone() {
            Ok(copy) => taken.push(copy),
            Err(error) => break error,
        }
    };
    println!("out of descriptors after {}: {full}", taken.len());
    let mut events = VecDeque::new();
    let deadline = Instant::now() + PATIENCE;
    let mut paused = false;
    while !paused {
        assert!(Instant::now() < deadline, "accepting did not pause");
        listener.park(Some(Duration::from_millis(100))).unwrap();
        listener.poll(&mut events);
        for event in events.drain(..) {
            let Event::AcceptPaused { error } = event else {
                panic!("unexpected {event:?}")
            };
            assert_ne!(error.kind(), ErrorKind::Interrupted);
            paused = true;
        }
    }
    taken.clear();
    peer.write_all(&[5; PREFACE_BYTES]).unwrap();
    let mut preface = None;
    while preface.is_none() {
        assert!(Instant::now() < deadline, "accepting did not resume");
        listener.park(Some(Duration::from_millis(100))).unwrap();
        listener.poll(&mut events);
        for event in events.drain(..) {
            if let Event::Preface { connection, bytes } = event {
                assert_eq!(bytes, [5; PREFACE_BYTES]);
                preface = Some(connection);
            }
        }
    }
}
