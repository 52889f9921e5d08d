//! A stream between two transports, and what they tell each other of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::contract::ConnectionId;
use crate::doorbell::Doorbell;

/// Bytes that are sent and not received, per direction of a stream.
pub(super) const PIPE_BYTES_MAX: usize = 64 * 1024;

/// Dialled connections that wait to be accepted, per listener.
pub(super) const BACKLOG: usize = 4096;

/// What came for a transport from others, perhaps on other threads.
pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    /// Something is in it.
    touched: AtomicBool,
    /// Wakes the transport's core; a transport that is driven by hand has none.
    doorbell: Option<Doorbell>,
}

#[derive(Default)]
pub(super) struct Arrived {
    /// Connections to look at. Each of them is there at most once.
    pub(super) changed: Vec<ConnectionId>,
    /// At most `BACKLOG`.
    pub(super) incoming: VecDeque<End>,
}

impl Inbox {
    pub(super) fn new(doorbell: Option<Doorbell>) -> Self {
        Self {
            arrived: Mutex::default(),
            touched: AtomicBool::new(false),
            doorbell,
        }
    }

    /// Gives an end back that there is no room for.
    pub(super) fn offer(&self, end: End) -> Result<(), End> {
        let mut arrived = self.lock();
        if arrived.incoming.len() >= BACKLOG {
            return Err(end);
        }
        arrived.incoming.push_back(end);
        drop(arrived);
        self.touch();
        Ok(())
    }

    fn note(&self, connection: ConnectionId) {
        self.lock().changed.push(connection);
        self.touch();
    }

    fn touch(&self) {
        self.touched.store(true, Ordering::Release);
        if let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        }
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// What came since the last call.
    pub(super) fn take(&self) -> Option<Arrived> {
        let is_touched = self.is_touched() && self.touched.swap(false, Ordering::Acquire);
        is_touched.then(|| std::mem::take(&mut *self.lock()))
    }

    /// Those that wait to be accepted.
    pub(super) fn refuse(&self) -> VecDeque<End> {
        std::mem::take(&mut self.lock().incoming)
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One side of a stream: it writes pipe `side` and reads the other. Dropping it closes the stream.
pub(super) struct End {
    stream: Arc<Stream>,
    side: usize,
    /// Where the stream was dialled from.
    pub(super) from: SocketAddr,
}

/// Two pipes behind a lock that their ends share.
pub(super) struct Stream(Mutex<Pipes>);

#[derive(Default)]
pub(super) struct Pipes {
    pipes: [Pipe; 2],
    pub(super) is_reset: bool,
    ears: [Option<Ear>; 2],
}

#[derive(Default)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    /// The writer will write no more.
    pub(super) finished: bool,
    /// Nobody will read any more.
    pub(super) abandoned: bool,
}

/// Who is to look when something changes for one side.
struct Ear {
    inbox: Arc<Inbox>,
    connection: ConnectionId,
    /// It was told, and has not looked since.
    told: bool,
}

impl Stream {
    /// Says whether there was anything to break.
    pub(super) fn reset(&self) -> bool {
        let mut pipes = self.lock();
        let was_whole = !pipes.is_reset && !pipes.pipes.iter().any(|pipe| pipe.finished);
        pipes.is_reset = true;
        pipes.pipes.iter_mut().for_each(|pipe| pipe.bytes.clear());
        (0..2).for_each(|side| pipes.tell(side));
        was_whole
    }

    fn lock(&self) -> MutexGuard<'_, Pipes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipes {
    /// Has a side look.
    pub(super) fn tell(&mut self, side: usize) {
        if let Some(ear) = &mut self.ears[side]
            && !std::mem::replace(&mut ear.told, true)
        {
            ear.inbox.note(ear.connection);
        }
    }

    /// The pipe that `side` writes.
    pub(super) fn outward(&mut self, side: usize) -> &mut Pipe {
        &mut self.pipes[side]
    }

    /// The pipe that `side` reads.
    pub(super) fn inward(&mut self, side: usize) -> &mut Pipe {
        &mut self.pipes[1 - side]
    }
}

impl Pipe {
    pub(super) fn room(&self) -> usize {
        PIPE_BYTES_MAX - self.bytes.len()
    }
}

impl End {
    /// Both ends of a new stream, the dialler's first.
    pub(super) fn pair(from: SocketAddr) -> (Self, Self) {
        let stream = Arc::new(Stream(Mutex::default()));
        let end = |side| Self {
            stream: Arc::clone(&stream),
            side,
            from,
        };
        (end(0), end(1))
    }

    pub(super) fn downgrade(&self) -> Weak<Stream> {
        Arc::downgrade(&self.stream)
    }

    /// Tells `inbox` what changes from now on. Whoever calls it looks itself after it.
    pub(super) fn listen_in(&self, inbox: &Arc<Inbox>, connection: ConnectionId) {
        self.stream.lock().ears[self.side] = Some(Ear {
            inbox: Arc::clone(inbox),
            connection,
            told: false,
        });
    }

    /// Nobody is there for a while.
    pub(super) fn listen_no_more(&self) {
        self.stream.lock().ears[self.side] = None;
    }

    /// The stream as it is now; what changes from now on is told anew.
    pub(super) fn look(&self) -> (MutexGuard<'_, Pipes>, usize) {
        let mut pipes = self.stream.lock();
        if let Some(ear) = &mut pipes.ears[self.side] {
            ear.told = false;
        }
        (pipes, self.side)
    }

    pub(super) fn reset(&self) {
        self.stream.reset();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pipes = self.stream.lock();
        pipes.ears[self.side] = None;
        pipes.outward(self.side).finished = true;
        let inward = pipes.inward(self.side);
        inward.abandoned = true;
        inward.bytes.clear();
        pipes.tell(1 - self.side);
    }
}
