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

/// What is wanted of whoever is at an address.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The latest word for it.
    pub(super) word: Option<Arc<[u8]>>,
    /// Its name.
    pub(super) is_to_identify: bool,
}

impl Participant {
    pub(super) fn look_for(
        &mut self,
        cx: &mut Cx<'_>,
        address: Address,
        want: impl FnOnce(&mut Wanted),
    ) {
        cx.out.push(Act::DialOnce(address.clone()));
        want(self.contacts.entry(address).or_default());
    }

    /// Somebody answers at an address.
    pub(super) fn found(&mut self, cx: &mut Cx<'_>, peer: &NodeId) {
        self.links.insert(peer.address.clone(), peer.uid);
        let evidence = self.evidence.entry(peer.address.clone());
        evidence.or_default().handle_connected(peer.uid);
        let Some(wanted) = self.contacts.remove(&peer.address) else {
            return;
        };
        if let Some(word) = wanted.word {
            cx.out.send(peer.clone(), word.to_vec());
        }
        if wanted.is_to_identify {
            self.identified(cx, &peer.address, Identity::Found(peer.uid));
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
        let Some(wanted) = self.contacts.remove(address) else {
            return;
        };
        let why = match reason {
            CloseReason::DialRefused => ContactFailure::Refused,
            CloseReason::Refused(RefuseReason::AddressInUse) => ContactFailure::AddressInUse,
            CloseReason::Refused(_) => ContactFailure::Rejected,
            _ => ContactFailure::Silent,
        };
        if wanted.word.is_some() {
            self.call(cx, |it, inner| {
                it.handle_contact_failed(inner, address, why)
            });
        }
        if wanted.is_to_identify {
            let identity = match why {
                ContactFailure::Refused => Identity::Refused,
                _ => Identity::Silent,
            };
            self.identified(cx, address, identity);
        }
    }

    pub(super) fn identified(&mut self, cx: &mut Cx<'_>, address: &Address, identity: Identity) {
        self.told = Told::Identity(address.clone());
        self.call(cx, |control, inner| {
            control.handle_identified(inner, address, identity);
        });
    }
}
