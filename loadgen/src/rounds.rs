//! Rounds: the engine and the floor by turns, each in two fresh processes (a mesh in one), until
//! the time is spent.

use std::net::SocketAddr;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::cuts::{self, Cuts, Cutter};
use crate::peer::{Peer, PeerError};
use crate::placement::Placement;
use crate::plan::{Crowd, Mover, Outcome, Plan, Round, Traffic};

/// Every figure is a median over at least this many rounds.
const ROUNDS_MIN: u32 = 5;

/// More rounds than this tell nothing new.
const ROUNDS_MAX: u32 = 15;

/// A round need not be longer than this: shorter ones interleave better with a host's moods.
const ROUND_TIME_AIM: Duration = Duration::from_secs(2);

/// Enough to warm caches and to let the kernel tune the socket buffers.
const WARM_UP_MAX: Duration = Duration::from_millis(250);

/// A workload that is never this long would measure its own start.
const WARM_UP_MIN: Duration = Duration::from_millis(50);

/// What is to be measured, and against what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Experiment {
    /// What is measured.
    pub(crate) subject: Round,
    /// Rounds of the subject.
    pub(crate) rounds: u32,
    /// Play the same round on the floor after each of them.
    pub(crate) beside_floor: bool,
    /// The serving node to send to, in place of a receiver of our own.
    pub(crate) connect: Option<SocketAddr>,
    /// How often the connection is cut, over all rounds.
    pub(crate) cuts: Option<u64>,
}

/// Rounds and their length for a total measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How many rounds.
    pub(crate) rounds: u32,
    /// The warm-up of each.
    pub(crate) warm_up: Duration,
    /// The measured interval of each.
    pub(crate) measured: Duration,
}

/// What came of an experiment, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    /// The subject's rounds.
    pub(crate) subject: Vec<Outcome>,
    /// The floor's rounds, when it was played beside.
    pub(crate) floor: Vec<Outcome>,
    /// What was cut in the subject's rounds, when that was wanted.
    pub(crate) cuts: Option<Cuts>,
}

impl Schedule {
    /// Splits `total` into an odd number of equal rounds, so that the median is one of them.
    pub(crate) fn of(total: Duration) -> Self {
        let aimed = total.as_secs_f64() / ROUND_TIME_AIM.as_secs_f64();
        let rounds = (aimed as u32 | 1).clamp(ROUNDS_MIN, ROUNDS_MAX);
        let measured = total / rounds;
        Self {
            rounds,
            measured,
            warm_up: (measured / 4).clamp(WARM_UP_MIN, WARM_UP_MAX),
        }
    }
}

impl Experiment {
    /// Plays all rounds. This process sleeps meanwhile; `progress` moves between them.
    ///
    /// # Errors
    /// When a process of a round cannot be started, dies, or does not answer.
    pub(crate) fn run(
        &self,
        placement: Placement,
        progress: &ProgressBar,
    ) -> Result<Outcomes, PeerError> {
        let mut outcomes = Outcomes::default();
        for number in 0..self.rounds {
            let outcome = match self.cuts {
                None => play(self.subject, self.connect, placement)?,
                Some(cuts) => {
                    let wanted = cuts::share(cuts, number, self.rounds);
                    let cutter = Cutter::new(wanted, number.into()).map_err(PeerError::Proxy)?;
                    let outcome = play_cut(self.subject, &cutter, placement)?;
                    outcomes.cuts = Some(outcomes.cuts.unwrap_or_default() + cutter.cuts());
                    outcome
                }
            };
            outcomes.subject.push(outcome);
            progress.inc(1);
            if self.beside_floor {
                let floor = Round {
                    mover: Mover::Floor,
                    ..self.subject
                };
                outcomes.floor.push(play(floor, None, placement)?);
                progress.inc(1);
            }
        }
        Ok(outcomes)
    }

    /// How often a run moves its progress bar.
    pub(crate) fn steps(&self) -> u64 {
        u64::from(self.rounds) * if self.beside_floor { 2 } else { 1 }
    }
}

