//! Actors that are put under paths, and what is sent there.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use ringmesh_cluster::pubsub::{Candidate, Nodes, Path, SendError as Nowhere, Whom};
use ringmesh_cluster::registry::{Acknowledgement, Extent, Place as At};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::message::{Message, MessageType};

use super::super::{Core, Errand, Place};
use super::actors::Interest;
use super::ways::{Blocked, Standing, place_on};
use crate::actor::ActorTable;
use crate::client::ClientAccessError;
use crate::error::Refusal;
use crate::pubsub::SubscribeError;
use crate::reference::Recipient;
use crate::registry::RegisterError;

/// What is to be sent to a path, and to whom there.
#[derive(Clone, Copy)]
pub(crate) struct PathOrder<'a> {
    pub(crate) path: &'a Path,
    /// The number of the message type.
    pub(crate) protocol: u64,
    pub(crate) whom: Whom,
    /// Nodes without that role are left out.
    pub(crate) role: Option<&'a str>,
}

/// Why something was sent to nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Undelivered {
    /// There is no room on any way; on that one, whose actor may be busy, somebody may wait.
    Full(Option<Blocked>),
    /// Nobody is there who can be reached.
    Nobody,
    /// It cannot be archived, or is longer than any lane takes.
    TooLarge,
    /// The node is stopping.
    Stopping,
}

/// An actor of this node, and under what it is put for messages of which type.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) actor: Recipient,
    pub(crate) path: Path,
    /// With the number that tells it apart in what is announced.
    pub(crate) message: (MessageType, u64),
}

/// So many actors are tried for one message, besides those of cores on the way to which there is no
/// room: if none of them takes it hardly any of more would.
const TRIED_MAX: usize = 64;

/// What a send sees of the nodes it may go to.
struct PathView<'a> {
    core: &'a Core,
    role: Option<&'a str>,
    /// Cores on the way to which there was no room.
    full: RefCell<Vec<(Uid, CoreId)>>,
    /// Actors that have no room themselves; there may be some at others of their core.
    busy: RefCell<Vec<(Uid, At)>>,
    /// Actors of this node that have ended.
    gone: RefCell<Vec<(Uid, At)>>,
    /// Cores that there is no way to any more.
    lost: RefCell<Vec<(Uid, CoreId)>>,
}

impl<'a> PathView<'a> {
    fn new(core: &'a Core, role: Option<&'a str>) -> Self {
        Self {
            core,
            role,
            full: RefCell::default(),
            busy: RefCell::default(),
            gone: RefCell::default(),
            lost: RefCell::default(),
        }
    }

    /// What a try has found out about an actor.
    fn note(&self, actor: Candidate, why: Undelivered) {
        let Candidate { node, place, .. } = actor;
        match why {
            Undelivered::Full(Some((_, true))) => self.busy.borrow_mut().push((node, place)),
            Undelivered::Nobody if self.core.is_own_start(node) => {
                self.gone.borrow_mut().push((node, place));
            }
            // Of what another node has, this one knows whether there is a way there.
            Undelivered::Nobody => self.lost.borrow_mut().push((node, place.core)),
            _ => self.full.borrow_mut().push((node, place.core)),
        }
    }

    fn tried(&self) -> usize {
        self.busy.borrow().len() + self.gone.borrow().len()
    }
}

impl Nodes for PathView<'_> {
    fn has_credit(&self, node: Uid, core: CoreId) -> bool {
        !self.full.borrow().contains(&(node, core))
    }

    fn has_room(&self, actor: Candidate) -> bool {
        let is_busy = self.busy.borrow().contains(&(actor.node, actor.place));
        !is_busy && self.has_credit(actor.node, actor.place.core)
    }

    fn is_there(&self, actor: Candidate) -> bool {
        let is_gone = self.gone.borrow().contains(&(actor.node, actor.place));
        let at = (actor.node, actor.place.core);
        !is_gone && !self.lost.borrow().contains(&at)
    }

    fn is_in_role(&self, node: Uid) -> bool {
        self.core.is_in_role(node, self.role)
    }
}

