//! Each fault, proven on the bytes that two plain sockets exchange through the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ringmesh_fault_proxy::{
    Action, CONNECTIONS_MAX, Counters, Direction, Ending, Faults, Proxy, Strike,
};

/// The longest a test waits for bytes or an end.
const WAIT: Duration = Duration::from_secs(20);

/// How long nothing has to come until a test believes that nothing does.
const QUIET: Duration = Duration::from_millis(100);

/// A proxy and the listener behind it.
struct Rig {
    proxy: Proxy,
    upstream: TcpListener,
}

impl Rig {
    fn new(faults: Faults) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = upstream.local_addr().expect("it is bound");
        let proxy = Proxy::start(address, faults).expect("a free port");
        Self { proxy, upstream }
    }

    /// A connection through the proxy: the client's end, and the server's.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = connect(&self.proxy);
        let (server, _) = self.upstream.accept().expect("it comes through");
        server.set_read_timeout(Some(WAIT)).expect("a socket");
        (client, server)
    }

    fn until(&self, wanted: impl Fn(&Counters) -> bool) -> Counters {
        let begin = Instant::now();
        loop {
            let counters = self.proxy.counters();
            if wanted(&counters) {
                return counters;
            }
            assert!(begin.elapsed() < WAIT, "waited in vain: {counters:?}");
            std::thread::yield_now();
        }
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).expect("the proxy listens");
    client.set_read_timeout(Some(WAIT)).expect("a socket");
    client
}

fn faults(change: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::with_seed(1);
    change(&mut faults);
    faults
}

/// Bytes of which no two neighbouring windows are alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 256) as u8).collect()
}

fn read_exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("so many bytes come");
    bytes
}

/// Everything that comes until the end, and how it ends: `None` in order.
fn read_to_the_end(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    (bytes, ended.err().map(|error| error.kind()))
}

fn is_quiet(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(QUIET)).expect("a socket");
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(WAIT)).expect("a socket");
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn without_faults_bytes_and_ends_pass_both_ways() {
    let rig = Rig::new(Faults::default());
    let (mut client, mut server) = rig.pair();
    let (there, back) = (pattern(3 << 20), pattern(1 << 20));
    std::thread::scope(|scope| {
        let (from, to) = (&client, &there);
        scope.spawn(move || {
            (&mut &*from).write_all(to).expect("it is taken");
            from.shutdown(Shutdown::Write).expect("it is open");
        });
        assert_eq!(read_to_the_end(&mut server), (there.clone(), None));
    });
    server.write_all(&back).expect("the way back is open");
    drop(server);
    assert_eq!(read_to_the_end(&mut client), (back, None));
    let counters = rig.proxy.counters();
    assert_eq!(
        (counters.bytes_to_upstream, counters.bytes_to_client),
        (3 << 20, 1 << 20)
    );
    assert_eq!((counters.connections, counters.cuts), (1, 0));
}

#[test]
fn delayed_bytes_come_later_in_order_and_others_do_not_wait() {
    const DELAY: Duration = Duration::from_millis(120);
    let rig = Rig::new(faults(|faults| {
        faults.to_upstream.delay = DELAY;
        faults.to_upstream.jitter = Duration::from_millis(30);
    }));
    let (mut client, mut server) = rig.pair();
    let begin = Instant::now();
    for byte in 0..10 {
        client.write_all(&[byte; 100]).expect("it is taken");
    }
    server.write_all(b"now").expect("it is taken");
    assert_eq!(read_exactly(&mut client, 3), b"now");
    let back = begin.elapsed();
    let bytes = read_exactly(&mut server, 1000);
    assert!(begin.elapsed() >= DELAY, "{:?}", begin.elapsed());
    assert!(back < begin.elapsed());
    assert!(
        bytes
            .chunks(100)
            .enumerate()
            .all(|(at, all)| all == [at as u8; 100])
    );
    // What is told at run time holds for what waits.
    rig.proxy
        .change(|faults| faults.to_upstream.delay = WAIT * 2);
    client.write_all(b"x").expect("it is taken");
    assert!(is_quiet(&mut server));
    rig.proxy.set(Faults::default());
    assert_eq!(read_exactly(&mut server, 1), b"x");
}

