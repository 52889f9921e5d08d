//! One of the two nodes of a soak: it serves the other and talks to it, cores to cores, until it is
//! told to end, and then says what came of it.
//!
//! On stdin `talk` begins, `look` asks for a [`Look`], `enough` ends the talk and asks for a
//! [`Verdict`], and the end of stdin ends the node. Answers are lines of JSON on stdout.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::prelude::*;
use ringmesh::{CoreId, Counters, MetricsReader};
use serde::{Deserialize, Serialize};

use super::message::{EchoApi, Finish, Numbered as _, Ping, Record, SinkApi};
use super::receiver::{Echo, Sink};
use super::{ARCHIVE_OVERHEAD_BYTES, WorkloadError, builder, path, say_where};
use crate::pattern;
use crate::plan::Mode;

/// How long a link may be away, and anything on it may take: longer than any fault lasts.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two rounds of a talk: some thousand messages a second, not all that there could be.
const PAUSE: Duration = Duration::from_millis(4);

/// Tells of a round, to one actor.
const BURST: u64 = 12;

/// Archived bytes of messages, one after the other.
const SIZES: [usize; 9] = [16, 48, 200, 64, 1500, 33, 9000, 400, 60_000];

/// How long it may take until the last message is acknowledged.
const QUIET_TIME_MAX: Duration = Duration::from_secs(60);

/// What a node of a soak does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SoakPlan {
    bind: SocketAddr,
    /// What its peers dial.
    front: SocketAddr,
    /// Where it dials the other node.
    peer: SocketAddr,
    cores: u16,
}

/// What was said so far.
#[derive(Debug, Default)]
struct Talked {
    told: AtomicU64,
    answered: AtomicU64,
    is_enough: AtomicBool,
}

/// What a node shows while it talks.
#[derive(Debug, Serialize)]
struct Look {
    told: u64,
    answered: u64,
    resumed: u64,
    dead: u64,
}

/// What a node says at its end: its own sends, and how its peer received them.
#[derive(Debug, Default, Serialize)]
struct Verdict {
    told: u64,
    arrived: u64,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    answered: u64,
    wrong_answers: u64,
    /// Tells and asks that failed, by what they said.
    failed: BTreeMap<String, u64>,
    sent: u64,
    acknowledged: u64,
    in_flight: u64,
    dead_sent: u64,
    received: u64,
    delivered: u64,
    hopped: u64,
    waiting: u64,
    dead_received: u64,
    resumed: u64,
    closes: BTreeMap<&'static str, u64>,
}

/// Plays the node of `plan`.
///
/// # Errors
/// When it cannot start, or the other one is not there.
pub(crate) fn play(plan: SoakPlan) -> Result<(), WorkloadError> {
    let talked = Arc::new(Talked::default());
    let builder = builder(plan.bind, Mode::Park, None).settings(|settings| {
        settings.cores = plan.cores.into();
        settings.advertise = Some((plan.front.ip().to_string(), plan.front.port()));
        settings.resume_timeout = PATIENCE;
        settings.ask_timeout = PATIENCE;
        settings.send_timeout = PATIENCE;
    });
    let reader = builder.metrics_reader();
    builder.run(move |node| async move {
        serve(&node).await?;
        say_where(&node).map_err(WorkloadError::Stdout)?;
        let commands = obey(&talked, &reader);
        commands.talk.await.map_err(|_| WorkloadError::Ended)?;
        let mut verdict = talk_on_all(&node, plan.peer, &talked).await?;
        quiet(&node, &reader).await;
        verdict.close_books(&reader);
        say(&verdict).map_err(WorkloadError::Stdout)?;
        // Nothing is sent: it is dropped with the end of stdin.
        let _ = commands.end.await;
        Ok(())
    })?
}

/// On each core a sink for every core of the other node, and an echo.
async fn serve(node: &Node) -> Result<(), WorkloadError> {
    for core in node.cores() {
        for from in node.cores() {
            node.spawn_named_on(core, &sink(core, from), Sink::new)
                .await?;
        }
        node.spawn_named_on(core, &echo(core), Echo::default)
            .await?;
    }
    Ok(())
}

fn sink(core: CoreId, from: CoreId) -> String {
    format!("sink-{}-from-{}", core.0, from.0)
}

fn echo(core: CoreId) -> String {
    format!("echo-{}", core.0)
}

struct Commands {
    talk: oneshot::Receiver<()>,
    end: oneshot::Receiver<()>,
}

/// Obeys stdin on a thread of its own, which also answers looks.
fn obey(talked: &Arc<Talked>, reader: &MetricsReader) -> Commands {
    let (begin, talk) = oneshot::channel();
    let (over, end) = oneshot::channel::<()>();
    let (talked, reader) = (Arc::clone(talked), reader.clone());
    thread::spawn(move || {
        let _over = over;
        let mut begin = Some(begin);
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match line.as_str() {
                "talk" => {
                    if let Some(begin) = begin.take() {
                        // The node may have failed already.
                        let _ = begin.send(());
                    }
                }
                "enough" => talked.is_enough.store(true, Ordering::Release),
                _ => drop(say(&talked.look(&reader))),
            }
        }
        talked.is_enough.store(true, Ordering::Release);
    });
    Commands { talk, end }
}

