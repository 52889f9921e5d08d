//! Words for whoever answers at an address, by nodes that seek their cluster.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::membership::machine::ContactFailure;
use ringmesh_proto::address::Address;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::quarantine::By;

use super::super::link::Link;
use super::super::peers::PeerIndex;
use super::super::{CONTROL_CORE, Core};

/// Addresses at which somebody is being looked for, seeds and members that were remembered, and the
/// latest word for whoever is there.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<Address, Arc<[u8]>>);

impl Contacts {
    pub(super) fn are_sought(&self, address: &Address) -> bool {
        self.0.contains_key(address)
    }
}

impl Core {
    /// Sends a word to whoever answers at an address, or has it dialled.
    pub(super) fn contact(self: &Rc<Self>, address: Address, word: Arc<[u8]>) {
        if let Some(link) = self.control_link_at(&address)
            && !link.is_lost()
        {
            return self.send_word_to_member(&link, &word);
        }
        if self.is_closing() {
            return;
        }
        let dialled = self.peer_on(&address, (CONTROL_CORE, Lane::Control));
        {
            let mut contacts = self.cluster.contacts.borrow_mut();
            contacts.0.insert(address.clone(), word);
        }
        match dialled {
            Ok(peer) => {
                self.associate(peer, |association, cx| {
                    association.handle_resume_wanted(cx);
                    association.handle_dial_once(cx);
                });
            }
            Err(_) => self.contact_failed(&address, ContactFailure::Silent),
        }
    }

    /// Somebody answers at an address: takes the word that waits for it.
    pub(super) fn contact_found(self: &Rc<Self>, link: &Rc<Link>) {
        let address = &link.node.address;
        let word = { self.cluster.contacts.borrow_mut() }.0.remove(address);
        if let Some(word) = word {
            self.send_word_to_member(link, &word);
        }
    }

    /// A dial of a control core came to nothing.
    pub(in super::super) fn cluster_dial_failed(
        self: &Rc<Self>,
        peer: PeerIndex,
        reason: CloseReason,
    ) {
        if reason.quarantined_by() == Some(By::Peer)
            && let Some(address) = self.address_of_peer(peer)
        {
            self.tell_cluster(|machine, cx| machine.handle_quarantined_at(cx, &address));
        }
        let is_wanted_by_none = self.cluster.contacts.borrow().0.is_empty();
        if is_wanted_by_none && self.cluster.posts.borrow().is_empty() {
            return;
        }
        let why = match reason {
            CloseReason::DialRefused => ContactFailure::Refused,
            // Its own dial goes first, and brings the link.
            CloseReason::Refused(RefuseReason::Superseded) => return,
            CloseReason::Refused(RefuseReason::AddressInUse) => ContactFailure::AddressInUse,
            CloseReason::Refused(_) => ContactFailure::Rejected,
            _ => ContactFailure::Silent,
        };
        let is_control = self.peers.borrow_mut().at(peer).lane == Lane::Control;
        if let Some(address) = self.address_of_peer(peer).filter(|_| is_control) {
            self.contact_failed(&address, why);
            self.forget_strangers(&address, None);
        }
    }

    fn contact_failed(&self, address: &Address, why: ContactFailure) {
        let word = { self.cluster.contacts.borrow_mut() }.0.remove(address);
        if word.is_some() {
            self.tell_cluster(|machine, cx| machine.handle_contact_failed(cx, address, why));
        }
    }

    pub(super) fn control_link_at(&self, address: &Address) -> Option<Rc<Link>> {
        let mut peers = self.peers.borrow_mut();
        let node = peers.number(address)?;
        let peer = peers.find(node, CONTROL_CORE, Lane::Control)?;
        peers.at(peer).link.clone()
    }
}
