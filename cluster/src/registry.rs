//! What all nodes announce: which actors serve what, and which cores have subscribers of what.
//!
//! Each node is the owner of one table and the only one that writes it; all others hold copies. A
//! table has a [version](Version): which start of the owner's process, and how many changes led to
//! it. There is no other order than that, and no clock in it.
//!
//! - **Telling:** an owner collects its changes for a moment and tells them to all members, those
//!   of other data centres by those that speak for them. What does not follow what a member has is
//!   asked for at once: the owner answers with the changes that lead on, or with its whole table in
//!   parts if it does not keep those any more. Each question is asked again until it is answered,
//!   so whatever is lost, only time is.
//! - **Checking:** each second a member compares the sum of all versions with another's, and where
//!   they differ the versions. Whoever lacks something asks its owner: nobody speaks for others.
//! - **Inputs:** registrations, the topology, messages, what all cores have applied, time.
//! - **Outputs:** [`RegistryOutput`], appended to a list of the caller's.
//! - **Limits:** those of [`limits`], and as many copies as there are members.
//! - **Invariants:** the version of a copy never falls; what is not in a table at a version is in
//!   no copy of that version; entries count while their owner is a member that is neither joining
//!   nor leaving and can be reached.

mod acknowledging;
mod border;
mod entry;
mod hearing;
pub mod limits;
mod message;
mod owned;
mod owning;
mod parked;
mod relayed;
mod remote;
mod settings;
mod snapshot;
mod table;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use self::acknowledging::Acknowledging;
pub use self::acknowledging::{Acknowledgement, Extent};
use self::border::{Border, Sending};
pub use self::entry::{Entry, EntryId, Key, KeyError, Kind, Place};
pub use self::limits::FEW_MEMBERS;
use self::limits::{ASK_AGAIN_MAX, ASK_AGAIN_MIN, ASK_ELSEWHERE_MAX};
pub use self::message::TAGS;
use self::owned::Owned;
use self::parked::Parked;
use self::remote::Remote;
pub use self::settings::RegistrySettings;
pub use self::snapshot::{Difference, Listing, Publication, Snapshot, Standing, Version};
use crate::context::Random;
use crate::effect::Class;
use crate::membership::Status;
use crate::membership::member::Member;
use crate::membership::topology::Topology;

/// What a [`Registry`] wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegistryOutput {
    /// Send this to that node.
    Send {
        /// The node.
        to: NodeId,
        /// How it may wait.
        class: Class,
        /// The message.
        body: Vec<u8>,
    },
    /// This is what cores read from now on. When all have, say so to
    /// [`Registry::handle_applied`]; of several the last is enough.
    Publish(Publication),
    /// What came of a registration that was to be acknowledged.
    Acknowledged(Acknowledgement),
}

/// What is to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it is found by.
    pub key: Key,
    /// Where it is.
    pub place: Place,
    /// How many it stands for.
    pub weight: u32,
    /// Whether all members that can be reached now are to confirm it.
    pub is_acknowledged: bool,
}

/// Why something cannot be announced. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// This node announces as much as one node may.
    #[error("a node may announce no more than it already does")]
    Full,
    /// Too many registrations wait for their acknowledgement.
    #[error("too many registrations wait to be acknowledged")]
    Acknowledgements,
    /// This node leaves the cluster, or has left it.
    #[error("this node announces nothing more because it leaves")]
    Leaving,
}

/// What was refused or not sent, by why. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounters {
    /// Messages for another process start at this address.
    pub misdirected: u64,
    /// Messages of nodes that were no members, and did not become any in time.
    pub strangers: u64,
    /// Versions named that their owner never had.
    pub ahead: u64,
    /// Parts of tables that were not wanted, or not any more.
    pub unwanted: u64,
    /// Changes and parts of tables for which there is no room.
    pub over: u64,
    /// Changes that did not follow what was known.
    pub gaps: u64,
    /// Messages that were passed on by whoever may not, or to where they are not on their way.
    pub astray: u64,
    /// Messages of this node for other data centres that were not sent: of those by whom they would
    /// go, none can be reached. They are said again, when somebody can.
    pub wayless: u64,
}

/// A question that was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    again: Instant,
    pause: Duration,
}

