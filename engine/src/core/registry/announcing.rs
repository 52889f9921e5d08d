//! Actors of this node that announce themselves.
//!
//! Whatever is said of an actor goes by its core, and from there to the control core in the order
//! in which it was said: so nothing is announced of an actor that has ended.

use std::rc::Rc;

use futures_channel::oneshot;
use ringmesh_cluster::registry::{
    Acknowledgement, EntryId, Extent, Key, Place, RegisterError as Refused, Registration,
};

use super::super::{CONTROL_CORE, Core, Errand};
use crate::client::ClientAccessError;
use crate::reference::Recipient;
use crate::registry::RegisterError;

/// An actor, and what it is to be found by.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) actor: Recipient,
}

/// What came of an announcement: who confirms it, if that was asked for.
type Announced = Result<Option<oneshot::Receiver<Acknowledgement>>, RegisterError>;

impl Core {
    /// Announces an actor of this node; if it is to be found `everywhere`, waits until all members
    /// that can be reached have it.
    pub(crate) async fn announce(
        self: &Rc<Self>,
        service: Service,
        everywhere: bool,
    ) -> Result<Option<Acknowledgement>, RegisterError> {
        let actor = service.actor;
        let enter = move |control: &Rc<Self>| control.enter_service(&service, everywhere);
        let is_running = move |there: &Rc<Self>| {
            let runs = there.living(actor).is_some();
            if runs {
                let mut announced = there.registry.announced.borrow_mut();
                announced.insert(actor.generation);
            }
            runs
        };
        let announced = self.by_way_of(actor, is_running, enter).await?;
        let announced = announced.unwrap_or(Err(RegisterError::NotRunning))?;
        let Some(answer) = announced else {
            return Ok(None);
        };
        answer.await.map(Some).map_err(|_| RegisterError::Stopping)
    }

    /// Takes back what an actor of this node was announced as. Says whether it was.
    pub(crate) async fn take_back(
        self: &Rc<Self>,
        service: Service,
    ) -> Result<bool, RegisterError> {
        let actor = service.actor;
        let strike = move |control: &Rc<Self>| control.strike_service(&service);
        let done = self.by_way_of(actor, |_| true, strike).await?;
        Ok(done.unwrap_or(false))
    }

