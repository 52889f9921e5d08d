//! Since when nothing has changed that matters for a decision.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::split::Split;
use crate::membership::Status;
use crate::membership::reachability::Reason;

/// Since when nothing has changed.
#[derive(Debug, Default)]
pub(super) struct Stability {
    /// What makes a member worth waiting for anew: that it is one in full, exiting, or down. Not
    /// that it joins, leaves, or is removed.
    stages: BTreeMap<Uid, Stage>,
    lost: BTreeSet<Uid>,
    /// Whether somebody was to go.
    was_split: bool,
    records: Vec<(Uid, Uid, Reason)>,
    /// Since when all of that is the same.
    pub(super) since: Instant,
    /// The same, but for members that went down: that leaves a side that cannot go on no better.
    pub(super) since_but_downs: Instant,
    /// Since when also each observer's word is the same.
    pub(super) quiet_since: Instant,
    /// Since when somebody is lost, whoever it is. It ends only when nobody is.
    pub(super) lost_since: Option<Instant>,
    /// Members when all was well last.
    pub(super) members: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Entering,
    Counted,
    Exiting,
    Down,
}

impl Stage {
    fn of(status: Status) -> Self {
        match status {
            Status::Joining | Status::WeaklyUp => Self::Entering,
            Status::Exiting => Self::Exiting,
            Status::Down | Status::Removed => Self::Down,
            _ => Self::Counted,
        }
    }
}

impl Stability {
    /// The view has changed; `is_converged` if all members hold it and nobody is lost.
    pub(super) fn update(&mut self, now: Instant, split: &Split, is_converged: bool) {
        let parties = || split.parties().iter();
        let stages = parties().map(|it| (it.uid(), Stage::of(it.member.status())));
        let stages: BTreeMap<Uid, Stage> = stages.collect();
        let waited_for = || parties().filter(|it| !it.member.status().is_departing());
        let lost = waited_for().filter(|it| !it.accusers.is_empty());
        let lost: BTreeSet<Uid> = lost.map(|it| it.uid()).collect();
        let records = waited_for().flat_map(|it| {
            let accusers = it.accusers.iter();
            accusers.map(|(observer, record)| (it.uid(), *observer, record.reason))
        });
        let records: Vec<_> = records.collect();

        let moved_on = |(uid, stage): (&Uid, &Stage)| {
            *stage != Stage::Entering && self.stages.get(uid) != Some(stage)
        };
        let has_changed = stages.iter().any(moved_on) || lost != self.lost;
        if has_changed {
            self.since = now;
        }
        let has_moved_on = stages.iter().any(|it| *it.1 != Stage::Down && moved_on(it));
        let is_down = |uid: &Uid| stages.get(uid) == Some(&Stage::Down);
        let is_same = lost.is_subset(&self.lost) && self.lost.difference(&lost).all(is_down);
        let is_split = split.is_split();
        if has_moved_on || !is_same || (is_split && !self.was_split) {
            self.since_but_downs = now;
        }
        self.was_split = is_split;
        if has_changed || records != self.records {
            self.quiet_since = now;
        }
        if lost.is_empty() {
            self.lost_since = None;
        } else {
            self.lost_since.get_or_insert(now);
        }
        if (is_converged && lost.is_empty()) || self.members == 0 {
            self.members = split.parties().len();
        }
        self.stages = stages;
        self.lost = lost;
        self.records = records;
    }

    /// This node was away: what it knows may be old.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.since_but_downs = now;
        self.quiet_since = now;
        self.lost_since = self.lost_since.map(|_| now);
    }
}
