//! How a node ends that was given up, and what those that were removed hear.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::{Class, Effect, StopReason};
use crate::membership::command::CommandError;
use crate::membership::gossip::{ClusterId, Warrant};
use crate::membership::member::Member;
use crate::membership::message::Message;
use crate::membership::status::Status;

/// Rounds after which a node that was given up ends, whoever has not heard that they were too.
const ROUNDS: u32 = 4;

/// The most nodes that are told in an interval what they are to know.
pub(crate) const TOLD_MAX: usize = 1024;

/// The most nodes of other clusters that are spoken of in an interval.
pub(crate) const FOREIGN_MAX: usize = 16;

/// A node that was given up.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) deadline: Instant,
}

impl Membership {
    pub(super) fn down_at(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
    ) -> Result<(), CommandError> {
        let Phase::Active(active) = &mut self.phase else {
            return Err(CommandError::NotMember);
        };
        active.move_at(address, Status::Down)?;
        let at = active.view.members_at(address).map(Member::uid);
        let uids: Vec<Uid> = at.collect();
        active.tell_downed(cx, &uids);
        Ok(())
    }

    /// Answers a member that was removed and does not know. Says whether it is one.
    pub(crate) fn answer_removed(&mut self, cx: &mut Context<'_>, from: &NodeId) -> bool {
        let Phase::Active(active) = &mut self.phase else {
            return false;
        };
        if active.view.tombstone(from.uid).is_none() {
            return false;
        }
        self.counters.removed += 1;
        if active.is_first_word(cx.now, from.uid) {
            let cluster = active.view.cluster();
            self.send(cx, from, &Message::Removed { cluster });
        }
        true
    }

    /// Whether a node of another cluster was not spoken of lately. Few are: there may be many.
    pub(super) fn is_first_of_foreign(&mut self, now: Instant, uid: Uid) -> bool {
        let interval = self.settings.removed_interval;
        note_first(&mut self.foreign, FOREIGN_MAX, (now, interval), uid)
    }

    /// A member says that this node was removed. Also for sibling machines and links that were told
    /// so in their own words.
    ///
    /// Whoever seeks a cluster may have been let in and removed without having heard of either: the
    /// welcome was lost. Those it asks will never speak to it again, but to the next process start.
    pub fn handle_removed_by(&mut self, cx: &mut Context<'_>, from: &NodeId) {
        match &self.phase {
            Phase::Active(active) => {
                let cluster = active.view.cluster();
                self.handle_removed(cx, from, cluster);
            }
            Phase::Seeking(_) if self.is_asked(from) => self.end(cx, StopReason::Removed),
            _ => {}
        }
    }

    /// Whoever is at an address said that this node was removed, and not which process start it
    /// is. The member there is believed, as if it had.
    pub fn handle_removed_at(&mut self, cx: &mut Context<'_>, address: &Address) {
        if self.is_sought_at(address) {
            return self.end(cx, StopReason::Removed);
        }
        let mut there = self
            .gossip()
            .into_iter()
            .flat_map(|it| it.members_at(address));
        let by = there.find(|it| it.status() != Status::Down);
        let by = by.map(|it| it.node().clone());
        drop(there);
        if let Some(by) = by {
            self.handle_removed_by(cx, &by);
        }
    }

    pub(super) fn handle_removed(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        cluster: ClusterId,
    ) {
        let Phase::Active(active) = &mut self.phase else {
            if self.is_asked(from) {
                self.end(cx, StopReason::Removed);
            } else {
                self.counters.untimely += 1;
            }
            return;
        };
        let is_member = active.view.node(from.uid) == Some(from);
        if !is_member || active.view.cluster() != cluster {
            self.counters.strangers += 1;
            return;
        }
        let why = match active.own_status() {
            Status::Exiting => StopReason::Left,
            Status::Down => StopReason::Downed,
            _ => StopReason::Removed,
        };
        self.end(cx, why);
    }
}

