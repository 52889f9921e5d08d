//! What a report of pub-sub has besides.

use serde::Serialize;

use super::{percentiles, sum};
use crate::latency::UnreadableLatencies;
use crate::plan::{Crowd, CrowdFacts, Outcome};

/// Who subscribed, and how messages reached them. Counts are sums over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CrowdReport {
    /// On all nodes together.
    pub(crate) subscribers: u32,
    /// Nodes that they were spread over.
    pub(crate) nodes: u16,
    /// Groups of them; 0: none was in a group.
    pub(crate) groups: u16,
    /// Messages that were published.
    pub(crate) publishes: u64,
    /// Frames that other nodes were sent for each.
    pub(crate) frames_per_publish: f64,
    /// Deliveries that the publishes were to have.
    pub(crate) deliveries_expected: u64,
    /// Deliveries that full queues lost, as their policy says.
    pub(crate) dropped_by_policy: u64,
    /// How far apart the first and the last delivery of a message were.
    pub(crate) skew_p50_ns: Option<u64>,
    /// As `skew_p50_ns`.
    pub(crate) skew_p99_ns: Option<u64>,
}

impl CrowdReport {
    /// Sums up rounds with that crowd.
    ///
    /// # Errors
    /// When a histogram of a round cannot be read.
    pub(super) fn new(crowd: Crowd, outcomes: &[Outcome]) -> Result<Self, UnreadableLatencies> {
        let total = |count: fn(&CrowdFacts) -> u64| {
            sum(outcomes, |outcome| outcome.crowd.as_ref().map_or(0, count))
        };
        let skew = percentiles(outcomes, |outcome| {
            outcome.crowd.as_ref().map(|facts| &facts.skew)
        })?;
        let publishes = total(|facts| facts.publishes);
        Ok(Self {
            subscribers: crowd.subscribers,
            nodes: crowd.nodes,
            groups: crowd.groups,
            publishes,
            frames_per_publish: total(|facts| facts.frames) as f64 / publishes.max(1) as f64,
            deliveries_expected: total(|facts| facts.expected),
            dropped_by_policy: total(|facts| facts.dropped),
            skew_p50_ns: skew.map(|figures| figures.p50_ns),
            skew_p99_ns: skew.map(|figures| figures.p99_ns),
        })
    }
}