/// Plays one round, against the node at `connect` or one of our own.
///
/// # Errors
/// When a process fails.
pub(crate) fn play(
    round: Round,
    connect: Option<SocketAddr>,
    placement: Placement,
) -> Result<Outcome, PeerError> {
    let cpu_is_shared = placement.is_shared();
    if let (Mover::Engine, Some(crowd)) = (round.mover, round.crowd) {
        return play_crowd(round, crowd, placement);
    }
    if matches!(round.traffic, Traffic::Mesh | Traffic::PubSub) {
        let plan = Plan {
            round,
            number: 0,
            cpu: placement.sender,
            other_cpu: placement.receiver,
            cpu_is_shared,
            front: None,
            to: None,
        };
        return Peer::send(&plan)?.outcome(&plan);
    }
    let mut receiver = None;
    let to = match connect {
        Some(address) => address,
        None => {
            let plan = Plan {
                round,
                number: 0,
                cpu: placement.receiver,
                other_cpu: placement.sender,
                cpu_is_shared,
                front: None,
                to: None,
            };
            let (peer, address) = Peer::listen(&plan)?;
            receiver = Some(peer);
            address
        }
    };
    let plan = Plan {
        round,
        number: 0,
        cpu: placement.sender,
        other_cpu: placement.receiver,
        cpu_is_shared,
        front: None,
        to: Some(to),
    };
    let outcome = Peer::send(&plan)?.outcome(&plan);
    outcome.map_err(|error| blame(error, receiver.as_mut()))
}

/// Plays a round with a node for each process, of which the first publishes. It comes last, to a
/// cluster that the second founded; if it is the only one it founds that itself.
fn play_crowd(round: Round, crowd: Crowd, placement: Placement) -> Result<Outcome, PeerError> {
    let mut plan = Plan {
        round,
        number: 0,
        cpu: placement.sender,
        other_cpu: placement.receiver,
        cpu_is_shared: placement.is_shared(),
        front: None,
        to: None,
    };
    let mut others = Vec::new();
    for number in 1..crowd.nodes {
        let (peer, address) = Peer::listen(&Plan { number, ..plan })?;
        plan.to.get_or_insert(address);
        others.push(peer);
    }
    let outcome = Peer::send(&plan)?.outcome(&plan);
    outcome.map_err(|error| {
        let is_kill = error.is_kill();
        let mut deaths = others.iter_mut().filter_map(Peer::death);
        let death = if is_kill { None } else { deaths.next() };
        death.unwrap_or(error)
    })
}

/// The same through `cutter`, which cuts the connection meanwhile.
fn play_cut(round: Round, cutter: &Cutter, placement: Placement) -> Result<Outcome, PeerError> {
    let mut plan = Plan {
        round,
        number: 0,
        cpu: placement.receiver,
        other_cpu: placement.sender,
        cpu_is_shared: placement.is_shared(),
        front: Some(cutter.front()),
        to: None,
    };
    let (mut receiver, to) = Peer::listen(&plan)?;
    (plan.cpu, plan.other_cpu) = (plan.other_cpu, plan.cpu);
    plan.to = Some(to);
    let mut sender = Peer::send(&plan)?;
    let outcome = cutter.cut_while(&round, || sender.outcome(&plan));
    outcome.map_err(|error| blame(error, Some(&mut receiver)))
}

/// Names the process that failed first: a sender that gave up because its receiver died is not the
/// one.
fn blame(error: PeerError, receiver: Option<&mut Peer>) -> PeerError {
    match receiver {
        Some(receiver) if !error.is_kill() => receiver.death().unwrap_or(error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_has_five_rounds_that_add_up() {
        let schedule = Schedule::of(Duration::from_secs(5));
        assert_eq!(
            (schedule.rounds, schedule.measured),
            (5, Duration::from_secs(1))
        );
        assert_eq!(schedule.warm_up, WARM_UP_MAX);
    }

    #[test]
    fn a_long_run_has_more_rounds_always_an_odd_number() {
        for seconds in 1..300 {
            let schedule = Schedule::of(Duration::from_secs(seconds));
            assert_eq!(schedule.rounds % 2, 1, "{seconds} s");
            assert!(
                (ROUNDS_MIN..=ROUNDS_MAX).contains(&schedule.rounds),
                "{seconds} s"
            );
            let total = schedule.measured * schedule.rounds;
            assert!(total.abs_diff(Duration::from_secs(seconds)) < Duration::from_micros(1));
        }
        assert_eq!(Schedule::of(Duration::from_secs(20)).rounds, 11);
    }

    #[test]
    fn a_tiny_run_still_warms_up() {
        assert_eq!(
            Schedule::of(Duration::from_millis(100)).warm_up,
            WARM_UP_MIN
        );
    }
}
