//! What a node keeps while it is a member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::limits::VERIFY_TIMEOUT;
use ringmesh_proto::time::Instant;

use super::admitting::Claim;
use super::ending::Ending;
use super::gossiping::Rounds;
use super::leading::Ground;
use super::leaving::Exiting;
use super::remembering::Notes;
use super::{Counters, Observation};
use crate::context::Context;
use crate::membership::convergence::Part;
use crate::membership::gossip::{Gossip, TOMBSTONE_AGE};
use crate::membership::member::{Member, Profile};
use crate::membership::memory::Electorate;
use crate::membership::reachability::Witness;
use crate::membership::settings::Settings;
use crate::membership::status::Status;

/// How often the view changed. Sibling machines are shown it when that rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The view itself.
    pub(crate) view: u64,
    /// That, or who has seen it.
    pub(crate) seen: u64,
}

/// What a node keeps while it is a member.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) settings: Arc<Settings>,
    pub(super) own: Arc<Profile>,
    /// Who decides that some go on without others.
    pub(super) electorate: Electorate,
    pub(super) view: Gossip,
    /// Whether the view has changed since it was published.
    pub(super) is_news: bool,
    pub(super) revision: Revision,
    pub(super) notes: Notes,
    pub(super) rounds: Rounds,
    pub(super) leader_due: Instant,
    /// From when on it forgets who was removed long ago. While another data centre is out of reach
    /// that takes those for members whom this one removed meanwhile, and would bring them back.
    prunes_from: Instant,
    /// What it was when it was last looked for what the leader has to do.
    pub(super) led: Option<Ground>,
    /// Since when the view has not been converged.
    pub(super) unconverged: Option<Instant>,
    /// Members that said they are exiting and may be removed.
    pub(super) confirmed: BTreeSet<Uid>,
    /// Members that left, until they are quarantined: by process start, since they were removed.
    pub(super) departed: BTreeMap<Uid, (NodeId, Instant)>,
    /// Process starts that want the address of a member.
    pub(super) claims: BTreeMap<Address, Claim>,
    /// Members that this one gave up, and that are to hear of it from this one.
    pub(super) given_up: BTreeSet<Uid>,
    /// When members that were removed were last told so.
    pub(super) told: BTreeMap<Uid, Instant>,
    /// When it may ask to be let in once more.
    pub(super) rejoin_due: Instant,
    /// When it may ask who is at an address in another data centre.
    pub(super) look_due: Instant,
    /// At which it has asked that last, until it is told.
    pub(super) looked_at: Option<Address>,
    pub(super) exiting: Option<Exiting>,
    pub(super) ending: Option<Ending>,
}

impl Active {
    pub(super) fn new(
        now: Instant,
        settings: Arc<Settings>,
        own: Arc<Profile>,
        electorate: Electorate,
        view: Gossip,
    ) -> Self {
        let rounds = Rounds::new(now, settings.gossip_interval);
        let leader_due = now + settings.leader_interval;
        let rejoin_due = now + settings.join_timeout;
        Self {
            settings,
            own,
            electorate,
            view,
            is_news: true,
            revision: Revision::default(),
            notes: Notes::default(),
            rounds,
            leader_due,
            prunes_from: now,
            led: None,
            unconverged: None,
            confirmed: BTreeSet::new(),
            departed: BTreeMap::new(),
            claims: BTreeMap::new(),
            given_up: BTreeSet::new(),
            told: BTreeMap::new(),
            rejoin_due,
            look_due: rejoin_due,
            looked_at: None,
            exiting: None,
            ending: None,
        }
    }

    pub(super) fn view(&self) -> &Gossip {
        &self.view
    }

    pub(super) fn uid(&self) -> Uid {
        self.own.node.uid
    }

    /// The part of the view that this node's data centre is.
    pub(super) fn part(&self) -> Part<'_> {
        Part::new(&self.view, self.own.roles.data_centre())
    }

    pub(super) fn own_member(&self) -> Option<&Member> {
        self.view.member(self.uid())
    }

    pub(super) fn own_status(&self) -> Status {
        self.own_member().map_or(Status::Removed, Member::status)
    }

    /// Whether this node has never been a member in full.
    pub(super) fn was_never_up(&self) -> bool {
        let own = self.own_member();
        own.is_none_or(|it| !it.up_number().is_given())
    }

    /// Whether this node says that it cannot reach the member.
    pub(super) fn accuses(&self, subject: Uid) -> bool {
        let reachability = self.view.reachability();
        reachability.record(self.uid(), subject).is_some()
    }

    /// This node has changed its view.
    pub(super) fn touch(&mut self) {
        self.view.touch(self.own.node.uid);
        self.note_change();
    }

    /// The view has changed, and the others are to know.
    pub(super) fn note_change(&mut self) {
        self.is_news = true;
        self.revision.view += 1;
        self.note_seen();
    }

    /// Others have seen the view.
    pub(super) fn note_seen(&mut self) {
        self.revision.seen += 1;
        self.rounds.wanted = true;
    }

    pub(super) fn observe(
        &mut self,
        now: Instant,
        own: Uid,
        subject: Uid,
        mut observation: Observation,
    ) {
        // Nobody counts itself out, and of a stranger nothing can be said.
        if subject == own || self.view.member(subject).is_none() {
            return;
        }
        if let Observation::Unreachable(record) = &mut observation {
            // One that answered may have been removed since. The others are told of members alone.
            let is_member = |it: &Witness| self.view.member(it.observer).is_some();
            record.witnesses.retain(is_member);
        }
        let table = self.view.reachability_mut();
        let is_news = match observation {
            Observation::Unreachable(record) => table.accuse(own, subject, record),
            Observation::Reachable => table.clear(own, subject),
        };
        if is_news {
            self.touch();
            self.unconverged.get_or_insert(now);
        }
    }

    /// Another data centre is out of reach.
    pub(super) fn note_dark(&mut self, now: Instant) {
        self.prunes_from = now + TOMBSTONE_AGE;
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        if cx.now >= self.leader_due {
            // What the leader has to do follows in any case.
            self.leader_due = cx.now + self.settings.leader_interval;
            self.led = None;
            self.forget_old(cx.now);
        }
        self.gossip_round(cx, counters);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let departed = self.departed.values().map(|(_, since)| *since);
        let departed = departed.map(|since| since + self.settings.quarantine_delay);
        let exiting = self.exiting.as_ref().map(|it| it.deadline);
        let ending = self.ending.as_ref().map(|it| it.deadline);
        let others = departed.chain(exiting).chain(ending);
        others.fold(
            self.leader_due.min(self.rounds.poll_timeout()),
            Instant::min,
        )
    }

    /// How long it is known that somebody is being asked who is at an address: no less than an
    /// answer may take, for what comes behind that is taken for an answer to something else.
    pub(super) fn inquiry_timeout(&self) -> Duration {
        self.settings.join_timeout.max(VERIFY_TIMEOUT)
    }

    /// What is kept of others for a while only.
    fn forget_old(&mut self, now: Instant) {
        if now >= self.prunes_from {
            self.view.prune(now);
        }
        let interval = self.settings.removed_interval;
        self.told.retain(|_, told| now - *told < interval);
        let timeout = self.inquiry_timeout();
        self.claims.retain(|_, claim| now - claim.since < timeout);
        let view = &self.view;
        self.given_up.retain(|uid| view.member(*uid).is_some());
    }
}