/// Whether a node was not noted within the interval, and there is room to note it now.
fn note_first(
    told: &mut BTreeMap<Uid, Instant>,
    most: usize,
    (now, interval): (Instant, Duration),
    uid: Uid,
) -> bool {
    let is_recent = |told: &Instant| now - *told < interval;
    if told.get(&uid).is_some_and(is_recent) {
        return false;
    }
    if told.len() >= most {
        told.retain(|_, told| is_recent(told));
    }
    let has_room = told.len() < most;
    if has_room {
        told.insert(uid, now);
    }
    has_room
}

impl Active {
    /// Gives members up, and notes by which lease.
    pub(super) fn down(&mut self, cx: &mut Context<'_>, uids: &[Uid], warrant: Option<Warrant>) {
        let (own, mut downed) = (self.uid(), Vec::new());
        let data_centre = self.own.roles.data_centre();
        let is_noted = warrant.is_some_and(|it| self.view.note_warrant(data_centre, it));
        for uid in uids {
            let is_news = match *uid == own {
                // It counts no more, and must not count against those that stay.
                true if self.own_status() == Status::Exiting => {
                    self.exit_now(cx.now);
                    false
                }
                true => self.view.resign(own),
                false => self.view.give_up(*uid),
            };
            downed.extend(is_news.then_some(*uid));
        }
        if is_noted || !downed.is_empty() {
            self.touch();
            self.tell_downed(cx, &downed);
        }
    }

    /// Whoever is given up and can hear it hears it first.
    fn tell_downed(&mut self, cx: &mut Context<'_>, uids: &[Uid]) {
        for uid in uids {
            self.given_up.insert(*uid);
            let is_told = *uid != self.uid() && !self.accuses(*uid);
            if let Some(node) = self.view.node(*uid).filter(|_| is_told) {
                let cluster = self.view.cluster();
                let body = Message::Removed { cluster }.encode(Some(*uid), cx.now);
                cx.out.send(node, Class::Message, body);
            }
        }
    }

    /// Notes that this node was given up.
    pub(super) fn note_down(&mut self, cx: &Context<'_>) {
        if self.own_status() == Status::Down && self.ending.is_none() {
            let deadline = cx.now + self.settings.gossip_interval * ROUNDS;
            self.ending = Some(Ending { deadline });
        }
    }

    /// Whether this node's part is over, and why. Those that it gave up itself are to know of it
    /// first; others hear it of whoever gave them up. Where a whole side goes down each does so by
    /// itself, and is not there any more to say that it knows.
    pub(super) fn is_over(&self, now: Instant) -> Option<StopReason> {
        if self.has_left(now) {
            return Some(StopReason::Left);
        }
        let ending = self.ending.as_ref()?;
        let knows = |it: &Member| {
            let is_told = it.uid() == self.uid() || self.view.is_seen_by(it.uid());
            let is_to_know = it.status() == Status::Down && self.given_up.contains(&it.uid());
            !is_to_know || is_told || self.accuses(it.uid())
        };
        let do_all_know = !self.rounds.wanted && self.view.members().all(knows);
        (do_all_know || now >= ending.deadline).then_some(StopReason::Downed)
    }

    /// Whether a node was not spoken to lately of what it is to know.
    pub(super) fn is_first_word(&mut self, now: Instant, uid: Uid) -> bool {
        let interval = self.settings.removed_interval;
        note_first(&mut self.told, TOLD_MAX, (now, interval), uid)
    }

    /// Those that left are quarantined after a while, or when another is at their address.
    pub(super) fn quarantine_departed(&mut self, cx: &mut Context<'_>) {
        if self.departed.is_empty() {
            return;
        }
        let delay = self.settings.quarantine_delay;
        let is_due = |node: &NodeId, since: Instant| {
            let is_replaced = self.view.members_at(&node.address).next().is_some();
            is_replaced || cx.now - since >= delay
        };
        let departed = self.departed.values();
        let due = departed.filter(|(node, since)| is_due(node, *since));
        let due: Vec<NodeId> = due.map(|(node, _)| node.clone()).collect();
        for node in due {
            self.departed.remove(&node.uid);
            cx.out.push(Effect::Quarantine { node });
        }
    }
}
