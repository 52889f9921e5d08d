//! The cluster as every core of a node reads it: an immutable value, with versions that only rise.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_proto::address::{Address, NodeId, Uid};

use super::convergence::{Part, leader_among};
use super::data_centres::out_of_reach;
use super::event::Event;
use super::gossip::{ClusterId, Gossip};
use super::member::Member;
use super::reachability::Reason;
use super::status::Status;

/// The cluster, as a node knew it at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    pub(super) version: u64,
    pub(super) events: u64,
    own: NodeId,
    data_centre: Box<str>,
    pub(super) cluster: Option<ClusterId>,
    /// By process start.
    members: Vec<Member>,
    unreachable: BTreeSet<Uid>,
    unreachable_data_centres: BTreeSet<Box<str>>,
    leader: Option<Uid>,
    role_leaders: BTreeMap<Box<str>, Uid>,
    pub(super) has_quorum: bool,
}

impl Topology {
    /// That of a node which is in no cluster.
    pub fn empty(own: NodeId, data_centre: &str) -> Self {
        Self {
            version: 0,
            events: 0,
            own,
            data_centre: data_centre.into(),
            cluster: None,
            members: Vec::new(),
            unreachable: BTreeSet::new(),
            unreachable_data_centres: BTreeSet::new(),
            leader: None,
            role_leaders: BTreeMap::new(),
            has_quorum: false,
        }
    }

    /// What follows `before` as the view of its node is `gossip`, in which some watch other data
    /// centres, or are watched there, only since a while.
    pub(super) fn after(before: &Self, gossip: &Gossip, is_new: impl Fn(Uid) -> bool) -> Self {
        let part = Part::new(gossip, &before.data_centre);
        let (own, accused) = (before.own.uid, part.accused());
        // Who was leaving in good order and has the next process at its address already has left:
        // it is only to be removed.
        let has_gone = |it: &Member| {
            let mut records = part.accusers(it.uid());
            it.status() == Status::Exiting
                && records.all(|(_, record)| record.reason == Reason::Restarted)
        };
        let is_theirs =
            |it: &&Member| it.uid() != own && accused.contains(&it.uid()) && !has_gone(it);
        let is_here = |it: &&Member| it.roles().data_centre() == &*before.data_centre;
        let unreachable = gossip.members().filter(is_theirs).filter(is_here);
        let uid = |member: Option<&Member>| member.map(Member::uid);
        let leader_of = |role: &str| {
            let leader = leader_among(part.members(), own, &accused, |it| it.roles().has(role));
            uid(leader).map(|uid| (Box::from(role), uid))
        };
        let roles = part.members().flat_map(|it| it.roles().iter());
        let roles: BTreeSet<&str> = roles.filter(|role| !role.starts_with("dc-")).collect();
        Self {
            version: before.version,
            events: before.events,
            own: before.own.clone(),
            data_centre: before.data_centre.clone(),
            cluster: Some(gossip.cluster()),
            members: gossip.members().cloned().collect(),
            unreachable: unreachable.map(Member::uid).collect(),
            unreachable_data_centres: out_of_reach(
                gossip,
                (&part, own),
                &before.unreachable_data_centres,
                is_new,
            ),
            leader: uid(leader_among(part.members(), own, &accused, |_| true)),
            role_leaders: roles.into_iter().filter_map(leader_of).collect(),
            has_quorum: before.has_quorum,
        }
    }

    /// Raised with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number of the last event it holds: whoever begins with it goes on with the next one.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The node it is of.
    pub fn own(&self) -> &NodeId {
        &self.own
    }

    /// The data centre that this node is in.
    pub fn data_centre(&self) -> &str {
        &self.data_centre
    }

    /// Which cluster, if any.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// All members, by process start.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A member.
    pub fn member(&self, uid: Uid) -> Option<&Member> {
        let place = self.members.binary_search_by_key(&uid, Member::uid);
        place.ok().and_then(|place| self.members.get(place))
    }

