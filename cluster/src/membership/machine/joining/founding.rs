//! When a node founds a cluster, and lets others do so.

use ringmesh_proto::address::Address;
use ringmesh_proto::time::Instant;

use super::{Contact, Membership, Phase, Seeking};

impl Membership {
    /// Whether this node may found a cluster, because nobody it asked is in one.
    ///
    /// Without memory a seed that is not there, or is silent for too long, is no hindrance. With
    /// memory, more than half of those remembered have to agree.
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
        let is_late = now - seeking.began >= self.settings.seed_timeout;
        let is_settled = |contact: &Contact| fresh(contact).is_some() || self.is_absent(contact);
        let mut seeds = contacts().filter(|(_, it)| it.is_seed);
        if contacts().any(goes_first) || !(is_late || seeds.all(|(_, it)| is_settled(it))) {
            return false;
        }
        self.do_most_remembered(seeking, |contact| {
            fresh(contact).is_some_and(|it| it.consent)
        })
    }

    /// Whether more than half of those that this node remembers say that they are in no cluster.
    /// Whoever remembers others may know better than the asker who was a member last: so nobody
    /// founds a cluster beside one that shrank since the asker was in it.
    pub(in super::super) fn knows_of_no_cluster(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => {
                self.do_most_remembered(seeking, |contact| contact.fresh(now).is_some())
            }
            _ => self.memory.is_none(),
        }
    }

    fn do_most_remembered(&self, seeking: &Seeking, agrees: impl Fn(&Contact) -> bool) -> bool {
        let Some(memory) = &self.memory else {
            return true;
        };
        let contacts = seeking.contacts.iter();
        let remembered = contacts.filter(|(_, it)| it.is_remembered);
        let (agreed, others) = remembered.fold((0, 0), |(agreed, all), (_, it)| {
            (agreed + usize::from(agrees(it)), all + 1)
        });
        let own = &self.own.node.address;
        let itself = usize::from(memory.members.iter().any(|it| it.address == *own));
        let all = others + itself;
        all == 0 || (agreed + itself) * 2 > all
    }

    fn is_absent(&self, contact: &Contact) -> bool {
        contact
            .refusals
            .is_some_and(|(count, _)| count >= self.settings.refusals)
    }
}
