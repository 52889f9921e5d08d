//! Who has confirmed what this node registered.

use std::collections::BTreeMap;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::entry::EntryId;
use super::limits::{ACKNOWLEDGEMENTS_MAX, ASK_AGAIN_MIN};

/// Which nodes have an entry, for whoever asked to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The number that was given with the question.
    pub number: u64,
    /// Which entry it is about.
    pub entry: EntryId,
    /// Nodes on which every core knows it.
    pub confirmed: Vec<NodeId>,
    /// Nodes that were reachable when it began and then were not, or were removed.
    pub dropped: Vec<NodeId>,
    /// Nodes that did not say by the deadline, or before the entry was withdrawn.
    pub missing: Vec<NodeId>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    entry: EntryId,
    /// With which version it is told; not known before that is.
    counter: Option<u64>,
    deadline: Instant,
    nodes: BTreeMap<Uid, NodeId>,
    confirmed: Vec<NodeId>,
    dropped: Vec<NodeId>,
}

impl Waiting {
    fn end(self) -> Acknowledgement {
        Acknowledgement {
            number: self.number,
            entry: self.entry,
            confirmed: self.confirmed,
            dropped: self.dropped,
            missing: self.nodes.into_values().collect(),
        }
    }
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(super) struct Acknowledging {
    waiting: Vec<Waiting>,
    /// When those that have not confirmed are asked again.
    again: Option<Instant>,
}

impl Acknowledging {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= ACKNOWLEDGEMENTS_MAX
    }

    /// An entry is to be confirmed by those nodes.
    pub(super) fn begin(
        &mut self,
        (number, entry): (u64, EntryId),
        deadline: Instant,
        nodes: Vec<NodeId>,
    ) {
        let nodes = nodes.into_iter().map(|node| (node.uid, node));
        self.waiting.push(Waiting {
            number,
            entry,
            counter: None,
            deadline,
            nodes: nodes.collect(),
            confirmed: Vec::new(),
            dropped: Vec::new(),
        });
    }

    /// All that was registered before is told with that version.
    pub(super) fn handle_told(&mut self, now: Instant, counter: u64) {
        for it in &mut self.waiting {
            it.counter.get_or_insert(counter);
        }
        if !self.waiting.is_empty() {
            self.again.get_or_insert(now + ASK_AGAIN_MIN);
        }
    }

    /// A node has that version, and all before it.
    pub(super) fn handle_confirmed(&mut self, uid: Uid, counter: u64) {
        for it in &mut self.waiting {
            if it.counter.is_some_and(|told| told <= counter) {
                it.confirmed.extend(it.nodes.remove(&uid));
            }
        }
    }

    /// A node cannot be reached any more, or is no member.
    pub(super) fn handle_lost(&mut self, uid: Uid) {
        for it in &mut self.waiting {
            it.dropped.extend(it.nodes.remove(&uid));
        }
    }

    /// An entry was withdrawn.
    pub(super) fn handle_withdrawn(&mut self, now: Instant, entry: EntryId) {
        let withdrawn = self.waiting.iter_mut().filter(|it| it.entry == entry);
        withdrawn.for_each(|it| it.deadline = now);
    }

    /// Takes what has an answer: all have confirmed or are lost, or the time is over.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<Acknowledgement> {
        let is_over = |it: &mut Waiting| it.nodes.is_empty() || it.deadline <= now;
        let ended = self.waiting.extract_if(.., is_over);
        let ended = ended.map(Waiting::end).collect();
        if self.waiting.is_empty() {
            self.again = None;
        }
        ended
    }

    /// Whether that node has something to confirm.
    pub(super) fn waits_for(&self, uid: Uid) -> bool {
        let told = self.waiting.iter().filter(|it| it.counter.is_some());
        told.into_iter().any(|it| it.nodes.contains_key(&uid))
    }

    /// Whether it is time to ask again those that have not confirmed.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.again.is_some_and(|again| again <= now);
        if is_due {
            self.again = Some(now + ASK_AGAIN_MIN);
        }
        is_due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.waiting.iter().map(|it| it.deadline);
        deadlines.chain(self.again).min()
    }
}
