//! Actors of a core: spawned, found, stopped, and seen to when a handler panics.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ringmesh_proto::address::{ActorPath, CoreId, check_actor_name, check_actor_path};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::limits::ACTOR_DEPTH_MAX;
use ringmesh_proto::link::Target;

use super::hop::{Heading, Relay};
use super::link::Link;
use super::routes::Found;
use super::shared::Named;
use super::watch::Place;
use super::{Asker, Core, Errand, Extra, NoRoute, NodeIndex};
use crate::actor::{Actor, ActorCell, ActorTable, Birth, Cx, Protocol, Supervised};
use crate::directory::{Finding, Resolved, Selected};
use crate::error::SpawnError;
use crate::props::{Props, StartError};
use crate::reference::{Recipient, Ref};
use crate::supervision::Supervision;
use crate::watch::Ended;

/// How the names begin that cores give to actors without one.
const GENERATED: char = '$';

/// Where a message goes.
pub(super) enum Way {
    /// To an actor of this core.
    Here(Found),
    /// On to another core of this node.
    On(Rc<Relay>, Heading),
}

impl Core {
    /// Spawns an actor of a user without a parent.
    pub(crate) fn spawn<A: Actor>(
        self: &Rc<Self>,
        name: Option<&str>,
        actor: A,
    ) -> Result<Ref<A::Api>, SpawnError> {
        self.takes_actors(self.id)?;
        self.bear(None, name, actor, |_| None)
    }

    /// Spawns an actor of this core, as the child of another if there is one: of the node itself,
    /// or of a user where the core [takes those](Self::takes_actors).
    pub(crate) fn bear<A: Actor>(
        self: &Rc<Self>,
        parent: Option<Recipient>,
        name: Option<&str>,
        actor: A,
        supervised: impl FnOnce(Ref<A::Api>) -> Option<Box<Supervised>>,
    ) -> Result<Ref<A::Api>, SpawnError> {
        let make = |me, birth| {
            let cell = ActorCell::new(self, actor, me, birth, supervised(me));
            let cell = Rc::new(cell);
            self.attach_loop(&cell);
            cell
        };
        let (me, cell) = self.bear_cell(parent, name, A::LARGE, make)?;
        match catch_unwind(AssertUnwindSafe(|| cell.started(self))) {
            Ok(stop) => {
                if stop {
                    self.stop_cell(&cell);
                }
                Ok(me)
            }
            Err(payload) => {
                let message = self.note_panic(payload);
                self.bring_down(&cell, Ended::Failed);
                Err(SpawnError::Panicked { message })
            }
        }
    }

    /// Gives an actor its place, its name and its parent. It is not started yet.
    pub(super) fn bear_cell<P: Protocol>(
        &self,
        parent: Option<Recipient>,
        name: Option<&str>,
        large: bool,
        make: impl FnOnce(Ref<P>, Birth) -> Rc<ActorCell>,
    ) -> Result<(Ref<P>, Rc<ActorCell>), SpawnError> {
        if self.is_closing() {
            return Err(SpawnError::Stopping);
        }
        let parent = match parent {
            Some(parent) => Some(self.living(parent).ok_or(SpawnError::ParentEnding)?),
            None => None,
        };
        let birth = self.birth(parent.as_deref(), name)?;
        self.settle(parent, birth, large, make)
    }

    /// The same of one whose path and parent are known to be right.
    pub(super) fn settle<P: Protocol>(
        &self,
        parent: Option<Rc<ActorCell>>,
        birth: Birth,
        large: bool,
        make: impl FnOnce(Ref<P>, Birth) -> Rc<ActorCell>,
    ) -> Result<(Ref<P>, Rc<ActorCell>), SpawnError> {
        let place = self.actors.borrow_mut().reserve(large)?;
        if let Some(path) = &birth.name {
            let named = Named {
                core: self.id,
                slot: place.slot,
                generation: place.generation,
                protocol: P::ID,
                ending: false,
            };
            if !self.shared.take_name(path, named) {
                self.actors.borrow_mut().give_back(place);
                let name = path.to_string();
                return Err(SpawnError::NameTaken { name });
            }
        }
        let me = Ref::new(
            self.local().id.uid,
            self.home(NodeIndex::SELF),
            self.id,
            place.slot,
            place.generation,
        );
        let cell = make(me, birth);
        self.actors.borrow_mut().insert(Rc::clone(&cell));
        if let Some(parent) = parent {
            parent.kin.add(cell.place());
        }
        Ok((me, cell))
    }

