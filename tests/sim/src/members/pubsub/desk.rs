//! The registry of a node, as its cores see it: what the control core does for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringmesh_cluster::pubsub::{AnnouncementId, Announcer};
use ringmesh_cluster::registry::{
    Acknowledgement, EntryId, Extent, Publication, Snapshot, Standing,
};
use ringmesh_proto::address::CoreId;

use super::journal::{Entry, Exercise};
use super::publishing::owners;
use super::{Begun, Confirm, Parcel, Room};
use crate::machine::{Act, Outbox};

/// What the control core has besides.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) announcer: Announcer,
    last_ticket: u64,
    /// What waits to be confirmed, and how, by ticket.
    waiting: BTreeMap<u64, (Begun, Extent)>,
    /// What not all cores have read.
    pub(super) unread: VecDeque<Arc<Snapshot>>,
}

impl Room {
    /// The registry has something to show: all cores read it, the control core now and the others
    /// in their next turn.
    pub(in crate::members) fn publish_registry<E>(
        &mut self,
        publication: &Publication,
        out: &mut Outbox<E>,
    ) {
        self.desk.unread.truncate(1);
        self.desk
            .unread
            .push_back(Arc::clone(&publication.snapshot));
        Arc::make_mut(&mut self.topics).apply(publication);
        self.latest = Arc::clone(&publication.snapshot);
        self.read(0, out);
        (1..self.cores.len()).for_each(|core| out.push(Act::Ring(core)));
    }

    /// A core reads what was published last, at the end of its turn.
    pub(in crate::members) fn read<E>(&mut self, core: usize, out: &mut Outbox<E>) {
        let place = &mut self.cores[core];
        if place.snapshot.version() == self.latest.version() {
            return;
        }
        place.snapshot = Arc::clone(&self.latest);
        place.mediator.handle_topics(Arc::clone(&self.topics));
        self.follow_asked(core);
        let nodes = owners(&self.latest, |it| it != Standing::Reachable);
        if !nodes.is_empty() {
            let at = (self.own.uid, core as u16);
            self.write(Entry::Apart { at, nodes });
        }
        if self.are_all_read() {
            out.push(Act::Ring(0));
        }
    }

    /// What all cores have read, if that is more than before.
    pub(in crate::members) fn take_read(&mut self) -> Option<Arc<Snapshot>> {
        let mut confirmed = None;
        while self.are_all_read() {
            confirmed = self.desk.unread.pop_front();
        }
        confirmed
    }

    pub(in crate::members) fn announcer(&mut self) -> &mut Announcer {
        &mut self.desk.announcer
    }

    /// Something that a core announced was refused.
    pub(in crate::members) fn refuse<E>(
        &mut self,
        core: CoreId,
        id: AnnouncementId,
        out: &mut Outbox<E>,
    ) {
        match core.0 {
            0 => self.end_refused(0, id),
            core => self.put(core.into(), Parcel::Refused(id), out),
        }
    }

    /// The entry that is to be confirmed, and by which ticket.
    pub(in crate::members) fn begin_confirming(&mut self, it: &Confirm) -> Option<(EntryId, u64)> {
        let entry = self.desk.announcer.entry(it.core, it.id)?;
        self.desk.last_ticket += 1;
        let ticket = self.desk.last_ticket;
        self.desk.waiting.insert(ticket, (it.begun, it.extent));
        Some((entry, ticket))
    }

    /// Nobody confirms anything by that ticket.
    pub(in crate::members) fn stop_confirming(&mut self, ticket: u64) {
        self.desk.waiting.remove(&ticket);
    }

    /// The registry says who knows of an entry.
    pub(in crate::members) fn handle_acknowledged(&mut self, it: &Acknowledgement) {
        if let Some((begun, extent)) = self.desk.waiting.remove(&it.ticket) {
            let nodes = it.confirmed.iter().map(|it| it.uid).collect();
            self.write(match begun {
                Begun::Subscription(subscription) => Entry::Confirmed {
                    subscription,
                    nodes,
                },
                Begun::Actor(number) => Entry::PutConfirmed { number, nodes },
            });
            let exercise = match extent {
                Extent::Quorum => Exercise::ConfirmedByQuorum,
                Extent::AllReachable => Exercise::ConfirmedByAll,
            };
            self.count(exercise, it.is_enough.into());
        }
    }

    /// The node leaves, or is no member any more: nothing of it is announced.
    pub(in crate::members) fn depart(&mut self) {
        if !std::mem::replace(&mut self.has_departed, true) {
            self.write(Entry::Departed(self.own.uid));
        }
    }
}
