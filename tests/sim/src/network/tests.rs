//! Streams of bytes, and what befalls them.

use super::*;
use crate::fault::Class;
use crate::trace::Trace;

struct Bench {
    agenda: Agenda,
    network: Network,
    addresses: Vec<Address>,
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Bench {
    fn new(seed: u64, weather: Weather) -> Self {
        let address = |node| Address::new("sim", &Network::ip(node).to_string(), 7000).unwrap();
        let addresses: Vec<Address> = (0..2).map(address).collect();
        let random = Random::new(seed);
        let mut network = Network::new(&addresses, weather, random);
        network.listen(0);
        network.listen(1);
        Self {
            agenda: Agenda::new(Trace::hashed()),
            network,
            addresses,
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.agenda.now() + span;
        while self.agenda.timeline.peek().is_some_and(|next| next <= end) {
            match self.agenda.timeline.pop() {
                Some(Event::Arrive { wire, to }) => {
                    self.network.handle_arrival(&mut self.agenda, wire, to);
                }
                Some(Event::GiveUp { wire, from, since }) => {
                    self.network.handle_patience_over(wire, from, since);
                }
                _ => {}
            }
        }
        self.agenda.timeline.pass(end);
    }

    fn told(&mut self, node: usize) -> Vec<Ready> {
        std::iter::from_fn(|| self.network.next_ready(node)).collect()
    }

    fn dial(&mut self) -> ConnKey {
        let to = self.addresses[1].clone();
        self.network.dial(&mut self.agenda, 0, &to).unwrap()
    }

    /// A connection that is open: both ends.
    fn open(&mut self) -> (ConnKey, ConnKey) {
        let near = self.dial();
        self.pass(secs(1));
        assert_eq!(self.told(0), [Ready::Connected(near)]);
        let far = Network::other_end(near);
        let from = Network::ip(0);
        assert_eq!(self.told(1), [Ready::Accepted { conn: far, from }]);
        (near, far)
    }

    fn write(&mut self, key: ConnKey, bytes: &[u8]) -> usize {
        self.network.write(&mut self.agenda, key, bytes)
    }

    fn read(&mut self, key: ConnKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.network.read(&mut self.agenda, key, &mut bytes);
        bytes
    }

    fn fault(&mut self, class: Class) -> FaultId {
        self.agenda.faults.begin(class)
    }

    fn effects(&self) -> u64 {
        self.agenda.faults.total()
    }
}

const CALM: fn() -> Weather = Weather::default;

#[test]
fn bytes_arrive_once_and_in_order_however_they_are_split_and_merged() {
    let split = 700;
    for seed in 0..50 {
        let mut bench = Bench::new(seed, Weather { split, ..CALM() });
        let (near, far) = bench.open();
        let mut received = Vec::new();
        let bytes: Vec<u8> = (0..200).collect();
        for piece in bytes.chunks(20) {
            assert_eq!(bench.write(near, piece), piece.len());
            bench.pass(Duration::from_micros(seed * 20));
            received.append(&mut bench.read(far));
        }
        bench.pass(secs(1));
        received.append(&mut bench.read(far));
        assert_eq!(received, bytes, "seed {seed}");
    }
}

#[test]
fn one_over_the_buffer_waits_until_the_reader_has_read() {
    let buffer = 10;
    let mut bench = Bench::new(1, Weather { buffer, ..CALM() });
    let (near, far) = bench.open();
    assert_eq!(bench.write(near, &[1; 11]), 10);
    assert_eq!(bench.write(near, &[1; 1]), 0);
    assert_eq!(bench.network.fullest(), (10, 10));
    bench.pass(secs(1));
    assert_eq!(bench.told(1), [Ready::Readable(far)]);
    assert_eq!(bench.told(0), []);
    assert_eq!(bench.read(far), [1; 10]);
    bench.pass(secs(1));
    assert_eq!(bench.told(0), [Ready::Writable(near)]);
    assert_eq!(bench.write(near, &[1; 1]), 1);
}

#[test]
fn what_was_written_before_the_end_arrives_before_the_end() {
    let mut bench = Bench::new(1, CALM());
    let (near, far) = bench.open();
    bench.write(near, b"last");
    bench.network.close(&mut bench.agenda, near);
    bench.pass(secs(1));
    let closed = Ready::Closed(far, CloseReason::PeerClosed);
    assert_eq!(bench.told(1), [Ready::Readable(far), closed]);
    assert_eq!(bench.read(far), b"last");
    bench.network.close(&mut bench.agenda, far);
    assert_eq!(bench.network.connections(0), 0);
    assert_eq!(bench.told(0), []);
}

#[test]
fn a_dial_is_refused_where_nobody_listens_and_hangs_where_nobody_is() {
    let mut bench = Bench::new(1, CALM());
    bench.network.end_process(&mut bench.agenda, 1, false);
    let refused = bench.dial();
    bench.pass(secs(1));
    let closed = Ready::Closed(refused, CloseReason::DialRefused);
    assert_eq!(bench.told(0), [closed]);
    bench.network.end_process(&mut bench.agenda, 1, true);
    bench.dial();
    bench.pass(secs(1000));
    assert_eq!(bench.told(0), []);
    // It came back, and who dials again is let in, though nobody takes the connection.
    bench.network.listen(1);
    let again = bench.dial();
    bench.pass(secs(1));
    assert_eq!(bench.told(0), [Ready::Connected(again)]);
}

#[test]
fn one_over_the_backlog_is_not_let_in() {
    let mut bench = Bench::new(1, CALM());
    for _ in 0..=BACKLOG {
        bench.dial();
    }
    bench.pass(secs(1));
    assert_eq!(bench.network.waiting(1), (BACKLOG, 0));
    assert_eq!(bench.told(0).len(), BACKLOG);
}

#[test]
fn a_blocked_path_holds_bytes_and_delivers_them_when_it_opens() {
    let mut bench = Bench::new(1, CALM());
    let (near, far) = bench.open();
    let fault = bench.fault(Class::OneWay);
    bench.network.block(0, 1, fault);
    assert_eq!(bench.effects(), 0, "nothing was on its way");
    bench.write(near, b"held");
    bench.write(far, b"heard");
    bench.pass(secs(2));
    assert_eq!(bench.effects(), 1);
    assert_eq!(
        (bench.read(far), bench.read(near)),
        (vec![], b"heard".to_vec())
    );
    bench.network.unblock(&mut bench.agenda, 0, 1, fault);
    bench.pass(secs(1));
    assert_eq!(bench.read(far), b"held");
}

#[test]
fn a_path_that_is_blocked_for_too_long_costs_the_bytes_and_only_their_sender_knows() {
    let mut bench = Bench::new(1, CALM());
    let (near, far) = bench.open();
    let fault = bench.fault(Class::Partition);
    bench.network.block(0, 1, fault);
    bench.write(near, b"lost");
    bench.pass(secs(31));
    let broken = Ready::Closed(near, CloseReason::Broken);
    assert_eq!((bench.told(0), bench.told(1)), (vec![broken], vec![]));
    bench.network.close(&mut bench.agenda, near);
    bench.network.unblock(&mut bench.agenda, 0, 1, fault);
    bench.pass(secs(1));
    assert_eq!((bench.read(far), bench.told(1)), (vec![], vec![]));
    // The other end finds out when it says something.
    bench.write(far, b"hello?");
    bench.pass(secs(1));
    assert_eq!(bench.told(1), [Ready::Closed(far, CloseReason::Broken)]);
}

#[test]
fn a_reset_loses_the_bytes_under_way_from_any_point_on() {
    let mut kept = Vec::new();
    for seed in 0..40 {
        let mut bench = Bench::new(seed, CALM());
        let (near, far) = bench.open();
        let fault = bench.fault(Class::Reset);
        bench.network.arm(0, 1, fault, Cut::Reset);
        bench.write(near, b"0123456789");
        assert_eq!(bench.effects(), 1);
        bench.pass(secs(1));
        let bytes = bench.read(far);
        assert!(bytes.len() < 10 && b"0123456789".starts_with(&bytes));
        kept.push(bytes.len());
        let broken = |key| Ready::Closed(key, CloseReason::Broken);
        assert_eq!(bench.told(0), [broken(near)]);
        assert_eq!(bench.told(1).last(), Some(&broken(far)));
    }
    assert!(kept.contains(&0) && kept.iter().any(|bytes| *bytes > 5));
}

#[test]
fn late_bytes_come_when_their_sender_has_another_connection() {
    let mut bench = Bench::new(1, CALM());
    let (near, far) = bench.open();
    let fault = bench.fault(Class::Late);
    bench.network.arm(0, 1, fault, Cut::Late(secs(5)));
    bench.write(near, b"late");
    assert_eq!(bench.told(0), [Ready::Closed(near, CloseReason::Broken)]);
    bench.network.close(&mut bench.agenda, near);
    let (_, next) = bench.open();
    assert_eq!((bench.effects(), bench.read(far)), (0, vec![]));
    bench.pass(secs(6));
    assert_eq!((bench.effects(), bench.read(far)), (1, b"late".to_vec()));
    assert_eq!(bench.read(next), b"");
}

#[test]
fn a_killed_process_says_so_and_a_host_without_power_does_not() {
    for loses_power in [false, true] {
        let mut bench = Bench::new(1, CALM());
        let (near, _) = bench.open();
        bench.network.end_process(&mut bench.agenda, 1, loses_power);
        bench.pass(secs(1));
        let told = bench.told(0);
        assert_eq!(told.is_empty(), loses_power, "{told:?}");
        if loses_power {
            bench.write(near, b"hello?");
            bench.pass(secs(1));
            assert_eq!(bench.told(0), [], "nobody answers");
            bench.network.listen(1);
            bench.write(near, b"hello?");
            bench.pass(secs(1));
            assert_eq!(bench.told(0), [Ready::Closed(near, CloseReason::Broken)]);
        }
    }
}

#[test]
fn a_path_that_is_slow_delays_what_is_sent_meanwhile() {
    let mut bench = Bench::new(1, CALM());
    let (near, far) = bench.open();
    let fault = bench.fault(Class::Delay);
    bench.network.delay(0, 1, fault, secs(3));
    bench.write(near, b"slow");
    bench.network.hurry(0, 1, fault);
    bench.write(near, b"er");
    bench.pass(secs(2));
    assert_eq!((bench.effects(), bench.read(far)), (1, vec![]));
    bench.pass(secs(2));
    assert_eq!(bench.read(far), b"slower", "in order all the same");
}
