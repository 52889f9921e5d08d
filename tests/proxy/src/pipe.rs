//! The bytes of one direction between the thread that reads them and the one that forwards them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::faults::Way;

/// Bytes that wait at one time; then the reader waits, and its sender is slowed down.
const BYTES_MAX: usize = 1 << 20;

/// How a side of a connection stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Eof,
    /// It broke.
    Broken,
}

/// What the writer forwards next.
pub(crate) enum Next {
    Bytes(Vec<u8>),
    End(End),
}

#[derive(Debug, Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    end: Option<(End, Instant)>,
    /// Nothing is forwarded any more.
    closed: bool,
}

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    came: Instant,
    /// Its part of the jitter, of 2^32.
    luck: u32,
}

impl Pipe {
    /// Appends what was read; waits for room. Says no when nothing is forwarded any more.
    pub(crate) fn push(&self, bytes: &[u8], luck: u32) -> bool {
        let mut state = self.lock();
        while state.bytes >= BYTES_MAX && !state.closed {
            state = self.wait(state);
        }
        if state.closed {
            return false;
        }
        state.bytes += bytes.len();
        state.pieces.push_back(Piece {
            bytes: bytes.to_vec(),
            came: Instant::now(),
            luck,
        });
        self.changed.notify_all();
        true
    }

    /// Nothing more is read.
    pub(crate) fn finish(&self, end: End) {
        self.lock().end = Some((end, Instant::now()));
        self.changed.notify_all();
    }

    /// Nothing more is forwarded.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The faults are others now.
    pub(crate) fn rules_changed(&self) {
        // Behind the lock: whoever looks and then waits does not miss it.
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// What is forwarded next; waits until its delay is over. `None` when nothing is any more.
    pub(crate) fn next(&self, way: impl Fn() -> Way) -> Option<Next> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            let Way { delay, jitter, .. } = way();
            let due = match (state.pieces.front(), state.end) {
                (Some(piece), _) => Some(piece.came + delay + jitter.mul_f64(piece.share())),
                (None, Some((_, came))) => Some(came + delay),
                (None, None) => None,
            };
            if due.is_none_or(|due| due > now) {
                state = self.wait_until(state, due, now);
                continue;
            }
            let Some(piece) = state.pieces.pop_front() else {
                return state.end.map(|(end, _)| Next::End(end));
            };
            state.bytes -= piece.bytes.len();
            self.changed.notify_all();
            return Some(Next::Bytes(piece.bytes));
        }
    }

    /// Waits until `free_at`, and for as long as the direction stalls. Says no when nothing is
    /// forwarded any more.
    pub(crate) fn may_go_on(&self, way: impl Fn() -> Way, free_at: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let stalled = way().stalled;
            if state.closed {
                return false;
            }
            if !stalled && free_at <= now {
                return true;
            }
            let until = (!stalled).then_some(free_at);
            state = self.wait_until(state, until, now);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
        now: Instant,
    ) -> MutexGuard<'a, State> {
        let Some(until) = until else {
            return self.wait(state);
        };
        let span: Duration = until.saturating_duration_since(now);
        let waited = self.changed.wait_timeout(state, span);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    fn share(&self) -> f64 {
        f64::from(self.luck) / f64::from(u32::MAX)
    }
}
