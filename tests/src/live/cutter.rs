//! A forwarder between two nodes that cuts their connections at random bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fastrand::Rng;

use super::WAIT;

/// Stands where a node says it listens, and forwards to where it does.
///
/// Each connection gets a number of bytes, in one direction or the other; behind them both sockets
/// are closed, with whatever they held. Dropping it closes everything.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// Where the node listens.
    to: SocketAddr,
    cuts: Arc<Cuts>,
    open: Mutex<Vec<TcpStream>>,
    /// Nothing gets through.
    shut: AtomicBool,
    over: AtomicBool,
}

/// The cuts that one or more cutters are to make together, and have made.
#[derive(Debug)]
pub struct Cuts {
    plan: Mutex<Plan>,
    made_one: Condvar,
}

#[derive(Debug)]
struct Plan {
    random: Rng,
    cuts: u64,
    bytes_max: u64,
    made: u64,
    lossy: u64,
}

impl Cuts {
    /// At least so many `cuts`, each behind at most `bytes_max` bytes of its connection.
    pub fn plan(random: Rng, cuts: u64, bytes_max: u64) -> Arc<Self> {
        let plan = Plan {
            random,
            cuts,
            bytes_max,
            made: 0,
            lossy: 0,
        };
        Arc::new(Self {
            plan: Mutex::new(plan),
            made_one: Condvar::new(),
        })
    }

    /// None but those that a test asks for.
    pub fn none() -> Arc<Self> {
        Self::plan(Rng::with_seed(0), 0, 1)
    }

    /// How many connections were cut, and how many of them with bytes that had left the one node
    /// and never reached the other.
    pub fn made(&self) -> (u64, u64) {
        let plan = self.lock();
        (plan.made, plan.lossy)
    }

    /// Waits until so many cuts were made.
    ///
    /// # Panics
    /// If they are not within twice [`WAIT`].
    pub fn wait_for(&self, cuts: u64) {
        let pending = |plan: &mut Plan| plan.made < cuts;
        let waited = self
            .made_one
            .wait_timeout_while(self.lock(), 2 * WAIT, pending);
        let (plan, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "too few cuts: {plan:?}");
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the two directions of the next connection get.
    fn next_budgets(&self) -> [u64; 2] {
        let mut plan = self.lock();
        let mut budgets = [u64::MAX; 2];
        if plan.made < plan.cuts {
            // Some within the handshake or right behind it.
            let most = if plan.random.u8(..) < 40 {
                400
            } else {
                plan.bytes_max
            };
            let way = plan.random.usize(..2);
            budgets[way] = plan.random.u64(1..=most);
        }
        budgets
    }

    fn note(&self, lossy: bool) {
        let mut plan = self.lock();
        plan.made += 1;
        plan.lossy += u64::from(lossy);
        self.made_one.notify_all();
    }
}

impl Cutter {
    /// A forwarder that makes its part of `cuts`.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(cuts: &Arc<Cuts>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            // The same port of another address of this host: nobody else's, and known before.
            to: SocketAddr::from(([127, 0, 0, 2], address.port())),
            cuts: Arc::clone(cuts),
            open: Mutex::default(),
            shut: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let accepting = {
            let state = Arc::clone(&state);
            thread::spawn(move || accept(&listener, &state))
        };
        Self {
            address,
            state,
            accepting: Some(accepting),
        }
    }

    /// Where the node says it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the node is to listen.
    pub fn behind(&self) -> SocketAddr {
        self.state.to
    }

    /// Cuts everything now; as long as it is `shut` nothing gets through, and dials hang up.
    pub fn cut_all(&self, shut: bool) {
        self.state.shut.store(shut, Ordering::SeqCst);
        self.state.close_all();
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.state.close_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let ended = accepting.join();
            assert!(thread::panicking() || ended.is_ok(), "the cutter panicked");
        }
    }
}

impl State {
    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_all(&self) {
        self.open().drain(..).for_each(|stream| close(&stream));
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    let mut pumps: Vec<JoinHandle<()>> = Vec::new();
    while let Ok((here, _)) = listener.accept() {
        if state.over.load(Ordering::SeqCst) {
            break;
        }
        pumps.retain(|pump| !pump.is_finished());
        if state.shut.load(Ordering::SeqCst) {
            continue;
        }
        if let Ok(there) = TcpStream::connect(state.to)
            && let Ok(pair) = forward(state, here, there)
        {
            pumps.extend(pair);
        }
    }
    state.close_all();
    for pump in pumps {
        let _ = pump.join();
    }
}

/// Starts both directions of a connection.
fn forward(
    state: &Arc<State>,
    here: TcpStream,
    there: TcpStream,
) -> io::Result<[JoinHandle<()>; 2]> {
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    let budgets = state.cuts.next_budgets();
    {
        let mut open = state.open();
        // Those that ended have no peer any more.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(here.try_clone()?);
        open.push(there.try_clone()?);
    }
    let ways = [
        (here.try_clone()?, there.try_clone()?, budgets[0]),
        (there, here, budgets[1]),
    ];
    Ok(ways.map(|(from, to, budget)| {
        let state = Arc::clone(state);
        thread::spawn(move || pump(&state, from, to, budget))
    }))
}

fn pump(state: &State, mut from: TcpStream, mut to: TcpStream, mut left: u64) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        let take = usize::try_from(left).map_or(read, |left| left.min(read));
        if to.write_all(&buffer[..take]).is_err() {
            break;
        }
        left -= take as u64;
        if left == 0 {
            state.cuts.note(take < read);
            break;
        }
    }
    close(&from);
    close(&to);
}

fn close(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}
