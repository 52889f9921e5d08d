//! The transports of one core as one: TCP, and one of each network that the node is in.
//!
//! TCP has the ring, so the core sleeps there, and what comes for the others from other threads
//! rings its doorbell. A connection is named for all of them by one id: with `n` transports slot
//! `s` of number `i` is slot `s * n + i` here. So ids are as dense as they are without the others,
//! and with TCP alone they are TCP's own.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::BufferUse;
use crate::contract::{
    ConnectionId, Counters, Detached, Event, Network, Piece, Station, Transport,
};
use crate::doorbell::Doorbell;
use crate::table::SLOTS_MAX;
use crate::tcp::TcpTransport;

/// Most networks that a node can be in.
pub const NETWORKS_MAX: usize = 15;

const _: () = assert!(SLOTS_MAX as u64 * (NETWORKS_MAX as u64 + 1) <= 1 << 32);

/// TCP, and the transports that were added to it.
pub struct Transports {
    tcp: TcpTransport,
    added: Vec<Box<dyn Transport>>,
}

impl Transports {
    /// Opens a transport of each network beside TCP. `from` is what this core dials from.
    ///
    /// # Errors
    /// That of the network; `InvalidInput` for more than [`NETWORKS_MAX`] of them.
    pub fn new(tcp: TcpTransport, networks: &[Arc<dyn Network>], from: IpAddr) -> io::Result<Self> {
        if networks.len() > NETWORKS_MAX {
            let error = format!("a node is in {NETWORKS_MAX} networks at most");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let station = Station {
            doorbell: tcp.doorbell(),
            from,
        };
        let opened = networks.iter().map(|network| network.open(&station));
        let added = opened.collect::<io::Result<_>>()?;
        Ok(Self { tcp, added })
    }

    /// A handle that wakes this core from any thread.
    pub fn doorbell(&self) -> Doorbell {
        self.tcp.doorbell()
    }

    /// See [`TcpTransport::watch_signals`].
    ///
    /// # Errors
    /// When no descriptor could be made.
    pub fn watch_signals(&mut self) -> io::Result<()> {
        self.tcp.watch_signals()
    }

    /// The name of the transport that a connection is of.
    pub fn name_of(&self, id: ConnectionId) -> &'static str {
        match (id.slot % self.count()) as usize {
            0 => self.tcp.name(),
            number => self.added[number - 1].name(),
        }
    }

    fn count(&self) -> u32 {
        self.added.len() as u32 + 1
    }

    /// The transport that a connection is of, and the id that it has there.
    #[inline]
    fn at(&mut self, id: ConnectionId) -> (&mut dyn Transport, ConnectionId) {
        let (number, inner) = split(id, self.count());
        (self.number(number), inner)
    }

    fn number(&mut self, number: usize) -> &mut dyn Transport {
        match number.checked_sub(1) {
            None => &mut self.tcp,
            Some(added) => &mut *self.added[added],
        }
    }

    /// Names the connections of the events from `start` on, which transport `number` reported.
    fn rename(events: &mut VecDeque<Event>, start: usize, (number, count): (usize, u32)) {
        for event in events.range_mut(start..) {
            if let Some(id) = event.connection_mut() {
                *id = join(*id, number, count);
            }
        }
    }
}

fn split(id: ConnectionId, count: u32) -> (usize, ConnectionId) {
    let slot = id.slot / count;
    ((id.slot % count) as usize, ConnectionId { slot, ..id })
}

fn join(id: ConnectionId, number: usize, count: u32) -> ConnectionId {
    let slot = id.slot * count + number as u32;
    ConnectionId { slot, ..id }
}

