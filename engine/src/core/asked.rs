//! Questions whose answer is owed beyond their handler.

use std::fmt;
use std::rc::Rc;

use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_proto::message::Reply;
use ringmesh_proto::time::Instant;

use super::link::Link;
use super::{Asker, Core, Question};

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

    pub(crate) fn deadline(&self) -> Instant {
        self.question.deadline
    }

    pub(crate) fn answer<R: Reply>(self, answer: &R) {
        self.asker().answer(answer);
    }

    pub(crate) fn fail(self, code: ErrorCode) {
        self.asker().fail(code);
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
