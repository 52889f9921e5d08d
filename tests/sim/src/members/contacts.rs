//! Who answers at an address, and who does not.

use std::sync::Arc;

use ringmesh_cluster::evidence::{Ending, Evidence};
use ringmesh_cluster::membership::machine::{ContactFailure, Identity};
use ringmesh_proto::address::{Address, NodeId};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::quarantine::By;

use super::{Cx, Participant, Told};
use crate::machine::Act;

impl Participant {
    /// Has a word said to whoever is at an address, which is dialled for it.
    pub(super) fn look_for(&mut self, cx: &mut Cx<'_>, address: Address, word: Arc<[u8]>) {
        cx.out.push(Act::DialOnce(address.clone()));
        self.contacts.insert(address, word);
    }

    /// Somebody answers at an address.
    pub(super) fn found(&mut self, cx: &mut Cx<'_>, peer: &NodeId) {
        self.links.insert(peer.address.clone(), peer.uid);
        let evidence = self.evidence.entry(peer.address.clone());
        evidence.or_default().handle_connected(peer.uid);
        if let Some(word) = self.contacts.remove(&peer.address) {
            cx.out.send(peer.clone(), word.to_vec());
        }
    }

    /// A link has no connection any more: it lost that, rests, or is over.
    pub(super) fn parted(&mut self, cx: &mut Cx<'_>, peer: &NodeId, reason: CloseReason) {
        let ending = match reason {
            CloseReason::PeerClosed | CloseReason::Broken => Ending::Abrupt,
            _ => Ending::InOrder,
        };
        let evidence = self.evidence.entry(peer.address.clone()).or_default();
        if evidence.handle_disconnected(peer.uid, ending) {
            // A fresh dial tells whether it has crashed.
            cx.out.push(Act::DialOnce(peer.address.clone()));
        }
    }

    /// Nobody answers.
    pub(super) fn not_found(&mut self, cx: &mut Cx<'_>, address: &Address, reason: CloseReason) {
        if reason.quarantined_by() == Some(By::Peer) {
            self.call(cx, |it, inner| it.handle_quarantined_at(inner, address));
        }
        let evidence = self.evidence.get(address);
        if reason == CloseReason::DialRefused
            && let Some(uid) = evidence.and_then(Evidence::handle_refused)
        {
            self.call(cx, |control, inner| control.handle_crashed(inner, uid));
        }
        if self.contacts.remove(address).is_none() {
            return;
        }
        let why = match reason {
            CloseReason::DialRefused => ContactFailure::Refused,
            CloseReason::Refused(RefuseReason::AddressInUse) => ContactFailure::AddressInUse,
            CloseReason::Refused(_) => ContactFailure::Rejected,
            _ => ContactFailure::Silent,
        };
        self.call(cx, |it, inner| {
            it.handle_contact_failed(inner, address, why)
        });
    }

    pub(super) fn identified(&mut self, cx: &mut Cx<'_>, address: &Address, identity: Identity) {
        self.told = Told::Identity(address.clone());
        self.call(cx, |control, inner| {
            control.handle_identified(inner, address, identity);
        });
    }
}
