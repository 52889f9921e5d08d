//! The proxy itself: its port, its connections, and what it is told to do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::connection::{Connection, Fate};
use crate::faults::{Action, Direction, Ending, Faults};
use crate::ledger::{Counters, Ledger, count};

/// Connections at one time; more are closed at once, and counted.
pub const CONNECTIONS_MAX: usize = 64;

/// How long accepting pauses when the system has nothing left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A proxy on a free port of the loopback. Dropping it resets its connections, ends its threads and
/// frees its port.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the threads of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    faults: Mutex<Arc<Faults>>,
    upstream: Mutex<Option<SocketAddr>>,
    open: Mutex<Vec<Open>>,
    stopped: AtomicBool,
    stopping: Condvar,
}

/// A connection whose thread may still run.
#[derive(Debug)]
struct Open {
    connection: Weak<Connection>,
    thread: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards each connection to `upstream`, with these
    /// faults. Without an upstream, connections are closed at once until one is
    /// [set](Self::set_upstream): a server that has to know the proxy's address starts after it.
    ///
    /// # Errors
    /// When no port can be had, or no thread.
    pub fn start(upstream: impl Into<Option<SocketAddr>>, faults: Faults) -> io::Result<Self> {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ledger: Ledger::default(),
            faults: Mutex::new(Arc::new(faults)),
            upstream: Mutex::new(upstream.into()),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
            stopping: Condvar::new(),
        });
        let acceptor = {
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            thread::Builder::new()
                .name("fault proxy".to_owned())
                .spawn(move || accept(&shared, &listener))?
        };
        Ok(Self {
            shared,
            address,
            listener,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has new connections forwarded to `upstream`. Those that are open stay.
    pub fn set_upstream(&self, upstream: impl Into<Option<SocketAddr>>) {
        *lock(&self.shared.upstream) = upstream.into();
    }

    /// The faults in force.
    pub fn faults(&self) -> Faults {
        (*self.shared.faults()).clone()
    }

    /// Replaces the faults, for connections that are open too.
    pub fn set(&self, faults: Faults) {
        self.change(|in_force| *in_force = faults);
    }

    /// Changes the faults, for connections that are open too.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.faults();
        change(&mut faults);
        *lock(&self.shared.faults) = Arc::new(faults);
        for connection in self.shared.connections() {
            connection.rules_changed();
        }
    }

    /// Has `action` done once, when so many more bytes of a direction have passed, over whichever
    /// connection the next byte comes. Says whether there was room for one more.
    pub fn arm(&self, direction: Direction, after: u64, action: Action) -> bool {
        self.shared.ledger.arm(direction, after, action)
    }

    /// Cuts all connections now. Says how many there were.
    pub fn cut_all(&self, ending: Ending) -> usize {
        let connections = self.shared.connections();
        let cut = |connection: &Arc<Connection>| connection.cut(ending, &self.shared);
        connections.iter().filter(|it| cut(it)).count()
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.ledger.counters()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            // Behind the lock: a pause that begins now sees it, or is woken.
            let _open = lock(&self.shared.open);
            self.shared.stopped.store(true, Ordering::Release);
            self.shared.stopping.notify_all();
        }
        // On Linux this wakes whoever accepts.
        let _ = SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            // It does not panic; if it did, there is nobody to tell here.
            let _ = acceptor.join();
        }
        for connection in self.shared.connections() {
            connection.end(Fate::Resets);
        }
        let open = std::mem::take(&mut *lock(&self.shared.open));
        for Open { thread, .. } in open {
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&lock(&self.faults))
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        let open = lock(&self.open);
        open.iter()
            .filter_map(|open| open.connection.upgrade())
            .collect()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut number = 0;
    while !shared.is_stopped() {
        let Ok((client, _)) = listener.accept() else {
            let open = lock(&shared.open);
            if !shared.is_stopped() {
                drop(shared.stopping.wait_timeout(open, ACCEPT_PAUSE));
            }
            continue;
        };
        if shared.is_stopped() {
            return;
        }
        let mut open = lock(&shared.open);
        open.retain(|open| !open.thread.is_finished());
        let upstream = *lock(&shared.upstream);
        let Some(upstream) = upstream.filter(|_| open.len() < CONNECTIONS_MAX) else {
            count(&shared.ledger.refused, 1);
            continue;
        };
        number += 1;
        let connection = Arc::new(Connection::new(number, shared.faults().seed, client));
        let weak = Arc::downgrade(&connection);
        let threads_share = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name(format!("fault proxy {number}"))
            .spawn(move || connection.run(upstream, &threads_share));
        match thread {
            Ok(thread) => {
                count(&shared.ledger.connections, 1);
                open.push(Open {
                    connection: weak,
                    thread,
                });
            }
            Err(_) => count(&shared.ledger.refused, 1),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
