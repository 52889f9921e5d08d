//! What happens in a cluster, for those who follow it.
//!
//! Events are numbered without a gap. They are what changed between two states
//! ([`difference`]), so a state and all events behind it give the next one.

use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};

use super::convergence::Part;
use super::gossip::{ClusterId, Gossip};
use super::member::Member;
use super::reachability::Reason;
use super::status::Status;
use super::topology::Topology;
use crate::lease::{LeaseName, Token};
use crate::resolver::Decision;

/// An event with its number: each is one above the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This node founded a cluster.
    Founded {
        /// Its id.
        cluster: ClusterId,
    },
    /// This node was let into a cluster.
    Welcomed {
        /// Its id.
        cluster: ClusterId,
        /// By whom.
        by: NodeId,
    },
    /// A member is new, or moved on in its life. What lies between may have been skipped.
    Member(Member),
    /// A member was removed.
    Removed {
        /// Who.
        node: NodeId,
        /// Exiting if it left, down if it was given up.
        previous: Status,
    },
    /// A member of this data centre cannot be reached by somebody.
    Unreachable {
        /// Who.
        node: NodeId,
        /// Why: the gravest of what is said.
        reason: Reason,
        /// Who says so.
        by: Vec<Uid>,
    },
    /// All reach that member again.
    Reachable {
        /// Who.
        node: NodeId,
    },
    /// Nobody who speaks for a data centre can be reached, by any of those who speak for this one.
    /// Nobody is given up for that: the members of one that is gone for good stay until they are
    /// [down](super::Command::Down) by command, all of them.
    DataCentreUnreachable {
        /// Its name.
        name: Box<str>,
    },
    /// Somebody who does can be reached again, or nobody is in it any more.
    DataCentreReachable {
        /// Its name.
        name: Box<str>,
    },
    /// Another member leads, or none.
    Leader(Option<NodeId>),
    /// Another member leads those with a role, or none.
    RoleLeader {
        /// The role.
        role: Box<str>,
        /// Who.
        node: Option<NodeId>,
    },
    /// A node is in another cluster, though it and this one know of each other.
    ForeignCluster {
        /// Who.
        node: NodeId,
        /// Of which.
        cluster: ClusterId,
    },
    /// This node cannot join: its configuration differs from the cluster's.
    Incompatible {
        /// Who said so.
        by: NodeId,
        /// In what.
        names: Vec<Box<str>>,
    },
    /// This node joins although its configuration differs from that of a member: it was told not to
    /// [mind](super::Settings::enforces_configuration).
    ConfigurationDiffers {
        /// The member.
        by: NodeId,
        /// In what.
        names: Vec<Box<str>>,
    },
    /// This node cannot join: another process answers at its address. It comes when all that were
    /// asked and answer have said so for three seconds, or when a member that is to let it in has
    /// links with both.
    AddressInUse {
        /// Who said so.
        by: Vec<Address>,
    },
    /// This node is in no cluster yet, and waits for the answers of others.
    JoinWaiting {
        /// Whose.
        silent: Vec<Address>,
    },
    /// Which side goes on was decided, and who goes down by that.
    Decision(Arc<Decision>),
    /// This node was away itself, and accuses nobody for a while.
    Stalled {
        /// For how long.
        gap: Duration,
    },
    /// The store of the lease that decides which side goes on gives smaller tokens than before: it
    /// is another one, or was restored from a copy. No side can go on by it, until its tokens have
    /// grown beyond what is known.
    TokensFell {
        /// The lease.
        lease: LeaseName,
        /// The last token that the members know.
        known: Token,
        /// The store's.
        last: Token,
    },
    /// What this node is to remember of its cluster could not be written down, or is not yet, after
    /// a while: a restart may find less. It is tried on.
    StateUnwritten {
        /// Why.
        why: Box<str>,
    },
    /// This node was removed, or left.
    SelfRemoved {
        /// What it was before.
        previous: Status,
    },
    /// This node has ended its part in the cluster: no event follows.
    Shutdown,
}

