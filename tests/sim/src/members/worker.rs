//! Work that one node at a time does, under a lease of its own: what leases are for besides.

use std::time::Duration;

use ringmesh_cluster::lease::{Answer, Ask, Holder, HolderOutput, LeaseName, Token};
use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use crate::random::Random;

const TIME_TO_LIVE: Duration = Duration::from_secs(6);

/// Wants to work, does so while it holds the lease, and lets others now and then.
#[derive(Debug)]
pub(super) struct Worker {
    holder: Holder,
    /// When it wants to work again, or lets others.
    turns: Instant,
}

/// The lease under which work is done.
pub(super) fn work() -> LeaseName {
    LeaseName::new("work").expect("a name")
}

impl Worker {
    pub(super) fn new(node: &NodeId, now: Instant) -> Self {
        Self {
            holder: Holder::new(work(), &node.to_string(), TIME_TO_LIVE),
            turns: now + Duration::from_millis(100),
        }
    }

    /// By which token it works, if it does.
    pub(super) fn token(&self, now: Instant) -> Option<Token> {
        self.holder.held(now).map(|it| it.0)
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.holder
            .poll_timeout()
            .map_or(self.turns, |due| due.min(self.turns))
    }

    pub(super) fn handle_answer(&mut self, now: Instant, number: u64, answer: Answer) -> Vec<Ask> {
        let mut out = Vec::new();
        self.holder.handle_answer(now, number, answer, &mut out);
        asks(out)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, random: &mut Random) -> Vec<Ask> {
        let mut out = Vec::new();
        self.holder.handle_timeout(now, &mut out);
        if self.turns <= now {
            let pause = match self.holder.is_wanting() {
                true => {
                    self.holder.release(now, &mut out);
                    random.span(Duration::from_millis(1), Duration::from_secs(5))
                }
                false => {
                    self.holder.acquire(now, &mut out);
                    random.span(Duration::from_secs(1), Duration::from_secs(20))
                }
            };
            self.turns = now + pause;
        }
        asks(out)
    }
}

fn asks(out: Vec<HolderOutput>) -> Vec<Ask> {
    let asks = out.into_iter().filter_map(|it| match it {
        HolderOutput::Ask(ask) => Some(ask),
        _ => None,
    });
    asks.collect()
}
