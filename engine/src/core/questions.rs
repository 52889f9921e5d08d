//! Questions from their send to their end.
//!
//! A question that was sent is owed one answer: a reply, or an error in its place. Until it came,
//! or the link ended, the question counts as outstanding on its link, whoever still waits for it;
//! so neither side ever keeps more than `ASKS_OUTSTANDING_MAX`, and one more is refused here.
//!
//! A question is abandoned when its future drops or its deadline passes before that. Its place in
//! the core's table is free at once; its number stays with the link, and a cancel frame of the same
//! number goes out if there is credit for it. Cancelling is a favour, and may be lost:
//! - the asker counts the answer that comes all the same as late, whatever it is;
//! - the responder takes a cancel for an answer that still waits for credit: it drops that, and
//!   sends the error `Cancelled` in its place. For a question that it passed on it sends a cancel
//!   after it, once. One that still waits in a mailbox, or for its handler, goes on as if nobody
//!   had cancelled it, and one that was answered is over.

use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::Extension;
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_proto::link::SendHead;
use ringmesh_proto::message::{Message, MessageType};
use ringmesh_transport::buffer::Chunk;

use super::asks::{AskTable, Expected, Settled};
use super::letters::Described;
use super::link::Link;
use super::upgrade::NotUpgraded;
use super::{Answer, Asked, Core, Correlation, Place, Token};
use crate::ask::AskRefusal;
use crate::dead_letter::DeadLetterReason;
use crate::error::{AskError, AskPhase, Refusal};
use crate::reference::Recipient;

/// A question on its way out.
struct Outgoing<'a, F> {
    message: &'a MessageType,
    /// Pushes it on its link; see [`Core::push`].
    push: F,
    expected: &'static Expected,
    timeout: Duration,
}

