//! Overload: twice as much is offered as the receiver can handle, for as long as is asked.
//!
//! Two nodes of this process, a core each, linked over loopback. The receiver's handler works for a
//! fixed time per message, which makes it the bottleneck. First the sender waits for room, and the
//! rate at which messages are handled is the peak. Then it offers twice that on a schedule and
//! waits for nothing: what finds no room is refused at once. The goodput is what is handled of it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::prelude::*;
use ringmesh::{NodeBuilder, SocketBuffers, memory_budget};
use serde::Serialize;

use crate::host::Host;
use crate::pattern;
use crate::placement::Placement;
use crate::workload::{ARCHIVE_OVERHEAD_BYTES, Sequence, WorkloadError};

/// The peak is measured for this share of the time.
const PEAK_SHARE: u32 = 10;

/// And for this long at least.
const PEAK_TIME_MIN: Duration = Duration::from_secs(1);

/// Offered for each message that the receiver can handle.
const OFFERED: f64 = 2.0;

/// How long the receiver may take to handle what it was sent.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(60);

/// Where the receiver's node listens, and the sender's.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The name of the receiver's actor.
const WORKER: &str = "worker";

/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(1);

/// Work for the receiver.
#[message(id = "loadgen.Job", v = 1)]
struct Job {
    /// 0, 1, 2 ... in the order of sending.
    number: u64,
    /// The first bytes of the pattern.
    body: Bytes,
}

/// Asks what was handled since the last time, behind everything sent before.
#[message(id = "loadgen.Tally", v = 1, reply = Handled)]
struct Tally;

/// Ends the receiver's node.
#[message(id = "loadgen.Quit", v = 1)]
struct Quit;

/// What was handled.
#[message(id = "loadgen.Handled", v = 1)]
struct Handled {
    arrived: u64,
    duplicated: u64,
    reordered: u64,
}

protocol! {
    /// Works.
    WorkerApi = "loadgen.worker" { Job, Tally, Quit }
}

/// Handles each job for a fixed time.
#[derive(Debug)]
struct Worker {
    work: Duration,
    sequence: Sequence,
}

impl Actor for Worker {
    type Api = WorkerApi;
}

impl Handler<Job> for Worker {
    fn handle(&mut self, job: Msg<Job>, _: &mut Cx<'_, Self>) {
        let until = Instant::now() + self.work;
        self.sequence.arrive(job.number.to_native());
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

impl Handler<Tally> for Worker {
    fn handle(&mut self, _: Msg<Tally>, _: &mut Cx<'_, Self>) -> Handled {
        let sequence = std::mem::take(&mut self.sequence);
        Handled {
            arrived: sequence.arrived(),
            duplicated: sequence.duplicated(),
            reordered: sequence.reordered(),
        }
    }
}

impl Handler<Quit> for Worker {
    fn handle(&mut self, _: Msg<Quit>, cx: &mut Cx<'_, Self>) {
        cx.node().shutdown();
    }
}

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    /// Bytes of one message.
    pub(crate) payload_bytes: usize,
    /// What the receiver's handler works per message.
    pub(crate) work: Duration,
    /// How long twice the peak is offered.
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema_version: u32,
    workload: &'static str,
    payload_bytes: usize,
    /// What the handler works per message.
    work_us: u64,
    /// How long twice the peak was offered.
    seconds: f64,
    /// Messages handled of those.
    messages: u64,
    /// The goodput.
    messages_per_second: f64,
    /// Handled while the sender waited for room.
    peak_messages_per_second: f64,
    offered_per_second: f64,
    goodput_to_peak: f64,
    /// Messages that found no room, and were given back to the sender.
    refused: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    /// The most memory that the process had resident at any time.
    rss_max_bytes: u64,
    /// What the settings of both nodes allow, without the kernel's socket buffers.
    budget_bytes: u64,
    host: Host,
}

impl Report {
    /// Everything that was taken was handled, once and in order.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered == 0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "offered {:.0}/s for {:.0} s, peak {:.0}/s",
            self.offered_per_second, self.seconds, self.peak_messages_per_second
        )?;
        writeln!(
            f,
            "handled {:.0}/s, {:.2} of the peak; refused {}; lost {}",
            self.messages_per_second, self.goodput_to_peak, self.refused, self.lost
        )?;
        write!(
            f,
            "memory {:.1} MiB at most, of a budget of {:.1} MiB",
            mib(self.rss_max_bytes),
            mib(self.budget_bytes)
        )
    }
}

/// One interval, as both sides saw it.
#[derive(Debug, Default)]
struct Interval {
    elapsed: Duration,
    sent: u64,
    refused: u64,
    arrived: u64,
    duplicated: u64,
    reordered: u64,
}

impl Interval {
    fn rate(&self) -> f64 {
        self.arrived as f64 / self.elapsed.as_secs_f64()
    }
}

