//! Cutting the connection of a stream on purpose, again and again, while it runs.
//!
//! The stream goes through a [`Proxy`] in this process. The measured interval is divided into as
//! many slots as there are cuts; somewhere in each the next cut is armed, and strikes a random
//! number of bytes later: in the middle of whatever passes there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Add;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringmesh_fault_proxy::{Action, Direction, Ending, Faults, Proxy};

use crate::plan::Round;

/// A cut strikes up to so many bytes behind the one that passes when it is armed.
const BYTES_AHEAD_MAX: u64 = 64 << 10;

/// The part of the measured interval in which cuts are armed, so that the last of them strikes
/// before the stream ends.
const ARMED_PART: f64 = 0.9;

/// Bytes of the handshake and the look-up, with room: what passes behind them is the stream.
const OPENING_BYTES: u64 = 4096;

/// Time between two looks for the begin of the stream.
const LOOK: Duration = Duration::from_millis(2);

/// Where a receiver behind a proxy listens: the proxy's port on another address of the loopback.
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Cuts that were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// All of them.
    pub(crate) made: u64,
    /// Those that dropped bytes which the receiver never got, and so did not acknowledge.
    pub(crate) unacked: u64,
}

impl Add for Cuts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            made: self.made + other.made,
            unacked: self.unacked + other.unacked,
        }
    }
}

/// The way of one round's stream, which is cut so many times.
#[derive(Debug)]
pub(crate) struct Cutter {
    proxy: Proxy,
    wanted: u64,
    seed: u64,
}

impl Cutter {
    /// A way that is to be cut `wanted` times; what is random about it comes from `seed`.
    ///
    /// # Errors
    /// When the system has no port for it.
    pub(crate) fn new(wanted: u64, seed: u64) -> io::Result<Self> {
        let proxy = Proxy::start(None, Faults::with_seed(seed))?;
        proxy.set_upstream(behind(proxy.address()));
        Ok(Self {
            proxy,
            wanted,
            seed,
        })
    }

    /// Where it is entered: what the receiver advertises, and the sender dials.
    pub(crate) fn front(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Does `work`, in which the stream of `round` runs, and cuts it meanwhile.
    pub(crate) fn cut_while<R>(&self, round: &Round, work: impl FnOnce() -> R) -> R {
        let (is_over, over) = sync_channel::<()>(0);
        thread::scope(|scope| {
            scope.spawn(move || self.cut(round, &over));
            let result = work();
            drop(is_over);
            result
        })
    }

    /// What was cut so far.
    pub(crate) fn cuts(&self) -> Cuts {
        let counters = self.proxy.counters();
        Cuts {
            made: counters.cuts,
            unacked: counters.cuts_with_loss,
        }
    }

    fn cut(&self, round: &Round, over: &Receiver<()>) {
        while self.proxy.counters().bytes_to_upstream < OPENING_BYTES {
            if is_over_within(over, LOOK) {
                return;
            }
        }
        let begin = Instant::now() + round.warm_up;
        let slot = round
            .measured
            .mul_f64(ARMED_PART / self.wanted.max(1) as f64);
        let mut rng = Rng::with_seed(self.seed);
        for number in 0..self.wanted {
            let at = begin + slot.mul_f64(number as f64 + rng.f64());
            if is_over_within(over, at.saturating_duration_since(Instant::now())) {
                return;
            }
            let ending = if rng.bool() {
                Ending::Reset
            } else {
                Ending::Fin
            };
            let ahead = rng.u64(1..=BYTES_AHEAD_MAX);
            // There is room: fewer cuts wait at any time than a round has.
            self.proxy
                .arm(Direction::ToUpstream, ahead, Action::Cut(ending));
        }
    }
}

/// Where a receiver listens whose proxy is entered at `front`.
pub(crate) fn behind(front: SocketAddr) -> SocketAddr {
    SocketAddr::new(BEHIND, front.port())
}

/// The cuts of round number `round` of `rounds` that have `cuts` together.
pub(crate) fn share(cuts: u64, round: u32, rounds: u32) -> u64 {
    let up_to = |round: u32| cuts * u64::from(round) / u64::from(rounds.max(1));
    up_to(round + 1) - up_to(round)
}

fn is_over_within(over: &Receiver<()>, span: Duration) -> bool {
    over.recv_timeout(span) != Err(RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_shares_differ_by_one_at_most_and_add_up() {
        for (cuts, rounds) in [(1, 5), (100, 11), (5, 5), (1000, 15)] {
            let shares: Vec<u64> = (0..rounds).map(|at| share(cuts, at, rounds)).collect();
            assert_eq!(shares.iter().sum::<u64>(), cuts);
            let (least, most) = (cuts / u64::from(rounds), cuts.div_ceil(rounds.into()));
            assert!(
                shares.iter().all(|it| (least..=most).contains(it)),
                "{shares:?}"
            );
        }
    }
}