    /// Does something on the core of an actor of this node and then, if that says so, on the
    /// control core: in the order in which such things were begun on this core. `None` if it does
    /// not say so.
    async fn by_way_of<R: Send + 'static>(
        self: &Rc<Self>,
        actor: Recipient,
        first: impl FnOnce(&Rc<Self>) -> bool + Send + 'static,
        then: impl FnOnce(&Rc<Self>) -> R + Send + 'static,
    ) -> Result<Option<R>, RegisterError> {
        let core = self.core_of_own(actor).map_err(why_not)?;
        if self.is_closing() {
            return Err(RegisterError::Stopping);
        }
        let (say, heard) = oneshot::channel();
        let errand: Errand = Box::new(move |there| {
            if !first(there) {
                let _ = say.send(Ok(None));
                return;
            }
            // Whoever asked may wait no more: it is done all the same.
            let errand: Errand = Box::new(move |control| drop(say.send(Ok(Some(then(control))))));
            if there.run_errand(CONTROL_CORE, errand).is_err() {
                tracing::debug!("too many errands wait for the control core");
            }
        });
        let overloaded = |core: u16| RegisterError::CoreOverloaded { core };
        self.run_errand(core, errand)
            .map_err(|_| overloaded(core.0))?;
        match heard.await {
            Ok(done) => done,
            // It was dropped on its way: there is no room, or no core any more.
            Err(_) if self.is_closing() => Err(RegisterError::Stopping),
            Err(_) => Err(overloaded(CONTROL_CORE.0)),
        }
    }

    /// Announces a service, on the control core. What is announced already stays as it is.
    fn enter_service(&self, service: &Service, everywhere: bool) -> Announced {
        let Service { key, actor } = service;
        let id = match self.entry_of(service) {
            Some(id) => id,
            None => self.put_service(key.clone(), *actor)?,
        };
        everywhere
            .then(|| self.confirm_entry(id, Extent::AllReachable))
            .transpose()
    }

    /// Has an entry confirmed; where that will be heard.
    pub(in super::super) fn confirm_entry(
        &self,
        id: EntryId,
        extent: Extent,
    ) -> Result<oneshot::Receiver<Acknowledgement>, RegisterError> {
        let desk = &self.registry.desk;
        let ticket = desk.last_ticket.get() + 1;
        desk.last_ticket.set(ticket);
        let (say, heard) = oneshot::channel();
        desk.waiting.borrow_mut().insert(ticket, say);
        let asked = self.tell_registry(|registry, now, out| {
            registry.acknowledge(now, (id, ticket), extent, out)
        });
        let refused = match asked {
            Some(Ok(true)) => return Ok(heard),
            Some(Ok(false)) => RegisterError::NotRunning,
            Some(Err(why)) => why.into(),
            None => RegisterError::Leaving,
        };
        desk.waiting.borrow_mut().remove(&ticket);
        Err(refused)
    }

    fn put_service(&self, key: Key, actor: Recipient) -> Result<EntryId, RegisterError> {
        let place = Place {
            core: actor.core,
            target: actor.target(),
        };
        let registration = Registration {
            key: key.clone(),
            place,
            weight: 1,
            is_acknowledged: false,
        };
        let put =
            self.tell_registry(|registry, now, out| registry.register(now, registration, out));
        let id = put.ok_or(RegisterError::Leaving)??;
        let mut entries = self.registry.desk.entries.borrow_mut();
        entries.entry(actor.generation).or_default().push((key, id));
        Ok(id)
    }

    fn entry_of(&self, service: &Service) -> Option<EntryId> {
        let entries = self.registry.desk.entries.borrow();
        let of_actor = entries.get(&service.actor.generation)?;
        let known = of_actor.iter().find(|it| it.0 == service.key);
        known.map(|it| it.1)
    }

    /// Takes a service back, on the control core.
    fn strike_service(&self, service: &Service) -> bool {
        let Some(id) = self.entry_of(service) else {
            return false;
        };
        let generation = service.actor.generation;
        {
            let mut entries = self.registry.desk.entries.borrow_mut();
            if let Some(of_actor) = entries.get_mut(&generation) {
                of_actor.retain(|it| it.1 != id);
                if of_actor.is_empty() {
                    entries.remove(&generation);
                }
            }
        }
        self.deregister_entry(id)
    }

    fn deregister_entry(&self, id: EntryId) -> bool {
        let done = self.tell_registry(|registry, now, out| registry.deregister(now, id, out));
        done.unwrap_or(false)
    }

    /// An actor of this core takes nothing more: it is not to be found.
    pub(in super::super) fn close_to_finders(&self, generation: u64) {
        let was_announced = { self.registry.announced.borrow_mut() }.remove(&generation);
        if was_announced && self.id == CONTROL_CORE {
            self.strike_actor(generation);
        } else if was_announced {
            let strike: Errand = Box::new(move |control| control.strike_actor(generation));
            self.send_word(CONTROL_CORE, strike);
        }
    }

    /// Takes back all that an actor was announced as, on the control core.
    fn strike_actor(&self, generation: u64) {
        let entries = { self.registry.desk.entries.borrow_mut() }.remove(&generation);
        for (_, id) in entries.into_iter().flatten() {
            self.deregister_entry(id);
        }
    }
}

fn why_not(error: ClientAccessError) -> RegisterError {
    match error {
        ClientAccessError::NotHere => RegisterError::NotHere,
        _ => RegisterError::NotRunning,
    }
}

impl From<Refused> for RegisterError {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Full => Self::Full,
            Refused::Acknowledgements => Self::TooManyWait,
            _ => Self::Leaving,
        }
    }
}