    /// The member at an address: of two process starts, the one that counts.
    pub fn member_at(&self, address: &Address) -> Option<&Member> {
        let members = self.members.iter().filter(|it| it.address() == address);
        members.min_by_key(|it| it.status().is_departing())
    }

    /// This node as a member.
    pub fn self_member(&self) -> Option<&Member> {
        self.member(self.own.uid)
    }

    /// Where this node is in its life.
    pub fn own_status(&self) -> Option<Status> {
        self.self_member().map(Member::status)
    }

    /// Whether somebody says that it cannot reach a member, both of this data centre. Of others
    /// there are the [data centres](Self::unreachable_data_centres) that cannot be reached.
    pub fn is_unreachable(&self, uid: Uid) -> bool {
        self.unreachable.contains(&uid)
    }

    /// The data centres that cannot be reached from this one, as all say here that watch them.
    pub fn unreachable_data_centres(&self) -> impl ExactSizeIterator<Item = &str> {
        self.unreachable_data_centres.iter().map(|name| &**name)
    }

    /// Who leads.
    pub fn leader(&self) -> Option<&Member> {
        self.leader.and_then(|uid| self.member(uid))
    }

    /// Who leads those with a role.
    pub fn role_leader(&self, role: &str) -> Option<&Member> {
        let uid = self.role_leaders.get(role)?;
        self.member(*uid)
    }

    /// Whether this node sees a quorum of its cluster. What must run once stops without.
    pub fn has_quorum(&self) -> bool {
        self.has_quorum
    }

    /// What it becomes by an event: whoever follows the events from here on has the same state as
    /// the node, but for versions and the quorum, of which no event tells.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Founded { cluster } | Event::Welcomed { cluster, .. } => {
                self.cluster = Some(*cluster);
            }
            Event::Member(member) => self.insert(member.clone()),
            Event::Removed { node, .. } => self.remove(node.uid),
            Event::SelfRemoved { .. } => self.clear(),
            Event::Unreachable { node, .. } => {
                self.unreachable.insert(node.uid);
            }
            Event::Reachable { node } => {
                self.unreachable.remove(&node.uid);
            }
            Event::DataCentreUnreachable { name } => {
                self.unreachable_data_centres.insert(name.clone());
            }
            Event::DataCentreReachable { name } => {
                self.unreachable_data_centres.remove(name);
            }
            Event::Leader(node) => self.leader = node.as_ref().map(|it| it.uid),
            Event::RoleLeader { role, node } => {
                match node {
                    Some(node) => self.role_leaders.insert(role.clone(), node.uid),
                    None => self.role_leaders.remove(role),
                };
            }
            _ => {}
        }
    }

    /// Whether the events between the two say all: they differ in versions and the quorum at most.
    pub fn is_same_state(&self, other: &Self) -> bool {
        let plain = |it: &Self| Self {
            version: 0,
            events: 0,
            has_quorum: false,
            ..it.clone()
        };
        plain(self) == plain(other)
    }

    pub(super) fn clear(&mut self) {
        let empty = Self::empty(self.own.clone(), &self.data_centre);
        let (version, events) = (self.version, self.events);
        *self = Self {
            version,
            events,
            ..empty
        };
    }

    pub(super) fn role_leaders(&self) -> &BTreeMap<Box<str>, Uid> {
        &self.role_leaders
    }

    pub(super) fn unreachable(&self) -> &BTreeSet<Uid> {
        &self.unreachable
    }

    pub(super) fn dark_data_centres(&self) -> &BTreeSet<Box<str>> {
        &self.unreachable_data_centres
    }

    fn insert(&mut self, member: Member) {
        match self
            .members
            .binary_search_by_key(&member.uid(), Member::uid)
        {
            Ok(place) => self.members[place] = member,
            Err(place) => self.members.insert(place, member),
        }
    }

    fn remove(&mut self, uid: Uid) {
        self.members.retain(|it| it.uid() != uid);
        self.unreachable.remove(&uid);
    }
}
