//! An answer that is given later than its handler ends.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::message::Message;

use super::{Accepts, Actor, Cx};
use crate::core::{Asked, Link, Question};
use crate::error::SendError;
use crate::message::Msg;
use crate::reference::Ref;

/// Where the answer to a message `M` goes, if anybody asked: what a
/// [`LaterHandler`](crate::LaterHandler) gets beside the message.
///
/// It may be kept in the actor, moved into a task of the same core, and outlive both. Dropping it
/// unanswered tells the asker that the handler [`Failed`](crate::AskError::Failed), and so do the
/// end and the panic of an actor that keeps it. When the link to the asker has ended meanwhile, or
/// the asker gave up, the answer goes nowhere.
///
/// Of a message that nobody asked, everything here does nothing.
#[must_use = "dropping it tells the asker that the handler failed"]
pub struct ReplyTo<M: Message> {
    /// Taken when the answer is given.
    asked: Option<Asked>,
    marker: PhantomData<fn(M)>,
}

impl<M: Message> ReplyTo<M> {
    pub(super) fn new<A: Actor>(cx: &Cx<'_, A>) -> Self {
        Self::of(cx.take_question())
    }

    /// That of a question which was taken over.
    pub(crate) fn of(asked: Option<Asked>) -> Self {
        Self {
            asked,
            marker: PhantomData,
        }
    }

    /// The question, and the link it came on, to be asked again.
    pub(crate) fn into_question(mut self) -> Option<(Rc<Link>, Question)> {
        self.asked.take().map(Asked::into_question)
    }

    /// Whether somebody waits for the answer, as far as this side knows: `false` of a message that
    /// was told.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// What is left of the asker's deadline, zero when it has passed; `None` when nobody asked.
    pub fn deadline(&self) -> Option<Duration> {
        let asked = self.asked.as_ref()?;
        Some(asked.core().time_to(asked.deadline()))
    }

    /// Answers.
    pub fn send(mut self, answer: M::Reply) {
        // Out of here before anything can panic: the question is answered once.
        if let Some(asked) = self.asked.take() {
            asked.answer(&answer);
        }
    }

    /// Passes the message on, as the bytes it came in: whoever `to` names answers in this place. An
    /// error is passed on as well, and the deadline travels with the question: when it has passed
    /// the asker is told so instead. A message that nobody asked is told.
    ///
    /// # Errors
    /// [`ForwardError`], with the message and this token. The question is not answered by that.
    pub fn forward<P>(mut self, message: Msg<M>, to: &Ref<P>) -> Result<(), ForwardError<M>>
    where
        P: Accepts<M>,
        M::Reply: Message,
    {
        let Some(asked) = self.asked.take() else {
            return to
                .pass_on(message)
                .map_err(|error| ForwardError { error, reply: self });
        };
        match asked.relay::<M>(to.recipient, message.chunk()) {
            Ok(()) => Ok(()),
            Err((refusal, asked)) => {
                self.asked = Some(asked);
                let error = SendError::new(refusal, message);
                Err(ForwardError { error, reply: self })
            }
        }
    }
}

impl<M: Message> Drop for ReplyTo<M> {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            asked.fail(ErrorCode::Failed);
        }
    }
}

impl<M: Message> fmt::Debug for ReplyTo<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo")
            .field("message", &M::NAME)
            .field("asked", &self.is_asked())
            .finish_non_exhaustive()
    }
}

/// Why a question was not passed on. It is not answered by that: it comes back, with its message.
#[non_exhaustive]
pub struct ForwardError<M: Message> {
    /// Why, with the message. [`SendError::Full`] also says that as many questions are outstanding
    /// as may be.
    pub error: SendError<Msg<M>>,
    /// Where its answer goes.
    pub reply: ReplyTo<M>,
}

impl<M: Message> fmt::Display for ForwardError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the question was not passed on: {}", self.error)
    }
}

impl<M: Message> fmt::Debug for ForwardError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardError({self})")
    }
}

impl<M: Message> Error for ForwardError<M> {}
