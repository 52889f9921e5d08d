//! One connection through the proxy: two sockets, and two threads for each direction.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, scope};
use std::time::Duration;

use socket2::SockRef;

use crate::faults::{Direction, Ending};
use crate::ledger::count;
use crate::luck::generator;
use crate::pipe::{End, Pipe};
use crate::proxy::Shared;
use crate::writer::Writer;

/// How long the upstream may take to answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a write may be stuck before its thread looks whether the connection has ended.
const WRITE_LOOK: Duration = Duration::from_millis(20);

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// A client's socket, and that to the upstream once there is one.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    client: TcpStream,
    upstream: OnceLock<TcpStream>,
    to_upstream: Pipe,
    to_client: Pipe,
    /// Bytes read and neither forwarded nor dropped.
    held: AtomicU64,
    fate: AtomicU8,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Fate {
    Lives,
    /// Nothing is forwarded any more; what still comes is dropped.
    Drains,
    /// It is closed with a reset.
    Resets,
}

impl Connection {
    pub(crate) fn new(number: u64, seed: u64, client: TcpStream) -> Self {
        Self {
            number,
            seed,
            client,
            upstream: OnceLock::new(),
            to_upstream: Pipe::default(),
            to_client: Pipe::default(),
            held: AtomicU64::new(0),
            fate: AtomicU8::new(Fate::Lives as u8),
        }
    }

    /// Forwards until both directions have ended. Closes the sockets with its last holder.
    pub(crate) fn run(self: Arc<Self>, upstream: SocketAddr, shared: &Shared) {
        match TcpStream::connect_timeout(&upstream, CONNECT_TIME_MAX) {
            Ok(stream) => drop(self.upstream.set(stream)),
            Err(_) => {
                count(&shared.ledger.refused, 1);
                return self.end(Fate::Resets);
            }
        }
        for stream in self.streams() {
            // A socket that is gone by now shows it in its first read.
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(WRITE_LOOK));
        }
        if self.fate() != Fate::Lives {
            return self.end(Fate::Resets);
        }
        let connection = &*self;
        scope(|scope| {
            let mut started = true;
            for direction in [Direction::ToUpstream, Direction::ToClient] {
                let read = move || connection.read(direction, shared);
                let write = move || Writer::new(connection, direction, shared).run();
                started &= Builder::new().spawn_scoped(scope, read).is_ok();
                started &= Builder::new().spawn_scoped(scope, write).is_ok();
            }
            if !started {
                connection.end(Fate::Resets);
            }
        });
        let left = self.held.load(Ordering::Acquire);
        self.release(left, shared);
        count(&shared.ledger.dropped, left);
    }

    /// Cuts it on purpose, unless it has ended. Says whether it was cut.
    pub(crate) fn cut(&self, ending: Ending, shared: &Shared) -> bool {
        let fate = match ending {
            Ending::Reset => Fate::Resets,
            Ending::Fin => Fate::Drains,
        };
        let held = self.held.load(Ordering::Acquire);
        let cut = self.fate.compare_exchange(
            Fate::Lives as u8,
            fate as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if cut.is_err() {
            return false;
        }
        count(&shared.ledger.cuts, 1);
        count(&shared.ledger.cuts_with_loss, u64::from(held > 0));
        self.end(fate);
        true
    }

    /// Brings it to its end this way, unless it is further.
    pub(crate) fn end(&self, fate: Fate) {
        self.fate.fetch_max(fate as u8, Ordering::AcqRel);
        for stream in self.streams() {
            // What fails here has been closed by its other end.
            if fate == Fate::Resets {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                // Wakes who reads, and says nothing to the other end: the reset comes with the
                // close.
                let _ = stream.shutdown(Shutdown::Read);
            } else {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        self.to_upstream.close();
        self.to_client.close();
    }

    pub(crate) fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::Lives,
            1 => Fate::Drains,
            _ => Fate::Resets,
        }
    }

    pub(crate) fn pipe(&self, direction: Direction) -> &Pipe {
        match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Where a direction's bytes go. There before the first of them is read.
    pub(crate) fn target(&self, direction: Direction) -> Option<&TcpStream> {
        match direction {
            Direction::ToUpstream => self.upstream.get(),
            Direction::ToClient => Some(&self.client),
        }
    }

    /// So many bytes were forwarded, or dropped.
    pub(crate) fn release(&self, bytes: u64, shared: &Shared) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
        shared.ledger.held.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn rules_changed(&self) {
        self.to_upstream.rules_changed();
        self.to_client.rules_changed();
    }

    fn streams(&self) -> impl Iterator<Item = &TcpStream> {
        std::iter::once(&self.client).chain(self.upstream.get())
    }

    fn read(&self, direction: Direction, shared: &Shared) {
        let source = match direction {
            Direction::ToUpstream => Some(&self.client),
            Direction::ToClient => self.upstream.get(),
        };
        let Some(mut source) = source else {
            return;
        };
        let mut luck = generator(self.seed, self.number, direction, 2);
        let mut buffer = vec![0; READ_BYTES];
        let end = loop {
            let bytes = match source.read(&mut buffer) {
                Ok(0) => break End::Eof,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break End::Broken,
            };
            count(&self.held, bytes as u64);
            count(&shared.ledger.held, bytes as u64);
            if !self.pipe(direction).push(&buffer[..bytes], luck.u32(..)) {
                self.release(bytes as u64, shared);
                count(&shared.ledger.dropped, bytes as u64);
            }
        };
        self.pipe(direction).finish(end);
    }
}
