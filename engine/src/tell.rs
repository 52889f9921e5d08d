//! Sends that wait for room.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
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
    send: Waiting<P, M, Place>,
}

/// The message is never pinned: it only moves into the frame, or back to the caller.
impl<P, M> Unpin for Tell<P, M> {}

impl<P, M> Tell<P, M> {
    pub(crate) fn new(to: Ref<P>, message: M) -> Self {
        let send = Waiting::new(to, message);
        Self { send }
    }

    /// Waits at most `timeout` for room, counted from the first poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.send.timeout = Some(timeout);
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
        let message = self.send.take_message();
        let polled = current::try_with(|core| self.poll_on(core, &message, context));
        match polled {
            None => Poll::Ready(Err(SendError::OffCore(message))),
            Some(Poll::Pending) => {
                self.send.message = Some(message);
                Poll::Pending
            }
            Some(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            Some(Poll::Ready(Err(Refusal::NoRoom | Refusal::Busy))) => {
                Poll::Ready(Err(self.send.timed_out(message)))
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
        core: &Rc<Core>,
        message: &M,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        if !core.take_turn_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let send = &mut self.send;
        let mut told = core.tell_or_form(&send.to.recipient, message, send.place.as_ref());
        if let Err(Refusal::ForLargeLane { .. }) = told {
            // Its place in the line of the other lane means nothing here.
            send.place = None;
            send.to.recipient.large = true;
            told = core.tell_or_form(&send.to.recipient, message, None);
        }
        let (to, place) = (send.to.recipient, send.place.as_ref());
        match told {
            Err(Refusal::NoRoom | Refusal::Busy) => {}
            Err(Refusal::Unreachable) if !core.waits_in_vain(place, to) => {}
            done => {
                send.place = None;
                return Poll::Ready(done);
            }
        }
        if send.is_overdue(core, context) {
            return Poll::Ready(Err(Refusal::NoRoom));
        }
        let stays = |place: &Place| !core.is_astray(place, send.to.recipient);
        if !send.place.as_ref().is_some_and(stays) {
            send.place = core.join_line(send.to.recipient);
        }
        let Some(place) = &send.place else {
            return Poll::Ready(told);
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
            .field("to", &self.send.to)
            .finish_non_exhaustive()
    }
}

/// A send of a local message in progress; see [`Ref::tell_local`]. Dropping it before it is ready
/// takes the message back.
#[must_use = "a tell sends nothing until it is awaited"]
pub struct TellLocal<P, M> {
    send: Waiting<P, M, LocalPlace>,
}

/// The message is never pinned: it only moves to its actor, or back to the caller.
impl<P, M> Unpin for TellLocal<P, M> {}

impl<P, M> TellLocal<P, M> {
    pub(crate) fn new(to: Ref<P>, message: M) -> Self {
        let send = Waiting::new(to, message);
        Self { send }
    }

    /// Waits at most `timeout` for room, counted from the first poll.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.send.timeout = Some(timeout);
        self
    }

    /// Whether there is room now; `NoRoom` here means that the deadline passed.
    fn poll_room(&mut self, core: &Rc<Core>, context: &mut Context<'_>) -> Poll<Result<(), Refusal>>
    where
        P: Protocol,
    {
        if !core.take_turn_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let send = &mut self.send;
        let to = send.to.recipient;
        match core.has_room_for_local(to) {
            Err(Refusal::NoRoom) => {}
            done => {
                send.place = None;
                return Poll::Ready(done);
            }
        }
        if send.is_overdue(core, context) {
            return Poll::Ready(Err(Refusal::NoRoom));
        }
        let place = send.place.get_or_insert_with(|| core.join_local_line(to));
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
        let message = self.send.take_message();
        Poll::Ready(match polled {
            Some(Poll::Ready(Err(Refusal::NoRoom))) => Err(self.send.timed_out(message)),
            Some(Poll::Ready(Err(refusal))) => Err(SendError::new(refusal, message)),
            Some(Poll::Ready(Ok(()))) => {
                let value = LocalValue::new(message);
                let to = self.send.to.recipient;
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
            .field("to", &self.send.to)
            .finish_non_exhaustive()
    }
}

/// What either send holds while it waits. `L` is a place among those who wait for the same room.
struct Waiting<P, M, L> {
    to: Ref<P>,
    /// Taken when the send ends, one way or the other.
    message: Option<M>,
    timeout: Option<Duration>,
    alarm: Option<Alarm>,
    place: Option<L>,
}

impl<P, M, L> Waiting<P, M, L> {
    fn new(to: Ref<P>, message: M) -> Self {
        Self {
            to,
            message: Some(message),
            timeout: None,
            alarm: None,
            place: None,
        }
    }

    fn take_message(&mut self) -> M {
        let message = self.message.take();
        message.expect("a tell is not polled after it is ready")
    }

    /// Whether the deadline passed, which begins to run here; then the place is given up.
    fn is_overdue(&mut self, core: &Rc<Core>, context: &mut Context<'_>) -> bool {
        let timeout = *self
            .timeout
            .get_or_insert_with(|| core.settings().send_timeout);
        let alarm = self.alarm.get_or_insert_with(|| core.alarm(timeout));
        let is_overdue = alarm.poll(context).is_ready();
        if is_overdue {
            self.place = None;
        }
        is_overdue
    }

    /// The error of a send that was overdue.
    fn timed_out(&self, message: M) -> SendError<M> {
        let after = self.timeout.unwrap_or_default();
        SendError::TimedOut { message, after }
    }
}
