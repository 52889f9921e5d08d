//! An actor as its core sees it: the same shape whatever its type.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ringmesh_proto::message::{MessageId, MessageInfo, MessageType};
use ringmesh_proto::time::Instant;
use ringmesh_proto::upgrade::Older;

use super::heard::Heard;
use super::kin::Kin;
use super::looping::looping;
use super::port::Port;
use super::probing::probing;
use super::restart::{Maker, Remake, Renewed};
use super::running::Running;
use super::{Actor, Delivered, Delivery, Dispatch, LocalInfo, LocalValue, Outcome, Protocol};
use crate::core::{ActorPlace, Core, Link, Notice, PanicPayload, dispose};
use crate::props::Factory;
use crate::reference::Ref;
use crate::supervision::{Supervision, Supervisor, Verdict};

/// What a core can do with an actor of any type.
pub(crate) trait Behaviour {
    fn started(&mut self, core: &Rc<Core>) -> bool;
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn;
    /// Takes a local message that came from the core at the other end of `link`.
    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn;
    /// Goes on with what waited. Says whether the actor asked to be stopped.
    fn resume(&mut self) -> bool {
        false
    }
    /// Tells the actor of an end, if it still watches. Says whether it asked to be stopped.
    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool;
    fn stopped(&mut self);
}

/// How a handler left its actor.
pub(crate) struct Turn {
    pub(crate) outcome: Outcome,
    /// The handler asked for the actor to stop.
    pub(crate) stop: bool,
}

impl Turn {
    /// A message of which nothing more came than this.
    pub(super) fn of(delivered: Delivered) -> Self {
        Self {
            outcome: Outcome(delivered),
            stop: false,
        }
    }

    /// Whether the handler ran and there is nothing more to it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.outcome.0, Delivered::Handled) && !self.stop
    }
}

/// An actor and its place on its core. In this order in memory, so that what each message needs
/// lies together.
#[repr(C)]
pub(crate) struct ActorCell {
    /// `None` once the actor ended.
    behaviour: RefCell<Option<Box<dyn Behaviour>>>,
    pub(crate) generation: u64,
    pub(crate) slot: u32,
    alive: Cell<bool>,
    has_loop: bool,
    /// Somebody takes its messages out of its mailbox.
    is_probe: bool,
    /// Others may watch it.
    pub(crate) is_watched: Cell<bool>,
    /// Of an actor with a loop, or one that failed and lives on.
    port: OnceCell<Rc<Port>>,
    messages: &'static [MessageInfo],
    locals: &'static [LocalInfo],
    protocol_name: &'static str,
    /// Its path behind `/user/`, if it has a name.
    pub(crate) name: Option<Box<str>>,
    /// Who decides when it fails, unless it ends of that.
    supervised: Option<Box<Supervised>>,
    /// How many others it watches.
    pub(crate) watches: Cell<u32>,
    pub(crate) kin: Kin,
}

impl ActorCell {
    pub(crate) fn new<A: Actor>(
        core: &Rc<Core>,
        actor: A,
        me: Ref<A::Api>,
        birth: Birth,
        supervised: Option<Box<Supervised>>,
    ) -> Self {
        let (behaviour, port): (Box<dyn Behaviour>, _) = if <A::Api as Dispatch<A>>::IS_ASYNC {
            let (looping, port) = looping(actor, me, core);
            (looping, OnceCell::from(port))
        } else if A::STASH.is_none() {
            (Box::new(Running { actor, me }), OnceCell::new())
        } else {
            let port = Port::of(core, (me.recipient.slot, me.recipient.generation));
            (Renewed::of(core, &port, me, actor), OnceCell::from(port))
        };
        let has_loop = <A::Api as Dispatch<A>>::IS_ASYNC;
        Self::with(me, birth, supervised, (behaviour, port, has_loop))
    }

    fn with<P: Protocol>(
        me: Ref<P>,
        birth: Birth,
        supervised: Option<Box<Supervised>>,
        (behaviour, port, has_loop): (Box<dyn Behaviour>, OnceCell<Rc<Port>>, bool),
    ) -> Self {
        Self {
            slot: me.recipient.slot,
            generation: me.recipient.generation,
            name: birth.name,
            kin: Kin::new(birth.parent, birth.depth),
            supervised,
            protocol_name: P::NAME,
            messages: P::MESSAGES,
            locals: P::LOCALS,
            alive: Cell::new(true),
            has_loop,
            is_probe: false,
            watches: Cell::default(),
            is_watched: Cell::default(),
            port,
            behaviour: RefCell::new(Some(behaviour)),
        }
    }