impl Event {
    /// The word for it.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Founded { .. } => "founded",
            Self::Welcomed { .. } => "welcomed",
            Self::Member(member) => member.status_label(),
            Self::Removed { .. } => "removed",
            Self::Unreachable { .. } => "unreachable",
            Self::Reachable { .. } => "reachable",
            Self::DataCentreUnreachable { .. } => "dc_unreachable",
            Self::DataCentreReachable { .. } => "dc_reachable",
            Self::Leader(_) => "leader",
            Self::RoleLeader { .. } => "role_leader",
            Self::ForeignCluster { .. } => "foreign_cluster",
            Self::Incompatible { .. } => "incompatible",
            Self::ConfigurationDiffers { .. } => "configuration_differs",
            Self::AddressInUse { .. } => "address_in_use",
            Self::JoinWaiting { .. } => "join_waiting",
            Self::Decision(_) => "decision",
            Self::Stalled { .. } => "stalled",
            Self::TokensFell { .. } => "tokens_fell",
            Self::StateUnwritten { .. } => "state_unwritten",
            Self::SelfRemoved { .. } => "self_removed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What happened between two states of a node, of which `view` is the later one's: first who was
/// removed, then how members moved on, who is reached and who is not, and who leads.
pub fn difference(before: &Topology, after: &Topology, view: &Gossip) -> Vec<Event> {
    let mut events = Vec::new();
    for gone in before.members() {
        if after.member(gone.uid()).is_none() {
            let tombstone = view.tombstone(gone.uid());
            let previous = tombstone.map_or_else(|| gone.status(), |it| it.previous);
            let node = gone.node().clone();
            events.push(Event::Removed { node, previous });
        }
    }
    for member in after.members() {
        if before.member(member.uid()) != Some(member) {
            events.push(Event::Member(member.clone()));
        }
    }
    reachability(before, after, view, &mut events);
    if before.leader().map(Member::uid) != after.leader().map(Member::uid) {
        events.push(Event::Leader(after.leader().map(|it| it.node().clone())));
    }
    role_leaders(before, after, &mut events);
    events
}

fn reachability(before: &Topology, after: &Topology, view: &Gossip, events: &mut Vec<Event>) {
    let (old, new) = (before.unreachable(), after.unreachable());
    // What other data centres say of a member counts for nothing here.
    let part = Part::new(view, after.data_centre());
    for uid in new.difference(old) {
        let Some(member) = after.member(*uid) else {
            continue;
        };
        let records = || part.accusers(*uid);
        events.push(Event::Unreachable {
            node: member.node().clone(),
            reason: records()
                .map(|(_, it)| it.reason)
                .max()
                .unwrap_or(Reason::Silence),
            by: records().map(|(observer, _)| observer).collect(),
        });
    }
    for uid in old.difference(new) {
        // Who was removed was said to be so.
        if let Some(member) = after.member(*uid) {
            let node = member.node().clone();
            events.push(Event::Reachable { node });
        }
    }
    let (old, new) = (before.dark_data_centres(), after.dark_data_centres());
    let gone = new.difference(old).cloned();
    events.extend(gone.map(|name| Event::DataCentreUnreachable { name }));
    let back = old.difference(new).cloned();
    events.extend(back.map(|name| Event::DataCentreReachable { name }));
}

fn role_leaders(before: &Topology, after: &Topology, events: &mut Vec<Event>) {
    let (old, new) = (before.role_leaders(), after.role_leaders());
    for (role, uid) in new {
        if old.get(role) != Some(uid) {
            let node = after.member(*uid).map(|it| it.node().clone());
            let role = role.clone();
            events.push(Event::RoleLeader { role, node });
        }
    }
    for role in old.keys().filter(|role| !new.contains_key(*role)) {
        let (role, node) = (role.clone(), None);
        events.push(Event::RoleLeader { role, node });
    }
}
