//! The report of one workload: the keys that outside scripts read.

use serde::Serialize;

pub(crate) use self::crowd::CrowdReport;
use crate::host::Host;
use crate::latency::{Latencies, Percentiles, Recorded, UnreadableLatencies};
use crate::median::{median, spread};
use crate::plan::{EngineFacts, FramesCopied, Mode, Mover, Outcome, Round, Traffic};
use crate::rounds::{Experiment, Outcomes};

mod crowd;

/// Version of the keys of a report.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// A floor that varies more than this between rounds says that the host was not quiet.
const FLOOR_SPREAD_MAX: f64 = 0.25;

/// One workload, measured. Rates, costs and percentiles are medians over the rounds; counts are
/// sums, `max_ns` is the slowest of all rounds. A key that does not apply is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Version of these keys.
    pub(crate) schema_version: u32,
    /// What was measured; the floor's own reports begin with `floor_`.
    pub(crate) workload: String,
    /// Bytes of one message: an archive, or a record's payload.
    pub(crate) payload_bytes: usize,
    /// How both sides waited.
    pub(crate) mode: Mode,
    /// Measured time, all rounds together, without warm-ups and without the floor beside it.
    pub(crate) seconds: f64,
    /// Messages that arrived, deliveries of pub-sub, or round trips that came back.
    pub(crate) messages: u64,
    /// Of them per second.
    pub(crate) messages_per_second: f64,
    /// Payload bytes per second, one way.
    pub(crate) bytes_per_second: f64,
    /// User and system time of both processes.
    pub(crate) cpu_ns_per_message: Option<f64>,
    /// Round trips of echo; one-way times of a mesh, one record at a time; sampled one-way times of
    /// a stream that was asked for them.
    pub(crate) p50_ns: Option<u64>,
    /// As `p50_ns`.
    pub(crate) p90_ns: Option<u64>,
    /// As `p50_ns`.
    pub(crate) p99_ns: Option<u64>,
    /// As `p50_ns`.
    pub(crate) p999_ns: Option<u64>,
    /// As `p50_ns`.
    pub(crate) max_ns: Option<u64>,
    /// From the intended send time, with a rate only.
    pub(crate) p50_from_schedule_ns: Option<u64>,
    /// As `p50_from_schedule_ns`.
    pub(crate) p99_from_schedule_ns: Option<u64>,
    /// The floor's rate in the same run; streams, meshes and pub-sub only.
    pub(crate) floor_messages_per_second: Option<f64>,
    /// The floor's latency of the same kind in the same run; echoes and meshes only.
    pub(crate) floor_p50_ns: Option<u64>,
    /// Rate over floor of streams, meshes and pub-sub, round trip over floor of echoes.
    pub(crate) ratio_to_floor: Option<f64>,
    /// Messages that never arrived, or asks that failed.
    pub(crate) lost: u64,
    /// Messages that came twice.
    pub(crate) duplicated: Option<u64>,
    /// Messages that came after a later one.
    pub(crate) reordered: Option<u64>,
    /// Messages whose bytes were wrong.
    pub(crate) corrupt: u64,
    /// Frames copied out of the receive buffers.
    pub(crate) frames_copied: Option<FramesCopied>,
    /// `io_uring_enter` calls of both processes, the executor's included.
    pub(crate) enters_per_message: Option<f64>,
    /// Calls to the allocators of both processes.
    pub(crate) allocations_per_message: Option<f64>,
    /// Connections cut on purpose.
    pub(crate) cuts: Option<u64>,
    /// Of them those that dropped bytes which the receiver never got.
    pub(crate) cuts_unacked: Option<u64>,
    /// Of pub-sub alone; no other report has its keys.
    #[serde(flatten)]
    pub(crate) crowd: Option<CrowdReport>,
    /// Facts about this machine.
    pub(crate) host: Host,
}

