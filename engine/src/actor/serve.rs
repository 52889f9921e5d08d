//! What the macros' code is made of: the way of one message into its handler, of either kind.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, ready};

use ringmesh_proto::archive::AccessError;
use ringmesh_proto::message::Message;
use ringmesh_transport::buffer::Chunk;

use super::context::Owed;
use super::{Actor, Cx, Delivered, Delivery, Handler, LocalValue, Outcome, ReplyTo};
use crate::core::Notice;
use crate::message::{Msg, Validated};

/// What came of calling a handler without waiting.
#[derive(Debug)]
pub enum Served<R> {
    /// Its answer.
    Answer(R),
    /// It ran, and the answer is given elsewhere.
    Later,
    /// It did not run, because it may wait.
    MayWait,
}

/// Says that an actor handles message `M`, one way or another. Comes with [`Handler`], or with
/// [`#[async_handler]`](macro@crate::async_handler) or
/// [`#[later_handler]`](macro@crate::later_handler).
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}`",
    label = "its protocol contains `{M}`",
    note = "add `impl Handler<{M}> for {Self}`",
    note = "or `#[later_handler] impl LaterHandler<{M}> for {Self}`; the attribute as well",
    note = "or `#[async_handler] impl AsyncHandler<{M}> for {Self}`; the attribute must stand there"
)]
pub trait Serves<M: Message>: Actor {
    /// Whether the handler may wait.
    const IS_ASYNC: bool;

    /// What the handler ends with.
    type Answer;

    /// Calls a handler that does not wait.
    #[inline]
    fn serve_now(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> Served<M::Reply> {
        let _ = (message, cx);
        Served::MayWait
    }

    /// Calls a handler of any kind, in the loop of the actor. One that may wait is the future that
    /// comes back, with nothing around it: each layer would cost every message some steps.
    fn serve(
        &mut self,
        message: Msg<M>,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Self::Answer>;

    /// Gives what the handler ended with to whoever asked, if that is the answer.
    fn settle(owed: Owed<'_>, answer: &Self::Answer);
}

impl<A: Handler<M>, M: Message> Serves<M> for A {
    const IS_ASYNC: bool = false;

    type Answer = M::Reply;

    #[inline]
    fn serve_now(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> Served<M::Reply> {
        Served::Answer(self.handle(message, cx))
    }

    #[inline]
    fn serve(
        &mut self,
        message: Msg<M>,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Self::Answer> {
        ready(self.handle(message, cx))
    }

    #[inline]
    fn settle(owed: Owed<'_>, answer: &Self::Answer) {
        owed.answer(answer);
    }
}

/// Validates a message and calls its handler, which does not wait; the code behind every arm of a
/// generated `match`.
#[inline]
pub fn deliver<A, M>(actor: &mut A, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome
where
    A: Serves<M>,
    M: Message,
{
    let payload = delivery.payload;
    let message = if payload.must_be_copied() {
        Msg::<M>::new(payload.copied(cx.core()))
    } else {
        Msg::<M>::within(&payload)
    };
    let message = match message {
        Ok(message) => message,
        Err(error) => return Outcome(Delivered::Invalid(error)),
    };
    match actor.serve_now(message, cx) {
        Served::Answer(reply) => cx.answer(&reply),
        Served::Later => {}
        Served::MayWait => return Outcome(Delivered::NoSuchMessage),
    }
    Outcome(Delivered::Handled)
}

/// What gives the answer of the handler that is about to run.
#[inline]
pub fn owed<'a, A: Actor>(cx: &Cx<'a, A>) -> Owed<'a> {
    cx.owed()
}

/// Takes over the answer to the message that is being handled.
#[inline]
pub fn reply_to<A: Actor, M: Message>(cx: &Cx<'_, A>) -> ReplyTo<M> {
    ReplyTo::new(cx)
}

/// The arm behind the last number of a generated `match`.
#[cold]
pub fn no_such_message(_: Delivery<'_>) -> Outcome {
    Outcome(Delivered::NoSuchMessage)
}

/// A message on its way into the loop of its actor.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) index: u16,
    pub(crate) content: Content,
}

impl Arrived {
    pub(crate) fn is_archived(&self) -> bool {
        matches!(self.content, Content::Archived(_))
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.content, Content::Local(_))
    }

    /// Word of an end: no message, and in no account of them.
    pub(crate) fn is_notice(&self) -> bool {
        matches!(self.content, Content::Notice(_))
    }

    pub(crate) fn into_local(self) -> Option<LocalValue> {
        self.content.into_local()
    }
}

#[derive(Debug)]
pub(crate) enum Content {
    /// It came as an archive, and is valid.
    Archived(Validated),
    /// It is of the type of its number.
    Local(LocalValue),
    /// An actor has ended, which may be watched.
    Notice(Box<Notice>),
}

impl Content {
    fn into_local(self) -> Option<LocalValue> {
        match self {
            Self::Archived(_) | Self::Notice(_) => None,
            Self::Local(value) => Some(value),
        }
    }
}

/// The message that a loop handles next: its number, and where it lies. Small, because the futures
/// on the way to the handler are moved with it.
pub struct Next<'a> {
    pub(super) index: u16,
    pub(super) place: &'a Place,
}

impl Next<'_> {
    /// The number of the message in its protocol.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The message, unless it turns out that it is not valid.
    #[inline]
    pub fn take<M: Message>(&self) -> Option<Msg<M>> {
        self.place.take()
    }

    /// The local message, if it is one.
    pub(super) fn into_local(self) -> Option<LocalValue> {
        self.place.kept.take()?.into_local()
    }
}

/// Where the next message of a loop lies: as it arrived, to be validated where its type is known;
/// or as it lay in the mailbox; or as a value.
#[derive(Default)]
pub(super) struct Place {
    pub(super) fresh: Cell<Option<Chunk>>,
    pub(super) kept: Cell<Option<Content>>,
    /// What was wrong with a fresh one.
    pub(super) invalid: Cell<Option<AccessError>>,
}

impl Place {
    /// Drops what lies there.
    pub(super) fn clear(&self) {
        self.fresh.take();
        self.kept.take();
        self.invalid.take();
    }

    /// The message, unless it turns out that it is not valid.
    #[inline]
    fn take<M: Message>(&self) -> Option<Msg<M>> {
        let Some(chunk) = self.fresh.take() else {
            return match self.kept.take()? {
                // It was validated as the message of its number.
                Content::Archived(validated) => Msg::from_validated(validated),
                Content::Local(_) | Content::Notice(_) => None,
            };
        };
        match Msg::new(chunk) {
            Ok(message) => Some(message),
            Err(error) => {
                self.invalid.set(Some(error));
                None
            }
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Validates one message type.
#[derive(Clone, Copy, Debug)]
pub struct Check(pub(crate) fn(Chunk) -> Result<Validated, AccessError>);

impl Check {
    /// The check of `M`.
    pub const fn of<M: Message>() -> Self {
        Self(Validated::new::<M>)
    }
}