/// The tables of all owners, at one node.
#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    own: NodeId,
    is_leaving: bool,
    owned: Owned,
    remotes: BTreeMap<Uid, Remote>,
    border: Border,
    asked: BTreeMap<Uid, Asked>,
    parked: Parked,
    acknowledging: Acknowledging,
    /// When what was registered is told, and when something was last.
    tell: Option<Instant>,
    told: Option<Instant>,
    /// When another member is asked whether it has the same; `None` in no cluster.
    check: Option<Instant>,
    settle: Option<Instant>,
    is_settled: bool,
    snapshot: Arc<Snapshot>,
    /// Owners whose listings are not as they were published last.
    news: BTreeSet<Uid>,
    differences: Vec<Difference>,
    /// When those are published, and when something was last.
    publish: Option<Instant>,
    published: Option<Instant>,
    counters: RegistryCounters,
}

impl Registry {
    /// One without entries, in no cluster.
    pub fn new(settings: RegistrySettings, own: NodeId) -> Self {
        Self {
            settings,
            border: Border::of(&own),
            own,
            is_leaving: false,
            owned: Owned::default(),
            remotes: BTreeMap::new(),
            asked: BTreeMap::new(),
            parked: Parked::default(),
            acknowledging: Acknowledging::default(),
            tell: None,
            told: None,
            check: None,
            settle: None,
            is_settled: false,
            snapshot: Arc::new(Snapshot::default()),
            news: BTreeSet::new(),
            differences: Vec::new(),
            publish: None,
            published: None,
            counters: RegistryCounters::default(),
        }
    }

    /// That of a node in no cluster, ever: whatever is found counts from the beginning.
    pub fn alone(settings: RegistrySettings, own: NodeId) -> Self {
        let snapshot = Snapshot {
            version: 1,
            is_settled: true,
            ..Snapshot::default()
        };
        Self {
            is_settled: true,
            snapshot: Arc::new(snapshot),
            ..Self::new(settings, own)
        }
    }

    /// The topology has changed.
    pub fn handle_topology(
        &mut self,
        now: Instant,
        topology: &Topology,
        out: &mut Vec<RegistryOutput>,
    ) {
        let own = topology.own_status();
        self.is_leaving |= own.is_some_and(|it| it >= Status::Leaving);
        if self.is_leaving {
            self.owned.clear();
        }
        if own.is_some() {
            self.check.get_or_insert(now + self.settings.check_interval);
            self.settle
                .get_or_insert(now + self.settings.settle_timeout);
        } else {
            self.check = None;
        }
        self.forget_removed(topology);
        self.border.follow(topology);
        let mut lacking = Vec::new();
        for member in topology.members() {
            if member.uid() != self.own.uid && self.handle_member(topology, member) {
                lacking.push(member.uid());
            }
        }
        // All are known by now, also those that pass the questions on.
        lacking.into_iter().for_each(|uid| self.ask(now, uid, out));
        self.touch(now, out);
        let remotes = &self.remotes;
        for (from, body) in self.parked.take(|uid| remotes.contains_key(&uid)) {
            // It was one when it was parked.
            let _ = self.hear(now, &from, &body, out);
        }
        // Whoever cannot be reached must not be found for as long as that is news.
        self.publish = self.publish.map(|_| now);
        self.finish(now, out);
    }

    fn forget_removed(&mut self, topology: &Topology) {
        let is_gone = |uid: &&Uid| topology.member(**uid).is_none();
        let gone: Vec<Uid> = self.remotes.keys().filter(is_gone).copied().collect();
        for owner in gone {
            self.remotes.remove(&owner);
            self.asked.remove(&owner);
            self.acknowledging.handle_lost(owner);
            self.note_standing(owner, None);
        }
    }

    /// Notes how a member stands. Says whether it is to be asked for what it has.
    fn handle_member(&mut self, topology: &Topology, member: &Member) -> bool {
        let uid = member.uid();
        let standing = standing_of(topology, member);
        let is_departing = member.status().is_departing();
        let before = self.remotes.get(&uid).map(|it| it.standing);
        let remote = self
            .remotes
            .entry(uid)
            .or_insert_with(|| Remote::new(member.node().clone(), standing, is_departing));
        let is_back = !remote.is_reachable && is_reachable(topology, member);
        remote.home = self.border.elsewhere(member.roles().data_centre());
        remote.standing = standing;
        remote.is_departing = is_departing;
        remote.is_reachable = is_reachable(topology, member);
        if is_back {
            remote.doubt();
        }
        if !remote.is_within_reach() {
            self.acknowledging.handle_lost(uid);
        }
        if is_departing {
            self.asked.remove(&uid);
        }
        if before != Some(standing) {
            self.note_standing(uid, Some(standing));
        }
        !is_departing && (before.is_none() || is_back)
    }

