//! Cables where a test may make no network: nodes on the loopback that reach each other by way of a
//! relay, which knows both ends of every connection.
//!
//! A node binds an address of its own, dials from that, and advertises another one, where the relay
//! listens. While a cable is cut the bytes that one end sends to the other are kept, and go on when
//! it heals, as the kernel of a host would send them again; the end of a connection is one of them.
//! Nothing is closed or refused meanwhile. Two things differ from a cable: whoever dials over one
//! that is cut gets a connection, on which nothing comes, and of one that is mute in one direction
//! the other goes on for longer than TCP would without its acknowledgements.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::cables::{Cables, pairs};
use crate::process::{Node, free_addresses, wait_until_free};

/// Connections at one time; more are closed, which fails the test.
const CONNECTIONS_MAX: usize = 512;

/// What a direction reads at once, and keeps while its cable is cut. The sockets keep more of it.
const PIECE_BYTES: usize = 64 << 10;

/// How often it is looked whether whoever dialled over a cut cable is still there.
const LOOK: Duration = Duration::from_millis(100);

/// How long a host may take to answer a dial, where nothing is cut.
const DIAL_TIME_MAX: Duration = Duration::from_secs(2);

/// The relay of a test. Its connections and threads end with it.
pub(crate) struct Relay {
    /// What its nodes advertise.
    fronts: Vec<String>,
    /// What they bind, and dial from.
    hosts: Vec<String>,
    board: Arc<Board>,
    doors: Vec<(Arc<TcpListener>, JoinHandle<()>)>,
}

/// What the threads of a relay share.
struct Board {
    hosts: Vec<SocketAddr>,
    state: Mutex<State>,
    /// A cable was cut or healed, or the relay ends.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the first sends does not reach the second.
    mute: BTreeSet<(usize, usize)>,
    stopped: bool,
    /// Connections that were not carried.
    refused: usize,
    streams: Vec<Weak<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
    /// Whether one of those that were joined so far panicked.
    panicked: bool,
}

impl State {
    /// Takes leave of connections that have ended.
    fn join_finished(&mut self) {
        for thread in self.threads.extract_if(.., |it| it.is_finished()) {
            self.panicked |= thread.join().is_err();
        }
    }
}