/// Offers twice the peak, and says what became of it.
///
/// # Errors
/// When a node cannot start, or the receiver does not answer.
pub(crate) fn run(overload: Overload, host: Host) -> Result<Report, WorkloadError> {
    let placement = Placement::of_this_process()?;
    let (listens, listening) = mpsc::channel();
    let work = overload.work;
    let receiver = thread::spawn(move || {
        builder(placement.receiver).run(move |node| async move {
            let sequence = Sequence::default();
            node.spawn_named(WORKER, Worker { work, sequence })?;
            // Nobody takes it when the sender is gone, and this process is about to end then.
            drop(listens.send(node.address().to_string()));
            node.until_shutdown().await;
            Ok::<(), WorkloadError>(())
        })
    });
    let Ok(address) = listening.recv() else {
        let ended = receiver.join().map_err(|_| WorkloadError::NoReceiver)?;
        return Err(ended.map_or_else(WorkloadError::from, |_| WorkloadError::NoReceiver));
    };
    let path = format!("{address}/user/{WORKER}");
    let sent = builder(placement.sender)
        .run(move |node| async move { offer_all(&node, &path, overload).await })?;
    let (peak, over) = sent?;
    let received = receiver.join().map_err(|_| WorkloadError::NoReceiver)?;
    received??;
    report(overload, &peak, &over, host)
}

/// A node with settings of the size that one link needs, so that its budget says something.
fn builder(cpu: usize) -> NodeBuilder {
    Engine::node("loadgen")
        .bind(LOOPBACK)
        .pin_to(cpu)
        .settings(|settings| {
            settings.actors_max = 16;
            settings.peers_max = 4;
            settings.outgoing_bytes_max = 8 << 20;
        })
}

/// Both intervals: the peak, and the overload.
async fn offer_all(
    node: &Node,
    path: &str,
    overload: Overload,
) -> Result<(Interval, Interval), WorkloadError> {
    let worker: Ref<WorkerApi> = node.resolve(path).await?;
    let body = pattern::first(overload.payload_bytes - ARCHIVE_OVERHEAD_BYTES);
    let time = (overload.time / PEAK_SHARE).max(PEAK_TIME_MIN);
    let begun = Instant::now();
    let sent = wait_for_room(worker, body, time).await?;
    let peak = take_stock(worker, begun, (sent, 0)).await?;
    let begun = Instant::now();
    let rate = OFFERED * peak.rate();
    let counts = offer(node, worker, body, rate, overload.time).await?;
    let over = take_stock(worker, begun, counts).await?;
    worker.tell(Quit).await?;
    Ok((peak, over))
}

/// Sends as fast as there is room, and says how many.
async fn wait_for_room(
    worker: Ref<WorkerApi>,
    body: &'static [u8],
    time: Duration,
) -> Result<u64, WorkloadError> {
    let until = Instant::now() + time;
    let mut number = 0;
    while Instant::now() < until {
        worker.tell(job(number, body)).await?;
        number += 1;
    }
    Ok(number)
}

/// Offers `rate` messages a second, whatever becomes of them; says how many were taken and refused.
async fn offer(
    node: &Node,
    worker: Ref<WorkerApi>,
    body: &'static [u8],
    rate: f64,
    time: Duration,
) -> Result<(u64, u64), WorkloadError> {
    let begun = Instant::now();
    let (mut taken, mut refused) = (0, 0);
    while begun.elapsed() < time {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        while taken + refused < due {
            match worker.try_tell(job(taken, body)) {
                Ok(()) => taken += 1,
                Err(SendError::Full(_)) => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        node.sleep(TICK).await;
    }
    Ok((taken, refused))
}

/// What the worker handled since the last time. It has handled everything sent then.
async fn take_stock(
    worker: Ref<WorkerApi>,
    begun: Instant,
    (sent, refused): (u64, u64),
) -> Result<Interval, WorkloadError> {
    let handled = worker.ask(Tally).timeout(DRAIN_TIME_MAX).await?;
    Ok(Interval {
        elapsed: begun.elapsed(),
        sent,
        refused,
        arrived: handled.arrived.to_native(),
        duplicated: handled.duplicated.to_native(),
        reordered: handled.reordered.to_native(),
    })
}

fn job(number: u64, body: &'static [u8]) -> Job {
    let body = Bytes::from_static(body);
    Job { number, body }
}

fn report(
    overload: Overload,
    peak: &Interval,
    over: &Interval,
    host: Host,
) -> Result<Report, WorkloadError> {
    let settings = builder(0).configuration()?;
    let budget = memory_budget(&settings, SocketBuffers::of_host());
    Ok(Report {
        schema_version: crate::report::SCHEMA_VERSION,
        workload: "overload",
        payload_bytes: overload.payload_bytes,
        work_us: overload.work.as_micros() as u64,
        seconds: over.elapsed.as_secs_f64(),
        messages: over.arrived,
        messages_per_second: over.rate(),
        peak_messages_per_second: peak.rate(),
        offered_per_second: (over.sent + over.refused) as f64 / over.elapsed.as_secs_f64(),
        goodput_to_peak: over.rate() / peak.rate(),
        refused: over.refused,
        lost: (peak.sent + over.sent).saturating_sub(peak.arrived + over.arrived),
        duplicated: peak.duplicated + over.duplicated,
        reordered: peak.reordered + over.reordered,
        rss_max_bytes: rss_max_bytes()?,
        budget_bytes: 2 * budget.user_bytes,
        host,
    })
}

/// The most that this process ever had resident.
fn rss_max_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