#[test]
fn a_throttled_way_keeps_its_rate() {
    const RATE: u64 = 200_000;
    let rig = Rig::new(faults(|faults| {
        faults.to_client.bytes_per_second = NonZeroU64::new(RATE);
    }));
    let (mut client, mut server) = rig.pair();
    let bytes = pattern(60_000);
    let begin = Instant::now();
    server.write_all(&bytes).expect("it is taken");
    assert_eq!(read_exactly(&mut client, bytes.len()), bytes);
    // All but the first burst was held back.
    let least = Duration::from_secs_f64(58_000.0 / RATE as f64);
    assert!(begin.elapsed() >= least, "{:?}", begin.elapsed());
}

#[test]
fn a_stall_holds_everything_and_loses_nothing() {
    let rig = Rig::new(Faults::default());
    let (mut client, mut server) = rig.pair();
    rig.proxy.change(|faults| faults.to_upstream.stalled = true);
    client.write_all(b"held").expect("it is taken");
    server.write_all(b"free").expect("it is taken");
    assert_eq!(read_exactly(&mut client, 4), b"free");
    assert!(is_quiet(&mut server));
    rig.proxy
        .change(|faults| faults.to_upstream.stalled = false);
    assert_eq!(read_exactly(&mut server, 4), b"held");
}