fn say(what: &impl Serialize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, what)?;
    writeln!(stdout)?;
    stdout.flush()
}

impl Talked {
    fn look(&self, reader: &MetricsReader) -> Look {
        let Counters {
            resumed,
            dead_sent,
            dead_received,
            ..
        } = Engine::metrics(reader).total;
        Look {
            told: self.told.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            resumed,
            dead: dead_sent + dead_received,
        }
    }
}

/// Every core talks to every core of the node at `peer`, until it is enough.
async fn talk_on_all(
    node: &Node,
    peer: SocketAddr,
    talked: &Arc<Talked>,
) -> Result<Verdict, WorkloadError> {
    let mut talks = Vec::new();
    for core in node.cores() {
        let (said, heard) = oneshot::channel();
        let talked = Arc::clone(talked);
        let task = move |there: Node| async move {
            // The main future waits for it, or has ended.
            drop(said.send(talk_from(&there, peer, &talked).await));
        };
        node.spawn_task_on(core, task).await?;
        talks.push(heard);
    }
    let mut all = Verdict::default();
    for talk in talks {
        all.add(talk.await.map_err(|_| WorkloadError::Ended)??);
    }
    Ok(all)
}

/// What one core says to one core.
struct Talk {
    sink: Ref<SinkApi>,
    echo: Ref<EchoApi>,
    told: u64,
    asked: u64,
}

async fn talk_from(
    there: &Node,
    peer: SocketAddr,
    talked: &Talked,
) -> Result<Verdict, WorkloadError> {
    let mut verdict = Verdict::default();
    let mut talks = Vec::new();
    for core in there.cores() {
        let sink = there
            .resolve(&path(peer, &sink(core, there.core())))
            .await?;
        let echo = there.resolve(&path(peer, &echo(core))).await?;
        talks.push(Talk {
            sink,
            echo,
            told: 0,
            asked: 0,
        });
    }
    while !talked.is_enough.load(Ordering::Acquire) {
        for talk in &mut talks {
            talk.go_on(&mut verdict, talked).await;
        }
        there.sleep(PAUSE).await;
    }
    for talk in &talks {
        // Order is kept, so everything told before is in.
        let counts = talk.sink.ask(Finish).await?;
        verdict.told += talk.told;
        verdict.arrived += counts.arrived.to_native();
        verdict.duplicated += counts.duplicated.to_native();
        verdict.reordered += counts.reordered.to_native();
        verdict.corrupt += counts.corrupt.to_native();
    }
    Ok(verdict)
}

impl Talk {
    async fn go_on(&mut self, verdict: &mut Verdict, talked: &Talked) {
        for _ in 0..BURST {
            let size = SIZES[self.told as usize % SIZES.len()];
            match self.sink.tell(Record::new(self.told, size)).await {
                Ok(()) => {
                    self.told += 1;
                    talked.told.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => verdict.fail(&error.to_string()),
            }
        }
        let size = SIZES[self.asked as usize % SIZES.len()] - ARCHIVE_OVERHEAD_BYTES;
        let ping = Ping {
            number: self.asked,
            body: pattern::first(size).into(),
        };
        match self.echo.ask(ping).await {
            Ok(answer) => {
                let is_right = answer.number.to_native() == self.asked
                    && answer.body.len() == size
                    && pattern::is_whole(&answer.body);
                verdict.wrong_answers += u64::from(!is_right);
                verdict.answered += 1;
                talked.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => verdict.fail(&error.to_string()),
        }
        self.asked += 1;
    }
}

impl Verdict {
    fn fail(&mut self, error: &str) {
        *self.failed.entry(error.to_owned()).or_default() += 1;
    }

    fn add(&mut self, one: Self) {
        self.told += one.told;
        self.arrived += one.arrived;
        self.duplicated += one.duplicated;
        self.reordered += one.reordered;
        self.corrupt += one.corrupt;
        self.answered += one.answered;
        self.wrong_answers += one.wrong_answers;
        for (error, count) in one.failed {
            *self.failed.entry(error).or_default() += count;
        }
    }

    fn close_books(&mut self, reader: &MetricsReader) {
        let metrics = Engine::metrics(reader);
        let total = metrics.total;
        self.sent = total.sent;
        self.acknowledged = total.acknowledged;
        self.in_flight = total.in_flight;
        self.dead_sent = total.dead_sent;
        self.received = total.received;
        self.delivered = total.delivered;
        self.hopped = total.hopped;
        self.waiting = total.waiting;
        self.dead_received = total.dead_received;
        self.resumed = total.resumed;
        for (label, count) in metrics.close_reasons.into_iter().flatten() {
            *self.closes.entry(label).or_default() += count;
        }
    }
}

/// Waits until nothing is in flight. Counters ring no bell.
async fn quiet(node: &Node, reader: &MetricsReader) {
    let begun = Instant::now();
    while Engine::metrics(reader).total.in_flight > 0 && begun.elapsed() < QUIET_TIME_MAX {
        node.sleep(PAUSE).await;
    }
}
