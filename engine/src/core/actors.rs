//! Actors of a core: spawned, found, stopped, and mourned when a handler panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ringmesh_proto::address::{CoreId, check_actor_name};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::link::Target;

use super::hop::{Heading, Relay};
use super::link::Link;
use super::routes::Found;
use super::shared::Named;
use super::user_code::panic_message;
use super::{Asker, Core, Errand, NoRoute, NodeIndex};
use crate::actor::{Actor, ActorCell, ActorTable, Cx, Protocol};
use crate::directory::{Finding, Resolved};
use crate::error::SpawnError;
use crate::reference::Ref;
use crate::watch::Ended;

/// Where a message goes.
pub(super) enum Way {
    /// To an actor of this core.
    Here(Found),
    /// On to another core of this node.
    On(Rc<Relay>, Heading),
}

impl Core {
    pub(crate) fn spawn<A: Actor>(
        self: &Rc<Self>,
        name: Option<&str>,
        actor: A,
    ) -> Result<Ref<A::Api>, SpawnError> {
        if self.is_closing() {
            return Err(SpawnError::Stopping);
        }
        if let Some(name) = name {
            check_actor_name(name).map_err(|error| SpawnError::InvalidName {
                name: name.to_owned(),
                problem: error.to_string(),
            })?;
        }
        let place = self.actors.borrow_mut().reserve(A::LARGE)?;
        if let Some(name) = name {
            let named = Named {
                core: self.id,
                slot: place.slot,
                generation: place.generation,
                protocol: A::Api::ID,
            };
            if !self.shared.take_name(name, named) {
                self.actors.borrow_mut().give_back(place);
                let name = name.to_owned();
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
        let cell = Rc::new(ActorCell::new(self, actor, me, name.map(Box::from)));
        self.attach_loop(&cell);
        self.actors.borrow_mut().insert(Rc::clone(&cell));
        match catch_unwind(AssertUnwindSafe(|| cell.started(self))) {
            Ok(stop) => {
                if stop {
                    self.stop_cell(&cell);
                }
                Ok(me)
            }
            Err(payload) => {
                self.tally.panics.add(1);
                self.forget(&cell);
                self.end(&cell, false);
                Err(SpawnError::Panicked {
                    message: panic_message(payload),
                })
            }
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
        let cell = self
            .actors
            .borrow()
            .at(actor.recipient.slot, actor.recipient.generation)
            .cloned();
        cell.is_some_and(|cell| {
            let running = cell.is_alive();
            self.stop_cell(&cell);
            running
        })
    }

    /// Stops an actor in order.
    pub(super) fn stop_cell(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        self.forget(cell);
        self.end(cell, true);
    }

    /// Drops an actor that no table names any more.
    fn end(self: &Rc<Self>, cell: &ActorCell, in_order: bool) {
        if let Err(payload) = cell.end(in_order) {
            self.tally.panics.add(1);
            let panic = panic_message(payload);
            tracing::error!(actor = %cell, panic, "an actor panicked while it ended");
        }
        // Else a handler of it runs, and this follows when that returns.
        if !cell.is_over() {
            return;
        }
        self.end_ticks(cell.generation);
        self.end_pipes(cell.generation);
        if let Some(port) = cell.port() {
            self.bury_mailbox(cell, port);
        }
        let why = if in_order {
            Ended::Stopped
        } else {
            Ended::Failed
        };
        self.actor_is_gone(cell, why);
    }

    fn forget(&self, cell: &ActorCell) {
        cell.bury();
        self.actors.borrow_mut().remove(cell);
        if let Some(name) = &cell.name {
            self.shared.free_name(name, cell.generation);
        }
    }

    /// Ends the actor whose handler just panicked, and tells whoever asked it.
    pub(super) fn handler_panicked(
        self: &Rc<Self>,
        link: &Rc<Link>,
        (slot, generation): (u32, u64),
        message: &str,
    ) {
        self.tally.delivered.add(1);
        self.deadline.set(None);
        // An actor that its own handler stopped is in the table no longer, and has to end all the
        // same: its handler was running then.
        let routed = || link.routes.borrow().actor(slot, generation);
        let cell = self.actors.borrow().at(slot, generation).cloned();
        match cell.or_else(routed) {
            Some(cell) => self.end_panicked(&cell, message),
            None => self.tally.panics.add(1),
        }
        if let Some(correlation) = self.running.take() {
            Asker::new(self, link, correlation).fail(ErrorCode::Failed);
        }
    }

    /// Ends an actor whose handler just panicked.
    pub(super) fn end_panicked(self: &Rc<Self>, cell: &ActorCell, panic: &str) {
        self.tally.panics.add(1);
        tracing::error!(actor = %cell, panic, "an actor's handler panicked; it stops");
        self.forget(cell);
        self.end(cell, false);
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

impl<A: Actor> Cx<'_, A> {
    pub(crate) fn look_up(&self, name: &str, protocol: u64) -> Resolved {
        self.core().find_named(name, protocol)
    }
}
