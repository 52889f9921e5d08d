//! Questions whose answer is owed beyond their handler: kept by somebody, or passed on.
//!
//! A question that is passed on has a place in the table of this core's own questions. What comes
//! for it there, an answer or an error, goes back to whoever asked; when they cancel, that goes on
//! to where the question went.

use std::fmt;
use std::rc::Rc;

use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_proto::message::{Message, MessageType, Reply};
use ringmesh_proto::time::Instant;
use ringmesh_transport::buffer::Chunk;

use super::link::{Link, LinkId};
use super::{Answer, Asker, Core, Question};
use crate::error::Refusal;
use crate::reference::Recipient;

/// A question that somebody promised to answer. It counts on its link until that was done.
pub(crate) struct Asked {
    core: Rc<Core>,
    link: Rc<Link>,
    question: Question,
}

impl Asked {
    /// Takes a question over from its handler; `None` when its peer has more of them open than it
    /// may: then its link ends with the turn.
    pub(crate) fn new(core: &Rc<Core>, link: &Rc<Link>, question: Question) -> Option<Self> {
        if link.owed.get() >= ASKS_OUTSTANDING_MAX {
            core.doom(link);
            return None;
        }
        link.owed.set(link.owed.get() + 1);
        Some(Self {
            core: Rc::clone(core),
            link: Rc::clone(link),
            question,
        })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The link that the question came on, and its number there.
    pub(super) fn origin(&self) -> (LinkId, u64) {
        (self.link.id, self.question.correlation)
    }

    /// The question, which is nobody's to answer from now on, until it is handled again.
    pub(crate) fn into_question(self) -> (Rc<Link>, Question) {
        (Rc::clone(&self.link), self.question)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.question.deadline
    }

    pub(crate) fn answer<R: Reply>(self, answer: &R) {
        self.asker().answer(answer);
    }

    pub(crate) fn fail(self, code: ErrorCode) {
        self.asker().fail(code);
    }

    /// Passes the question on to `to`, with what is left of its time.
    ///
    /// # Errors
    /// Gives the question back; it is still to be answered.
    pub(crate) fn relay<M>(self, to: Recipient, bytes: &Chunk) -> Result<(), (Refusal, Self)>
    where
        M: Message,
        M::Reply: Message,
    {
        let core = Rc::clone(&self.core);
        if core.time_to(self.deadline()).is_zero() {
            // Nobody waits any more; and questions that go round in a circle end here.
            self.fail(ErrorCode::Expired);
            return Ok(());
        }
        let mut asked = Some(self);
        let relayed = core.relay::<M>(to, bytes, &mut asked);
        match (relayed, asked) {
            (Err(refusal), Some(asked)) => Err((refusal, asked)),
            _ => Ok(()),
        }
    }

    /// Answers with what came for the question where it was passed on to: an answer of type
    /// `message`, as it is, or the error in its place.
    pub(super) fn pass_back(self, message: &MessageType, answer: &Answer) {
        match answer {
            Ok(answer) => self.asker().answer_bytes(message, answer.chunk()),
            Err(error) => self.asker().fail(error.to_code()),
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker::new(&self.core, &self.link, self.question.correlation)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.link.owed.set(self.link.owed.get() - 1);
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("link", &self.link)
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}
