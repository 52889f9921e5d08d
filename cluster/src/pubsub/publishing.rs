//! Publishes of one core that are to say whom they have reached.
//!
//! Each node that a publish went to answers once for the core that took it, once for each other
//! core that this one gave it to, and once for each time that one of these sent it on to another
//! because a group had emptied there. The publish is over when all have answered, or are lost, or
//! its deadline has come. What a node was sent on by another one it answers besides: that adds to
//! what it has, and is not waited for.

use std::collections::BTreeMap;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::choice::Policy;
use super::frame::{Came, Reached};
use super::limits::PUBLISHES_MAX;

/// What came of a publish that was to be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Nodes on which at least one subscriber has it, in their queues.
    pub nodes: u32,
    /// How many subscribers have it.
    pub subscribers: u64,
    /// Nodes that did not answer in time, in order.
    pub missing: Vec<Uid>,
    /// Nodes that could not be reached any more, in order.
    pub lost: Vec<Uid>,
}

impl Outcome {
    /// Whether all that were to answer have.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.lost.is_empty()
    }

    /// Whether nobody is known to have it: a dead letter, unless some that did not answer have it.
    pub fn is_dead_letter(&self) -> bool {
        self.subscribers == 0
    }
}

/// Too many publishes wait for answers. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PUBLISHES_MAX} publishes of this core wait for answers")]
pub struct TooMany;

/// What is still to come from a node.
#[derive(Debug, Default)]
struct Awaited {
    /// How many of its cores are to answer; not known before the one that took it has.
    cores: Option<u32>,
    answered: u32,
    /// How often those sent it on to other cores of the node.
    sent_on: u32,
    answered_on: u32,
    subscribers: u64,
}

impl Awaited {
    fn is_over(&self) -> bool {
        let are_all = self.cores.is_some_and(|cores| self.answered >= cores);
        are_all && self.answered_on >= self.sent_on
    }

    fn add(&mut self, reached: &Reached) {
        self.subscribers += u64::from(reached.subscribers);
        match reached.came {
            Came::Besides => return,
            Came::SentOn => self.answered_on = self.answered_on.saturating_add(1),
            Came::Shared => self.answered = self.answered.saturating_add(1),
            Came::Sent { cores } => {
                self.answered = self.answered.saturating_add(1);
                self.cores.get_or_insert_with(|| 1 + u32::from(cores));
            }
        }
        self.sent_on = self.sent_on.saturating_add(reached.sent_on.into());
    }
}

#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    /// It goes to all places where there are members, and nobody sends it on.
    is_broadcast: bool,
    awaited: BTreeMap<Uid, Awaited>,
    outcome: Outcome,
}

impl Waiting {
    fn close(&mut self, node: Uid) {
        if let Some(awaited) = self.awaited.remove(&node) {
            self.outcome.nodes += u32::from(awaited.subscribers > 0);
            self.outcome.subscribers += awaited.subscribers;
        }
    }

    fn lose(&mut self, node: Uid) {
        if self.awaited.contains_key(&node) {
            self.close(node);
            self.outcome.lost.push(node);
        }
    }

    /// Ends it as it is.
    fn end(mut self) -> Outcome {
        let missing: Vec<Uid> = self.awaited.keys().copied().collect();
        for node in &missing {
            self.close(*node);
        }
        self.outcome.missing = missing;
        self.outcome.lost.sort_unstable();
        self.outcome
    }
}

/// Publishes of one core that are to say whom they have reached.
#[derive(Debug, Default)]
pub struct Publishing {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
    /// Answers to nothing that waits for them.
    unwanted: u64,
}

impl Publishing {
    /// A number for a publish, if that can wait for answers: what
    /// [`Publish::answer`](super::Publish::answer) is to be. No other has it, also if it never
    /// [begins](Self::begin).
    ///
    /// # Errors
    /// [`TooMany`] if too many do.
    pub fn reserve(&mut self) -> Result<u64, TooMany> {
        if self.waiting.len() >= PUBLISHES_MAX {
            return Err(TooMany);
        }
        self.last += 1;
        Ok(self.last)
    }

