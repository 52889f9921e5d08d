//! How close the transport comes to bare system calls on this host: a stream of 64 KiB sends and a
//! round trip of 64 bytes, between two threads pinned to cores 0 and 1.
//!
//! `cargo run --release -p ringmesh-transport --example floor`. Rounds are interleaved and the
//! median is what to read: one round on a noisy host says little.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringmesh_proto::slab::{Slab, SlabSlice};
use ringmesh_transport::contract::PREFACE_BYTES;
use ringmesh_transport::tcp::{BulkMode, Settings};
use ringmesh_transport::{ConnectionId, Detached, Event, TcpTransport, Transport};

const ROUNDS: usize = 7;
const STREAM_BYTES: u64 = 4 << 30;
const SEND_BYTES: usize = 64 * 1024;
const ROUND_TRIPS: usize = 50_000;
const PING_BYTES: usize = 64;

fn main() {
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut spins: [Vec<f64>; 2] = Default::default();
    let mut parks: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        rates[0].push(gigabytes_per_second(plain_stream));
        rates[1].push(gigabytes_per_second(|to, from| {
            ring_stream(BulkMode::Off, to, from)
        }));
        rates[2].push(gigabytes_per_second(|to, from| {
            ring_stream(BulkMode::Adaptive, to, from)
        }));
        spins[0].push(plain_echo(true));
        spins[1].push(ring_echo(true));
        parks[0].push(plain_echo(false));
        parks[1].push(ring_echo(false));
    }
    let rates = rates.map(median);
    println!("stream GB/s: system calls {:.2}", rates[0]);
    println!("  multishot {:.2} (x {:.2})", rates[1], rates[1] / rates[0]);
    println!("  adaptive  {:.2} (x {:.2})", rates[2], rates[2] / rates[0]);
    for (name, trips) in [("spin", spins), ("park", parks)] {
        let [plain, ring] = trips.map(median);
        let ratio = ring / plain;
        println!("echo p50 us, {name}: system calls {plain:.1}, ring {ring:.1} (x {ratio:.2})");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn pin(core: usize) {
    let done = std::process::Command::new("taskset")
        .args(["-p", "-c", &core.to_string(), &thread_id()])
        .output();
    assert!(
        done.is_ok_and(|output| output.status.success()),
        "taskset is needed"
    );
}

fn thread_id() -> String {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_string_lossy().into_owned()
}

/// Runs both sides on their cores; each returns when the last byte went through it.
fn gigabytes_per_second(run: impl FnOnce(Sender, Receiver) -> Duration) -> f64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let seconds = run(Sender(address), Receiver(listener)).as_secs_f64();
    STREAM_BYTES as f64 / seconds / 1e9
}

struct Sender(SocketAddr);
struct Receiver(TcpListener);

