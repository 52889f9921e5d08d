//! What a core does for actors that are tied to a parent elsewhere; see [`crate::deploy`].

use std::rc::Rc;

use ringmesh_proto::address::NodeId;

use super::watch::Place;
use super::{Core, NodeIndex};
use crate::actor::{Actor, ActorCell, ActorTable, Birth};
use crate::deploy::{Placement, Site, Tie};
use crate::error::SpawnError;
use crate::reference::{Recipient, Ref};
use crate::watch::Ended;

impl Core {
    /// Spawns an actor without a parent that has a path of several names.
    pub(crate) fn bear_at<A: Actor>(
        self: &Rc<Self>,
        path: Box<str>,
        actor: A,
    ) -> Result<Ref<A::Api>, SpawnError> {
        let birth = Birth {
            name: Some(path),
            ..Birth::default()
        };
        let make = |me, birth| Rc::new(ActorCell::new(self, actor, me, birth, None));
        let (me, _) = self.settle(None, birth, A::LARGE, make)?;
        Ok(me)
    }

    /// An actor elsewhere, for which one here stands, escalated: the stand-in ends as it would, and
    /// its parent fails.
    pub(crate) fn escalate(self: &Rc<Self>, stand_in: Recipient) {
        let Some(cell) = self.living(stand_in) else {
            return;
        };
        self.bring_down(&cell, Ended::Failed);
        let parent = cell.kin.parent.and_then(|place| self.cell_at(place));
        if let Some(parent) = parent {
            self.actor_failed(&parent, "a child of it, elsewhere, failed");
        }
    }

    /// The actor runs for which one of this core stands.
    pub(crate) fn is_tied(&self, stand_in: Recipient, tie: &Rc<Tie>) {
        if let Some(cell) = self.cell_at(stand_in.place()) {
            // Set once: one stand-in is of one actor.
            let _ = cell.kin.tie.set(Rc::clone(tie));
        }
    }

    /// The actor for which one of this core stands did not end in order.
    pub(crate) fn cut_short(&self, stand_in: Place) {
        if let Some(cell) = self.cell_at(stand_in) {
            cell.kin.is_cut.set(true);
        }
    }

    /// Nothing more is to be heard of the actor for which one of this core stands.
    pub(crate) fn end_stand_in(self: &Rc<Self>, stand_in: Place) {
        if let Some(cell) = self.cell_at(stand_in) {
            self.bring_down(&cell, Ended::Stopped);
        }
    }

    /// Where a child is to live: as the settings say, else its placement.
    pub(crate) fn site_of(
        &self,
        parent: Option<Recipient>,
        name: Option<&str>,
        placement: &Placement,
    ) -> Site {
        let path = parent.and_then(|parent| self.living(parent));
        let path = path.map_or_else(String::new, |cell| self.path_of(&cell));
        let nursery = &self.shared.nursery;
        let configured = nursery.placements().and_then(|all| all.find(&path, name));
        configured.unwrap_or(placement).take_turn()
    }

    /// An actor of a node that a link is up with.
    pub(crate) fn recipient_at(&self, node: &NodeId, place: Place) -> Option<Recipient> {
        let (number, met) = self.shared.met(&node.address)?;
        if number == NodeIndex::SELF || met?.uid != node.uid {
            return None;
        }
        Some(Recipient {
            uid: node.uid,
            generation: place.generation,
            slot: place.slot,
            node: number,
            core: ActorTable::core_of(place.generation),
            table: self.shared.table,
            large: ActorTable::is_large(place.generation),
        })
    }

    /// An actor was made here for another node.
    pub(crate) fn count_spawned(&self) {
        self.tally.spawned_for_others.add(1);
    }

    /// Another node asked for one, and was refused.
    pub(crate) fn count_spawn_refused(&self) {
        self.tally.spawns_refused.add(1);
    }

    /// An actor lost its parent elsewhere, and ends.
    pub(crate) fn count_orphan(&self) {
        self.tally.orphans.add(1);
    }
}
