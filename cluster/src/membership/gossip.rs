//! What a member knows of its cluster, and tells the others: the state that all views merge into.
//!
//! A view is changed in two ways. A member changes its own view: then it [`touches`] it, and the
//! version is one that nobody else has seen. Or it takes over what another one knows: then the
//! version is that of both pasts, and no new one. Merging is commutative, associative and
//! idempotent, so views become equal whatever the order and the number of messages.
//!
//! What only one of two views has is kept, unless it is known to be gone: that is what
//! [`Tombstone`]s are for. They are pruned after a day, so a partition longer than that may bring a
//! removed member back.
//!
//! Source: the state and its rules are those of Akka Cluster's gossip; the merge is a lattice's.
//!
//! [`touches`]: Gossip::touch

mod warrants;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

pub use self::warrants::{WARRANTS_MAX, Warrant};
use super::clock::{Relation, VersionVector};
use super::member::Member;
use super::reachability::Reachability;
use super::status::Status;

/// The most members of a cluster.
pub const MEMBERS_MAX: usize = 1024;

/// The most tombstones of a view; the oldest goes for another.
pub const TOMBSTONES_MAX: usize = 1024;

/// How long a tombstone is kept.
pub const TOMBSTONE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Names a cluster: random, drawn by whoever founded it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// What is remembered of a member that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its last status: down if it was given up, or exiting if it left.
    pub previous: Status,
    /// When this observer learned of it, less what was said of its age.
    pub since: Instant,
}

/// What a member knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    cluster: ClusterId,
    members: BTreeMap<Uid, Member>,
    /// Members that are down because another one said so.
    given_up: BTreeSet<Uid>,
    /// Members that hold this version or one that comes after it.
    seen: BTreeSet<Uid>,
    reachability: Reachability,
    version: VersionVector,
    tombstones: BTreeMap<Uid, Tombstone>,
    /// By data centre, of those that have a member.
    warrants: BTreeMap<Box<str>, Warrant>,
}

impl Gossip {
    /// The view of whoever founds a cluster.
    pub fn founded(cluster: ClusterId, founder: Member) -> Self {
        let uid = founder.uid();
        let mut gossip = Self {
            cluster,
            members: BTreeMap::from([(uid, founder)]),
            given_up: BTreeSet::new(),
            seen: BTreeSet::new(),
            reachability: Reachability::default(),
            version: VersionVector::default(),
            tombstones: BTreeMap::new(),
            warrants: BTreeMap::new(),
        };
        gossip.touch(uid);
        gossip
    }

    /// The view that another node describes. Leases of data centres that have no member are left
    /// out: members of earlier versions keep them.
    pub(super) fn from_parts(parts: Parts) -> Result<Self, GossipError> {
        let mut gossip = Self {
            cluster: parts.cluster,
            members: parts.members,
            given_up: parts.given_up,
            seen: parts.seen,
            reachability: parts.reachability,
            version: parts.version,
            tombstones: parts.tombstones,
            warrants: parts.warrants,
        };
        gossip.check()?;
        gossip.drop_warrants();
        Ok(gossip)
    }

