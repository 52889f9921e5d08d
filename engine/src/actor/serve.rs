//! What the macros' code is made of: the way of one message into its handler, of either kind.

use std::cell::Cell;
use std::future::Future;
use std::mem::forget;

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

    /// A handler of any kind, as the loop of the actor polls it. Whatever may panic in it does so
    /// while it is polled: its making does nothing yet, and the drop of one that is ready, or has
    /// panicked, nothing any more. One that may wait has nothing around it: each layer would cost
    /// every message some steps.
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
    async fn serve(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> Self::Answer {
        self.handle(message, cx)
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
    pub(super) fn into_local(self) -> Option<LocalValue> {
        match self {
            Self::Archived(_) | Self::Notice(_) => None,
            Self::Local(value) => Some(value),
        }
    }
}

/// Where the next message of a loop lies: as it arrived, to be validated where its type is known;
/// or as it lay in the mailbox; or as a value.
#[derive(Default)]
pub(super) struct Place {
    pub(super) fresh: Cell<Option<Chunk>>,
    pub(super) kept: Cell<Option<Content>>,
    /// What became of one that reached no handler.
    pub(super) refused: Cell<Option<Delivered>>,
}

impl Place {
    /// Drops what lies there.
    pub(super) fn clear(&self) {
        self.fresh.take();
        self.kept.take();
        self.refused.take();
    }
}

/// Fills a place that is empty: to look whether something has to be dropped there would cost every
/// message.
#[inline(always)]
pub(super) fn fill<T>(place: &Cell<Option<T>>, value: Option<T>) {
    let former = place.replace(value);
    debug_assert!(former.is_none(), "what was handed over was taken");
    forget(former);
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
