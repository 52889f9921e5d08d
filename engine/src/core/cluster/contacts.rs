//! Words for whoever answers at an address, by nodes that seek their cluster; and who is there.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::membership::machine::{ContactFailure, Identity};
use ringmesh_proto::address::Address;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::lane::Lane;

use super::super::link::Link;
use super::super::peers::PeerIndex;
use super::super::{CONTROL_CORE, Core};

/// Addresses at which somebody is being looked for: seeds, and members that were remembered.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<Address, Wanted>);

/// What is wanted of whoever is there.
#[derive(Debug, Default)]
struct Wanted {
    /// The latest word for it.
    word: Option<Arc<[u8]>>,
    /// Its name.
    is_to_identify: bool,
}

impl Core {
    /// Sends a word to whoever answers at an address, or has it dialled.
    pub(super) fn contact(self: &Rc<Self>, address: Address, word: Arc<[u8]>) {
        if let Some(link) = self.control_link_at(&address)
            && !link.is_lost()
        {
            return self.send_word_to_member(&link, &word);
        }
        self.look_for(address, |wanted| wanted.word = Some(word));
    }

    /// Finds out which process start answers at an address.
    ///
    /// Who has a link was found there: a newcomer is let in only when the address it claims was
    /// dialled and vouches for it, and when no other start there shows life.
    pub(super) fn identify(self: &Rc<Self>, address: Address) {
        match self.control_link_at(&address) {
            Some(link) if !link.is_lost() => self.identified(&address, Identity::Found(link.uid)),
            _ => self.look_for(address, |wanted| wanted.is_to_identify = true),
        }
    }

    fn look_for(self: &Rc<Self>, address: Address, want: impl FnOnce(&mut Wanted)) {
        if self.is_closing() {
            return;
        }
        let dialled = self.peer_on(&address, (CONTROL_CORE, Lane::Control));
        let mut contacts = self.cluster.contacts.borrow_mut();
        want(contacts.0.entry(address.clone()).or_default());
        drop(contacts);
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
        let wanted = self
            .cluster
            .contacts
            .borrow_mut()
            .0
            .remove(&link.node.address);
        let Some(wanted) = wanted else {
            return;
        };
        if let Some(word) = wanted.word {
            self.send_word_to_member(link, &word);
        }
        if wanted.is_to_identify {
            self.identified(&link.node.address, Identity::Found(link.uid));
        }
    }

    /// A dial of a control core came to nothing.
    pub(in super::super) fn cluster_dial_failed(
        self: &Rc<Self>,
        peer: PeerIndex,
        reason: CloseReason,
    ) {
        if self.cluster.contacts.borrow().0.is_empty() {
            return;
        }
        let why = match reason {
            CloseReason::DialRefused => ContactFailure::Refused,
            CloseReason::Refused(_) => ContactFailure::Rejected,
            _ => ContactFailure::Silent,
        };
        let is_control = self.peers.borrow_mut().at(peer).lane == Lane::Control;
        if let Some(address) = self.address_of_peer(peer).filter(|_| is_control) {
            self.contact_failed(&address, why);
        }
    }

    fn contact_failed(&self, address: &Address, why: ContactFailure) {
        let wanted = self.cluster.contacts.borrow_mut().0.remove(address);
        let Some(wanted) = wanted else {
            return;
        };
        if wanted.word.is_some() {
            self.tell_cluster(|machine, cx| machine.handle_contact_failed(cx, address, why));
        }
        if wanted.is_to_identify {
            let identity = match why {
                ContactFailure::Refused => Identity::Refused,
                _ => Identity::Silent,
            };
            self.identified(address, identity);
        }
    }

    fn identified(&self, address: &Address, identity: Identity) {
        self.tell_cluster(|machine, cx| machine.handle_identified(cx, address, identity));
    }

    pub(super) fn control_link_at(&self, address: &Address) -> Option<Rc<Link>> {
        let mut peers = self.peers.borrow_mut();
        let node = peers.number(address)?;
        let peer = peers.find(node, CONTROL_CORE, Lane::Control)?;
        peers.at(peer).link.clone()
    }
}
