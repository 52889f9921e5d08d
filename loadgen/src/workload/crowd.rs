//! The subscribers of a node: a task for each, spread over the cores, and an actor that says what
//! they saw.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh::prelude::*;
use ringmesh::pubsub::{GroupName, OnFull, RecvError, Subscription, Topic};
use ringmesh::registry::ServiceKey;

use super::message::{ArchivedRecord, CrierApi, Look, Muster, Recall, Recalled, Record, Tally};
use super::moments::Moments;
use super::sequence::Sequence;
use super::{DRAIN_TIME_MAX, WorkloadError};
use crate::cost::Meter;
use crate::pattern;
use crate::plan::{Crowd, Policy};

/// What is published to.
pub(super) const RECORDS: Topic<Record> = Topic::new("loadgen.records");

/// The actors that say what subscribers saw, one on each node.
pub(super) const CRIERS: ServiceKey<CrierApi> = ServiceKey::new("loadgen.criers");

/// How long a slow subscriber stands still between reads.
const STAND: Duration = Duration::from_millis(1);

/// What the subscribers of a node have seen, written by their cores.
#[derive(Debug)]
struct Seen {
    readers: Vec<Reader>,
    moments: Moments,
    /// Nobody stands still any more: the interval is over.
    is_over: AtomicBool,
}

/// What one subscriber has seen. It has a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Reader {
    delivered: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
    corrupt: AtomicU64,
}

/// Begins the subscriptions that are node number `number`'s, and announces who knows of them.
pub(super) async fn gather(node: &Node, number: u16, crowd: Crowd) -> Result<(), WorkloadError> {
    let own: Vec<u32> = (0..crowd.subscribers)
        .filter(|it| it % u32::from(crowd.nodes) == u32::from(number))
        .collect();
    let seen = Arc::new(Seen {
        readers: own.iter().map(|_| Reader::default()).collect(),
        moments: Moments::new(),
        is_over: AtomicBool::new(false),
    });
    let cores: Vec<_> = node.cores().collect();
    for (place, subscriber) in own.into_iter().enumerate() {
        let (say, begun) = oneshot::channel();
        let seen = Arc::clone(&seen);
        let core = cores[place % cores.len()];
        let read = move |node: Node| async move {
            let subscription = match subscribe(&node, subscriber, crowd) {
                Ok(subscription) => subscription,
                // Nobody waits any more when another subscription failed.
                Err(error) => return drop(say.send(Err(error))),
            };
            let _ = say.send(Ok(()));
            if subscriber >= crowd.subscribers - crowd.slow {
                stroll(&node, subscription, &seen, &seen.readers[place]).await;
            } else {
                run(subscription, &seen, &seen.readers[place]).await;
            }
        };
        node.spawn_task_on(core, read).await?;
        begun.await.map_err(|_| WorkloadError::Ended)??;
    }
    let meter = Meter::start();
    let crier = node.spawn(Crier { seen, meter })?;
    node.register(&CRIERS, &crier).await?;
    Ok(())
}

fn subscribe(
    node: &Node,
    subscriber: u32,
    crowd: Crowd,
) -> Result<Subscription<Record>, WorkloadError> {
    let mut subscribe = node.subscribe(&RECORDS)?;
    if crowd.groups > 0 {
        // Neighbours in number are on different nodes: so a group is on as many as it can be.
        let group = subscriber / u32::from(crowd.nodes) % u32::from(crowd.groups);
        subscribe = subscribe.group(GroupName::new(&format!("group-{group}"))?);
    }
    let on_full = match crowd.policy {
        Policy::DropOldest => OnFull::DropOldest,
        Policy::DropNewest => OnFull::DropNewest,
        Policy::Wait => OnFull::Wait(DRAIN_TIME_MAX),
    };
    Ok(subscribe.on_full(on_full).begin()?)
}

/// Reads as fast as it can.
async fn run(mut subscription: Subscription<Record>, seen: &Seen, reader: &Reader) {
    let mut sequence = Sequence::default();
    loop {
        match subscription.recv().await {
            Ok(received) => {
                let record: &ArchivedRecord = &received;
                let number = record.number.to_native();
                seen.moments.take(number);
                reader.take(&mut sequence, number, &record.body);
            }
            // The core has counted them.
            Err(RecvError::Lagged(_)) => {}
            // What it gets no more is counted as long as it is there.
            Err(_) => pending().await,
        }
    }
}

/// Stands still behind each message while the interval lasts.
async fn stroll(node: &Node, mut subscription: Subscription<Record>, seen: &Seen, reader: &Reader) {
    let mut sequence = Sequence::default();
    loop {
        match subscription.recv().await {
            Ok(record) => reader.take(&mut sequence, record.number.to_native(), &record.body),
            Err(RecvError::Lagged(_)) => continue,
            Err(_) => pending().await,
        }
        if !seen.is_over.load(Ordering::Relaxed) {
            node.sleep(STAND).await;
        }
    }
}

impl Reader {
    #[inline]
    fn take(&self, sequence: &mut Sequence, number: u64, body: &[u8]) {
        let is_next = sequence.arrive(number);
        self.delivered.store(sequence.arrived(), Ordering::Relaxed);
        if !is_next {
            self.duplicated
                .store(sequence.duplicated(), Ordering::Relaxed);
            self.reordered
                .store(sequence.reordered(), Ordering::Relaxed);
        }
        if !pattern::begins(body) {
            self.corrupt.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Says what the subscribers of its node have seen.
#[derive(Debug)]
struct Crier {
    seen: Arc<Seen>,
    meter: Meter,
}

impl Crier {
    fn tally(&self, cx: &Cx<'_, Self>) -> Tally {
        let sum = |count: fn(&Reader) -> &AtomicU64| {
            let counts = self.seen.readers.iter().map(count);
            counts.map(|it| it.load(Ordering::Relaxed)).sum()
        };
        let (cost, counted) = (self.meter.cost(), cx.node().metrics().total);
        Tally {
            delivered: sum(|it| &it.delivered),
            duplicated: sum(|it| &it.duplicated),
            reordered: sum(|it| &it.reordered),
            corrupt: sum(|it| &it.corrupt),
            dropped: counted.subscribers_dropped,
            frames: counted.published_frames,
            cpu_ns: cost.cpu_ns,
            allocations: cost.allocations,
            enters: counted.enters,
            straddled: counted.frames_copied_straddled,
            pinned: counted.frames_copied_pinned,
            other: counted.frames_copied_other,
        }
    }
}

impl Actor for Crier {
    type Api = CrierApi;
}

impl Handler<Muster> for Crier {
    fn handle(&mut self, muster: Msg<Muster>, cx: &mut Cx<'_, Self>) -> Tally {
        self.seen.moments.begin(muster.first.to_native());
        self.seen.is_over.store(false, Ordering::Relaxed);
        self.tally(cx)
    }
}

impl Handler<Look> for Crier {
    fn handle(&mut self, _: Msg<Look>, cx: &mut Cx<'_, Self>) -> Tally {
        self.seen.is_over.store(true, Ordering::Relaxed);
        self.tally(cx)
    }
}

impl Handler<Recall> for Crier {
    fn handle(&mut self, _: Msg<Recall>, _: &mut Cx<'_, Self>) -> Recalled {
        Recalled {
            moments: self.seen.moments.to_bytes().into(),
        }
    }
}