    /// An actor whose messages somebody takes out of its mailbox.
    pub(crate) fn probing<P: Protocol>(core: &Rc<Core>, me: Ref<P>, birth: Birth) -> Self {
        let (behaviour, port) = probing(core, &me);
        let is_served = (behaviour, OnceCell::from(port), false);
        let cell = Self::with(me, birth, None, is_served);
        Self {
            is_probe: true,
            ..cell
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.get()
    }

    /// What the actor's loop shares with its core, if it has one.
    pub(crate) fn port(&self) -> Option<&Rc<Port>> {
        self.port.get()
    }

    /// Whether the futures of asynchronous handlers are its own.
    pub(crate) fn has_loop(&self) -> bool {
        self.has_loop
    }

    /// Whether it has something to do before it can be stopped in order: a handler of it waits, or,
    /// if its mailbox is to be emptied, messages do.
    pub(crate) fn lingers_at(&self, port: &Port, drains: bool) -> bool {
        let has_state = !self.kin.is_parked.get();
        let is_busy = self.has_loop && !port.is_idle();
        has_state && (is_busy || (drains && !self.is_probe && !port.has_nothing()))
    }

    /// Its place on its core.
    pub(crate) fn place(&self) -> ActorPlace {
        ActorPlace {
            slot: self.slot,
            generation: self.generation,
        }
    }

    /// The actor failed: what is to be done. The time and the number are asked for if they matter.
    pub(crate) fn judge(&self, inputs: impl FnOnce() -> (Instant, u64)) -> Verdict {
        let Some(supervised) = &self.supervised else {
            return Verdict::Stop;
        };
        let (now, random) = inputs();
        let mut supervisor = supervised.supervisor.borrow_mut();
        supervisor.handle_failure(now, random)
    }

    /// How often something came for the actor since this was first asked. Not while a handler of
    /// it runs.
    pub(crate) fn heard(&self) -> u64 {
        if let Some(count) = &*self.kin.heard.borrow() {
            return count.get();
        }
        let count = Rc::new(Cell::new(0));
        let mut place = self.behaviour.borrow_mut();
        *place = place.take().map(|inner| -> Box<dyn Behaviour> {
            let count = Rc::clone(&count);
            Box::new(Heard { inner, count })
        });
        *self.kin.heard.borrow_mut() = Some(count);
        0
    }

    /// Drops the state of an actor that is to begin anew, and has its messages wait. Gives back
    /// what the drop panicked with. Not while a handler of it runs.
    pub(crate) fn park(&self, core: &Rc<Core>) -> Result<(), PanicPayload> {
        let Some(supervised) = &self.supervised else {
            return Ok(());
        };
        let port = self
            .port
            .get_or_init(|| Port::of(core, (self.slot, self.generation)));
        let parked = supervised.maker.park(core, port);
        self.kin.heard.take();
        let former = self.behaviour.borrow_mut().replace(parked);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(former)));
        dropped.and_then(|()| catch_unwind(AssertUnwindSafe(|| port.reset())))
    }

    /// Makes the state of a parked actor anew; it is to be started.
    pub(crate) fn make(&self, core: &Rc<Core>) -> Result<(), String> {
        let (Some(supervised), Some(port)) = (&self.supervised, self.port.get()) else {
            return Ok(());
        };
        let made = supervised.maker.make(core, port)?;
        let parked = self.behaviour.borrow_mut().replace(made);
        drop(parked);
        Ok(())
    }

    /// Polls the actor's loop. Says whether it asked to be stopped.
    pub(crate) fn resume(&self) -> bool {
        let mut place = self.behaviour.borrow_mut();
        let stop = place.as_mut().is_some_and(|behaviour| behaviour.resume());
        stop || !self.alive.get()
    }

    /// No message is delivered from now on.
    pub(crate) fn bury(&self) {
        self.alive.set(false);
    }

    /// The place of a message type in the actor's protocol, and the place among its older versions
    /// if it is one; or what is wrong with it.
    pub(crate) fn index_of(&self, message: &MessageType) -> Result<(u16, Option<u8>), Mismatch> {
        let position = self
            .messages
            .iter()
            .position(|known| known.message_type.id == message.id);
        let index = position.ok_or(Mismatch::UnknownMessage)?;
        let known = &self.messages[index];
        let older = if known.message_type == *message {
            None
        } else {
            let place = known.older.iter().position(|old| old.message == *message);
            let place = place.and_then(|place| u8::try_from(place).ok());
            Some(place.ok_or(Mismatch::Schema)?)
        };
        let index = u16::try_from(index).map_err(|_| Mismatch::UnknownMessage)?;
        Ok((index, older))
    }

    /// An older version of a message, by the places that [`index_of`](Self::index_of) found.
    pub(crate) fn older(&self, index: u16, place: u8) -> Option<&'static Older> {
        let info = self.messages.get(usize::from(index))?;
        info.older.get(usize::from(place))
    }

    /// Runs the actor's `started`. Says whether it asked to be stopped.
    pub(crate) fn started(&self, core: &Rc<Core>) -> bool {
        let mut place = self.behaviour.borrow_mut();
        let stop = place
            .as_mut()
            .is_some_and(|behaviour| behaviour.started(core));
        stop || !self.alive.get()
    }

    /// Calls the handler. A core delivers one message at a time, and a send only queues, so the
    /// actor is never entered twice.
    #[inline]
    pub(crate) fn deliver(&self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let mut place = self.behaviour.borrow_mut();
        let Some(behaviour) = place.as_mut() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        let mut turn = behaviour.deliver(core, index, delivery);
        turn.stop |= !self.alive.get();
        turn
    }

    /// The same with a local message of the actor's protocol.
    pub(crate) fn deliver_local(
        &self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        let mut place = self.behaviour.borrow_mut();
        let Some(behaviour) = place.as_mut() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        let mut turn = behaviour.deliver_local(core, index, value, link);
        turn.stop |= !self.alive.get();
        turn
    }

    /// Tells the actor of an end, if it still watches. Says whether it asked to be stopped.
    pub(crate) fn notify(&self, core: &Rc<Core>, notice: Notice) -> bool {
        let mut place = self.behaviour.borrow_mut();
        let stop = place
            .as_mut()
            .is_some_and(|behaviour| behaviour.notify(core, notice));
        stop || !self.alive.get()
    }

    /// Takes the actor out, to be ended: once, and not while a handler of it runs. Then this
    /// follows when that returns, because `deliver` says so.
    pub(crate) fn take(&self) -> Option<Box<dyn Behaviour>> {
        self.bury();
        self.behaviour.try_borrow_mut().ok()?.take()
    }

    /// Ends an actor that was taken out: runs its `stopped` if it ends in order, and drops it.
    ///
    /// It is dropped here and not with the last reference to its cell, so that its own code runs
    /// where no state of the core is borrowed. Gives back what its code panicked with.
    pub(crate) fn end(
        mut behaviour: Box<dyn Behaviour>,
        in_order: bool,
    ) -> Result<(), PanicPayload> {
        let stopped = if in_order {
            catch_unwind(AssertUnwindSafe(|| behaviour.stopped()))
        } else {
            Ok(())
        };
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(behaviour)));
        match (stopped, dropped) {
            (Err(first), Err(second)) => {
                dispose(second);
                Err(first)
            }
            (stopped, dropped) => stopped.and(dropped),
        }
    }

    /// The message at a place in the protocol.
    pub(crate) fn message(&self, index: u16) -> Option<&'static MessageInfo> {
        self.messages.get(usize::from(index))
    }

    /// The name of a message, if the protocol has one of that id.
    pub(crate) fn name_of(&self, id: MessageId) -> Option<&'static str> {
        let mut messages = self.messages.iter();
        let known = messages.find(|info| info.message_type.id == id)?;
        Some(known.name)
    }

    /// The local message at a place in the protocol.
    pub(crate) fn local(&self, index: u16) -> Option<&'static LocalInfo> {
        let place = usize::from(index).checked_sub(self.messages.len())?;
        self.locals.get(place)
    }

    /// The name of the message at a place in the protocol, local or not.
    pub(crate) fn name_at(&self, index: u16) -> Option<&'static str> {
        let archived = self.message(index).map(|info| info.name);
        archived.or_else(|| self.local(index).map(LocalInfo::name))
    }

    /// The same where some name has to stand.
    pub(crate) fn message_name(&self, index: u16) -> &'static str {
        self.name_at(index).unwrap_or("?")
    }
}