impl Relay {
    /// So many hosts.
    pub(crate) fn of(hosts: usize) -> Self {
        let mut fronts = free_addresses(2 * hosts);
        let hosts = fronts.split_off(hosts);
        let parse = |it: &String| it.parse().expect("an address");
        let board = Arc::new(Board {
            hosts: hosts.iter().map(parse).collect(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let open = |(to, front): (usize, &String)| {
            let listener = TcpListener::bind(front).expect("nobody else has it");
            let listener = Arc::new(listener);
            let (board, door) = (Arc::clone(&board), Arc::clone(&listener));
            (listener, thread::spawn(move || board.accept(&door, to)))
        };
        let doors = fronts.iter().enumerate().map(open).collect();
        Self {
            fronts,
            hosts,
            board,
            doors,
        }
    }
}

impl Cables for Relay {
    fn place(&self) -> &'static str {
        "in a relay"
    }

    fn addresses(&self) -> &[String] {
        &self.fronts
    }

    fn start(&self, program: &Path, host: usize, more: &[&str]) -> Node {
        let (own, front) = (&self.hosts[host], &self.fronts[host]);
        let more = [&["--advertise", front], more].concat();
        let mut node = Node::start(program, own, &self.fronts, &more);
        node.address.clone_from(front);
        node
    }

    fn wait_until_free(&self, host: usize) {
        wait_until_free(&self.hosts[host]);
    }

    fn mute(&self, from: &[usize], to: &[usize]) {
        self.board.lock().mute.extend(pairs(from, to));
    }

    fn heal(&self, one: &[usize], other: &[usize]) {
        let mut state = self.board.lock();
        for (here, there) in pairs(one, other) {
            state.mute.remove(&(here, there));
            state.mute.remove(&(there, here));
        }
        self.board.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.board.stop();
        let mut are_sound = true;
        for (listener, door) in self.doors.drain(..) {
            // On Linux this wakes whoever accepts.
            let _ = SockRef::from(&*listener).shutdown(Shutdown::Both);
            are_sound &= door.join().is_ok();
        }
        // Nobody adds any more.
        let threads = std::mem::take(&mut self.board.lock().threads);
        for thread in threads {
            are_sound &= thread.join().is_ok();
        }
        let state = self.board.lock();
        are_sound &= !state.panicked;
        let refused = state.refused;
        drop(state);
        if !thread::panicking() {
            assert!(are_sound, "a thread of the relay panicked");
            assert_eq!(refused, 0, "connections were not carried");
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries whatever comes at the door of a host.
    fn accept(self: &Arc<Self>, listener: &TcpListener, to: usize) {
        loop {
            let accepted = listener.accept();
            let mut state = self.lock();
            if state.stopped {
                return;
            }
            let (dialler, peer) = match accepted {
                Ok(both) => both,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => panic!("nothing more can be accepted: {error}"),
            };
            state.join_finished();
            let from = self.hosts.iter().position(|it| it.ip() == peer.ip());
            let has_room = state.threads.len() < CONNECTIONS_MAX;
            let Some(from) = from.filter(|_| has_room) else {
                state.refused += 1;
                continue;
            };
            let board = Arc::clone(self);
            let carry = move || board.carry(from, to, dialler);
            state.threads.push(thread::spawn(carry));
        }
    }

    /// Carries a connection until both directions have ended.
    fn carry(&self, from: usize, to: usize, dialler: TcpStream) {
        let dialler = Arc::new(dialler);
        if !self.keep(&dialler) {
            return;
        }
        let Some(first) = self.wait_until_whole(from, to, &dialler) else {
            return;
        };
        let Ok(dialled) = dial(self.hosts[from].ip(), self.hosts[to]) else {
            // Nobody is there. This comes as near to a refusal as what was accepted can.
            let _ = SockRef::from(&*dialler).set_linger(Some(Duration::ZERO));
            return;
        };
        let dialled = Arc::new(dialled);
        // Whoever is gone by now shows it where its bytes are read or written.
        let ready = dialler.set_nonblocking(false).is_ok();
        let ready = ready && dialler.set_nodelay(true).is_ok() && dialled.set_nodelay(true).is_ok();
        if !ready || !self.keep(&dialled) || (&*dialled).write_all(&first).is_err() {
            return;
        }
        thread::scope(|scope| {
            scope.spawn(|| self.pump((from, to), &dialler, &dialled));
            self.pump((to, from), &dialled, &dialler);
        });
    }

    /// Has a stream end with the relay, unless that has ended already.
    fn keep(&self, stream: &Arc<TcpStream>) -> bool {
        let mut state = self.lock();
        state.streams.retain(|it| it.strong_count() > 0);
        state.streams.push(Arc::downgrade(stream));
        !state.stopped
    }

    /// Waits until a new connection can be made, both ways. Gives what its dialler sent so far;
    /// `None` if that one did not wait, or the relay ends.
    fn wait_until_whole(&self, from: usize, to: usize, dialler: &TcpStream) -> Option<Vec<u8>> {
        let mut sent = Vec::new();
        dialler.set_nonblocking(true).ok()?;
        loop {
            read_on(dialler, &mut sent)?;
            let state = self.lock();
            if state.stopped {
                return None;
            }
            if ![(from, to), (to, from)]
                .iter()
                .any(|way| state.mute.contains(way))
            {
                return Some(sent);
            }
            drop(self.changed.wait_timeout(state, LOOK));
        }
    }

    /// Waits until what one sends reaches another. Says no when the relay ends.
    fn wait_until_heard(&self, way: (usize, usize)) -> bool {
        let is_mute = |state: &mut State| !state.stopped && state.mute.contains(&way);
        let waited = self.changed.wait_while(self.lock(), is_mute);
        !waited.unwrap_or_else(PoisonError::into_inner).stopped
    }

    /// Moves what is sent in one direction of a connection, its end included.
    fn pump(&self, way: (usize, usize), mut source: &TcpStream, mut target: &TcpStream) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = source.read(&mut piece);
            if read
                .as_ref()
                .is_err_and(|it| it.kind() == ErrorKind::Interrupted)
            {
                continue;
            }
            if !self.wait_until_heard(way) {
                return;
            }
            let moved = match read {
                Ok(0) => {
                    // It fails when the other end is gone too.
                    let _ = target.shutdown(Shutdown::Write);
                    return;
                }
                Ok(bytes) => target.write_all(&piece[..bytes]),
                Err(error) => Err(error),
            };
            if moved.is_err() {
                // One end broke, and the other hears of it; both have ended when that fails.
                let _ = source.shutdown(Shutdown::Both);
                let _ = target.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Wakes all that wait for anything, for the last time.
    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.changed.notify_all();
        for stream in state.streams.drain(..).filter_map(|it| it.upgrade()) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Appends what has come on a stream that does not block; `None` at its end. Who dials sends no
/// more than fits before it is answered.
fn read_on(mut stream: &TcpStream, sent: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4 << 10];
    while sent.len() < PIECE_BYTES {
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(bytes) => sent.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Dials from an address: whoever is dialled sees the host that it is from.
fn dial(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), DIAL_TIME_MAX)?;
    Ok(socket.into())
}

mod tests {
    use super::*;

    /// What is waited for, so that nothing comes meanwhile.
    const SILENCE: Duration = Duration::from_millis(300);

    /// Two hosts, and who listens at the second.
    fn two() -> (Relay, TcpListener) {
        let relay = Relay::of(2);
        let listener = TcpListener::bind(&relay.hosts[1]).expect("nobody else has it");
        // For whoever accepts.
        let timeout = SockRef::from(&listener).set_read_timeout(Some(DIAL_TIME_MAX));
        timeout.expect("it is not zero");
        (relay, listener)
    }

    /// A dial from the first host to the second.
    fn dial_second(relay: &Relay) -> TcpStream {
        try_dial_second(relay).expect("the relay is there")
    }

    fn try_dial_second(relay: &Relay) -> std::io::Result<TcpStream> {
        let front = relay.fronts[1].parse().expect("an address");
        let dialled = dial(relay.board.hosts[0].ip(), front)?;
        for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            timeout(&dialled, Some(DIAL_TIME_MAX)).expect("it is not zero");
        }
        Ok(dialled)
    }

    fn send(mut stream: &TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).expect("it is open");
    }

    /// Sees that a text is the next to come.
    fn see(mut stream: &TcpStream, text: &str) {
        let mut came = vec![0; text.len()];
        let timeout = Some(DIAL_TIME_MAX);
        stream.set_read_timeout(timeout).expect("it is not zero");
        stream.read_exact(&mut came).expect("it comes");
        assert_eq!(String::from_utf8_lossy(&came), text);
    }

    /// Sees that nothing comes, and no end either.
    fn see_silence(mut stream: &TcpStream) {
        let timeout = Some(SILENCE);
        stream.set_read_timeout(timeout).expect("it is not zero");
        let read = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock));
    }

    #[test]
    fn what_a_cut_cable_holds_back_goes_on_when_it_heals() {
        let (relay, listener) = two();
        let near = dial_second(&relay);
        let (far, from) = listener.accept().expect("a connection");
        assert_eq!(from.ip(), relay.board.hosts[0].ip());
        send(&near, "one");
        see(&far, "one");
        relay.cut(&[0], &[1]);
        send(&near, "two");
        send(&far, "three");
        see_silence(&far);
        see_silence(&near);
        relay.heal(&[0], &[1]);
        see(&far, "two");
        see(&near, "three");
        // The end of a connection is held back too.
        relay.cut(&[1], &[0]);
        drop(near);
        see_silence(&far);
        relay.heal(&[1], &[0]);
        let timeout = Some(DIAL_TIME_MAX);
        far.set_read_timeout(timeout).expect("it is not zero");
        assert_eq!((&far).read(&mut [0]).expect("an end"), 0);
    }

    #[test]
    fn a_cable_that_is_mute_one_way_carries_the_other() {
        let (relay, listener) = two();
        let near = dial_second(&relay);
        let (far, _) = listener.accept().expect("a connection");
        relay.mute(&[0], &[1]);
        send(&near, "lost");
        send(&far, "heard");
        see(&near, "heard");
        see_silence(&far);
    }

    #[test]
    fn who_dials_over_a_cut_cable_hears_nothing_until_it_heals() {
        let (relay, listener) = two();
        relay.mute(&[1], &[0]);
        let patient = dial_second(&relay);
        let impatient = dial_second(&relay);
        send(&impatient, "gone");
        drop(impatient);
        send(&patient, "here");
        see_silence(&patient);
        listener.set_nonblocking(true).expect("it is a socket");
        let accepted = listener.accept().map_err(|error| error.kind());
        assert_eq!(accepted.err(), Some(ErrorKind::WouldBlock));
        listener.set_nonblocking(false).expect("it is a socket");
        relay.heal(&[0], &[1]);
        let (far, _) = listener.accept().expect("the patient one");
        see(&far, "here");
        send(&far, "welcome");
        see(&patient, "welcome");
    }

    #[test]
    fn nobody_is_reached_where_nobody_listens() {
        let (relay, listener) = two();
        drop(listener);
        // The relay may be so fast that the dial itself meets the reset.
        let read = try_dial_second(&relay).and_then(|dialled| (&dialled).read(&mut [0]));
        let read = read.map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::ConnectionReset));
    }

    #[test]
    fn nothing_is_left_of_a_relay() {
        let (relay, listener) = two();
        let near = dial_second(&relay);
        let (far, _) = listener.accept().expect("a connection");
        relay.cut(&[0], &[1]);
        // One direction waits for the cable, and one connection for another end.
        send(&near, "held");
        let waits = dial_second(&relay);
        let (board, front) = (Arc::downgrade(&relay.board), relay.fronts[1].clone());
        drop(relay);
        assert!(board.upgrade().is_none(), "a thread goes on");
        for mut stream in [&near, &far, &waits] {
            let timeout = Some(DIAL_TIME_MAX);
            stream.set_read_timeout(timeout).expect("it is not zero");
            let ended = stream.read(&mut [0]).map_err(|error| error.kind());
            let is_end = matches!(
                ended,
                Ok(0) | Err(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
            );
            assert!(is_end, "a stream goes on: {ended:?}");
        }
        assert!(TcpStream::connect(&*front).is_err());
    }
}