#[test]
fn what_a_stall_holds_is_bounded() {
    let rig = Rig::new(faults(|faults| faults.to_upstream.stalled = true));
    let (mut client, mut server) = rig.pair();
    client.set_write_timeout(Some(QUIET)).expect("a socket");
    // More than the proxy and the buffers of two sockets hold, by far.
    let chunk = pattern(1 << 20);
    let mut sent = Vec::new();
    let full = loop {
        assert!(sent.len() < 256 << 20, "the proxy takes everything");
        match client.write(&chunk) {
            Ok(written) => sent.extend_from_slice(&chunk[..written]),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    rig.proxy.set(Faults::default());
    client.shutdown(Shutdown::Write).expect("it is open");
    let (got, ended) = read_to_the_end(&mut server);
    assert!(
        got == sent && ended.is_none(),
        "{} of {}",
        got.len(),
        sent.len()
    );
}

#[test]
fn a_cut_in_order_is_at_its_byte_exactly() {
    for position in [0, 1, 999, 70_000] {
        let rig = Rig::new(faults(|faults| {
            faults.to_upstream.strikes = vec![Strike::cut(position, Ending::Fin)];
        }));
        let (mut client, mut server) = rig.pair();
        let bytes = pattern(100_000);
        client.write_all(&bytes).expect("it is taken");
        let before = bytes[..position as usize].to_vec();
        assert_eq!(read_to_the_end(&mut server), (before, None));
        assert_eq!(read_to_the_end(&mut client), (Vec::new(), None));
        let counters = rig.proxy.counters();
        assert_eq!((counters.cuts, counters.cuts_with_loss), (1, 1));
        assert_eq!(counters.bytes_to_upstream, position);
        drop((client, server));
        let dropped = bytes.len() as u64 - position;
        rig.until(|now| now.bytes_dropped == dropped);
    }
}

#[test]
fn a_cut_with_a_reset_is_not_behind_its_byte() {
    const POSITION: usize = 50_000;
    let rig = Rig::new(faults(|faults| {
        faults.to_client.strikes = vec![Strike::cut(POSITION as u64, Ending::Reset)];
    }));
    let (mut client, mut server) = rig.pair();
    let bytes = pattern(100_000);
    server.write_all(&bytes).expect("it is taken");
    let (came, ended) = read_to_the_end(&mut client);
    assert!(came.len() <= POSITION && came == bytes[..came.len()]);
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
    assert_eq!(
        read_to_the_end(&mut server).1,
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(rig.proxy.counters().cuts_with_loss, 1);
}

#[test]
fn a_half_closed_way_ends_in_order_while_the_other_goes_on() {
    let rig = Rig::new(faults(|faults| {
        faults.to_upstream.strikes = vec![Strike::half_close(10)];
    }));
    let (mut client, mut server) = rig.pair();
    client.write_all(&pattern(5_000)).expect("it is taken");
    assert_eq!(
        read_to_the_end(&mut server),
        (pattern(5_000)[..10].to_vec(), None)
    );
    client
        .write_all(&pattern(5_000))
        .expect("it is still taken");
    server
        .write_all(b"still here")
        .expect("the way back is open");
    assert_eq!(read_exactly(&mut client, 10), b"still here");
    let counters = rig.until(|now| now.bytes_dropped == 9_990);
    assert_eq!((counters.half_closes, counters.cuts), (1, 0));
}

#[test]
fn a_flip_damages_its_byte_alone() {
    let rig = Rig::new(faults(|faults| {
        let strikes = [(0, 1), (777, 0x80), (77, 0xff)];
        faults.to_client.strikes = strikes.map(|(at, mask)| Strike::flip(at, mask)).into();
    }));
    let (mut client, mut server) = rig.pair();
    let bytes = pattern(10_000);
    server.write_all(&bytes).expect("it is taken");
    let mut expected = bytes;
    expected[0] ^= 1;
    expected[777] ^= 0x80;
    expected[77] ^= 0xff;
    assert_eq!(read_exactly(&mut client, 10_000), expected);
    assert_eq!(rig.proxy.counters().flips, 3);
}

#[test]
fn a_dead_way_swallows_bytes_and_ends_while_the_other_lives() {
    let rig = Rig::new(faults(|faults| faults.to_upstream.dead = true));
    let (mut client, mut server) = rig.pair();
    client.write_all(b"nobody hears this").expect("it is taken");
    assert!(is_quiet(&mut server));
    server.write_all(b"hello").expect("it is taken");
    assert_eq!(read_exactly(&mut client, 5), b"hello");
    assert_eq!(rig.proxy.counters().bytes_dropped, 17);
    rig.proxy.set(Faults::default());
    client.write_all(b"again").expect("it is taken");
    assert_eq!(read_exactly(&mut server, 5), b"again");
    rig.proxy.change(|faults| faults.to_upstream.dead = true);
    client.shutdown(Shutdown::Write).expect("it is open");
    assert!(is_quiet(&mut server));
}

/// What arrives of the same bytes, sent in pieces of this length, when a seed damages them.
fn damaged(seed: u64, piece: usize) -> Vec<u8> {
    let mut faults = Faults::with_seed(seed);
    faults.to_upstream.flip_every = Some(100..=1_000);
    let rig = Rig::new(faults);
    let (mut client, mut server) = rig.pair();
    for piece in pattern(20_000).chunks(piece) {
        client.write_all(piece).expect("it is taken");
    }
    read_exactly(&mut server, 20_000)
}

#[test]
fn a_seed_repeats_its_damage() {
    let first = damaged(5, 20_000);
    let pairs = first.iter().zip(pattern(20_000));
    let flips = pairs.filter(|(got, sent)| **got != *sent).count();
    assert!((15..=200).contains(&flips), "{flips}");
    assert_eq!(damaged(5, 333), first);
    assert_ne!(damaged(6, 20_000), first);
}

#[test]
fn random_cuts_fall_where_they_may_and_a_seed_repeats_them() {
    let lengths = |seed| {
        let mut faults = Faults::with_seed(seed);
        faults.to_upstream.cut_every = Some(1_000..=9_000);
        faults.to_upstream.cut_with = Ending::Fin;
        let rig = Rig::new(faults);
        [(); 4].map(|()| {
            let (mut client, mut server) = rig.pair();
            client.write_all(&pattern(10_000)).expect("it is taken");
            read_to_the_end(&mut server).0.len()
        })
    };
    let first = lengths(3);
    assert!(
        first.iter().all(|length| (1_000..=9_000).contains(length)),
        "{first:?}"
    );
    assert!(first[1..] != [first[0]; 3], "{first:?}");
    assert_eq!(lengths(3), first);
    assert_ne!(lengths(4), first);
}

#[test]
fn an_armed_strike_counts_the_bytes_of_all_connections_and_strikes_once() {
    let rig = Rig::new(Faults::default());
    let (mut first, mut from_first) = rig.pair();
    let (mut second, mut from_second) = rig.pair();
    first.write_all(&[1; 60]).expect("it is taken");
    read_exactly(&mut from_first, 60);
    assert!(
        rig.proxy
            .arm(Direction::ToUpstream, 50, Action::Cut(Ending::Fin))
    );
    second.write_all(&[2; 40]).expect("it is taken");
    read_exactly(&mut from_second, 40);
    first.write_all(&[3; 30]).expect("it is taken");
    assert_eq!(read_to_the_end(&mut from_first), (vec![3; 10], None));
    second.write_all(&[4; 100]).expect("it is taken");
    assert_eq!(read_exactly(&mut from_second, 100), [4; 100]);
    assert_eq!(rig.proxy.counters().cuts, 1);
}

#[test]
fn all_connections_are_cut_at_once_and_only_held_bytes_are_a_loss() {
    for (ending, kind) in [
        (Ending::Reset, Some(ErrorKind::ConnectionReset)),
        (Ending::Fin, None),
    ] {
        let rig = Rig::new(Faults::default());
        let (mut idle, mut idle_server) = rig.pair();
        let (mut busy, mut busy_server) = rig.pair();
        rig.proxy.change(|faults| faults.to_upstream.stalled = true);
        busy.write_all(b"never comes").expect("it is taken");
        rig.until(|now| now.bytes_held == 11);
        assert_eq!(rig.proxy.cut_all(ending), 2);
        for stream in [&mut idle, &mut idle_server, &mut busy, &mut busy_server] {
            assert_eq!(read_to_the_end(stream), (Vec::new(), kind));
        }
        let counters = rig.proxy.counters();
        assert_eq!((counters.cuts, counters.cuts_with_loss), (2, 1));
        assert_eq!(rig.proxy.cut_all(ending), 0, "they have ended");
    }
}

#[test]
fn a_broken_connection_is_broken_on_the_other_side_too() {
    let rig = Rig::new(Faults::default());
    let (mut client, server) = rig.pair();
    client.write_all(b"unread").expect("it is taken");
    rig.until(|now| now.bytes_to_upstream == 6);
    let mut byte = [0];
    server.peek(&mut byte).expect("it came");
    // Closing with unread bytes resets.
    drop(server);
    assert_eq!(
        read_to_the_end(&mut client).1,
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(rig.proxy.counters().cuts, 0, "nobody cut it");
}

#[test]
fn a_dropped_proxy_ends_its_connections_and_frees_its_port() {
    let rig = Rig::new(faults(|faults| faults.to_upstream.stalled = true));
    let (mut client, mut server) = rig.pair();
    client.write_all(&pattern(1 << 20)).expect("it is taken");
    let address = rig.proxy.address();
    let Rig { proxy, upstream } = rig;
    drop(proxy);
    assert_eq!(
        read_to_the_end(&mut client).1,
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(
        read_to_the_end(&mut server).1,
        Some(ErrorKind::ConnectionReset)
    );
    drop(upstream);
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn one_over_the_connections_there_may_be_is_closed_at_once() {
    let rig = Rig::new(Faults::default());
    let open: Vec<_> = (0..CONNECTIONS_MAX).map(|_| rig.pair()).collect();
    let mut refused = connect(&rig.proxy);
    assert_eq!(read_to_the_end(&mut refused).0, []);
    assert_eq!(rig.proxy.counters().refused, 1);
    drop(open);
    // Their threads end by themselves, and then there is room.
    let begin = Instant::now();
    let max = CONNECTIONS_MAX as u64;
    for tried in 2.. {
        let _client = connect(&rig.proxy);
        let counters = rig.until(|now| now.connections + now.refused == max + tried);
        if counters.connections > max {
            drop(rig.upstream.accept().expect("it comes through"));
            return;
        }
        assert!(begin.elapsed() < WAIT, "no room comes back");
    }
}

#[test]
fn without_an_upstream_connections_are_closed_until_there_is_one() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = Proxy::start(None, Faults::default()).expect("a free port");
    assert_eq!(read_to_the_end(&mut connect(&proxy)).0, []);
    assert_eq!(proxy.counters().refused, 1);
    proxy.set_upstream(upstream.local_addr().expect("it is bound"));
    let mut client = connect(&proxy);
    client.write_all(b"hello").expect("it is taken");
    let (mut server, _) = upstream.accept().expect("it comes through");
    assert_eq!(read_exactly(&mut server, 5), b"hello");
    // One that nobody listens at.
    drop((upstream, server));
    let mut client = connect(&proxy);
    assert_eq!(read_to_the_end(&mut client).0, []);
}