impl Report {
    /// Sums up what came of `experiment`.
    ///
    /// # Errors
    /// When a latency histogram of a round cannot be read.
    pub(crate) fn new(
        experiment: &Experiment,
        outcomes: &Outcomes,
        mut host: Host,
    ) -> Result<Self, UnreadableLatencies> {
        let round = &experiment.subject;
        let subject = outcomes.subject.as_slice();
        let latency = percentiles(subject, |outcome| outcome.latency.as_ref())?;
        let scheduled = percentiles(subject, |outcome| outcome.latency_from_schedule.as_ref())?;
        let rate = median(subject.iter().map(rate)).unwrap_or(0.0);
        let is_floor = round.mover == Mover::Floor;
        let floor = Floor::new(round, rate, latency, outcomes)?;
        host.warnings.extend(missed_cuts(experiment, outcomes));
        host.warnings.extend(unsteady_floor(if is_floor {
            subject
        } else {
            &outcomes.floor
        }));
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            workload: workload_name(round.mover, round.traffic),
            payload_bytes: round.payload_bytes,
            mode: round.mode,
            seconds: subject
                .iter()
                .map(|outcome| outcome.elapsed.as_secs_f64())
                .sum(),
            messages: sum(subject, |outcome| outcome.messages),
            messages_per_second: rate,
            bytes_per_second: rate * round.payload_bytes as f64,
            cpu_ns_per_message: per_message(subject, |outcome| Some(outcome.cost.cpu_ns)),
            p50_ns: latency.map(|figures| figures.p50_ns),
            p90_ns: latency.map(|figures| figures.p90_ns),
            p99_ns: latency.map(|figures| figures.p99_ns),
            p999_ns: latency.map(|figures| figures.p999_ns),
            max_ns: latency.map(|figures| figures.max_ns),
            p50_from_schedule_ns: scheduled.map(|figures| figures.p50_ns),
            p99_from_schedule_ns: scheduled.map(|figures| figures.p99_ns),
            floor_messages_per_second: floor.messages_per_second,
            floor_p50_ns: floor.p50_ns,
            ratio_to_floor: floor.ratio,
            lost: sum(subject, |outcome| outcome.lost),
            duplicated: engine_sum(subject, |facts| facts.duplicated),
            reordered: engine_sum(subject, |facts| facts.reordered),
            corrupt: sum(subject, |outcome| outcome.corrupt),
            frames_copied: frames_copied(subject),
            enters_per_message: per_message(subject, |outcome| {
                outcome.engine.map(|facts| facts.enters)
            }),
            allocations_per_message: per_message(subject, |outcome| Some(outcome.cost.allocations)),
            cuts: outcomes.cuts.map(|cuts| cuts.made),
            cuts_unacked: outcomes.cuts.map(|cuts| cuts.unacked),
            crowd: round
                .crowd
                .map(|crowd| CrowdReport::new(crowd, subject))
                .transpose()?,
            host,
        })
    }

    /// Everything that was sent arrived, once, in order and whole.
    pub(crate) fn is_clean(&self) -> bool {
        let odd = self.duplicated.unwrap_or(0) + self.reordered.unwrap_or(0);
        self.lost + self.corrupt + odd == 0
    }
}

/// What the subject is held against: a round trip for echoes, a rate for all others.
struct Floor {
    messages_per_second: Option<f64>,
    p50_ns: Option<u64>,
    ratio: Option<f64>,
}

impl Floor {
    fn new(
        round: &Round,
        rate: f64,
        latency: Option<Percentiles>,
        outcomes: &Outcomes,
    ) -> Result<Self, UnreadableLatencies> {
        let p50_ns = latency.map(|figures| figures.p50_ns);
        let none = Self {
            messages_per_second: None,
            p50_ns: None,
            ratio: None,
        };
        Ok(match (round.mover, round.traffic) {
            // The floor's own figure is the floor.
            (Mover::Floor, Traffic::Stream | Traffic::PubSub) => Self {
                messages_per_second: Some(rate),
                ..none
            },
            (Mover::Floor, Traffic::Echo) => Self { p50_ns, ..none },
            (Mover::Floor, Traffic::Mesh) => Self {
                messages_per_second: Some(rate),
                p50_ns,
                ..none
            },
            // Pings have a report of their own.
            (_, Traffic::Ping) => none,
            (Mover::Engine, Traffic::Stream | Traffic::Mesh | Traffic::PubSub) => {
                let floor = median(outcomes.floor.iter().map(self::rate));
                Self {
                    messages_per_second: floor,
                    p50_ns: floor_p50_ns(outcomes)?,
                    ratio: floor.map(|floor| rate / floor),
                }
            }
            (Mover::Engine, Traffic::Echo) => {
                let floor = floor_p50_ns(outcomes)?;
                let ratio = p50_ns
                    .zip(floor)
                    .map(|(ours, floor)| ours as f64 / floor as f64);
                Self {
                    p50_ns: floor,
                    ratio,
                    ..none
                }
            }
        })
    }
}

