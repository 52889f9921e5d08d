//! An actor as its core sees it: the same shape whatever its type.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use ringmesh_proto::message::{MessageInfo, MessageType, ProtocolId};

use super::{Actor, Cx, Delivered, Delivery, Dispatch, Outcome, Protocol};
use crate::core::Core;
use crate::reference::Ref;

/// What a core can do with an actor of any type.
pub(crate) trait Behaviour {
    fn started(&mut self, core: &Rc<Core>);
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn;
    fn stopped(&mut self);
}

/// How a handler left its actor.
pub(crate) struct Turn {
    pub(crate) outcome: Outcome,
    /// The handler asked for the actor to stop.
    pub(crate) stop: bool,
}

impl Turn {
    /// Whether the handler ran and there is nothing more to it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.outcome.0, Delivered::Handled) && !self.stop
    }
}

/// An actor and its place on its core.
pub(crate) struct ActorCell {
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) protocol: ProtocolId,
    protocol_name: &'static str,
    messages: &'static [MessageInfo],
    alive: Cell<bool>,
    /// `stopped` ran, or never will.
    ended: Cell<bool>,
    behaviour: RefCell<Box<dyn Behaviour>>,
}

impl ActorCell {
    pub(crate) fn new<A: Actor>(actor: A, me: Ref<A::Api>, name: Option<Box<str>>) -> Self {
        Self {
            slot: me.slot,
            generation: me.generation,
            name,
            protocol: A::Api::ID,
            protocol_name: A::Api::NAME,
            messages: A::Api::MESSAGES,
            alive: Cell::new(true),
            ended: Cell::new(false),
            behaviour: RefCell::new(Box::new(Running { actor, me })),
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.get()
    }

    /// No message is delivered from now on.
    pub(crate) fn bury(&self) {
        self.alive.set(false);
    }

    /// The place of a message type in the actor's protocol, or what is wrong with it.
    pub(crate) fn index_of(&self, message: &MessageType) -> Result<u16, Mismatch> {
        let position = self
            .messages
            .iter()
            .position(|known| known.message_type.id == message.id);
        let index = position.ok_or(Mismatch::UnknownMessage)?;
        let known = &self.messages[index].message_type;
        if known.version != message.version || known.fingerprint != message.fingerprint {
            return Err(Mismatch::Schema);
        }
        u16::try_from(index).map_err(|_| Mismatch::UnknownMessage)
    }

    pub(crate) fn started(&self, core: &Rc<Core>) {
        self.behaviour.borrow_mut().started(core);
    }

    /// Calls the handler. A core delivers one message at a time, and a send only queues, so the
    /// actor is never entered twice.
    #[inline]
    pub(crate) fn deliver(&self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let mut turn = self.behaviour.borrow_mut().deliver(core, index, delivery);
        turn.stop |= !self.alive.get();
        turn
    }

    /// Runs the actor's `stopped`, once. Not while a handler of it runs: then it follows when that
    /// returns, because `deliver` says so.
    pub(crate) fn stopped(&self) {
        if let Ok(mut behaviour) = self.behaviour.try_borrow_mut()
            && !self.ended.replace(true)
        {
            behaviour.stopped();
        }
    }

    /// Its `stopped` will not run: a handler of it panicked.
    pub(crate) fn abandon(&self) {
        self.bury();
        self.ended.set(true);
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

struct Running<A: Actor> {
    actor: A,
    me: Ref<A::Api>,
}

impl<A: Actor> Behaviour for Running<A> {
    fn started(&mut self, core: &Rc<Core>) {
        self.actor.started(&mut Cx::new(core, self.me));
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let mut cx = Cx::new(core, self.me);
        let outcome = <A::Api as Dispatch<A>>::dispatch(&mut self.actor, index, delivery, &mut cx);
        Turn {
            outcome,
            stop: cx.wants_stop(),
        }
    }

    fn stopped(&mut self) {
        self.actor.stopped();
    }
}