impl Core {
    /// Puts an actor of this node, on whatever core, under a path, and waits until that is
    /// announced; and until those of `extent` know it, if that is said.
    pub(crate) async fn put_actor(
        self: &Rc<Self>,
        put: Put,
        extent: Option<Extent>,
    ) -> Result<Option<Acknowledgement>, RegisterError> {
        let core = self.core_of_own(put.actor).map_err(not_here)?;
        let (say, heard) = oneshot::channel();
        let errand: Errand = Box::new(move |there| {
            let entered = there.enter_actor(put.actor, put.message, Interest::Path(put.path));
            match entered {
                Ok(entered) => there.ask_about_interest(entered, extent, say),
                // Whoever asked may wait no more.
                Err(why) => drop(say.send(Err(why))),
            }
        });
        self.run_errand(core, errand)
            .map_err(|_| RegisterError::CoreOverloaded { core: core.0 })?;
        let asked = self.said_by(core, heard).await?.map_err(not_put)?;
        match asked {
            Some(confirming) => self.said_by(core, confirming).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes an actor of this node from a path. Says whether it was there.
    pub(crate) async fn take_actor(self: &Rc<Self>, put: Put) -> Result<bool, RegisterError> {
        let core = self.core_of_own(put.actor).map_err(not_here)?;
        let (say, heard) = oneshot::channel();
        let errand: Errand = Box::new(move |there| {
            let is_it = |it: &Interest| matches!(it, Interest::Path(path) if *path == put.path);
            // Whoever asked may wait no more: it is done all the same.
            let _ = say.send(there.leave_actor(put.actor, put.message.1, is_it));
        });
        self.run_errand(core, errand)
            .map_err(|_| RegisterError::CoreOverloaded { core: core.0 })?;
        self.said_by(core, heard).await
    }

    async fn said_by<T>(
        &self,
        core: CoreId,
        heard: oneshot::Receiver<T>,
    ) -> Result<T, RegisterError> {
        match heard.await {
            Ok(said) => Ok(said),
            Err(_) if self.is_closing() => Err(RegisterError::Stopping),
            // It was dropped on its way: there is no room.
            Err(_) => Err(RegisterError::CoreOverloaded { core: core.0 }),
        }
    }

    /// The actors that get what is sent so, whether there is room on the way or not.
    pub(crate) fn find_by_path(
        self: &Rc<Self>,
        order: &PathOrder<'_>,
    ) -> Result<Vec<Recipient>, Undelivered> {
        let found = self.choose_by_path(order, &PathView::new(self, order.role))?;
        let found = found.into_iter();
        Ok(found.filter_map(|it| self.at_place(it)).collect())
    }

    fn choose_by_path(
        self: &Rc<Self>,
        order: &PathOrder<'_>,
        view: &PathView<'_>,
    ) -> Result<Vec<Candidate>, Undelivered> {
        if self.is_closing() {
            return Err(Undelivered::Stopping);
        }
        let mut mediator = self.pubsub.mediator.borrow_mut();
        let mut random = self.pubsub.random.borrow_mut();
        let (Some(mediator), Some(random)) = (mediator.as_mut(), random.as_mut()) else {
            return Err(Undelivered::Stopping);
        };
        let found = mediator.send((order.path, order.protocol), order.whom, view, random);
        match found {
            Ok(found) => Ok(found.to_vec()),
            Err(Nowhere::Full) => Err(Undelivered::Full(None)),
            Err(_) => Err(self.sent_to_nobody()),
        }
    }

    fn sent_to_nobody(&self) -> Undelivered {
        self.tally.sent_to_nobody.add(1);
        Undelivered::Nobody
    }

    /// The actor at a place of a node.
    fn at_place(self: &Rc<Self>, candidate: Candidate) -> Option<Recipient> {
        let Candidate { node, place, .. } = candidate;
        let way = self.way_to(node, place.core)?;
        Some(Recipient {
            slot: place.target.slot,
            generation: place.target.generation,
            large: ActorTable::is_large(place.target.generation),
            ..way
        })
    }

    /// Sends a message to one of those who are there, for as long as one of them may have room.
    pub(crate) fn send_to_one<M: Message>(
        self: &Rc<Self>,
        order: &PathOrder<'_>,
        message: &M,
        standing: Standing<'_>,
    ) -> Result<(), Undelivered> {
        let view = PathView::new(self, order.role);
        let mut blocked = None;
        while view.tried() < TRIED_MAX {
            let found = match self.choose_by_path(order, &view) {
                Ok(found) => found,
                Err(Undelivered::Full(_)) => return Err(Undelivered::Full(blocked)),
                Err(why) => return Err(why),
            };
            // Each time one less is chosen from, or all of one core.
            let Some(one) = found.first() else {
                break;
            };
            let told = match self.at_place(*one) {
                Some(actor) => self.tell_found(actor, message, standing),
                None => Err(Undelivered::Nobody),
            };
            match told {
                Err(why @ Undelivered::Full(way)) => {
                    blocked = blocked.or(way);
                    view.note(*one, why);
                }
                Err(why @ Undelivered::Nobody) => view.note(*one, why),
                told => return told,
            }
        }
        match blocked {
            Some(way) => Err(Undelivered::Full(Some(way))),
            None => Err(self.sent_to_nobody()),
        }
    }

    /// Sends a message to an actor that was found by a path.
    pub(crate) fn tell_found<M: Message>(
        self: &Rc<Self>,
        actor: Recipient,
        message: &M,
        standing: Standing<'_>,
    ) -> Result<(), Undelivered> {
        let told = self.tell_or_form(&actor, message, place_on(standing, &actor));
        let (to, told) = match told {
            Err(Refusal::ForLargeLane { .. }) => {
                let to = Recipient {
                    large: true,
                    ..actor
                };
                let place: Option<&Place> = place_on(standing, &to);
                (to, self.tell_or_form(&to, message, place))
            }
            told => (actor, told),
        };
        told.map_err(|refusal| match refusal {
            Refusal::NoRoom => Undelivered::Full(Some((to, false))),
            Refusal::Busy => Undelivered::Full(Some((to, true))),
            Refusal::TooLarge { .. } | Refusal::ForLargeLane { .. } | Refusal::Encode => {
                Undelivered::TooLarge
            }
            Refusal::Stopping => Undelivered::Stopping,
            _ => Undelivered::Nobody,
        })
    }

    /// One of all under a path did not get what was sent there.
    pub(crate) fn count_lost_by_path(&self, is_lost: bool) {
        self.tally.sends_lost.add(u64::from(is_lost));
    }
}

fn not_here(error: ClientAccessError) -> RegisterError {
    match error {
        ClientAccessError::NotHere => RegisterError::NotHere,
        _ => RegisterError::NotRunning,
    }
}

fn not_put(error: SubscribeError) -> RegisterError {
    match error {
        SubscribeError::NotHere => RegisterError::NotHere,
        SubscribeError::NotRunning => RegisterError::NotRunning,
        SubscribeError::Overloaded => RegisterError::TooManyWait,
        SubscribeError::Stopping => RegisterError::Stopping,
        // It is announced, or was refused by the node: that has no room, or leaves.
        SubscribeError::Refused => RegisterError::Leaving,
        _ => RegisterError::Full,
    }
}
