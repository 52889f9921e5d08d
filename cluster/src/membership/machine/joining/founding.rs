//! When a node founds a cluster.

use ringmesh_proto::address::Address;
use ringmesh_proto::time::Instant;

use super::{Contact, Membership, Phase, Seeking};
use crate::membership::memory::Word;

impl Membership {
    /// Whether this node may found a cluster, because nobody it asked is in one.
    ///
    /// Without memory a seed that is not there, or is silent for too long, is no hindrance, unless
    /// it said that it is in a cluster. Where a cluster is remembered, by this node or by one that
    /// answered, more than half of those that decide in it have to agree, or all of them
    /// ([`memory`](crate::membership::memory)).
    pub(super) fn is_alone(&self, now: Instant) -> bool {
        let Phase::Seeking(seeking) = &self.phase else {
            return false;
        };
        if !seeking.may_found || seeking.target.is_some() || self.has_promised(now) {
            return false;
        }
        let contacts = || seeking.contacts.iter();
        let fresh = |contact: &Contact| contact.fresh(now);
        let goes_first = |(address, contact): (&Address, &Contact)| {
            let is_candidate = fresh(contact).is_some_and(|it| it.candidate);
            is_candidate && *address < self.own.node.address
        };
        // Whoever says so is there, and may be in a cluster. Whoever was in one when it was heard
        // is, until a process at its address says otherwise, or there is none any more.
        let may_be_member = |it: &Contact| it.is_member && !self.is_absent(it);
        if contacts().any(|(_, it)| it.says_in_use(now) || may_be_member(it)) {
            return false;
        }
        let is_late = now - seeking.began >= self.settings.seed_timeout;
        let is_settled = |contact: &Contact| fresh(contact).is_some() || self.is_absent(contact);
        let mut seeds = contacts().filter(|(_, it)| it.is_seed);
        if contacts().any(goes_first) || !(is_late || seeds.all(|(_, it)| is_settled(it))) {
            return false;
        }
        // Who is remembered, and by whom: only what differs from the own memory is looked at.
        let told = contacts().filter(|(_, it)| fresh(it).is_some());
        let told = told.filter_map(|(_, it)| it.told.as_ref());
        let mut memories = self.memory.iter().chain(told);
        memories.all(|memory| memory.allows(|address| self.word(seeking, now, address)))
    }

    /// What whoever is at an address said, this node included.
    fn word(&self, seeking: &Seeking, now: Instant, address: &Address) -> Word {
        let said = |remembers| match remembers {
            true => Word::Agrees,
            false => Word::Forgot,
        };
        if *address == self.own.node.address {
            return said(self.memory.is_some());
        }
        let contact = seeking.contacts.get(address);
        let answer = contact.and_then(|it| it.fresh(now)).filter(|it| it.consent);
        answer.map_or(Word::Silent, |it| said(it.remembers))
    }

    fn is_absent(&self, contact: &Contact) -> bool {
        contact
            .refusals
            .is_some_and(|(count, _)| count >= self.settings.refusals)
    }
}