    /// The publish with that number, of that policy, goes to those nodes. This core is to answer as
    /// well, for its own node.
    pub fn begin(
        &mut self,
        (publish, policy): (u64, Policy),
        deadline: Instant,
        own: Uid,
        nodes: impl IntoIterator<Item = Uid>,
    ) {
        let all = nodes.into_iter().chain([own]);
        let waiting = Waiting {
            deadline,
            is_broadcast: policy == Policy::Broadcast,
            awaited: all.map(|node| (node, Awaited::default())).collect(),
            outcome: Outcome::default(),
        };
        self.waiting.insert(publish, waiting);
    }

    /// A core of a node answers. Says whether that was the last answer to its publish.
    pub fn handle_reached(&mut self, node: Uid, reached: &Reached) -> bool {
        let waiting = self.waiting.get_mut(&reached.publish);
        let Some(waiting) = waiting.filter(|it| it.awaited.contains_key(&node)) else {
            self.unwanted += 1;
            return false;
        };
        let Some(awaited) = waiting.awaited.get_mut(&node) else {
            return false;
        };
        let mut reached = *reached;
        if waiting.is_broadcast {
            // What nobody sends on looks to the cores of a node as what was sent on before.
            if reached.came == Came::SentOn {
                reached.came = Came::Shared;
            }
            reached.sent_on = 0;
        }
        awaited.add(&reached);
        if awaited.is_over() {
            waiting.close(node);
        }
        waiting.awaited.is_empty()
    }

    /// A node cannot be reached any more: nothing that it did not answer yet will be.
    pub fn handle_lost(&mut self, node: Uid) {
        for waiting in self.waiting.values_mut() {
            waiting.lose(node);
        }
    }

    /// The same of all nodes that are not there any more; `over` is told of each publish that is
    /// over with that.
    pub fn retain_nodes(&mut self, is_there: impl Fn(Uid) -> bool, mut over: impl FnMut(u64)) {
        for (number, waiting) in &mut self.waiting {
            let awaited = waiting.awaited.keys();
            let lost: Vec<Uid> = awaited.copied().filter(|it| !is_there(*it)).collect();
            lost.iter().for_each(|node| waiting.lose(*node));
            if !lost.is_empty() && waiting.awaited.is_empty() {
                over(*number);
            }
        }
    }

    /// One publish did not leave for a node.
    pub fn handle_unsent(&mut self, publish: u64, node: Uid) {
        if let Some(waiting) = self.waiting.get_mut(&publish) {
            waiting.lose(node);
        }
    }

    /// Whether all that were to answer a publish have, or are lost.
    pub fn is_over(&self, publish: u64) -> bool {
        let waiting = self.waiting.get(&publish);
        waiting.is_none_or(|it| it.awaited.is_empty())
    }

    /// Takes a publish as it is: nobody waits for the other answers to it any more.
    pub fn end(&mut self, publish: u64) -> Option<Outcome> {
        self.waiting.remove(&publish).map(Waiting::end)
    }

    /// How many publishes wait for answers.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a publish that is over, with its number.
    pub fn poll_outcome(&mut self, now: Instant) -> Option<(u64, Outcome)> {
        let is_over = |it: &Waiting| it.awaited.is_empty() || it.deadline <= now;
        let over = self.waiting.iter().find(|it| is_over(it.1));
        let number = *over?.0;
        let waiting = self.waiting.remove(&number)?;
        Some((number, waiting.end()))
    }

    /// When [`poll_outcome`](Self::poll_outcome) has something, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|it| it.deadline).min()
    }

    /// Answers to nothing that waits for them.
    pub fn unwanted(&self) -> u64 {
        self.unwanted
    }
}

#[cfg(test)]
mod tests;
