//! The publisher of `pubsub`: one topic, and criers on all nodes that say what became of it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringmesh::prelude::*;
use ringmesh::pubsub::{PublishError, Publisher};

use super::crowd::{self, CRIERS, RECORDS};
use super::message::{ArchivedTally, CrierApi, Look, Muster, Numbered as _, Recall, Record};
use super::moments::Skews;
use super::{DRAIN_TIME_MAX, WorkloadError};
use crate::cost::Cost;
use crate::plan::{Crowd, CrowdFacts, EngineFacts, FramesCopied, Outcome, Round};

/// Messages between two looks at the clock. Then those who read on the publisher's core have their
/// turn too: their queues hold some of these, and what is read soon is in the cache.
const MESSAGES_PER_LOOK: u64 = 64;

/// How long a publish waits for room before the clock is looked at again: then it went to nobody.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long the subscribers of other nodes have to begin.
const GATHERING: Duration = Duration::from_secs(60);

/// Gathers the subscribers of this node, finds the others, publishes as `round` says, and asks what
/// arrived.
pub(super) async fn run(
    node: &Node,
    round: &Round,
    crowd: Crowd,
) -> Result<Outcome, WorkloadError> {
    crowd::gather(node, 0, crowd).await?;
    let criers = Criers::find(node, crowd.nodes).await;
    let publisher = node.publisher(&RECORDS)?.timeout(PATIENCE);
    publisher
        .wait_for_subscribers(crowd.subscribers.into(), GATHERING)
        .await?;
    let mut source = Source {
        publisher,
        payload_bytes: round.payload_bytes,
        next: 0,
    };
    source.publish_for(round.warm_up).await?;
    let warm = source.next;
    criers.drain(warm * crowd.deliveries()).await?;
    let before = criers.muster(warm).await?;
    let begun = Instant::now();
    source.publish_for(round.measured).await?;
    let publishes = source.next - warm;
    let expected = publishes * crowd.deliveries();
    let now = criers.drain(before.settled() + expected).await?;
    let elapsed = begun.elapsed();
    let skew = criers.recall().await?.latencies().to_recorded();
    let sum = now.since(&before);
    Ok(Outcome {
        elapsed,
        messages: sum.delivered,
        lost: expected.saturating_sub(sum.settled()),
        corrupt: sum.corrupt,
        cost: sum.cost,
        latency: None,
        latency_from_schedule: None,
        engine: Some(EngineFacts {
            // Two members of a group that have the same message do not know of each other.
            duplicated: sum.duplicated + sum.settled().saturating_sub(expected),
            reordered: sum.reordered,
            frames_copied: sum.frames_copied,
            enters: sum.enters,
        }),
        crowd: Some(CrowdFacts {
            publishes,
            frames: sum.frames,
            expected,
            dropped: sum.dropped,
            skew,
        }),
    })
}

/// What is published: the numbers 0, 1, 2 ... from here on.
struct Source {
    publisher: Publisher<Record>,
    payload_bytes: usize,
    next: u64,
}

impl Source {
    async fn publish_for(&mut self, duration: Duration) -> Result<(), WorkloadError> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            for _ in 0..MESSAGES_PER_LOOK {
                let record = Record::new(self.next, self.payload_bytes);
                match self.publisher.publish(record).await {
                    Ok(_) => self.next += 1,
                    Err(PublishError::Full { .. }) => break,
                    Err(error) => return Err(WorkloadError::Send(error.to_string())),
                }
            }
            give_way().await;
        }
        Ok(())
    }
}

/// Lets the other tasks of the core run.
async fn give_way() {
    let mut has_given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Who says what the subscribers have seen, on each node.
struct Criers(Vec<Ref<CrierApi>>);

impl Criers {
    /// Waits until those of all nodes are known.
    async fn find(node: &Node, nodes: u16) -> Self {
        let mut listings = node.listings(&CRIERS);
        loop {
            let listing = listings.next().await;
            if listing.services().len() >= usize::from(nodes) {
                return Self(listing.services().to_vec());
            }
        }
    }

    /// Begins an interval, of which a message with that number is the first.
    async fn muster(&self, first: u64) -> Result<Sum, AskError> {
        let mut sum = Sum::default();
        for crier in &self.0 {
            let tally = crier.ask(Muster { first }).timeout(DRAIN_TIME_MAX).await?;
            sum.add(&tally);
        }
        Ok(sum)
    }

    /// Waits until so many messages were delivered or dropped, for as long as a drain may take.
    async fn drain(&self, settled: u64) -> Result<Sum, AskError> {
        let until = Instant::now() + DRAIN_TIME_MAX;
        loop {
            let mut sum = Sum::default();
            for crier in &self.0 {
                sum.add(&*crier.ask(Look).timeout(DRAIN_TIME_MAX).await?);
            }
            if sum.settled() >= settled || Instant::now() >= until {
                return Ok(sum);
            }
        }
    }

    async fn recall(&self) -> Result<Skews, AskError> {
        let mut skews = Skews::default();
        for crier in &self.0 {
            let recalled = crier.ask(Recall).timeout(DRAIN_TIME_MAX).await?;
            skews.add(&recalled.moments);
        }
        Ok(skews)
    }
}

/// What all nodes have seen, since they began.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    delivered: u64,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    dropped: u64,
    frames: u64,
    cost: Cost,
    enters: u64,
    frames_copied: FramesCopied,
}

impl Sum {
    /// Deliveries that were made, and those that a queue lost.
    fn settled(&self) -> u64 {
        self.delivered + self.dropped
    }

    fn add(&mut self, tally: &ArchivedTally) {
        self.delivered += tally.delivered.to_native();
        self.duplicated += tally.duplicated.to_native();
        self.reordered += tally.reordered.to_native();
        self.corrupt += tally.corrupt.to_native();
        self.dropped += tally.dropped.to_native();
        self.frames += tally.frames.to_native();
        self.enters += tally.enters.to_native();
        self.cost = self.cost
            + Cost {
                cpu_ns: tally.cpu_ns.to_native(),
                allocations: tally.allocations.to_native(),
            };
        self.frames_copied = self.frames_copied
            + FramesCopied {
                straddled: tally.straddled.to_native(),
                pinned: tally.pinned.to_native(),
                other: tally.other.to_native(),
            };
    }

    fn since(&self, then: &Self) -> Self {
        let (now, was) = (&self.frames_copied, &then.frames_copied);
        Self {
            delivered: self.delivered - then.delivered,
            duplicated: self.duplicated - then.duplicated,
            reordered: self.reordered - then.reordered,
            corrupt: self.corrupt - then.corrupt,
            dropped: self.dropped - then.dropped,
            frames: self.frames - then.frames,
            enters: self.enters - then.enters,
            cost: Cost {
                cpu_ns: self.cost.cpu_ns - then.cost.cpu_ns,
                allocations: self.cost.allocations - then.cost.allocations,
            },
            frames_copied: FramesCopied {
                straddled: now.straddled - was.straddled,
                pinned: now.pinned - was.pinned,
                other: now.other - was.other,
            },
        }
    }
}
