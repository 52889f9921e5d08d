//! Where the messages of one link go: what its peer's numbers mean here.
//!
//! A peer numbers recipients and message types as it first uses them. The first message of a
//! (target, type) pair looks both up; the later ones cost two indexed loads.

use std::rc::Rc;

use super::hop::Relay;
use crate::actor::{ActorCell, ActorTable, Mismatch};
use ringmesh_proto::address::CoreId;
use ringmesh_proto::link::Target;
use ringmesh_proto::message::MessageType;
use ringmesh_proto::upgrade::Older;

/// The recipients of one link, by the peer's target number.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    targets: Vec<Option<Route>>,
    /// What goes on to other cores of this node, by core.
    relays: Vec<Option<Rc<Relay>>>,
}

#[derive(Debug)]
struct Route {
    actor: Rc<ActorCell>,
    /// By the peer's type number.
    types: Vec<Step>,
}

/// What is known of a message type at a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Unknown,
    Index(u16),
    /// An older version of the message at `index`.
    Older {
        index: u16,
        place: u8,
    },
    Wrong(Mismatch),
}

/// What the hot path indexes.
const _: () = assert!(size_of::<Step>() == 4);

/// Where a message goes.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) actor: Rc<ActorCell>,
    /// The place of the message in the actor's protocol.
    pub(crate) index: u16,
    /// What it has to become first.
    pub(crate) older: Option<&'static Older>,
}

/// Why a message has no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No actor runs at the target.
    NoRecipient,
    /// The sender is a client, and no actor at the target is registered for those.
    NotForClients,
    /// The actor's protocol does not have the message.
    Mismatch(Mismatch),
}

impl Routes {
    /// What goes on to a core of this node.
    pub(super) fn relay(&self, core: CoreId) -> Option<Rc<Relay>> {
        self.relays.get(usize::from(core.0))?.clone()
    }

    /// Notes what goes on to a core of this node.
    pub(super) fn add_relay(&mut self, core: CoreId, relay: Rc<Relay>) {
        let place = usize::from(core.0);
        if self.relays.len() <= place {
            self.relays.resize(place + 1, None);
        }
        self.relays[place] = Some(relay);
    }

    /// All that goes on to other cores.
    pub(super) fn relays(&self) -> Vec<Rc<Relay>> {
        self.relays.iter().flatten().cloned().collect()
    }

    /// Gives back what the next messages find again.
    pub(super) fn forget_recipients(&mut self) {
        self.targets = Vec::new();
    }

    /// Forgets what a target number meant: the peer gave it to another recipient.
    pub(crate) fn redefine(&mut self, target_number: u32) {
        if let Some(route) = self.targets.get_mut(target_number as usize) {
            *route = None;
        }
    }

    /// The actor and the message's place in its protocol, when both were looked up before and the
    /// actor is alive.
    #[inline]
    pub(crate) fn known(
        &self,
        target_number: u32,
        type_number: u16,
    ) -> Option<(&Rc<ActorCell>, u16)> {
        let route = self.targets.get(target_number as usize)?.as_ref()?;
        match route.types.get(usize::from(type_number))? {
            Step::Index(index) if route.actor.is_alive() => Some((&route.actor, *index)),
            _ => None,
        }
    }

    /// Looks a target and a type up, and remembers both. The numbers were defined by the peer, so
    /// they are within its limits.
    #[cold]
    pub(crate) fn look_up(
        &mut self,
        actors: &ActorTable,
        (target_number, target): (u32, Target),
        (type_number, message): (u16, &MessageType),
    ) -> Result<Found, NoRoute> {
        let slot = target_number as usize;
        if self.targets.len() <= slot {
            self.targets.resize_with(slot + 1, || None);
        }
        let alive = self.targets[slot]
            .as_ref()
            .is_some_and(|route| route.actor.is_alive());
        if !alive {
            let actor = actors
                .at(target.slot, target.generation)
                .filter(|actor| actor.is_alive());
            self.targets[slot] = actor.map(|actor| Route {
                actor: Rc::clone(actor),
                types: Vec::new(),
            });
        }
        let route = self.targets[slot].as_mut().ok_or(NoRoute::NoRecipient)?;
        let place = usize::from(type_number);
        if route.types.len() <= place {
            route.types.resize(place + 1, Step::Unknown);
        }
        if route.types[place] == Step::Unknown {
            route.types[place] = match route.actor.index_of(message) {
                Ok((index, None)) => Step::Index(index),
                Ok((index, Some(place))) => Step::Older { index, place },
                Err(mismatch) => Step::Wrong(mismatch),
            };
        }
        let (index, older) = match route.types[place] {
            Step::Index(index) => (index, None),
            Step::Older { index, place } => (index, route.actor.older(index, place)),
            Step::Wrong(mismatch) => return Err(NoRoute::Mismatch(mismatch)),
            Step::Unknown => return Err(NoRoute::Mismatch(Mismatch::UnknownMessage)),
        };
        let actor = Rc::clone(&route.actor);
        Ok(Found {
            actor,
            index,
            older,
        })
    }
}
