//! A question and its answer.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_proto::message::Message;
use ringmesh_proto::time::Instant;

use crate::actor::{Accepts, Protocol};
use crate::core::{Alarm, Core, Correlation, Place, current};
use crate::error::{AskError, AskPhase, Refusal};
use crate::message::Msg;
use crate::reference::Ref;

/// A question in progress; see [`Ref::ask`].
///
/// Dropping it, or its deadline passing, gives the question up. If it was sent by then it may
/// still be executed; the peer is told that the answer is no longer wanted, and what comes all the
/// same is counted as [`dead_late_answer`](crate::Counters::dead_late_answer). Until then the
/// question is one of those that [`TooManyAsks`](AskError::TooManyAsks) counts.
#[must_use = "an ask sends nothing until it is awaited"]
pub struct Ask<P, M: Message> {
    to: Ref<P>,
    message: Option<M>,
    timeout: Option<Duration>,
    /// The deadline of the question whose handler made this one.
    inherited: Option<Instant>,
    state: State,
    marker: PhantomData<fn() -> M::Reply>,
}

enum State {
    /// Not yet sent: waiting for room, until the alarm rings.
    Queued(Option<(Alarm, Place)>),
    /// Sent: the core holds the answer's place.
    Sent {
        core: Rc<Core>,
        correlation: Correlation,
    },
    Done,
}

/// The message is never pinned: it only moves into the frame.
impl<P, M: Message> Unpin for Ask<P, M> {}

impl<P, M: Message> Ask<P, M> {
    pub(crate) fn new(to: Ref<P>, message: M) -> Self {
        let state = State::Queued(None);
        Self {
            to,
            message: Some(message),
            timeout: None,
            inherited: current::try_with(|core| core.deadline()).flatten(),
            state,
            marker: PhantomData,
        }
    }

    /// Waits at most `timeout` for the answer, counted from the first poll, whatever is left to the
    /// question that is being handled. What is left of it when the question leaves travels with it,
    /// as 71 minutes at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asks on the large lane, whatever the size of the question, so that the answer may be large.
    ///
    /// An answer takes the lane of its question, and is refused there as
    /// [`ReplyTooLarge`](AskError::ReplyTooLarge) above its cap. Large questions take the large
    /// lane by themselves, and so do all to an actor that is [`LARGE`](crate::Actor::LARGE).
    pub fn large(mut self) -> Self {
        self.to.recipient.large = true;
        self
    }
}

impl<P, M> Future for Ask<P, M>
where
    P: Accepts<M>,
    M: Message,
    M::Reply: Message,
{
    type Output = Result<Msg<M::Reply>, AskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = current::try_with(|core| {
            if matches!(self.state, State::Queued(_))
                && let Poll::Ready(error) = self.send(core, context)
            {
                return Poll::Ready(Err(error));
            }
            self.receive(context)
        });
        let polled = polled.unwrap_or(Poll::Ready(Err(AskError::OffCore)));
        if polled.is_ready() {
            self.state = State::Done;
        }
        polled
    }
}

impl<P, M> Ask<P, M>
where
    P: Accepts<M>,
    M: Message,
    M::Reply: Message,
{
    /// Tries to send. Ready means that it failed for good; pending, that it was sent or waits.
    fn send(&mut self, core: &Rc<Core>, context: &mut Context<'_>) -> Poll<AskError> {
        let State::Queued(waiting) = &self.state else {
            return Poll::Pending;
        };
        let inherited = self.inherited;
        let timeout = *self.timeout.get_or_insert_with(|| {
            inherited.map_or_else(|| core.settings().ask_timeout, |it| core.time_to(it))
        });
        if timeout.is_zero() {
            let phase = AskPhase::Queued;
            let after = timeout;
            return Poll::Ready(AskError::Timeout { after, phase });
        }
        let (remaining, place) = match waiting {
            Some((alarm, place)) => (alarm.remaining(), Some(place)),
            None => (timeout, None),
        };
        let message = self
            .message
            .as_ref()
            .expect("an ask is not polled after it is ready");
        let mut asked = core.ask(self.to.recipient, message, remaining, place);
        if let Err(AskRefusal::Send(Refusal::ForLargeLane { .. })) = asked {
            self.to.recipient.large = true;
            asked = core.ask(self.to.recipient, message, remaining, None);
        }
        match asked {
            Ok(correlation) => {
                let sent = State::Sent {
                    core: Rc::clone(core),
                    correlation,
                };
                // Before the message drops: that may panic, and the question must not be lost then.
                self.state = sent;
                self.message = None;
                Poll::Pending
            }
            Err(AskRefusal::TooManyAsks { limit }) => Poll::Ready(AskError::TooManyAsks { limit }),
            Err(AskRefusal::Send(
                refusal @ (Refusal::NoRoom | Refusal::Busy | Refusal::Unreachable),
            )) => self.wait_for_room(core, context, refusal, timeout),
            Err(AskRefusal::Send(refusal)) => Poll::Ready(AskError::new(refusal)),
        }
    }

    /// Waits in the line of the recipient's link, until the time is up.
    fn wait_for_room(
        &mut self,
        core: &Rc<Core>,
        context: &mut Context<'_>,
        refusal: Refusal,
        timeout: Duration,
    ) -> Poll<AskError> {
        let State::Queued(waiting) = &mut self.state else {
            return Poll::Pending;
        };
        let to = self.to.recipient;
        if refusal == Refusal::Unreachable {
            let place = waiting.as_ref().map(|(_, place)| place);
            if core.waits_in_vain(place, to) {
                return Poll::Ready(AskError::new(refusal));
            }
        }
        match waiting {
            Some((_, place)) if !core.is_astray(place, to) => {}
            Some((_, place)) => {
                if let Some(other) = core.join_line(to) {
                    *place = other;
                }
            }
            None => {
                let place = core.join_line(to);
                *waiting = place.map(|place| (core.alarm(timeout), place));
            }
        }
        let Some((alarm, place)) = waiting else {
            return Poll::Ready(AskError::new(refusal));
        };
        if alarm.poll(context).is_ready() {
            let phase = AskPhase::Queued;
            let after = timeout;
            return Poll::Ready(AskError::Timeout { after, phase });
        }
        match refusal {
            Refusal::Busy => place.wait_aside(context.waker()),
            _ => place.wait(context.waker()),
        }
        Poll::Pending
    }

    fn receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Msg<M::Reply>, AskError>> {
        let State::Sent { core, correlation } = &self.state else {
            return Poll::Pending;
        };
        let Some(answer) = core.take_answer(*correlation, context.waker()) else {
            return Poll::Pending;
        };
        let after = self.timeout.unwrap_or_default();
        Poll::Ready(match answer {
            Ok(reply) => Msg::from_validated(reply).ok_or(AskError::InvalidReply),
            Err(AskError::Timeout { phase, .. }) => Err(AskError::Timeout { after, phase }),
            Err(error) => Err(error),
        })
    }
}

/// Why a question was not sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskRefusal {
    TooManyAsks { limit: usize },
    Send(Refusal),
}

impl<P, M: Message> Drop for Ask<P, M> {
    fn drop(&mut self) {
        if let State::Sent { core, correlation } = &self.state {
            core.forget_ask(*correlation);
        }
    }
}

impl<P: Protocol, M: Message> fmt::Debug for Ask<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