fn plain_stream(to: Sender, from: Receiver) -> Duration {
    let sender = thread::spawn(move || {
        pin(0);
        let mut socket = TcpStream::connect(to.0).unwrap();
        socket.set_nonblocking(true).unwrap();
        let bytes = vec![7; SEND_BYTES];
        let mut left = STREAM_BYTES;
        let mut at = 0;
        while left > 0 {
            let written = retry(|| socket.write(&bytes[at..]));
            at = (at + written) % SEND_BYTES;
            left -= (written as u64).min(left);
        }
        socket
    });
    pin(1);
    let (mut socket, _) = from.0.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; SEND_BYTES];
    let started = Instant::now();
    let (mut received, mut sum) = (0, 0_u64);
    while received < STREAM_BYTES {
        let count = retry(|| socket.read(&mut bytes));
        sum += sum_lines(&bytes[..count]);
        received += count as u64;
    }
    let took = started.elapsed();
    assert!(sum > 0);
    drop(sender.join().unwrap());
    took
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> usize {
    loop {
        match call() {
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Touches one byte of every cache line, as a parser would.
fn sum_lines(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}

fn settings(bulk: BulkMode) -> Settings {
    let mut settings = Settings::default();
    settings.bulk = bulk;
    settings
}

fn ring_stream(bulk: BulkMode, to: Sender, from: Receiver) -> Duration {
    let sender = thread::spawn(move || {
        pin(0);
        let (mut transport, id) = dialled(to.0, settings(bulk));
        let slice = filled(SEND_BYTES);
        let mut left = STREAM_BYTES;
        let mut slices = Vec::new();
        let mut events = VecDeque::new();
        while left > 0 {
            slices.push(slice.clone());
            transport.send(id, &mut slices);
            loop {
                transport.submit().unwrap();
                transport.poll(&mut events);
                if events
                    .drain(..)
                    .any(|event| matches!(event, Event::Sent { .. }))
                {
                    break;
                }
            }
            left -= SEND_BYTES as u64;
        }
        drop(transport);
    });
    pin(1);
    let (mut transport, id) = adopted(&from.0, settings(bulk));
    let mut events = VecDeque::new();
    transport.start_receiving(id);
    let started = Instant::now();
    let (mut received, mut sum) = (0, 0_u64);
    while received < STREAM_BYTES {
        transport.submit().unwrap();
        transport.poll(&mut events);
        for event in events.drain(..) {
            if let Event::Received { chunk, .. } = event {
                sum += sum_lines(&chunk);
                received += chunk.len() as u64;
            }
        }
    }
    let took = started.elapsed();
    assert!(sum > 0);
    sender.join().unwrap();
    took
}

fn dialled(to: SocketAddr, settings: Settings) -> (TcpTransport, ConnectionId) {
    let mut transport = TcpTransport::new(settings).unwrap();
    let id = transport.dial(to).unwrap();
    let mut events = VecDeque::new();
    loop {
        transport.park(None).unwrap();
        transport.poll(&mut events);
        match events.pop_front() {
            Some(Event::Connected { .. }) => return (transport, id),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
}

fn adopted(from: &TcpListener, settings: Settings) -> (TcpTransport, ConnectionId) {
    let (socket, _) = from.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut transport = TcpTransport::new(settings).unwrap();
    let socket = Detached::new(OwnedFd::from(socket));
    let id = transport.adopt(socket).unwrap();
    (transport, id)
}

fn filled(len: usize) -> SlabSlice {
    let mut slab = Slab::with_capacity(len);
    slab.tail_mut().fill(7);
    slab.advance(len);
    slab.freeze()
}

/// The median round trip in microseconds.
fn plain_echo(spin: bool) -> f64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = thread::spawn(move || {
        pin(1);
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(spin).unwrap();
        let mut bytes = [0; PING_BYTES];
        for _ in 0..ROUND_TRIPS {
            retry(|| socket.read(&mut bytes));
            retry(|| socket.write(&bytes));
        }
    });
    pin(0);
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_nonblocking(spin).unwrap();
    let mut bytes = [0; PING_BYTES];
    let p50 = round_trips(|| {
        retry(|| socket.write(&bytes));
        retry(|| socket.read(&mut bytes));
    });
    echo.join().unwrap();
    p50
}

fn ring_echo(spin: bool) -> f64 {
    let (tell, told) = mpsc::channel();
    let echo = thread::spawn(move || {
        pin(1);
        let mut transport = TcpTransport::new(Settings::default()).unwrap();
        tell.send(transport.listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap())
            .unwrap();
        let answer = filled(PING_BYTES);
        let mut events = VecDeque::new();
        let mut slices = Vec::new();
        loop {
            turn(&mut transport, &mut events, spin);
            while let Some(event) = events.pop_front() {
                match event {
                    Event::Preface { connection, .. } => transport.start_receiving(connection),
                    Event::Received { connection, chunk } => {
                        assert_eq!(chunk.len(), PING_BYTES);
                        slices.push(answer.clone());
                        transport.send(connection, &mut slices);
                    }
                    Event::Closed { .. } => return,
                    _ => {}
                }
            }
        }
    });
    pin(0);
    let (mut transport, id) = dialled(told.recv().unwrap(), Settings::default());
    let (ping, mut slices) = (filled(PING_BYTES), vec![filled(PREFACE_BYTES)]);
    let mut events = VecDeque::new();
    transport.send(id, &mut slices);
    transport.start_receiving(id);
    let mut sent = false;
    while !sent {
        turn(&mut transport, &mut events, spin);
        sent = events
            .drain(..)
            .any(|event| matches!(event, Event::Sent { .. }));
    }
    let p50 = round_trips(|| {
        slices.push(ping.clone());
        transport.send(id, &mut slices);
        let (mut sent, mut received) = (false, false);
        while !(sent && received) {
            turn(&mut transport, &mut events, spin);
            for event in events.drain(..) {
                sent |= matches!(event, Event::Sent { .. });
                received |= matches!(event, Event::Received { .. });
            }
        }
    });
    drop(transport);
    echo.join().unwrap();
    p50
}

fn turn(transport: &mut TcpTransport, events: &mut VecDeque<Event>, spin: bool) {
    if spin {
        transport.submit()
    } else {
        transport.park(None)
    }
    .unwrap();
    transport.poll(events);
}

fn round_trips(mut trip: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..ROUND_TRIPS)
        .map(|_| {
            let started = Instant::now();
            trip();
            started.elapsed().as_nanos() as f64 / 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUND_TRIPS / 2]
}
