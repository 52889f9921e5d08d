//! Sends that wait for room.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_proto::message::Message;

use crate::actor::{Accepts, AcceptsLocal, LocalMessage, LocalValue, Protocol};
use crate::core::{Alarm, Core, LocalPlace, Place, current};
use crate::error::{Refusal, SendError};
use crate::reference::Ref;

/// A send in progress; see [`Ref::tell`]. Dropping it before it is ready takes the message back.
#[must_use = "a tell sends nothing until it is awaited"]
pub struct Tell<P, M> {
    to: Ref<P>,
    /// Taken when the send ends, one way or the other.
    message: Option<M>,
    timeout: Option<Duration>,
    alarm: Option<Alarm>,
    /// Its place among those who wait for room.
    place: Option<Place>,
}

/// The message is never pinned: it only moves into the frame, or back to the caller.
impl<P, M> Unpin for Tell<P, M> {}

impl<P, M> Tell<P, M> {
    pub(crate) fn new(to: Ref<P>, message: M) -> Self {
        Self {
            to,
            message: Some(message),
            timeout: None,
            alarm: None,
            place: None,
        }
    }

    /// Waits at most `timeout` for room, counted from the first poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<P, M> Future for Tell<P, M>
where
    P: Accepts<M>,
    M: Message,
{
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let message = self
            .message
            .take()
            .expect("a tell is not polled after it is ready");
        let polled = current::try_with(|core| self.poll_on(core, &message, context));
        match polled {
            None => Poll::Ready(Err(SendError::OffCore(message))),
            Some(Poll::Pending) => {
                self.message = Some(message);
                Poll::Pending
            }
            Some(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            Some(Poll::Ready(Err(Refusal::NoRoom | Refusal::Busy))) => {
                let after = self.timeout.unwrap_or_default();
                Poll::Ready(Err(SendError::TimedOut { message, after }))
            }
            Some(Poll::Ready(Err(refusal))) => Poll::Ready(Err(SendError::new(refusal, message))),
        }
    }
}

impl<P, M> Tell<P, M>
where
    P: Accepts<M>,
    M: Message,
{
    /// `NoRoom` or `Busy` here means that the deadline passed.
    fn poll_on(
        &mut self,
        core: &std::rc::Rc<Core>,
        message: &M,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        if !core.take_turn_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (to, place) = (&self.to.recipient, self.place.as_ref());
        let mut told = core.tell(to, message, place);
        if told == Err(Refusal::Unreachable) {
            told = core.tell_first(to, message, place);
        }
        match told {
            Err(Refusal::NoRoom | Refusal::Busy) => {}
            Err(Refusal::Unreachable) if !core.waits_in_vain(place, *to) => {}
            done => {
                self.place = None;
                return Poll::Ready(done);
            }
        }
        let timeout = *self
            .timeout
            .get_or_insert_with(|| core.settings().send_timeout);
        let alarm = self.alarm.get_or_insert_with(|| core.alarm(timeout));
        if alarm.poll(context).is_ready() {
            self.place = None;
            return Poll::Ready(Err(Refusal::NoRoom));
        }
        let stays = |place: &Place| !core.is_astray(place, self.to.recipient);
        if !self.place.as_ref().is_some_and(stays) {
            self.place = core.join_line(self.to.recipient);
        }
        let Some(place) = &self.place else {
            return Poll::Ready(Err(Refusal::NotRunning));
        };
        match told {
            Err(Refusal::Busy) => place.wait_aside(context.waker()),
            _ => place.wait(context.waker()),
        }
        Poll::Pending
    }
}

impl<P: Protocol, M> fmt::Debug for Tell<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tell")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// A send of a local message in progress; see [`Ref::tell_local`]. Dropping it before it is ready
/// takes the message back.
#[must_use = "a tell sends nothing until it is awaited"]
pub struct TellLocal<P, M> {
    to: Ref<P>,
    /// Taken when the send ends, one way or the other.
    message: Option<M>,
    timeout: Option<Duration>,
    alarm: Option<Alarm>,
    /// Its place among those who wait for room.
    place: Option<LocalPlace>,
}

/// The message is never pinned: it only moves to its actor, or back to the caller.
impl<P, M> Unpin for TellLocal<P, M> {}

impl<P, M> TellLocal<P, M> {
    pub(crate) fn new(to: Ref<P>, message: M) -> Self {
        Self {
            to,
            message: Some(message),
            timeout: None,
            alarm: None,
            place: None,
        }
    }

    /// Waits at most `timeout` for room, counted from the first poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether there is room now; `NoRoom` here means that the deadline passed.
    fn poll_room(
        &mut self,
        core: &std::rc::Rc<Core>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>>
    where
        P: Protocol,
    {
        if !core.take_turn_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let to = self.to.recipient;
        match core.has_room_for_local(to) {
            Err(Refusal::NoRoom) => {}
            done => {
                self.place = None;
                return Poll::Ready(done);
            }
        }
        let timeout = *self
            .timeout
            .get_or_insert_with(|| core.settings().send_timeout);
        let alarm = self.alarm.get_or_insert_with(|| core.alarm(timeout));
        if alarm.poll(context).is_ready() {
            self.place = None;
            return Poll::Ready(Err(Refusal::NoRoom));
        }
        let place = self.place.get_or_insert_with(|| core.join_local_line(to));
        place.wait(context.waker());
        Poll::Pending
    }
}

impl<P, M> Future for TellLocal<P, M>
where
    P: AcceptsLocal<M>,
    M: LocalMessage + Send,
{
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = current::try_with(|core| self.poll_room(core, context));
        if let Some(Poll::Pending) = polled {
            return Poll::Pending;
        }
        let message = self
            .message
            .take()
            .expect("a tell is not polled after it is ready");
        Poll::Ready(match polled {
            Some(Poll::Ready(Err(Refusal::NoRoom))) => {
                let after = self.timeout.unwrap_or_default();
                Err(SendError::TimedOut { message, after })
            }
            Some(Poll::Ready(Err(refusal))) => Err(SendError::new(refusal, message)),
            Some(Poll::Ready(Ok(()))) => {
                let value = LocalValue::new(message);
                let to = self.to.recipient;
                current::try_with(|core| core.tell_local(to, P::INDEX, value));
                Ok(())
            }
            _ => Err(SendError::OffCore(message)),
        })
    }
}

impl<P: Protocol, M> fmt::Debug for TellLocal<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellLocal")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