    /// A node sent a message of this room.
    ///
    /// # Errors
    /// [`CodecError`](crate::codec::CodecError) if it is none; nothing changed.
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: &NodeId,
        body: &[u8],
        out: &mut Vec<RegistryOutput>,
    ) -> Result<(), crate::codec::CodecError> {
        let heard = self.hear(now, from, body, out);
        self.finish(now, out);
        heard
    }

    /// Every core of this node reads that snapshot, or a later one.
    pub fn handle_applied(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        out: &mut Vec<RegistryOutput>,
    ) {
        for listing in snapshot.listings() {
            let Version {
                incarnation,
                counter,
            } = listing.version();
            if incarnation == self.own.uid {
                self.acknowledging.handle_applied(incarnation, counter);
            } else if let Some(remote) = self.remotes.get_mut(&incarnation)
                // Before its entries count here nobody finds what it announces.
                && listing.standing() != Standing::Apart
            {
                remote.handle_applied(counter);
                self.confirm_to(incarnation, out);
            }
        }
        self.finish(now, out);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        random: &mut Random,
        out: &mut Vec<RegistryOutput>,
    ) {
        if self.tell.is_some_and(|due| due <= now) {
            self.tell(now, out);
        }
        if self.acknowledging.is_due(now) {
            self.remind(out);
        }
        let is_due = |it: &(&Uid, &Asked)| it.1.again <= now;
        let due: Vec<Uid> = self.asked.iter().filter(is_due).map(|it| *it.0).collect();
        for owner in due {
            self.ask_again(now, owner, out);
        }
        if self.check.is_some_and(|due| due <= now) {
            self.check = Some(now + self.settings.check_interval);
            self.parked.expire(now);
            self.check_another(random, out);
        }
        self.finish(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let settle = self.settle.filter(|_| !self.is_settled);
        let again = self.asked.values().map(|it| it.again).min();
        let acknowledged = self.acknowledging.poll_timeout();
        let deadlines = [
            self.tell,
            self.check,
            self.publish,
            settle,
            again,
            acknowledged,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The tables of all owners.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What was refused or not sent.
    pub fn counters(&self) -> RegistryCounters {
        let strangers = self.parked.dropped();
        RegistryCounters {
            strangers,
            ..self.counters
        }
    }

    /// Asks an owner for what this node lacks, unless it has been asked.
    fn ask(&mut self, now: Instant, owner: Uid, out: &mut Vec<RegistryOutput>) {
        let Some(remote) = self.remotes.get(&owner) else {
            return;
        };
        if !remote.has_more() {
            self.asked.remove(&owner);
        } else if !remote.is_departing && !self.asked.contains_key(&owner) {
            let pause = ASK_AGAIN_MIN;
            let again = now + pause;
            let question = remote.question();
            self.asked.insert(owner, Asked { again, pause });
            self.send(owner, question, out);
        }
    }

    fn ask_again(&mut self, now: Instant, owner: Uid, out: &mut Vec<RegistryOutput>) {
        let remote = self.remotes.get(&owner).filter(|it| it.has_more());
        let (Some(remote), Some(asked)) = (remote, self.asked.get_mut(&owner)) else {
            self.asked.remove(&owner);
            return;
        };
        let longest = match &remote.home {
            None => ASK_AGAIN_MAX,
            Some(_) => ASK_ELSEWHERE_MAX,
        };
        asked.pause = (asked.pause * 2).min(longest);
        asked.again = now + asked.pause;
        let question = remote.question();
        if remote.home.is_some() {
            self.border.turn();
        }
        self.send_by(owner, Sending::Again, question, out);
    }
}

impl Remote {
    /// Whether it is waited for: a member that can be reached and does not go.
    fn is_within_reach(&self) -> bool {
        self.is_reachable && !self.is_departing
    }
}

fn is_reachable(topology: &Topology, member: &Member) -> bool {
    let mut dark = topology.unreachable_data_centres();
    let is_dark = dark.any(|name| name == member.roles().data_centre());
    !is_dark && !topology.is_unreachable(member.uid())
}

fn standing_of(topology: &Topology, member: &Member) -> Standing {
    let status = member.status();
    if status == Status::Joining || status >= Status::Leaving {
        Standing::Apart
    } else if is_reachable(topology, member) {
        Standing::Reachable
    } else {
        Standing::Unreachable
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