impl Core {
    /// Sends a question. Its answer, or what became of it, is at the correlation afterwards.
    pub(crate) fn ask<M>(
        self: &Rc<Self>,
        to: Recipient,
        message: &M,
        timeout: Duration,
        place: Option<&Place>,
    ) -> Result<Correlation, AskRefusal>
    where
        M: Message,
        M::Reply: Message,
    {
        let question = Outgoing {
            message: &M::TYPE,
            push: |link: &Rc<Link>, held_up, head: SendHead<'_>| {
                self.push(link, held_up, head, message)
            },
            expected: Expected::of::<M::Reply>(),
            timeout,
        };
        self.send_question(to, &question, place, &mut None)
    }

    /// Passes a question on as the bytes it came in. Whoever `asked` is taken when it was sent, and
    /// gets what comes for it.
    pub(super) fn relay<M>(
        self: &Rc<Self>,
        to: Recipient,
        bytes: &Chunk,
        asked: &mut Option<Asked>,
    ) -> Result<(), Refusal>
    where
        M: Message,
        M::Reply: Message,
    {
        let left = asked.as_ref().map(|asked| self.time_to(asked.deadline()));
        let question = Outgoing {
            message: &M::TYPE,
            push: |link: &Rc<Link>, held_up, head: SendHead<'_>| {
                self.push_archived(link, held_up, head, bytes)
            },
            expected: Expected::of::<M::Reply>(),
            timeout: left.unwrap_or_default(),
        };
        let mut to = to;
        let mut sent = self.send_question(to, &question, None, asked);
        if let Err(AskRefusal::Send(Refusal::ForLargeLane { .. })) = sent {
            to.large = true;
            sent = self.send_question(to, &question, None, asked);
        }
        match sent {
            Ok(_) => Ok(()),
            Err(AskRefusal::TooManyAsks { .. }) => Err(Refusal::NoRoom),
            Err(AskRefusal::Send(refusal)) => Err(refusal),
        }
    }

    /// Sends a question of this core, or one that it passes on for an asker, who is taken then.
    fn send_question<F>(
        self: &Rc<Self>,
        to: Recipient,
        question: &Outgoing<'_, F>,
        place: Option<&Place>,
        relayed: &mut Option<Asked>,
    ) -> Result<Correlation, AskRefusal>
    where
        F: Fn(&Rc<Link>, bool, SendHead<'_>) -> Result<u64, Refusal>,
    {
        match self.try_question(to, question, place, relayed) {
            // There is a link now, which takes the question before it has a connection.
            Err(AskRefusal::Send(Refusal::Unreachable)) => {
                self.reach(to).map_err(AskRefusal::Send)?;
                self.try_question(to, question, place, relayed)
            }
            done => done,
        }
    }

    fn try_question<F>(
        &self,
        to: Recipient,
        question: &Outgoing<'_, F>,
        place: Option<&Place>,
        relayed: &mut Option<Asked>,
    ) -> Result<Correlation, AskRefusal>
    where
        F: Fn(&Rc<Link>, bool, SendHead<'_>) -> Result<u64, Refusal>,
    {
        let mut asks = self.asks.borrow_mut();
        let limit = AskTable::ASKS_MAX;
        let correlation = asks.next().ok_or(AskRefusal::TooManyAsks { limit })?;
        let peers = self.peers.borrow();
        let (link, held_up) = peers.link_to(&to, place).map_err(AskRefusal::Send)?;
        if link.asks.get() >= ASKS_OUTSTANDING_MAX {
            return Err(AskRefusal::TooManyAsks {
                limit: ASKS_OUTSTANDING_MAX,
            });
        }
        let extension = Extension {
            correlation: correlation.to_wire(),
            remaining_us: Extension::micros(question.timeout),
            code: 0,
        };
        let head = SendHead::Ask {
            message: question.message,
            target: to.target(),
            extension,
        };
        let position = (question.push)(link, held_up, head).map_err(AskRefusal::Send)?;
        // There is a timer for each place of the table; see `timers`.
        let overdue = self.clock.peek() + question.timeout;
        let deadline = self.set_timer(overdue, Token::Ask(correlation));
        link.asks.set(link.asks.get() + 1);
        let expected = question.expected;
        let until = (overdue, deadline);
        asks.occupy(link, position, expected, until, relayed.take());
        if position >= link.flush_at.get() {
            let link = Rc::clone(link);
            drop((asks, peers));
            self.flush_early(&link);
        }
        Ok(correlation)
    }

    /// The answer to a question, when it is there; else notes whom to wake.
    pub(crate) fn take_answer(&self, correlation: Correlation, waker: &Waker) -> Option<Answer> {
        let answer = self.asks.borrow_mut().take(correlation);
        if answer.is_some() || self.asks.borrow_mut().knows(correlation, waker) {
            return answer;
        }
        let waker = waker.clone();
        let former = self.asks.borrow_mut().note(correlation, waker);
        drop(former);
        None
    }

    /// Nobody waits for a question any more: its future drops.
    pub(crate) fn forget_ask(&self, correlation: Correlation) {
        let settled = self.asks.borrow_mut().forget(correlation);
        let Settled {
            owed_on,
            timer,
            waker,
            relayed: _,
        } = settled;
        if let Some(timer) = timer {
            self.cancel_timer(timer);
        }
        if let Some(link) = owed_on {
            self.abandon(&link, correlation);
        }
        self.release(waker);
    }

    /// The time of a question is up.
    pub(super) fn ask_overdue(&self, correlation: Correlation) {
        let timeout = AskError::Timeout {
            after: Duration::ZERO,
            phase: AskPhase::Sent,
        };
        if let Some(link) = self.resolve_ask(correlation, Err(timeout)) {
            self.abandon(&link, correlation);
        }
    }

    /// Takes what came for a question on `link` to whoever asked.
    ///
    /// # Errors
    /// [`CloseReason::Archive`] when it is not what it says it is.
    pub(super) fn answer_arrived(
        &self,
        link: &Rc<Link>,
        number: u64,
        answer: Result<(MessageType, Chunk), AskError>,
    ) -> Result<(), CloseReason> {
        self.tally.received.add(1);
        let correlation = Correlation::from_wire(number);
        let message = answer.as_ref().ok().map(|(message, _)| *message);
        let expected = self.asks.borrow().expected(correlation, link.id);
        let answer = match (expected, answer) {
            (None, _) => None,
            (Some(expected), Ok((message, payload))) if message != expected.message => {
                self.answer_in_older(link, correlation, expected, (&message, payload))
            }
            (Some(expected), Ok((_, payload))) => {
                Some((expected.validate)(payload).map_err(|error| {
                    tracing::debug!(%error, "an answer is not valid");
                    AskError::InvalidReply
                }))
            }
            (Some(_), Err(error)) => Some(Err(error)),
        };
        let Some(answer) = answer else {
            if link.abandoned.borrow_mut().remove(&number) {
                link.asks.set(link.asks.get() - 1);
            }
            let describe = |_: &Self| Described::answer(message);
            self.bury(DeadLetterReason::LateAnswer, 1, link, describe);
            return Ok(());
        };
        let is_valid = !matches!(answer, Err(AskError::InvalidReply));
        link.asks.set(link.asks.get() - 1);
        self.resolve_ask(correlation, answer);
        if is_valid {
            self.tally.delivered.add(1);
            Ok(())
        } else {
            let describe = |_: &Self| Described::answer(message);
            self.bury(DeadLetterReason::Invalid, 1, link, describe);
            Err(CloseReason::Archive)
        }
    }

    /// Makes the answer that is expected of one in another version. `None` when nobody waits for it
    /// any more: user code ran.
    #[cold]
    fn answer_in_older(
        &self,
        link: &Rc<Link>,
        correlation: Correlation,
        expected: &Expected,
        (message, payload): (&MessageType, Chunk),
    ) -> Option<Answer> {
        let Some(older) = expected.older.iter().find(|old| old.message == *message) else {
            return Some(Err(AskError::ReplyMismatch));
        };
        let answer = match self.upgrade(older, &payload, link.body_cap) {
            Ok(upgraded) => (expected.validate)(upgraded).map_err(|_| AskError::ReplyNotUpgraded),
            Err(NotUpgraded::Invalid) => Err(AskError::InvalidReply),
            Err(NotUpgraded::Failed) => Err(AskError::ReplyNotUpgraded),
        };
        let is_asked = self.asks.borrow().expected(correlation, link.id).is_some();
        is_asked.then_some(answer)
    }

    /// The answer to a question is no longer wanted.
    pub(super) fn handle_cancel(&self, link: &Link, extension: Option<Extension>) {
        let Some(extension) = extension else {
            return;
        };
        let withdrawn = link.outbound.borrow_mut().withdraw(extension.correlation);
        if withdrawn {
            self.tally.replies_withdrawn.add(1);
        } else if !self.cancel_relayed(link, extension.correlation) {
            self.pass_cancel_on(link, extension);
        }
    }

    /// Cancels the question that was passed on for question `number` of a link. Says whether there
    /// is one.
    fn cancel_relayed(&self, link: &Link, number: u64) -> bool {
        let relayed = self.asks.borrow_mut().take_relayed(link.id, number);
        let Some((correlation, sent_on)) = relayed else {
            return false;
        };
        if self.push_cancel(&sent_on, correlation.to_wire()) {
            self.tally.cancels_passed_on.add(1);
        }
        true
    }

    /// Has the questions that waited for a connection say how much of their time is left.
    pub(super) fn retime_questions(&self, link: &Link) {
        let asks = self.asks.borrow();
        let now = self.clock.peek();
        let left = |number| {
            let left = asks.left(Correlation::from_wire(number), now);
            left.map_or(0, Extension::micros)
        };
        link.outbound.borrow_mut().retime(left);
    }

    /// Ends the questions of a link that ended, with what `error` makes of how far each got.
    /// What lies beyond `sent` never left.
    pub(super) fn end_questions(
        &self,
        link: &Rc<Link>,
        sent: u64,
        error: impl Fn(AskPhase) -> AskError,
    ) {
        let questions = self.asks.borrow().on_link(link.id, sent);
        for (correlation, phase) in questions {
            self.resolve_ask(correlation, Err(error(phase)));
        }
        link.abandoned.take();
        link.asks.set(0);
    }

    /// Records what a question came to, and wakes whoever waits for it. Gives back the link it was
    /// sent on.
    fn resolve_ask(&self, correlation: Correlation, answer: Answer) -> Option<Rc<Link>> {
        let settled = self.asks.borrow_mut().resolve(correlation, answer)?;
        if let Some(timer) = settled.timer {
            self.cancel_timer(timer);
        }
        if let Some(waker) = settled.waker {
            self.wake(waker);
        }
        if let Some((asked, message, answer)) = settled.relayed {
            asked.pass_back(&message, &answer);
        }
        settled.owed_on
    }

    /// Keeps the number of a question that nobody waits for until its answer comes, and tells the
    /// peer.
    #[cold]
    fn abandon(&self, link: &Rc<Link>, correlation: Correlation) {
        self.tally.asks_abandoned.add(1);
        let correlation = correlation.to_wire();
        link.abandoned.borrow_mut().insert(correlation);
        if self.push_cancel(link, correlation) {
            self.tally.cancels_sent.add(1);
        }
    }

    /// Tells the peer that the answer to a question is no longer wanted. Says whether there was
    /// room for it.
    fn push_cancel(&self, link: &Rc<Link>, correlation: u64) -> bool {
        let cancel = Extension {
            correlation,
            ..Extension::default()
        };
        let mut slabs = self.slabs_of(link).borrow_mut();
        let pushed = link.outbound.borrow_mut().push_cancel(&mut slabs, cancel);
        drop(slabs);
        if pushed.is_ok() {
            self.enqueue(link);
        }
        pushed.is_ok()
    }
}
