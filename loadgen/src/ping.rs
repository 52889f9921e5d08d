//! Round trips of the control lane, idle and beside a stream of large messages, by turns.

use std::io;

use serde::Serialize;

use crate::host::{Host, StealWatch};
use crate::latency::{Latencies, Percentiles, UnreadableLatencies};
use crate::median::median;
use crate::peer::PeerError;
use crate::placement::Placement;
use crate::plan::{Outcome, Round};
use crate::report::SCHEMA_VERSION;
use crate::rounds;
use crate::screen;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PingFailure {
    /// A measuring process failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A process answered with a histogram that cannot be read.
    #[error(transparent)]
    Latencies(#[from] UnreadableLatencies),
    /// The kernel does not say which CPUs are allowed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What came of it; each figure is a median over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    schema_version: u32,
    workload: &'static str,
    mode: &'static str,
    rounds: usize,
    /// Round trips that were measured in all rounds, idle and beside the stream.
    pings: [u64; 2],
    idle_p50_us: f64,
    idle_p99_us: f64,
    bulk_p50_us: f64,
    bulk_p99_us: f64,
    /// The p99 beside the stream in idle ones.
    ratio_p99: f64,
    bulk_bytes: usize,
    bulk_messages: u64,
    bulk_bytes_per_second: f64,
    lost: u64,
    corrupt: u64,
    duplicated: u64,
    host: Host,
}

impl Report {
    /// Everything that was sent arrived, once and as it was.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.corrupt + self.duplicated == 0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rounds, mode, .. } = self;
        writeln!(f, "ping, {mode}, medians of {rounds} rounds each by turns")?;
        let line = |p50: f64, p99: f64| {
            let [p50, p99] = [p50, p99].map(|us| screen::time(us * 1e3));
            format!("p50 {p50}, p99 {p99}")
        };
        let idle = line(self.idle_p50_us, self.idle_p99_us);
        writeln!(f, "idle: {idle}; {} round trips", self.pings[0])?;
        let bulk = line(self.bulk_p50_us, self.bulk_p99_us);
        writeln!(f, "bulk: {bulk}; {} round trips", self.pings[1])?;
        writeln!(f, "p99 beside the stream is {:.2} x idle", self.ratio_p99)?;
        write!(
            f,
            "large lane: {} messages of {}, {}/s; lost {}",
            self.bulk_messages,
            screen::bytes(self.bulk_bytes as u64),
            screen::bytes(self.bulk_bytes_per_second as u64),
            self.lost,
        )
    }
}

/// Plays `rounds` of each kind of `round`, whose payload is that of the stream.
///
/// # Errors
/// When a process fails.
pub(crate) fn run(round: Round, rounds: u32, mut host: Host) -> Result<Report, PingFailure> {
    let placement = Placement::of_this_process()?;
    let steal = StealWatch::start();
    let (mut idle, mut bulk) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let alone = Round {
            payload_bytes: 0,
            ..round
        };
        idle.push(rounds::play(alone, None, placement)?);
        bulk.push(rounds::play(round, None, placement)?);
    }
    host.warnings.extend(steal.warning());
    Ok(report(round, (&idle, &bulk), host)?)
}

fn report(
    round: Round,
    (idle, bulk): (&[Outcome], &[Outcome]),
    host: Host,
) -> Result<Report, UnreadableLatencies> {
    let (idle_times, idle_pings) = times(idle)?;
    let (bulk_times, bulk_pings) = times(bulk)?;
    let rate = |outcome: &Outcome| {
        (outcome.messages * round.payload_bytes as u64) as f64 / outcome.elapsed.as_secs_f64()
    };
    let us = |ns: u64| ns as f64 / 1e3;
    let all = || idle.iter().chain(bulk);
    let engine = |outcome: &Outcome| outcome.engine.map_or(0, |facts| facts.duplicated);
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        workload: "ping",
        mode: round.mode.name(),
        rounds: bulk.len(),
        pings: [idle_pings, bulk_pings],
        idle_p50_us: us(idle_times.p50_ns),
        idle_p99_us: us(idle_times.p99_ns),
        bulk_p50_us: us(bulk_times.p50_ns),
        bulk_p99_us: us(bulk_times.p99_ns),
        ratio_p99: bulk_times.p99_ns as f64 / idle_times.p99_ns.max(1) as f64,
        bulk_bytes: round.payload_bytes,
        bulk_messages: bulk.iter().map(|outcome| outcome.messages).sum(),
        bulk_bytes_per_second: median(bulk.iter().map(rate)).unwrap_or_default(),
        lost: all().map(|outcome| outcome.lost).sum(),
        corrupt: all().map(|outcome| outcome.corrupt).sum(),
        duplicated: all().map(engine).sum(),
        host,
    })
}

/// The median figures of some rounds, and how many round trips they are of.
fn times(outcomes: &[Outcome]) -> Result<(Percentiles, u64), UnreadableLatencies> {
    let recorded = outcomes
        .iter()
        .filter_map(|outcome| outcome.latency.as_ref());
    let rounds = recorded
        .map(Latencies::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let figures: Vec<Percentiles> = rounds.iter().filter_map(Latencies::percentiles).collect();
    let pings = rounds.iter().map(Latencies::count).sum();
    let median = Percentiles::median_of(&figures).ok_or(UnreadableLatencies)?;
    Ok((median, pings))
}