    /// Spawns the actor that `factory` makes, if it does.
    pub(crate) fn try_bear<A: Actor, E>(
        self: &Rc<Self>,
        parent: Option<Recipient>,
        factory: impl FnOnce() -> Result<A, E>,
    ) -> Result<Ref<A::Api>, StartError<E>> {
        self.takes_actors(self.id)?;
        let actor = self.first_of(factory)?;
        Ok(self.bear(parent, None, actor, |_| None)?)
    }

    /// Spawns an actor that is made anew when it fails, if it is supervised so.
    pub(crate) fn bear_by<A: Actor, E: fmt::Display + 'static>(
        self: &Rc<Self>,
        parent: Option<Recipient>,
        props: Props<A, E>,
    ) -> Result<Ref<A::Api>, StartError<E>> {
        let Props {
            factory,
            name,
            supervision,
        } = props;
        self.takes_actors(self.id)?;
        let actor = self.first_of(&factory)?;
        let supervised = |me| {
            let is_needed = supervision != Supervision::Stop;
            is_needed.then(|| Box::new(Supervised::new(supervision, me, factory)))
        };
        Ok(self.bear(parent, name.as_deref(), actor, supervised)?)
    }

    /// The first state that a factory makes.
    fn first_of<A, E>(&self, factory: impl FnOnce() -> Result<A, E>) -> Result<A, StartError<E>> {
        match catch_unwind(AssertUnwindSafe(factory)) {
            Ok(made) => made.map_err(StartError::Factory),
            Err(payload) => {
                let message = self.note_panic(payload);
                Err(SpawnError::Panicked { message }.into())
            }
        }
    }

    /// What a new actor has from its parent and its spawner.
    fn birth(&self, parent: Option<&ActorCell>, name: Option<&str>) -> Result<Birth, SpawnError> {
        let depth = parent.map_or(0, |parent| parent.kin.depth + 1);
        if depth >= ACTOR_DEPTH_MAX {
            let limit = ACTOR_DEPTH_MAX;
            return Err(SpawnError::TooDeep { limit });
        }
        let name = match name {
            Some(name) => Some(self.path_of_new(parent, name)?),
            None => None,
        };
        Ok(Birth {
            name,
            parent: parent.map(ActorCell::place),
            depth,
        })
    }

    /// The path of a new actor behind `/user/`.
    fn path_of_new(&self, parent: Option<&ActorCell>, name: &str) -> Result<Box<str>, SpawnError> {
        let path = match parent {
            Some(parent) => format!("{}/{name}", self.path_of(parent)),
            None => name.to_owned(),
        };
        let checked = check_actor_name(name).and_then(|()| check_actor_path(&path));
        let problem = match checked {
            Ok(()) if !name.starts_with(GENERATED) => return Ok(path.into()),
            Ok(()) => format!("names that begin with `{GENERATED}` are given by the core"),
            Err(error) => error.to_string(),
        };
        Err(SpawnError::InvalidName {
            name: name.to_owned(),
            problem,
        })
    }

    /// The whole path of an actor of this core, with its generation; of one that is gone, with the
    /// name that actors without one have.
    pub(crate) fn full_path(&self, slot: u32, generation: u64) -> ActorPath {
        let cell = self.cell_at(Place { slot, generation });
        ActorPath {
            address: self.identity().address.clone(),
            name: cell.map_or_else(|| generated(generation), |cell| self.path_of(&cell)),
            generation: Some(generation),
        }
    }

    /// The path of an actor behind `/user/`: of one without a name, with the one that the core
    /// gives it.
    pub(crate) fn path_of(&self, cell: &ActorCell) -> String {
        if let Some(name) = &cell.name {
            return name.to_string();
        }
        let name = generated(cell.generation);
        let parent = cell.kin.parent.and_then(|place| self.cell_at(place));
        match parent {
            Some(parent) => format!("{}/{name}", self.path_of(&parent)),
            None => name,
        }
    }

    pub(crate) fn stop_actor<P: Protocol>(self: &Rc<Self>, actor: &Ref<P>) -> bool {
        if actor.recipient.uid != self.local().id.uid {
            return false;
        }
        if actor.recipient.core != self.id {
            let actor = *actor;
            let errand: Errand = Box::new(move |there| {
                there.stop_actor(&actor);
            });
            return self.send_errand(actor.recipient.core, errand).is_ok();
        }
        let Recipient {
            slot, generation, ..
        } = actor.recipient;
        let cell = self.cell_at(Place { slot, generation });
        cell.is_some_and(|cell| {
            let running = cell.is_alive() || cell.kin.lingers.get();
            self.bring_down(&cell, Ended::Stopped);
            running
        })
    }

    /// Sees to the actor whose handler just panicked, and tells whoever asked it.
    pub(super) fn handler_panicked(
        self: &Rc<Self>,
        link: &Rc<Link>,
        (slot, generation): (u32, u64),
        message: &str,
    ) {
        self.tally.delivered.add(1);
        self.deadline.set(None);
        self.running.extra.set(Extra::None);
        // One that its own handler stopped is still there: it ends when that is over.
        match self.cell_at(Place { slot, generation }) {
            Some(cell) => self.actor_panicked(&cell, message),
            None => self.tally.panics.add(1),
        }
        if let Some(correlation) = self.running.question.take() {
            Asker::new(self, link, correlation).fail(ErrorCode::Failed);
        }
    }

    /// Sees to an actor whose handler just panicked.
    pub(super) fn actor_panicked(self: &Rc<Self>, cell: &Rc<ActorCell>, panic: &str) {
        self.tally.panics.add(1);
        self.actor_failed(cell, panic);
    }

    /// The actor that a frame's numbers mean, looked up and remembered.
    pub(super) fn look_up(
        &self,
        link: &Rc<Link>,
        (target_number, type_number): (u32, u16),
    ) -> Result<Result<Way, NoRoute>, CloseReason> {
        let inbound = link.inbound.borrow();
        let target = inbound.target(target_number)?;
        let message = inbound.message_type(type_number)?;
        if link.of_client.get() && !self.is_for_clients(target.generation) {
            return Ok(Err(NoRoute::NotForClients));
        }
        if let Some(core) = self.lives_elsewhere(link, target) {
            let relay = self.relay_to(link, core).ok_or(NoRoute::NoRecipient);
            let heading = Heading {
                message: *message,
                target,
                extension: None,
            };
            return Ok(relay.map(|relay| Way::On(relay, heading)));
        }
        let (target, message) = ((target_number, target), (type_number, message));
        let mut routes = link.routes.borrow_mut();
        let found = routes.look_up(&self.actors.borrow(), target, message);
        Ok(found.map(Way::Here))
    }

    /// The other core of this node where a recipient lives. What has made its hop makes no other.
    fn lives_elsewhere(&self, link: &Link, target: Target) -> Option<CoreId> {
        let core = ActorTable::core_of(target.generation);
        let is_other = core != self.id && core.0 < self.local().cores;
        (is_other && !link.within_process).then_some(core)
    }

    /// What the directory answers for a name.
    pub(crate) fn find_named(&self, name: &str, protocol: u64) -> Resolved {
        let Some(named) = self.shared.named(name) else {
            return Resolved::missing(Finding::NotFound);
        };
        if named.protocol.as_u64() != protocol {
            return Resolved::missing(Finding::WrongProtocol);
        }
        Resolved::found(named.core, named.slot, named.generation)
    }
}

/// The name of an actor that was given none.
fn generated(generation: u64) -> String {
    format!("{GENERATED}{:x}", ActorTable::number_of(generation))
}

impl<A: Actor> Cx<'_, A> {
    /// What the directory answers for a pattern.
    pub(crate) fn select_named(&self, pattern: &str, after: &str, protocol: u64) -> Selected {
        if self.is_from_client() {
            return self.core().refuse_selection();
        }
        self.core().select_named(pattern, after, protocol)
    }

    pub(crate) fn look_up(&self, name: &str, protocol: u64) -> Resolved {
        if self.is_from_client() && !self.core().is_named_for_clients(name) {
            return Resolved::missing(Finding::NotFound);
        }
        self.core().find_named(name, protocol)
    }
}
