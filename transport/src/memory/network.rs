//! The addresses of a network in memory, and the streams between them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::MemoryTransport;
use super::stream::{End, Inbox, Stream};
use crate::contract::{Detached, Network, Station, Transport};

/// The first port that `listen` picks for port 0.
const FIRST_PORT: u16 = 40_000;

/// Addresses and the streams between them, in one process. Clones are the same network.
///
/// Nodes that are given the same network reach each other through it, at the addresses they are
/// bound to; everybody else reaches them by TCP at the same addresses. A node finds its peers in
/// the network by address alone: one that advertises another than it is bound to is dialled by TCP.
///
/// What is sent is copied twice, into a bounded pipe and out of it, and arrives in pieces of random
/// length, as it may by TCP. A connection has up to 128 KiB under way, which no memory budget
/// counts.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    listeners: BTreeMap<SocketAddr, Arc<Inbox>>,
    /// Those that have an end left, and some that have none.
    streams: Vec<Weak<Stream>>,
    /// Transports that were opened.
    opened: u64,
}

impl MemoryNetwork {
    /// A network where nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport in this network, to be driven by hand. `seed` decides how it cuts streams into
    /// pieces.
    pub fn transport(&self, seed: u64) -> MemoryTransport {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        MemoryTransport::new(self.clone(), Inbox::new(None), from, seed)
    }

    /// Breaks every connection in the network: what is under way is lost, and both ends see a
    /// reset, as when a cable is pulled. Says how many there were. New ones can be made at once.
    pub fn cut(&self) -> usize {
        let streams: Vec<_> = {
            let registry = self.lock();
            registry.streams.iter().filter_map(Weak::upgrade).collect()
        };
        streams.iter().filter(|stream| stream.reset()).count()
    }

    /// Breaks one connection, which was detached from a transport of such a network.
    ///
    /// # Errors
    /// `Unsupported` for one of another transport.
    pub fn reset(connection: Detached) -> io::Result<()> {
        connection.take::<End>().map(|end| end.reset())
    }

    /// Whether somebody listens there.
    pub(super) fn knows(&self, at: SocketAddr) -> bool {
        self.lock().listeners.contains_key(&at)
    }

    pub(super) fn bind(&self, at: SocketAddr, inbox: &Arc<Inbox>) -> io::Result<SocketAddr> {
        let listeners = &mut self.lock().listeners;
        let free = |at: &SocketAddr| !listeners.contains_key(at);
        let address = if at.port() == 0 {
            (FIRST_PORT..=u16::MAX)
                .map(|port| SocketAddr::new(at.ip(), port))
                .find(free)
        } else {
            Some(at).filter(free)
        };
        let address = address.ok_or(io::ErrorKind::AddrInUse)?;
        listeners.insert(address, Arc::clone(inbox));
        Ok(address)
    }

    /// When it returns, nothing more is offered to who listened there.
    pub(super) fn unbind(&self, at: SocketAddr) {
        self.lock().listeners.remove(&at);
    }

    /// The dialler's end of a new stream; `None` when nobody listens, or too many wait there.
    pub(super) fn connect(&self, to: SocketAddr, from: IpAddr) -> Option<End> {
        let mut registry = self.lock();
        let (near, far) = End::pair(SocketAddr::new(from, 0));
        let stream = near.downgrade();
        // An end that is not taken is dropped, and its stream with it.
        registry.listeners.get(&to)?.offer(far).ok()?;
        registry.streams.retain(|old| old.strong_count() > 0);
        registry.streams.push(stream);
        Some(near)
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for MemoryNetwork {
    /// Its streams are cut into pieces by the number of the transport.
    fn open(&self, station: &Station) -> io::Result<Box<dyn Transport>> {
        let seed = {
            let mut registry = self.lock();
            registry.opened += 1;
            registry.opened
        };
        let inbox = Inbox::new(Some(station.doorbell.clone()));
        let transport = MemoryTransport::new(self.clone(), inbox, station.from, seed);
        Ok(Box::new(transport))
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.lock().listeners.keys())
            .finish()
    }
}