    /// Which cluster it is of.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// All members, by process start.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    pub fn member(&self, uid: Uid) -> Option<&Member> {
        self.members.get(&uid)
    }

    /// The members at an address, each of another process start.
    pub fn members_at<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a Member> {
        self.members().filter(move |it| it.address() == address)
    }

    /// Whether a process start was removed.
    pub fn tombstone(&self, uid: Uid) -> Option<&Tombstone> {
        self.tombstones.get(&uid)
    }

    /// All that were removed, by process start.
    pub fn tombstones(&self) -> impl ExactSizeIterator<Item = (Uid, &Tombstone)> {
        self.tombstones.iter().map(|(uid, it)| (*uid, it))
    }

    /// The version.
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// Who cannot reach whom.
    pub fn reachability(&self) -> &Reachability {
        &self.reachability
    }

    /// Members that hold this version or a later one.
    pub fn seen(&self) -> &BTreeSet<Uid> {
        &self.seen
    }

    /// Whether a member holds this version or a later one.
    pub fn is_seen_by(&self, uid: Uid) -> bool {
        self.seen.contains(&uid)
    }

    /// A member holds this version. Says whether that is news.
    pub fn see(&mut self, uid: Uid) -> bool {
        self.members.contains_key(&uid) && self.seen.insert(uid)
    }

    /// A member does not say that it holds this version, not yet.
    pub(super) fn unsee(&mut self, uid: Uid) {
        self.seen.remove(&uid);
    }

    /// Notes that a member changed its view: the version is a new one, and only that member has
    /// seen it.
    pub fn touch(&mut self, by: Uid) {
        self.version.bump(by);
        self.seen.clear();
        self.seen.insert(by);
    }

    /// The member, to be changed; [`touch`](Self::touch) afterwards.
    pub fn member_mut(&mut self, uid: Uid) -> Option<&mut Member> {
        self.members.get_mut(&uid)
    }

    /// A member gives itself up; [`touch`](Self::touch) afterwards. Says whether that is news.
    pub fn resign(&mut self, uid: Uid) -> bool {
        let member = self.members.get_mut(&uid);
        let member = member.filter(|it| it.status().may_become(Status::Down));
        member.map(|it| it.become_next(Status::Down)).is_some()
    }

    /// A member gives another one up; [`touch`](Self::touch) afterwards. Says whether that is news.
    pub fn give_up(&mut self, uid: Uid) -> bool {
        self.resign(uid);
        self.members.contains_key(&uid) && self.given_up.insert(uid)
    }

    /// Whether a member gave itself up, and no other one has so far. It will not come back; but
    /// nobody has agreed yet to go on without it, so it is one that is lost.
    pub fn has_resigned(&self, uid: Uid) -> bool {
        let is_down = |it: &Member| it.status() == Status::Down;
        self.member(uid).is_some_and(is_down) && !self.given_up.contains(&uid)
    }

    /// Who cannot reach whom, to be changed; [`touch`](Self::touch) afterwards.
    pub fn reachability_mut(&mut self) -> &mut Reachability {
        &mut self.reachability
    }

    /// Takes a member in; [`touch`](Self::touch) afterwards. Says whether it is new.
    ///
    /// # Errors
    /// [`GossipError::Removed`] and [`GossipError::TooMany`]; nothing changed.
    pub fn admit(&mut self, member: Member) -> Result<bool, GossipError> {
        let uid = member.uid();
        if self.tombstones.contains_key(&uid) {
            return Err(GossipError::Removed);
        }
        if self.members.contains_key(&uid) {
            return Ok(false);
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(GossipError::TooMany);
        }
        self.members.insert(uid, member);
        Ok(true)
    }

    /// Removes a member for good; [`touch`](Self::touch) afterwards. Returns it as it was.
    pub fn remove(&mut self, now: Instant, uid: Uid) -> Option<Member> {
        let member = self.members.remove(&uid)?;
        let previous = member.status();
        let tombstone = Tombstone {
            previous,
            since: now,
        };
        self.tombstones.insert(uid, tombstone);
        self.bury();
        Some(member)
    }

    /// Forgets tombstones that are old enough. Says how many.
    pub fn prune(&mut self, now: Instant) -> usize {
        let before = self.tombstones.len();
        self.tombstones
            .retain(|_, it| now - it.since < TOMBSTONE_AGE);
        before - self.tombstones.len()
    }

    /// How this view is related to another one of the same cluster.
    ///
    /// What either knows to be removed counts in neither.
    pub fn relation(&self, other: &Self) -> Relation {
        let is_gone =
            |uid| self.tombstones.contains_key(&uid) || other.tombstones.contains_key(&uid);
        let is_shared = self.tombstones.len() == other.tombstones.len()
            && self.tombstones.keys().eq(other.tombstones.keys());
        if is_shared {
            return self.version.relation(&other.version);
        }
        let (mut mine, mut theirs) = (self.version.clone(), other.version.clone());
        mine.retain(|uid| !is_gone(uid));
        theirs.retain(|uid| !is_gone(uid));
        mine.relation(&theirs)
    }

    /// Takes over all that another view of the same cluster knows beyond this one. Who has seen the
    /// result: of equal versions whoever saw either, else whoever saw the later one, and nobody of
    /// two concurrent ones.
    ///
    /// # Errors
    /// [`GossipError::Foreign`] of another cluster, and [`GossipError::TooMany`] if there would be
    /// more members or leases than may be; nothing changed.
    pub fn merge(&mut self, other: &Self) -> Result<Relation, GossipError> {
        let warrants = self.merged_warrants(other, |_| true);
        self.merge_all_but(other, warrants)
    }

    fn merge_all_but(
        &mut self,
        other: &Self,
        warrants: BTreeMap<Box<str>, Warrant>,
    ) -> Result<Relation, GossipError> {
        if self.cluster != other.cluster {
            return Err(GossipError::Foreign);
        }
        if self.count_merged(other) > MEMBERS_MAX || warrants.len() > WARRANTS_MAX {
            return Err(GossipError::TooMany);
        }
        let relation = self.relation(other);
        match relation {
            Relation::Same => self.seen.extend(&other.seen),
            Relation::Before => self.seen.clone_from(&other.seen),
            Relation::After => {}
            Relation::Concurrent => self.seen.clear(),
        }
        for (uid, theirs) in &other.members {
            match self.members.get_mut(uid) {
                Some(mine) => mine.merge(theirs),
                None => {
                    self.members.insert(*uid, theirs.clone());
                }
            }
        }
        self.given_up.extend(&other.given_up);
        self.reachability.merge(&other.reachability);
        self.version.merge(&other.version);
        self.warrants = warrants;
        self.merge_tombstones(other);
        Ok(relation)
    }

    fn count_merged(&self, other: &Self) -> usize {
        let is_new = |uid: &&Uid| !self.members.contains_key(uid);
        let both = self.members.len() + other.members.keys().filter(is_new).count();
        let is_gone =
            |uid: &&Uid| self.tombstones.contains_key(uid) || other.tombstones.contains_key(uid);
        let gone_here = self.members.keys().filter(is_gone).count();
        let gone_there = other.members.keys().filter(is_new).filter(is_gone).count();
        both - gone_here - gone_there
    }

    fn merge_tombstones(&mut self, other: &Self) {
        for (uid, theirs) in &other.tombstones {
            let mine = self.tombstones.entry(*uid).or_insert(*theirs);
            mine.previous = mine.previous.max(theirs.previous);
            mine.since = mine.since.min(theirs.since);
        }
        self.bury();
    }

    /// Nothing is said by or of whoever was removed.
    fn bury(&mut self) {
        while self.tombstones.len() > TOMBSTONES_MAX {
            let oldest = self
                .tombstones
                .iter()
                .min_by_key(|(uid, it)| (it.since, **uid));
            let Some(oldest) = oldest.map(|(uid, _)| *uid) else {
                break;
            };
            self.tombstones.remove(&oldest);
        }
        let gone = &self.tombstones;
        self.members.retain(|uid, _| !gone.contains_key(uid));
        self.given_up.retain(|uid| !gone.contains_key(uid));
        self.seen.retain(|uid| !gone.contains_key(uid));
        self.reachability.retain(|uid| !gone.contains_key(&uid));
        self.version.retain(|uid| !gone.contains_key(&uid));
        self.drop_warrants();
    }

    /// What holds in every view that a member may have.
    fn check(&self) -> Result<(), GossipError> {
        let is_member = |uid: &Uid| self.members.contains_key(uid);
        let speak = self.reachability.rows().map(|(observer, _)| observer);
        let are_spoken_of = self.reachability.records().map(|(_, subject, _)| subject);
        let changed = self.version.iter().map(|(uid, _)| uid);
        let mut named = speak.chain(are_spoken_of).chain(changed);
        if !self.seen.iter().all(is_member) || !named.all(|uid| is_member(&uid)) {
            return Err(GossipError::Stranger);
        }
        let is_down = |uid: &Uid| {
            let member = self.members.get(uid);
            member.is_some_and(|it| it.status() == Status::Down)
        };
        if !self.given_up.iter().all(is_down) {
            return Err(GossipError::Status);
        }
        if self.tombstones.keys().any(is_member) {
            return Err(GossipError::Removed);
        }
        let is_over = self.members.len() > MEMBERS_MAX || self.warrants.len() > WARRANTS_MAX;
        if is_over || self.tombstones.len() > TOMBSTONES_MAX {
            return Err(GossipError::TooMany);
        }
        let is_bad = |it: &Member| it.status() == Status::Removed;
        if self.members().any(is_bad) {
            return Err(GossipError::Status);
        }
        Ok(())
    }

    /// The node of a member, if it is one.
    pub fn node(&self, uid: Uid) -> Option<&NodeId> {
        self.member(uid).map(Member::node)
    }
}

/// A view, taken apart.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) cluster: ClusterId,
    pub(super) members: BTreeMap<Uid, Member>,
    pub(super) given_up: BTreeSet<Uid>,
    pub(super) seen: BTreeSet<Uid>,
    pub(super) reachability: Reachability,
    pub(super) version: VersionVector,
    pub(super) tombstones: BTreeMap<Uid, Tombstone>,
    pub(super) warrants: BTreeMap<Box<str>, Warrant>,
}

/// Why a view is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GossipError {
    /// It is of another cluster.
    #[error("it is of another cluster")]
    Foreign,
    /// It names somebody who is no member in it.
    #[error("it names somebody who is no member in it")]
    Stranger,
    /// A member of it was removed.
    #[error("a member of it was removed")]
    Removed,
    /// There are more members, tombstones or leases than may be.
    #[error(
        "there are more than {MEMBERS_MAX} members, {TOMBSTONES_MAX} tombstones or \
         {WARRANTS_MAX} leases"
    )]
    TooMany,
    /// A member has a status that none can have.
    #[error("a member has a status that none can have")]
    Status,
}

#[cfg(test)]
mod tests;
