//! The table of another owner, as far as it is known here.

use std::sync::Arc;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use super::border::Route;
use super::entry::{Change, Entry, EntryId};
use super::message::Body;
use super::snapshot::Standing;
use super::table::{Full, Step, Table, difference};

/// The table of another owner.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) node: NodeId,
    /// Its data centre, if that is another one.
    pub(super) home: Option<Arc<str>>,
    pub(super) standing: Standing,
    /// Whether it is on its way out so far that nobody tells it anything.
    pub(super) is_departing: bool,
    pub(super) is_reachable: bool,
    pub(super) table: Table,
    /// The version that it said it has.
    goal: u64,
    /// Whether this node has had all that it had at some moment.
    pub(super) is_exchanged: bool,
    /// Whether somebody says that it has more.
    is_doubted: bool,
    /// When it was doubted last.
    doubted: Option<Instant>,
    staging: Option<Staging>,
    /// A version that it wants confirmed.
    to_confirm: Option<(u64, Option<Route>)>,
    /// The version that all cores have applied.
    applied: u64,
}

/// A whole table on its way, in parts that follow each other by the numbers of their entries.
///
/// The owner goes on changing it meanwhile, and each part is of the version that was the latest as
/// it was sent. So its version is that of the first part, and it is in force when all changes up to
/// that of the last part have been made to it, most of them again: what did not change since the
/// first part is the same in all, and what did ends as the last change left it.
#[derive(Debug)]
struct Staging {
    table: Table,
    after: EntryId,
    until: u64,
    is_whole: bool,
}

/// What a message of the owner did.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How the table changed.
    pub(super) steps: Vec<Step>,
    /// Whether it led on at all.
    pub(super) has_moved: bool,
}

impl Remote {
    pub(super) fn new(node: NodeId, standing: Standing, is_departing: bool) -> Self {
        Self {
            node,
            home: None,
            standing,
            is_departing,
            is_reachable: true,
            table: Table::default(),
            goal: 0,
            is_exchanged: false,
            is_doubted: false,
            doubted: None,
            staging: None,
            to_confirm: None,
            applied: 0,
        }
    }

    /// Whether it has what this node does not, as far as it is known.
    pub(super) fn has_more(&self) -> bool {
        let is_behind = self.table.counter < self.goal || self.staging.is_some();
        is_behind || self.is_doubted || !self.is_exchanged
    }

    /// Its owner says that it has that version.
    pub(super) fn handle_latest(&mut self, latest: u64) {
        self.goal = self.goal.max(latest);
    }

    /// Somebody else says so. That is worth a question now and then, and is forgotten with the
    /// answer.
    pub(super) fn handle_rumour(&mut self, now: Instant, counter: u64) {
        let again = super::limits::ASK_AGAIN_MIN;
        let is_late = self.doubted.is_none_or(|last| now - last >= again);
        if counter > self.table.counter && is_late {
            self.doubted = Some(now);
            self.is_doubted = true;
        }
    }

    /// It may have told what never came here.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// What to ask its owner for.
    pub(super) fn question(&self) -> Body {
        let (from, after) = match &self.staging {
            None => (self.table.counter, EntryId(0)),
            Some(staging) if staging.is_whole => (staging.table.counter, EntryId(0)),
            Some(staging) => (staging.table.counter, staging.after),
        };
        Body::Ask { from, after }
    }

    /// Changes came, from that version on. They are made if they follow what is known.
    pub(super) fn handle_delta(&mut self, from: u64, changes: &[Change]) -> Result<Progress, Full> {
        let mut progress = Progress::default();
        let table = match &mut self.staging {
            None => &mut self.table,
            Some(staging) if staging.is_whole => &mut staging.table,
            Some(_) => return Ok(progress),
        };
        let Some(known) = table.counter.checked_sub(from) else {
            return Ok(progress);
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        for change in changes.iter().skip(known) {
            match table.apply(change) {
                Ok(step) => progress.steps.push(step),
                // All before it stays: each change leads to a version that the owner had.
                Err(Full) if progress.steps.is_empty() => return Err(Full),
                Err(Full) => break,
            }
            progress.has_moved = true;
        }
        if self.staging.is_some() {
            progress.steps = self.finish_staging();
        }
        self.handle_answer();
        Ok(progress)
    }

    /// A part of the whole table came, as it is at version `latest`.
    pub(super) fn handle_chunk(
        &mut self,
        latest: u64,
        after: EntryId,
        is_last: bool,
        entries: &[Arc<Entry>],
    ) -> Result<Progress, Full> {
        let mut progress = Progress::default();
        if after == EntryId(0) && latest > self.table.counter {
            // The first part. If there is another table on its way, its owner does not keep the
            // changes any more that would lead on from that.
            if self.staging.as_ref().is_none_or(|it| it.is_whole) {
                let mut table = Table::default();
                table.counter = latest;
                self.staging = Some(Staging {
                    table,
                    after,
                    until: latest,
                    is_whole: false,
                });
            }
        }
        let expected = |it: &&mut Staging| !it.is_whole && it.after == after;
        let Some(staging) = self.staging.as_mut().filter(expected) else {
            return Ok(progress);
        };
        for entry in entries {
            if staging.table.put(Arc::clone(entry)).is_err() {
                self.staging = None;
                return Err(Full);
            }
            staging.after = entry.id;
        }
        staging.is_whole = is_last;
        staging.until = staging.until.max(latest);
        progress.has_moved = true;
        progress.steps = self.finish_staging();
        self.handle_answer();
        Ok(progress)
    }

    /// Puts the table that was on its way in force, if it is complete.
    fn finish_staging(&mut self) -> Vec<Step> {
        let is_complete = |it: &mut Staging| it.is_whole && it.table.counter >= it.until;
        let Some(staging) = self.staging.take_if(is_complete) else {
            return Vec::new();
        };
        let steps = difference(&self.table, &staging.table);
        self.table = staging.table;
        steps
    }

    fn handle_answer(&mut self) {
        if self.staging.is_none() && self.table.counter >= self.goal {
            self.is_exchanged = true;
            self.is_doubted = false;
        }
    }

    /// All cores have applied that version.
    pub(super) fn handle_applied(&mut self, counter: u64) {
        self.applied = self.applied.max(counter);
    }

    /// It wants that version confirmed, and asked so.
    pub(super) fn wants_confirmed(&mut self, counter: u64, route: Option<Route>) {
        let before = self.to_confirm.map_or(0, |it| it.0);
        self.to_confirm = Some((before.max(counter), route));
    }

    /// What is to be confirmed now, if anything, and how that was asked.
    pub(super) fn confirmation(&mut self) -> Option<(u64, Option<Route>)> {
        let (wanted, route) = self.to_confirm?;
        if self.applied >= wanted {
            self.to_confirm = None;
        }
        (self.applied > 0).then_some((self.applied, route))
    }

    /// How many entries of it are held here, and the bytes of those.
    pub(super) fn size(&self) -> (usize, usize) {
        let staged = self.staging.as_ref().map(|it| &it.table);
        let tables = [Some(&self.table), staged].into_iter().flatten();
        tables.fold((0, 0), |sum, it| (sum.0 + it.len(), sum.1 + it.bytes()))
    }
}
