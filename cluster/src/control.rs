//! What runs on the control core of a node in a cluster: its machines, put together.
//!
//! The first byte of a body names the room it is for: 1 to 31 is membership. Whatever follows from
//! one machine and concerns another is passed on within the same call, so a driver sees one alone.

use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId};
use ringmesh_proto::time::Instant;

use crate::context::Context;
use crate::membership::command::{Command, CommandError};
use crate::membership::machine::{ContactFailure, Identity, Membership};
use crate::membership::member::Profile;
use crate::membership::memory::Memory;
use crate::membership::message;
use crate::membership::settings::{Settings, SettingsError};
use crate::membership::topology::Topology;

/// What runs on the control core of a node in a cluster.
#[derive(Debug)]
pub struct Control {
    membership: Membership,
    unknown: u64,
}

impl Control {
    /// The machines of the node that `own` describes; `memory` is what the last process start at
    /// its address wrote down.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings cannot be.
    pub fn new(
        settings: Settings,
        own: Profile,
        memory: Option<Memory>,
    ) -> Result<Self, SettingsError> {
        let membership = Membership::new(settings, own, memory)?;
        let unknown = 0;
        Ok(Self {
            membership,
            unknown,
        })
    }

    /// The body of a frame of kind `cluster` came over the control link with that node.
    pub fn handle_message(&mut self, cx: &mut Context<'_>, from: &NodeId, body: &[u8]) {
        match body.first() {
            Some(tag) if message::is_of_membership(*tag) => {
                self.membership.handle_message(cx, from, body);
            }
            _ => self.unknown += 1,
        }
    }

    /// Nobody answered at an address that was to be contacted.
    pub fn handle_contact_failed(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        why: ContactFailure,
    ) {
        self.membership.handle_contact_failed(cx, address, why);
    }

    /// What a fresh dial found at an address that was to be identified.
    pub fn handle_identified(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        identity: Identity,
    ) {
        self.membership.handle_identified(cx, address, identity);
    }

    /// The link with that node was refused because it has quarantined this process start. From a
    /// member that means: this node was removed.
    pub fn handle_quarantined(&mut self, cx: &mut Context<'_>, by: &NodeId) {
        self.membership.handle_removed_by(cx, by);
    }

    /// The user asks something.
    ///
    /// # Errors
    /// [`CommandError`]; nothing changed.
    pub fn handle_command(
        &mut self,
        cx: &mut Context<'_>,
        command: Command,
    ) -> Result<(), CommandError> {
        self.membership.handle_command(cx, command)
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.membership.handle_timeout(cx);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.membership.poll_timeout()
    }

    /// Who is in the cluster, as this node knows.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The cluster as the cores of this node see it.
    pub fn topology(&self) -> &Arc<Topology> {
        self.membership.topology()
    }

    /// Bodies for rooms that this version does not have.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}
