//! The thread that forwards the bytes of one direction, and does to them what the faults say.

use std::io::{ErrorKind, Write as _};
use std::net::Shutdown;
use std::num::NonZeroU64;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Fate};
use crate::faults::{Action, Direction, Faults, Way};
use crate::ledger::count;
use crate::luck::Luck;
use crate::pipe::{End, Next};
use crate::proxy::Shared;

/// A throttled direction forwards this part of its rate at once: 10 ms worth.
const BURSTS_PER_SECOND: u64 = 100;

pub(crate) struct Writer<'a> {
    connection: &'a Connection,
    direction: Direction,
    shared: &'a Shared,
    luck: Luck,
    /// Bytes forwarded.
    position: u64,
    /// Strikes before this byte are done.
    struck_to: u64,
    /// When the throttle lets the next byte pass.
    free_at: Instant,
    /// The direction was ended on purpose.
    half_closed: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        direction: Direction,
        shared: &'a Shared,
    ) -> Self {
        Self {
            connection,
            direction,
            shared,
            luck: Luck::new(connection.seed, connection.number, direction),
            position: 0,
            struck_to: 0,
            free_at: Instant::now(),
            half_closed: false,
        }
    }

    pub(crate) fn run(mut self) {
        let pipe = self.connection.pipe(self.direction);
        let (shared, direction) = (self.shared, self.direction);
        let way = || shared.faults().way(direction).clone();
        while let Some(next) = pipe.next(way) {
            let go_on = match next {
                Next::Bytes(bytes) => self.forward(bytes),
                Next::End(end) => {
                    self.forward_end(end);
                    Break(())
                }
            };
            if go_on.is_break() {
                break;
            }
        }
        // Whoever still reads for this direction must not wait for room in it.
        pipe.close();
    }

    fn forward(&mut self, mut bytes: Vec<u8>) -> ControlFlow<()> {
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            let (shared, direction) = (self.shared, self.direction);
            let way = || shared.faults().way(direction).clone();
            let pipe = self.connection.pipe(direction);
            if !pipe.may_go_on(way, self.free_at) {
                return Break(());
            }
            let faults = shared.faults();
            if self.half_closed || faults.way(direction).dead {
                self.connection.release(rest.len() as u64, shared);
                count(&shared.ledger.dropped, rest.len() as u64);
                return Continue(());
            }
            let taken = match self.claim(&faults, rest.len() as u64) {
                Ok(taken) => taken as usize,
                Err(action) => {
                    self.strike(action, rest)?;
                    continue;
                }
            };
            let (now, later) = rest.split_at_mut(taken);
            self.write(now)?;
            rest = later;
        }
        Continue(())
    }

    /// How many of the next bytes pass before something is done to one; or what, to the next.
    fn claim(&mut self, faults: &Arc<Faults>, wanted: u64) -> Result<u64, Action> {
        let way: &Way = faults.way(self.direction);
        let mut wanted = wanted;
        if let Some(rate) = way.bytes_per_second {
            wanted = wanted.min((rate.get() / BURSTS_PER_SECOND).max(1));
        }
        let from = self.position.max(self.struck_to);
        if let Some(strike) = self.luck.next(way, from) {
            let left = strike.position - self.position;
            if left == 0 {
                self.struck_to = self.position + 1;
                return Err(strike.action);
            }
            wanted = wanted.min(left);
        }
        let taken = self.shared.ledger.claim(self.direction, wanted)?;
        self.pay(taken, way.bytes_per_second);
        Ok(taken)
    }

    /// Notes how long the throttle holds back what follows.
    fn pay(&mut self, bytes: u64, rate: Option<NonZeroU64>) {
        if let Some(rate) = rate {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
            let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.free_at = self.free_at.max(Instant::now()) + span;
        }
    }

    /// Does something to the next byte; `rest` begins with it.
    fn strike(&mut self, action: Action, rest: &mut [u8]) -> ControlFlow<()> {
        let ledger = &self.shared.ledger;
        match action {
            Action::Flip(mask) => {
                rest[0] ^= mask;
                count(&ledger.flips, 1);
                Continue(())
            }
            Action::HalfClose => {
                if let Some(target) = self.connection.target(self.direction) {
                    // It fails when the other end is gone, and then so is this direction.
                    let _ = target.shutdown(Shutdown::Write);
                }
                self.half_closed = true;
                count(&ledger.half_closes, 1);
                Continue(())
            }
            Action::Cut(ending) => {
                self.connection.cut(ending, self.shared);
                Break(())
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let Some(mut target) = self.connection.target(self.direction) else {
            return Break(());
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            match target.write(rest) {
                Ok(0) => return self.broken(),
                Ok(written) => {
                    rest = &rest[written..];
                    self.position += written as u64;
                    self.connection.release(written as u64, self.shared);
                }
                Err(error) => match error.kind() {
                    // Nobody takes it for now.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                        if self.connection.fate() != Fate::Lives {
                            return Break(());
                        }
                    }
                    _ => return self.broken(),
                },
            }
        }
        Continue(())
    }

    /// Where the bytes go nobody is any more: where they come from hears it.
    fn broken(&self) -> ControlFlow<()> {
        self.connection.end(Fate::Resets);
        Break(())
    }

    fn forward_end(&self, end: End) {
        if self.shared.faults().way(self.direction).dead {
            return;
        }
        match (end, self.connection.target(self.direction)) {
            (End::Broken, _) => self.connection.end(Fate::Resets),
            // Of a connection that is reset the readers are woken by an end that nobody sent.
            (End::Eof, Some(target)) if self.connection.fate() != Fate::Resets => {
                // Fails when the other end has closed.
                let _ = target.shutdown(Shutdown::Write);
            }
            (End::Eof, _) => {}
        }
    }
}
