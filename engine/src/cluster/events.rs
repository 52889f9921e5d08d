//! What happens in the cluster, for whoever follows it on this node.

use std::fmt;
use std::sync::Arc;

use super::{Numbered, Topology};
use crate::core::Shared;
use crate::subscription::Reader;

/// News of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The cluster as it is: the first of all, and again after [`Lagged`](Self::Lagged). The events
    /// behind it are those that it does not hold.
    Snapshot(Arc<Topology>),
    /// Something happened.
    Event(Numbered),
    /// This subscription was too slow: so many events are lost to it, and a snapshot follows.
    Lagged(u64),
}

/// A subscription to what happens in the cluster: a snapshot, and each event behind it, in order
/// and without a gap. The node keeps the last 1024 events; whoever is slower is told so.
pub struct ClusterEvents {
    shared: Arc<Shared>,
    events: Reader<Numbered>,
    /// Events up to this one are held by the snapshot.
    held: u64,
    missed: u64,
    snapshot: Option<Arc<Topology>>,
}

impl ClusterEvents {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let events = shared.cluster_events.subscribe();
        let mut this = Self {
            shared,
            events,
            held: 0,
            missed: 0,
            snapshot: None,
        };
        this.take_snapshot();
        this
    }

    /// The next news; waits for it. `None` when the node has ended.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.ready() {
                return Some(news);
            }
            let event = self.events.next().await?;
            if self.has_missed() {
                continue;
            }
            if let Some(news) = self.judge(event) {
                return Some(news);
            }
        }
    }

    /// The next news, if there is any now.
    pub fn try_next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.ready() {
                return Some(news);
            }
            let event = self.events.try_next()?;
            if self.has_missed() {
                continue;
            }
            if let Some(news) = self.judge(event) {
                return Some(news);
            }
        }
    }

    /// Whether events in front of the one that was read are lost: then that one is in the snapshot
    /// that comes.
    fn has_missed(&self) -> bool {
        self.events.missed() > self.missed
    }

    fn ready(&mut self) -> Option<News> {
        let missed = self.events.missed();
        if missed > self.missed {
            let lost = missed - self.missed;
            self.missed = missed;
            self.take_snapshot();
            return Some(News::Lagged(lost));
        }
        self.snapshot.take().map(News::Snapshot)
    }

    fn judge(&self, event: Numbered) -> Option<News> {
        (event.number > self.held).then_some(News::Event(event))
    }

    fn take_snapshot(&mut self) {
        let latest = self.shared.topology.latest();
        self.held = latest.events;
        self.snapshot = latest.topology;
    }
}

impl fmt::Debug for ClusterEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterEvents")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}