impl Transport for Transports {
    fn name(&self) -> &'static str {
        "all"
    }

    fn reaches(&self, _: SocketAddr) -> bool {
        true
    }

    /// Listens by TCP, and by all others at the address that it is bound to then.
    fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.tcp.listen(at)?;
        for number in 0..self.added.len() {
            if let Err(error) = self.added[number].listen(bound) {
                self.tcp.stop_listening();
                let before = self.added[..number].iter_mut();
                before.for_each(|transport| transport.stop_listening());
                return Err(error);
            }
        }
        Ok(bound)
    }

    fn stop_listening(&mut self) {
        self.tcp.stop_listening();
        let added = self.added.iter_mut();
        added.for_each(|transport| transport.stop_listening());
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<ConnectionId> {
        let mut added = self.added.iter();
        let number = added.position(|transport| transport.reaches(to));
        let number = number.map_or(0, |number| number + 1);
        let id = self.number(number).dial(to)?;
        Ok(join(id, number, self.count()))
    }

    fn start_receiving(&mut self, id: ConnectionId) {
        let (transport, id) = self.at(id);
        transport.start_receiving(id);
    }

    fn pace(&mut self, id: ConnectionId) {
        let (transport, id) = self.at(id);
        transport.pace(id);
    }

    #[inline]
    fn send(&mut self, id: ConnectionId, pieces: &mut Vec<Piece>) {
        if self.added.is_empty() {
            return self.tcp.send(id, pieces);
        }
        let (transport, id) = self.at(id);
        transport.send(id, pieces);
    }

    fn close(&mut self, id: ConnectionId) {
        let (transport, id) = self.at(id);
        transport.close(id);
    }

    fn detach(&mut self, id: ConnectionId) -> Option<Detached> {
        let (number, inner) = split(id, self.count());
        let mut detached = self.number(number).detach(inner)?;
        detached.transport = number;
        Some(detached)
    }

    /// Goes on with it in the transport of the same number.
    fn adopt(&mut self, connection: Detached) -> io::Result<ConnectionId> {
        let number = connection.transport;
        if number > self.added.len() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let id = self.number(number).adopt(connection)?;
        Ok(join(id, number, self.count()))
    }

    #[inline]
    fn has_news(&mut self) -> bool {
        let mut added = self.added.iter_mut();
        self.tcp.has_news() || added.any(|transport| transport.has_news())
    }

    /// TCP comes first: its doorbell is taken before what it was rung for is looked at.
    #[inline]
    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        if self.added.is_empty() {
            return self.tcp.poll(events);
        }
        let count = self.count();
        let before = events.len();
        for number in 0..count as usize {
            let start = events.len();
            self.number(number).poll(events);
            Self::rename(events, start, (number, count));
        }
        events.len() > before
    }

    fn submit(&mut self) -> io::Result<()> {
        for transport in &mut self.added {
            transport.submit()?;
        }
        self.tcp.submit()
    }

    /// Sleeps where TCP does, unless another has something left to do.
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        for transport in &mut self.added {
            transport.submit()?;
        }
        if self.added.iter_mut().any(|transport| transport.has_news()) {
            return self.tcp.submit();
        }
        self.tcp.park(timeout)
    }

    /// That of the transport with the least left: the buffers of one are no help to another.
    fn buffer_use(&self) -> BufferUse {
        let added = self.added.iter().map(|transport| transport.buffer_use());
        added.fold(self.tcp.buffer_use(), |most, other| {
            if other.pinned * most.total > most.pinned * other.total {
                other
            } else {
                most
            }
        })
    }

    fn counters(&self) -> Counters {
        let mut all = self.tcp.counters();
        let added = self.added.iter();
        added.for_each(|transport| all += transport.counters());
        all
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = self.added.iter().map(|transport| transport.name());
        f.debug_list().entry(&"tcp").entries(added).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back_with_its_transport() {
        let last = ConnectionId {
            slot: SLOTS_MAX - 1,
            generation: u32::MAX,
        };
        let count = NETWORKS_MAX as u32 + 1;
        for number in [0, 1, NETWORKS_MAX] {
            assert_eq!(split(join(last, number, count), count), (number, last));
        }
        assert_eq!(join(last, 0, 1), last);
    }
}
