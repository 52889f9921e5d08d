//! A member of the cluster.

use std::cmp::Ordering;
use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId, Uid};

use super::roles::Roles;
use super::status::Status;
use super::version::AppVersion;

/// What a node says of itself when it joins. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The node.
    pub node: NodeId,
    /// What it is for.
    pub roles: Roles,
    /// The version of the program that runs on it.
    pub app_version: AppVersion,
}

/// When a member became one in full: the lower, the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpNumber(pub u32);

impl UpNumber {
    /// Of whoever has never been up: younger than all others.
    pub const NONE: Self = Self(u32::MAX);

    /// Whether there is one.
    pub fn is_given(self) -> bool {
        self != Self::NONE
    }
}

/// A node of the cluster, as an observer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    profile: Arc<Profile>,
    status: Status,
    up_number: UpNumber,
}

impl Member {
    /// A member that was let in right now.
    pub fn joining(profile: Arc<Profile>) -> Self {
        Self::new(profile, Status::Joining, UpNumber::NONE)
    }

    /// A member as another node describes it.
    pub fn new(profile: Arc<Profile>, status: Status, up_number: UpNumber) -> Self {
        Self {
            profile,
            status,
            up_number,
        }
    }

    /// What it said of itself.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The node.
    pub fn node(&self) -> &NodeId {
        &self.profile.node
    }

    /// Its process start.
    pub fn uid(&self) -> Uid {
        self.profile.node.uid
    }

    /// Where it is dialled.
    pub fn address(&self) -> &Address {
        &self.profile.node.address
    }

    /// What it is for.
    pub fn roles(&self) -> &Roles {
        &self.profile.roles
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The word for where it is in its life.
    pub const fn status_label(&self) -> &'static str {
        self.status.label()
    }

    /// When it became a member in full.
    pub fn up_number(&self) -> UpNumber {
        self.up_number
    }

    /// Moves on in its life.
    ///
    /// # Panics
    /// If nothing may become that of what it is: whoever decides looks first.
    pub fn become_next(&mut self, next: Status) {
        let from = self.status;
        assert!(from.may_become(next), "{from} may not become {next}");
        self.status = next;
    }

    /// Becomes a member in full, and gets its number.
    ///
    /// # Panics
    /// As [`become_next`](Self::become_next).
    pub fn become_up(&mut self, up_number: UpNumber) {
        self.become_next(Status::Up);
        self.up_number = self.up_number.min(up_number);
    }

    /// Takes over what another view of the same member knows beyond this one.
    pub fn merge(&mut self, other: &Self) {
        self.status = self.status.max(other.status);
        self.up_number = self.up_number.min(other.up_number);
    }

    /// Orders by age, the oldest first: by number, and by address among those without.
    pub fn by_age(&self, other: &Self) -> Ordering {
        let by_number = self.up_number.cmp(&other.up_number);
        by_number.then_with(|| self.by_address(other))
    }

    /// Orders by address, and by process start at one address.
    pub fn by_address(&self, other: &Self) -> Ordering {
        self.node().cmp(other.node())
    }
}