/// The name, or the slot and generation, with the protocol.
impl fmt::Display for ActorCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.protocol_name),
            None => write!(
                f,
                "slot {}#{} ({})",
                self.slot, self.generation, self.protocol_name
            ),
        }
    }
}

impl fmt::Debug for ActorCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorCell")
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("name", &self.name)
            .field("protocol", &self.protocol_name)
            .field("alive", &self.alive.get())
            .finish_non_exhaustive()
    }
}

/// Why an actor cannot take a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Its protocol has no such message.
    UnknownMessage,
    /// Its protocol has it in another version or with other fields.
    Schema,
}

/// What an actor is born with besides its state.
#[derive(Debug, Default)]
pub(crate) struct Birth {
    pub(crate) name: Option<Box<str>>,
    pub(crate) parent: Option<ActorPlace>,
    pub(crate) depth: u8,
}

/// Who decides what becomes of an actor that fails, and what makes it anew.
pub(crate) struct Supervised {
    supervisor: RefCell<Supervisor>,
    maker: Box<dyn Maker>,
}

impl Supervised {
    pub(crate) fn new<A: Actor, E: fmt::Display + 'static>(
        supervision: Supervision,
        me: Ref<A::Api>,
        factory: Factory<A, E>,
    ) -> Self {
        Self {
            supervisor: RefCell::new(Supervisor::new(supervision)),
            maker: Box::new(Remake { me, factory }),
        }
    }
}
