//! Actors: state that lives on one core and handles one message at a time.
//!
//! An actor declares the protocol it speaks and, per message of it, one [`Handler`],
//! [`AsyncHandler`] or [`LaterHandler`]. The [`protocol!`](crate::protocol) macro makes the `match`
//! that takes a message to its handler, so nothing is boxed or looked up by name per message.
//!
//! Handlers that do not wait are called where the message arrives. An actor with an asynchronous
//! one has a loop of its own ([`looping`]), which the macro writes as well, and a [`mailbox`].

mod cell;
mod context;
mod heard;
mod kin;
mod local;
mod looping;
mod mailbox;
mod notes;
mod origin;
mod port;
mod probing;
mod reply_to;
mod restart;
mod running;
mod seat;
mod serve;
mod stash;
mod table;

pub use context::{Cx, Owed};
pub use local::{AcceptsLocal, LocalHandler, LocalInfo, LocalMessage, LocalValue, deliver_local};
pub use origin::Origin;
pub use reply_to::{ForwardError, ReplyTo};
pub use seat::{Look, Seat, Source, next_poll};
pub(crate) use serve::Content;
pub use serve::{Check, Served, Serves, deliver, no_such_message, reply_to};

pub(crate) use cell::{ActorCell, Birth, Mismatch, Supervised, Turn};
pub(crate) use mailbox::Letter;
pub(crate) use port::Port;
pub(crate) use serve::Arrived;
pub use stash::{StashFull, StashLimit};
pub(crate) use table::ActorTable;

use std::future::Future;
use std::rc::Rc;

use ringmesh_proto::message::{Message, MessageInfo, ProtocolId};
use ringmesh_proto::shape::MessageShape;

use crate::core::{Extra, Link, Payload};
use crate::message::{AccessError, Msg};
use crate::watch::Terminated;

/// A named set of messages. Made by [`protocol!`](crate::protocol).
pub trait Protocol: 'static {
    /// The name, unique among the protocols a node speaks.
    const NAME: &'static str;
    /// The hash of the name.
    const ID: ProtocolId;
    /// The messages, in declaration order.
    const MESSAGES: &'static [MessageInfo];
    /// Their layouts, for [`assert_messages_locked!`](crate::assert_messages_locked).
    #[doc(hidden)]
    const SHAPES: &'static [MessageShape];
    /// Validates each message, by its number.
    #[doc(hidden)]
    const CHECKS: &'static [Check] = &[];
    /// The local messages, numbered on behind those that cross the wire.
    #[doc(hidden)]
    const LOCALS: &'static [LocalInfo] = &[];
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

    /// Whether all messages that other nodes send to such an actor take the large lane, whatever
    /// their size.
    ///
    /// The others take it by their size alone: those above `link.frame_bytes_max`, up to
    /// `large.frame_bytes_max`. So a small message may overtake a large one that was sent before
    /// it, unless this says that there is one lane for both. Answers take the lane of their
    /// question.
    const LARGE: bool = false;

    /// How much one such actor may [lay aside](Cx::stash). An actor that may has a mailbox also if
    /// none of its handlers waits.
    const STASH: StashLimit = StashLimit::NONE;

    /// Runs once, on the actor's core, before its first message; and again on the new state of an
    /// actor that begins anew, before the messages that waited.
    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// An actor that this one [watches](Cx::watch) has ended. Comes once for each watch, behind
    /// everything that the other sent to this one, and in its place among the messages: never
    /// while a handler waits, and never after [`Cx::unwatch`].
    ///
    /// If it is not written, this actor stops: it watched because it depends on the other.
    fn terminated(&mut self, who: Terminated, cx: &mut Cx<'_, Self>) {
        let _ = who;
        cx.stop();
    }

    /// Runs once when the actor stops in order: not when it failed, nor when it begins anew. Its
    /// children have ended by then.
    fn stopped(&mut self) {}
}