/// `None` where the floor records no latencies.
fn floor_p50_ns(outcomes: &Outcomes) -> Result<Option<u64>, UnreadableLatencies> {
    let figures = percentiles(&outcomes.floor, |outcome| outcome.latency.as_ref())?;
    Ok(figures.map(|figures| figures.p50_ns))
}

fn workload_name(mover: Mover, traffic: Traffic) -> String {
    match mover {
        Mover::Engine => traffic.name().into(),
        Mover::Floor => format!("floor_{}", traffic.name()),
    }
}

/// All rounds' latencies of one kind in one histogram; `None` when none were recorded.
///
/// # Errors
/// When a round's histogram cannot be read.
pub(crate) fn merged_latencies(
    outcomes: &[Outcome],
) -> Result<Option<Latencies>, UnreadableLatencies> {
    let mut merged = Latencies::new();
    for recorded in outcomes
        .iter()
        .filter_map(|outcome| outcome.latency.as_ref())
    {
        merged.merge(&Latencies::try_from(recorded)?);
    }
    Ok((merged.count() > 0).then_some(merged))
}

/// The percentiles of the rounds, each the median of its kind.
fn percentiles<'a>(
    outcomes: &'a [Outcome],
    recorded: impl Fn(&'a Outcome) -> Option<&'a Recorded>,
) -> Result<Option<Percentiles>, UnreadableLatencies> {
    let mut rounds = Vec::new();
    for recorded in outcomes.iter().filter_map(recorded) {
        rounds.extend(Latencies::try_from(recorded)?.percentiles());
    }
    Ok(Percentiles::median_of(&rounds))
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.messages as f64 / outcome.elapsed.as_secs_f64()
}

fn sum(outcomes: &[Outcome], count: impl Fn(&Outcome) -> u64) -> u64 {
    outcomes.iter().map(count).sum()
}

/// `None` when no round was the engine's.
fn engine_sum(outcomes: &[Outcome], count: impl Fn(&EngineFacts) -> u64) -> Option<u64> {
    outcomes
        .iter()
        .map(|outcome| outcome.engine.as_ref().map(&count))
        .sum()
}

fn per_message(outcomes: &[Outcome], count: impl Fn(&Outcome) -> Option<u64>) -> Option<f64> {
    let share = |outcome: &Outcome| Some(count(outcome)? as f64 / outcome.messages as f64);
    median(
        outcomes
            .iter()
            .filter(|outcome| outcome.messages > 0)
            .filter_map(share),
    )
}

fn frames_copied(outcomes: &[Outcome]) -> Option<FramesCopied> {
    Some(FramesCopied {
        straddled: engine_sum(outcomes, |facts| facts.frames_copied.straddled)?,
        pinned: engine_sum(outcomes, |facts| facts.frames_copied.pinned)?,
        other: engine_sum(outcomes, |facts| facts.frames_copied.other)?,
    })
}

/// A warning when a stream was cut less often than it was to be: a cut waits for bytes that pass.
fn missed_cuts(experiment: &Experiment, outcomes: &Outcomes) -> Option<String> {
    let (wanted, made) = (experiment.cuts?, outcomes.cuts?.made);
    (made < wanted).then(|| {
        format!("only {made} of {wanted} cuts were made: nothing passed where the others were")
    })
}

/// A warning when the floor, which does the same every round, did not.
fn unsteady_floor(floor: &[Outcome]) -> Option<String> {
    let rates: Vec<f64> = floor.iter().map(rate).collect();
    let spread = spread(&rates).filter(|spread| *spread > FLOOR_SPREAD_MAX)?;
    let percent = spread * 100.0;
    Some(format!(
        "the floor's own rounds differ by {percent:.0} %: the host is not quiet"
    ))
}

#[cfg(test)]
pub(crate) mod tests;
