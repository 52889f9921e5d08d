//! What a generated loop calls: all that is the same in the loops of all actors.
//!
//! [`protocol!`](crate::protocol) writes the loop itself, because the handlers of each message are
//! futures of a type of their own. So they lie in the one future of their actor, with no other
//! around them, and a handler that does not wait costs little more than one that cannot.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ringmesh_proto::message::Message;

use super::context::Owed;
use super::notes::Notes;
use super::origin::Origin;
use super::port::Port;
use super::serve::Serves;
use super::{Actor, Content, Cx, Delivered, LocalValue};
use crate::core::{Core, Link};
use crate::message::Msg;
use crate::reference::Ref;

/// Ready when the loop is polled again.
#[inline]
pub fn next_poll() -> impl Future<Output = ()> {
    let mut is_next = false;
    poll_fn(move |_| {
        if replace(&mut is_next, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// What a loop does next.
#[derive(Debug)]
pub enum Look {
    /// It handles a message.
    Message,
    /// It waits for its next poll.
    Nothing,
    /// It ends.
    End,
}

/// Where a message came from.
pub struct Source(Rc<Link>);

/// Where the loop of an actor works. Nothing that users wrote panics through here: the core hears
/// of it behind the poll, so that the actor is not dropped while that panic unwinds.
pub struct Seat<A: Actor> {
    pub(super) core: Rc<Core>,
    pub(super) me: Ref<A::Api>,
    pub(super) port: Rc<Port>,
}

impl<A: Actor> Seat<A> {
    /// The actor begins.
    pub fn start(&self, actor: &mut A) {
        self.call(|cx| actor.started(cx));
    }

    /// Says what the loop does next, and tells the actor of ends until then.
    #[inline(always)]
    pub fn look(&self, actor: &mut A) -> Look {
        if self.port.is_handed() {
            return Look::Message;
        }
        if self.port.notes.are_none() {
            self.port.rest();
            return Look::Nothing;
        }
        self.look_around(actor)
    }

    /// The same where there is something to see to.
    #[cold]
    #[inline(never)]
    fn look_around(&self, actor: &mut A) -> Look {
        self.port.forget_extra(&self.core);
        while !self.port.notes.are_none() {
            if let Some(look) = self.port.look(&self.core) {
                return look;
            }
            let Some(terminated) = self.port.take_aside() else {
                return Look::End;
            };
            self.call(|cx| actor.terminated(terminated, cx));
        }
        self.port.rest();
        Look::Nothing
    }

    /// Where the next message came from.
    #[inline(always)]
    pub fn source(&self) -> Option<Source> {
        self.port.take_link().map(Source)
    }

    /// The same, as its handler sees it.
    #[inline(always)]
    pub fn origin<'a>(&'a self, source: &'a Source) -> Origin<'a> {
        Origin {
            core: &self.core,
            link: &source.0,
            handled: self.port.handled(),
        }
    }

    /// The surroundings of its handler.
    #[inline(always)]
    pub fn cx<'a>(&'a self, origin: &'a Origin<'a>) -> Cx<'a, A> {
        Cx::new(&self.core, &self.me, Some(origin))
    }

    /// Its number in its protocol.
    #[inline(always)]
    pub fn index(&self) -> u16 {
        self.port.index()
    }

    /// The message, unless it turns out that it is not valid.
    #[inline(always)]
    pub fn message<M: Message>(&self) -> Option<Msg<M>> {
        let Some(chunk) = self.port.place.fresh.take() else {
            return self.kept();
        };
        match Msg::new(chunk) {
            Ok(message) => Some(message),
            Err(error) => {
                self.port.refuse(Delivered::Invalid(error));
                None
            }
        }
    }

    /// The message, if it waited in the mailbox.
    #[cold]
    fn kept<M: Message>(&self) -> Option<Msg<M>> {
        match self.port.place.kept.take()? {
            // It was validated as the message of its number.
            Content::Archived(validated) => Msg::from_validated(validated),
            Content::Local(_) | Content::Notice(_) => None,
        }
    }

    /// Polls a handler, and gives its answer to whoever asked. Ready also when there is none, or
    /// when it panicked; then there is nothing left in it whose drop could panic.
    #[inline(always)]
    pub fn poll<M, F>(&self, mut handler: Pin<&mut Option<F>>, origin: &Origin<'_>) -> Poll<()>
    where
        A: Serves<M>,
        M: Message,
        F: Future<Output = <A as Serves<M>>::Answer>,
    {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(future) = handler.as_mut().as_pin_mut() else {
                return Poll::Ready(());
            };
            let mut context = Context::from_waker(self.port.waker());
            let answer = ready!(future.poll(&mut context));
            A::settle(Owed(Some(origin)), &answer);
            Poll::Ready(())
        }));
        match polled {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => {
                self.port.leave(&self.core);
                return Poll::Pending;
            }
            Err(payload) => self.port.fail(payload),
        }
        Poll::Ready(())
    }

    /// The loop is polled again while a handler waits, which is dropped if the actor is to end.
    pub fn resume<F>(&self, mut handler: Pin<&mut Option<F>>) {
        self.port.enter(&self.core);
        if self.port.notes.have(Notes::STOPPING) {
            self.contain(|| handler.set(None));
        }
    }

    /// Has a local message handled.
    pub fn serve_local(&self, serve: impl FnOnce(LocalValue)) {
        self.contain(|| {
            let kept = self.port.place.kept.take();
            if let Some(value) = kept.and_then(Content::into_local) {
                serve(value);
            }
        });
    }

    /// The protocol has no message of that number.
    #[cold]
    pub fn refuse(&self) {
        self.port.place.clear();
        self.port.refuse(Delivered::NoSuchMessage);
    }

    /// The message was handled.
    #[inline(always)]
    pub fn end(&self, cx: &Cx<'_, A>) {
        if cx.wants_stop() {
            self.port.notes.add(Notes::WANTS_STOP);
        }
    }

    /// The actor ends in order.
    pub fn stop(&self, actor: &mut A) {
        self.contain(|| actor.stopped());
    }

    /// Calls what an actor does besides handling messages.
    fn call(&self, call: impl FnOnce(&mut Cx<'_, A>)) {
        self.contain(|| {
            let mut cx = Cx::new(&self.core, &self.me, None);
            call(&mut cx);
            self.end(&cx);
        });
    }

    /// Calls what may panic.
    fn contain(&self, call: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
            self.port.fail(payload);
        }
    }
}

impl<A: Actor> fmt::Debug for Seat<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}
