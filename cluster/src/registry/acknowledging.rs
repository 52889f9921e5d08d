//! Who has confirmed what this node registered.

use std::collections::BTreeMap;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::entry::EntryId;
use super::limits::{ACKNOWLEDGEMENTS_MAX, ASK_AGAIN_MIN};
use super::snapshot::Standing;
use super::{RegisterError, Registry, RegistryOutput};

/// Who is to confirm an entry before it counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All members that can be reached now, or as long as they can.
    AllReachable,
    /// More than half of all members that are neither joining nor leaving, also of those that
    /// cannot be reached. So what two registrations were confirmed by has a member in common. This
    /// node is one of them: before all its own cores know of an entry, what others send for it may
    /// miss it.
    Quorum,
}

/// What came of a registration that was to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which.
    pub entry: EntryId,
    /// The number that was given to [`Registry::acknowledge`]; 0 if it was not asked.
    pub ticket: u64,
    /// Nodes on which every core knows it.
    pub confirmed: Vec<NodeId>,
    /// Nodes that were reachable when it began and then were not, or were removed.
    pub dropped: Vec<NodeId>,
    /// Nodes that did not say by the deadline, or before the entry was withdrawn, or before
    /// enough others did.
    pub missing: Vec<NodeId>,
    /// Whether all, or as many as were to, have confirmed it.
    pub is_enough: bool,
}

#[derive(Debug)]
struct Waiting {
    entry: EntryId,
    ticket: u64,
    /// With which version it is told; not known before that is.
    counter: Option<u64>,
    deadline: Instant,
    /// How many are to confirm it, and who has to be one of them; `None` for all.
    needed: Option<(usize, Uid)>,
    nodes: BTreeMap<Uid, NodeId>,
    confirmed: Vec<NodeId>,
    dropped: Vec<NodeId>,
}

impl Waiting {
    fn is_enough(&self) -> bool {
        match self.needed {
            None => self.nodes.is_empty(),
            Some((needed, own)) => self.confirmed.len() >= needed && !self.nodes.contains_key(&own),
        }
    }

    fn end(self) -> Acknowledgement {
        Acknowledgement {
            is_enough: self.is_enough(),
            entry: self.entry,
            ticket: self.ticket,
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
    /// The version of the own table that all cores of this node have applied.
    applied: u64,
}

impl Acknowledging {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= ACKNOWLEDGEMENTS_MAX
    }

    /// An entry is to be confirmed by those nodes.
    pub(super) fn begin(&mut self, entry: EntryId, deadline: Instant, nodes: Vec<NodeId>) {
        self.begin_with((entry, 0), deadline, nodes, None);
    }

    /// The same under a ticket. If fewer are needed than all, the one named with their number has
    /// to be one of them.
    fn begin_with(
        &mut self,
        (entry, ticket): (EntryId, u64),
        deadline: Instant,
        nodes: Vec<NodeId>,
        needed: Option<(usize, Uid)>,
    ) {
        let nodes = nodes.into_iter().map(|node| (node.uid, node));
        self.waiting.push(Waiting {
            entry,
            ticket,
            counter: None,
            deadline,
            needed,
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

    /// Every core of this node, which is `own`, has that version of its table.
    pub(super) fn handle_applied(&mut self, own: Uid, counter: u64) {
        self.applied = self.applied.max(counter);
        self.handle_confirmed(own, counter);
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
        let is_over =
            |it: &mut Waiting| it.nodes.is_empty() || it.is_enough() || it.deadline <= now;
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

impl Registry {
    /// Has an entry that is there confirmed, once more if it was. What comes of it is
    /// [`RegistryOutput::Acknowledged`] with that ticket. Says whether the entry is there.
    ///
    /// # Errors
    /// [`RegisterError::Acknowledgements`] if too many wait for theirs.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        (entry, ticket): (EntryId, u64),
        extent: Extent,
        out: &mut Vec<RegistryOutput>,
    ) -> Result<bool, RegisterError> {
        if self.owned.get(entry).is_none() {
            return Ok(false);
        }
        if self.acknowledging.is_full() {
            return Err(RegisterError::Acknowledgements);
        }
        let members = self.remotes.values();
        let members = 1 + members.filter(|it| it.standing != Standing::Apart).count();
        let needed = (extent == Extent::Quorum).then_some((members / 2 + 1, self.own.uid));
        let reachable = self.remotes.values().filter(|it| it.is_within_reach());
        let others = reachable.map(|it| it.node.clone());
        let nodes = others.chain([self.own.clone()]).collect();
        let deadline = now + self.settings.acknowledge_timeout;
        self.acknowledging
            .begin_with((entry, ticket), deadline, nodes, needed);
        if !self.owned.is_touched() {
            // It was told before, and nothing is about to be: those who have it are asked.
            let latest = self.owned.told().counter;
            self.acknowledging.handle_told(now, latest);
            self.remind(out);
            let applied = self.acknowledging.applied;
            self.acknowledging.handle_confirmed(self.own.uid, applied);
        }
        self.finish(now, out);
        Ok(true)
    }
}
