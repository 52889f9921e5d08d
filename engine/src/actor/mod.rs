//! Actors: state that lives on one core and handles one message at a time.
//!
//! An actor declares the protocol it speaks and one [`Handler`] per message of it. The
//! [`protocol!`](crate::protocol) macro makes the `match` that takes a message to its handler, so
//! nothing is boxed or looked up by name per message.

mod cell;
mod context;
mod table;

pub use context::Cx;

pub(crate) use cell::{ActorCell, Mismatch, Turn};
pub(crate) use table::ActorTable;

use ringmesh_proto::message::{Message, MessageInfo, ProtocolId};

use crate::core::{Asker, Payload};
use crate::message::{AccessError, Msg};

/// A named set of messages. Made by [`protocol!`](crate::protocol).
pub trait Protocol: 'static {
    /// The name, unique among the protocols a node speaks.
    const NAME: &'static str;
    /// The hash of the name.
    const ID: ProtocolId;
    /// The messages, in declaration order.
    const MESSAGES: &'static [MessageInfo];
}

/// Says that a protocol contains message `M`. Made by [`protocol!`](crate::protocol).
#[diagnostic::on_unimplemented(
    message = "protocol `{Self}` does not accept message `{M}`",
    label = "`{M}` is not in this protocol",
    note = "add `{M}` to the list in `protocol! {{ {Self} = \"..\" {{ .. }} }}`"
)]
pub trait Accepts<M: Message>: Protocol {
    /// The place of the message in [`Protocol::MESSAGES`].
    const INDEX: u16;
}

/// State that handles the messages of one protocol, one at a time, on one core.
pub trait Actor: Sized + 'static {
    /// The protocol the actor speaks.
    type Api: Protocol + Dispatch<Self>;

    /// Runs once, on the actor's core, before its first message.
    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Runs once when the actor stops in order: not when a handler of it panicked.
    fn stopped(&mut self) {}
}

/// Handles message `M`, without waiting.
///
/// A handler runs on its core's thread: one that blocks stalls the core, and with it every link and
/// actor there.
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}`",
    label = "its protocol contains `{M}`",
    note = "add `impl Handler<{M}> for {Self}`"
)]
pub trait Handler<M: Message>: Actor {
    /// Handles one message, read in place, and answers it.
    ///
    /// The answer goes to the sender if it asked, and is dropped if it told.
    ///
    /// # Panics
    /// A panic stops this actor and no other: its later messages become dead letters, and whoever
    /// asked is told so.
    fn handle(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> M::Reply;
}

/// Takes a message of a protocol to the handler of an actor. Made by
/// [`protocol!`](crate::protocol).
pub trait Dispatch<A: Actor>: Protocol {
    /// Hands `delivery`, message number `index` of the protocol, to `actor`.
    fn dispatch(actor: &mut A, index: u16, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome;
}

/// One message on its way into a handler.
#[derive(Debug)]
pub struct Delivery<'a> {
    pub(crate) payload: Payload<'a>,
    pub(crate) asker: Option<Asker<'a>>,
}

/// What became of a [`Delivery`].
#[derive(Debug)]
#[must_use]
pub struct Outcome(pub(crate) Delivered);

#[derive(Debug)]
pub(crate) enum Delivered {
    /// The handler ran.
    Handled,
    /// The bytes are not a valid archive of the message.
    Invalid(AccessError),
    /// The protocol has no message of that number: a defect of the caller.
    NoSuchMessage,
}

/// Validates a message and calls its handler; the code behind every arm of a generated `match`.
#[inline]
pub fn deliver<A, M>(actor: &mut A, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome
where
    A: Handler<M>,
    M: Message,
{
    let Delivery { payload, asker } = delivery;
    let message = if payload.must_be_copied() {
        Msg::<M>::new(payload.copied(cx.core())).map_err(|(error, _)| error)
    } else {
        Msg::<M>::within(&payload)
    };
    let message = match message {
        Ok(message) => message,
        Err(error) => return Outcome(Delivered::Invalid(error)),
    };
    let reply = actor.handle(message, cx);
    if let Some(asker) = asker {
        asker.answer::<M::Reply>(&reply);
    }
    Outcome(Delivered::Handled)
}

/// The arm behind the last number of a generated `match`.
#[cold]
pub fn no_such_message(_: Delivery<'_>) -> Outcome {
    Outcome(Delivered::NoSuchMessage)
}
