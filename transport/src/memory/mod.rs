//! The contract without sockets: byte streams between transports of one process.
//!
//! Nodes that share a [`MemoryNetwork`] reach each other through it, at the addresses they listen
//! at. It is also what tests drive by hand: then nothing moves outside of
//! [`poll`](Transport::poll), and [`park`](Transport::park) returns at once. How streams are cut
//! into chunks follows from the seed, so a failure comes back with it.
//!
//! # What crosses threads
//! A stream is two pipes of bounded size behind a lock. Each end knows the inbox of the transport
//! at the other: whoever writes, reads what was in the way, closes or resets, puts the other's
//! connection on the list there, at most once until it was looked at, and rings. A transport looks
//! at what is on its list, and at nothing else. Locks are taken in the order network, stream,
//! inbox.

mod connection;
mod network;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ringmesh_proto::slab::SlabSlice;

use crate::buffer::BufferUse;
use crate::contract::{CloseReason, ConnectionId, Counters, Detached, Event, Transport};
use crate::table::Table;
use connection::{Connection, Cuts, Moved, Stage, Step};
pub use network::MemoryNetwork;
use stream::{End, Inbox};

/// Connections of one transport.
const CONNECTIONS_MAX: u32 = 65_536;

/// A transport of a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    inbox: Arc<Inbox>,
    /// What its dials come from.
    from: IpAddr,
    listening: Option<SocketAddr>,
    connections: Table<Connection>,
    /// Connections to look at; each is there once.
    ready: VecDeque<ConnectionId>,
    cuts: Cuts,
    counters: Counters,
}

impl MemoryTransport {
    fn new(network: MemoryNetwork, inbox: Inbox, from: IpAddr, seed: u64) -> Self {
        Self {
            network,
            inbox: Arc::new(inbox),
            from,
            listening: None,
            connections: Table::with_capacity(CONNECTIONS_MAX),
            ready: VecDeque::new(),
            cuts: Cuts::new(seed),
            counters: Counters::default(),
        }
    }

    /// Breaks a connection: what is under way is lost, and both ends see it reset. Ignored on a
    /// dead id.
    pub fn reset(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(end) = &connection.end
        {
            end.reset();
        }
    }

    fn accept(&mut self, end: End, events: &mut VecDeque<Event>) {
        let peer = end.from;
        let connection = Connection::new(Some(end), Stage::Preface);
        let Ok(id) = self.insert(connection) else {
            self.counters.shed += 1;
            return;
        };
        self.counters.accepted += 1;
        events.push_back(Event::Incoming {
            connection: id,
            peer,
        });
    }

    fn insert(&mut self, connection: Connection) -> io::Result<ConnectionId> {
        let inserted = self.connections.insert(connection);
        let id = inserted.map_err(|_| io::ErrorKind::QuotaExceeded)?;
        if let Some(Connection { end: Some(end), .. }) = self.connections.get_mut(id) {
            end.listen_in(&self.inbox, id);
        }
        self.look_at(id);
        Ok(id)
    }

    /// Has the next poll look at a connection.
    fn look_at(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    fn advance(&mut self, id: ConnectionId, events: &mut VecDeque<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.queued = false;
        let mut step = Step {
            id,
            cuts: &mut self.cuts,
            counters: &mut self.counters,
            events,
        };
        match connection.advance(&mut step) {
            Moved::Waits => {}
            Moved::GoesOn => self.look_at(id),
            Moved::Ended(reason) => {
                self.connections.remove(id);
                self.counters.closed += 1;
                events.push_back(Event::Closed {
                    connection: id,
                    reason,
                });
            }
        }
    }
}

impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn reaches(&self, to: SocketAddr) -> bool {
        self.network.knows(to)
    }

    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        if self.listening.is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let address = self.network.bind(at, &self.inbox)?;
        self.listening = Some(address);
        Ok(address)
    }

    fn stop_listening(&mut self) {
        if let Some(address) = self.listening.take() {
            self.network.unbind(address);
            let refused = self.inbox.refuse();
            refused.into_iter().for_each(|end| end.reset());
        }
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId> {
        if self.connections.is_full() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let end = self.network.connect(to, self.from);
        let id = self.insert(Connection::new(end, Stage::Dialling))?;
        self.counters.dialled += 1;
        Ok(id)
    }

    fn start_receiving(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.is_open()
        {
            connection.receiving = true;
            self.look_at(id);
        }
    }

    fn send(&mut self, id: ConnectionId, slices: &mut Vec<SlabSlice>) {
        let Some(connection) = self.connections.get_mut(id).filter(|found| found.is_open()) else {
            slices.clear();
            return;
        };
        assert!(
            !connection.sending,
            "a send is in flight on this connection"
        );
        if connection.send_failed {
            slices.clear();
            return;
        }
        self.counters.sends += 1;
        connection.sending = true;
        connection.unsent.extend(slices.drain(..));
        self.look_at(id);
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.closing = true;
            // Ends it for the peer too.
            connection.end = None;
            self.look_at(id);
        }
    }

    fn detach(&mut self, id: ConnectionId) -> Option<Detached> {
        let connection = self.connections.get_mut(id)?;
        let idle = !connection.receiving && !connection.sending;
        if !idle || !connection.is_open() || !matches!(connection.stage, Stage::Accepted) {
            return None;
        }
        let end = self.connections.remove(id)?.end?;
        end.listen_no_more();
        Some(Detached::new(end))
    }

    fn adopt(&mut self, connection: Detached) -> io::Result<ConnectionId> {
        let end = connection.take::<End>()?;
        self.insert(Connection::new(Some(end), Stage::Accepted))
    }

    fn has_news(&mut self) -> bool {
        !self.ready.is_empty() || self.inbox.is_touched()
    }

    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        let before = events.len();
        let mut incoming = VecDeque::new();
        if let Some(arrived) = self.inbox.take() {
            arrived.changed.into_iter().for_each(|id| self.look_at(id));
            incoming = arrived.incoming;
        }
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            self.advance(id, events);
        }
        incoming
            .into_iter()
            .for_each(|end| self.accept(end, events));
        events.len() > before
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn park(&mut self, _: Option<std::time::Duration>) -> io::Result<()> {
        self.counters.parks += 1;
        Ok(())
    }

    fn buffer_use(&self) -> BufferUse {
        BufferUse::default()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// The connections end with their table.
impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// A connection that could not be dialled.
fn nobody_there() -> CloseReason {
    CloseReason::DialFailed(io::ErrorKind::ConnectionRefused.into())
}
