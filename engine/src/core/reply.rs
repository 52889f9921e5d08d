//! Answers to questions, on the link they came from.

use std::fmt;
use std::rc::Rc;

use ringmesh_proto::frame::Extension;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::link::{Answered, Payload, PushError};
use ringmesh_proto::message::{Message, MessageType, Reply, ReplySink};

use ringmesh_transport::buffer::Chunk;

use super::link::Link;
use super::{Core, NoRoute};
use crate::actor::Mismatch;

/// What an answer is called that comes from elsewhere: its name is not known here.
pub(super) const PASSED_ON: &str = "(passed on)";

/// Whoever asked a question.
pub(crate) struct Asker<'a> {
    core: &'a Rc<Core>,
    link: &'a Rc<Link>,
    correlation: u64,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(core: &'a Rc<Core>, link: &'a Rc<Link>, correlation: u64) -> Self {
        Self {
            core,
            link,
            correlation,
        }
    }

    /// Sends the handler's answer. A handler that answers nothing was asked by mistake: the asker
    /// is told that its message is none that is answered.
    #[inline]
    pub(crate) fn answer<R: Reply>(self, reply: &R) {
        if reply.send_to(Sink(&self)).is_none() {
            self.fail(ErrorCode::UnknownMessage);
        }
    }

    /// Sends the archive of an answer of type `message` as it is.
    pub(super) fn answer_bytes(&self, message: &MessageType, bytes: &Chunk) {
        self.core
            .answer_archived(self.link, self.correlation, message, bytes);
    }

    /// Says that the question reached no handler.
    pub(crate) fn refuse(self, no_route: NoRoute) {
        self.fail(match no_route {
            // A client is not told that there is somebody.
            NoRoute::NoRecipient | NoRoute::NotForClients => ErrorCode::NotRunning,
            NoRoute::Mismatch(Mismatch::UnknownMessage) => ErrorCode::UnknownMessage,
            NoRoute::Mismatch(Mismatch::Schema) => ErrorCode::SchemaMismatch,
        });
    }

    /// Answers with an error.
    pub(crate) fn fail(&self, code: ErrorCode) {
        self.core.answer_error(self.link, self.correlation, code);
    }
}

impl Core {
    /// Answers, or says with an error why there is no answer. Says whether either is on its way.
    /// The `name` of the answer is for the log.
    #[inline]
    pub(super) fn answer_with<P: Payload + ?Sized>(
        &self,
        link: &Rc<Link>,
        correlation: u64,
        (message, name): (&MessageType, &str),
        payload: &P,
    ) -> bool {
        let extension = Extension {
            correlation,
            remaining_us: 0,
            code: 0,
        };
        let mut slabs = self.slabs_of(link).borrow_mut();
        let mut outbound = link.outbound.borrow_mut();
        let pushed = outbound.push_reply(&mut slabs, message, extension, payload);
        drop((slabs, outbound));
        self.answer_tried(link, correlation, name, pushed)
    }

    /// Accounts for an answer that was pushed, or says with an error why it could not be.
    #[inline]
    pub(super) fn answer_tried(
        &self,
        link: &Rc<Link>,
        correlation: u64,
        name: &str,
        pushed: Result<Answered, PushError>,
    ) -> bool {
        let code = match pushed {
            Err(PushError::TooLarge { .. }) => ErrorCode::TooLarge,
            Err(PushError::Encode | PushError::TypesExhausted) => ErrorCode::Failed,
            pushed => return self.answer_pushed(link, pushed),
        };
        // What asks for too much may do so again and again.
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::error!(message = name, error = ?pushed, "an answer could not be sent");
        }
        self.answer_error(link, correlation, code)
    }

    /// Answers with an error. Says whether that is on its way.
    pub(super) fn answer_error(&self, link: &Rc<Link>, correlation: u64, code: ErrorCode) -> bool {
        let mut slabs = self.slabs_of(link).borrow_mut();
        let mut outbound = link.outbound.borrow_mut();
        let pushed = outbound.push_error(&mut slabs, correlation, code);
        drop((slabs, outbound));
        self.answer_pushed(link, pushed)
    }

    /// Accounts for an answer, and says whether it is on its way. When more answers wait than
    /// questions may be outstanding, the peer breaks the rules, and its link ends with the turn.
    #[inline]
    pub(super) fn answer_pushed(
        &self,
        link: &Rc<Link>,
        pushed: Result<Answered, PushError>,
    ) -> bool {
        match pushed {
            Ok(answered) => {
                self.tally.sent.add(1);
                if answered == Answered::Overloaded {
                    self.tally.replies_overloaded.add(1);
                }
                self.enqueue(link);
                true
            }
            Err(PushError::Ending) => {
                self.tally.replies_dropped.add(1);
                false
            }
            Err(_) => {
                self.tally.replies_dropped.add(1);
                self.doom(link);
                false
            }
        }
    }
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("correlation", &self.correlation)
            .finish_non_exhaustive()
    }
}

struct Sink<'a, 'b>(&'a Asker<'b>);

impl ReplySink for Sink<'_, '_> {
    type Output = ();

    #[inline]
    fn send<M: Message>(self, reply: &M) {
        let Asker {
            core,
            link,
            correlation,
        } = *self.0;
        core.answer_with(link, correlation, (&M::TYPE, M::NAME), reply);
    }
}