/// Handles message `M`, without waiting.
///
/// A handler runs on its core's thread: one that blocks stalls the core, and with it every link and
/// actor there.
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}`",
    label = "its protocol contains `{M}`",
    note = "add `impl Handler<{M}> for {Self}`",
    note = "or `#[later_handler] impl LaterHandler<{M}> for {Self}`; the attribute as well",
    note = "or `#[async_handler] impl AsyncHandler<{M}> for {Self}`; the attribute must stand there"
)]
pub trait Handler<M: Message>: Actor {
    /// Handles one message, read in place, and answers it.
    ///
    /// The answer goes to the sender if it asked, and is dropped if it told.
    ///
    /// # Panics
    /// A panic is a failure of this actor and no other, and whoever asked is told so. Unless it
    /// was spawned to [begin anew](crate::Supervision), it ends, with its children, and its later
    /// messages become dead letters.
    fn handle(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> M::Reply;
}

/// Handles message `M`, and may wait in between.
///
/// The `impl` carries [`#[async_handler]`](macro@crate::async_handler). An actor handles one
/// message at a time: while this one waits, others for the same actor wait in its mailbox, and when
/// that is full their senders are told [`Full`](crate::SendError::Full). Other actors go on.
///
/// An actor that is stopped while it waits drops this future where it waits, and then runs its
/// `stopped`; whoever asked is told that the handler [`Failed`](crate::AskError::Failed).
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}` asynchronously",
    note = "add `#[async_handler] impl AsyncHandler<{M}> for {Self}`"
)]
pub trait AsyncHandler<M: Message>: Actor {
    /// Handles one message and answers it, as [`Handler::handle`] does.
    ///
    /// # Panics
    /// As in [`Handler::handle`].
    fn handle(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> impl Future<Output = M::Reply>;
}

/// Handles message `M` without waiting, and answers it when it will.
///
/// The `impl` carries [`#[later_handler]`](macro@crate::later_handler). The handler returns
/// nothing; the answer is given through the [`ReplyTo`], from wherever that was moved. Meanwhile
/// the actor handles other messages, and it needs no loop for this.
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}` to answer it later",
    note = "add `#[later_handler] impl LaterHandler<{M}> for {Self}`"
)]
pub trait LaterHandler<M: Message>: Actor {
    /// Handles one message, read in place.
    ///
    /// # Panics
    /// As in [`Handler::handle`]: whoever asked is told that the handler failed, by the drop of
    /// `reply`.
    fn handle(&mut self, message: Msg<M>, reply: ReplyTo<M>, cx: &mut Cx<'_, Self>);
}

/// Takes a message of a protocol to the handler of an actor. Made by
/// [`protocol!`](crate::protocol).
pub trait Dispatch<A: Actor>: Protocol {
    /// Whether any handler is asynchronous: then the actor has a loop.
    const IS_ASYNC: bool;
    /// Hands `delivery`, message number `index` of the protocol, to `actor`, which has no
    /// asynchronous handler.
    fn dispatch(actor: &mut A, index: u16, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome;

    /// Hands the local message of number `index` to `actor`, which has no asynchronous handler.
    fn dispatch_local(actor: &mut A, index: u16, value: LocalValue, cx: &mut Cx<'_, A>) {
        let _ = (actor, index, value, cx);
    }

    /// Owns `actor` and handles its messages, local or not, until it is to end.
    fn run(actor: A, seat: Seat<A>) -> impl Future<Output = ()>;
}

/// One message on its way into a handler.
#[derive(Debug)]
pub struct Delivery<'a> {
    pub(crate) payload: Payload<'a>,
    /// Where it came from.
    pub(crate) link: &'a Rc<Link>,
    /// The recipient's number there.
    pub(crate) target_number: u32,
    /// What it brought besides its bytes.
    pub(crate) extra: Extra,
}

/// What became of a [`Delivery`].
#[derive(Debug)]
#[must_use]
pub struct Outcome(pub(crate) Delivered);

#[derive(Debug)]
pub(crate) enum Delivered {
    /// It reached its handler, which may still wait for something.
    Handled,
    /// It waits in the actor's mailbox.
    Waiting,
    /// The bytes are not a valid archive of the message.
    Invalid(AccessError),
    /// The protocol has no message of that number: a defect of the caller.
    NoSuchMessage,
}
