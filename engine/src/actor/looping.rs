//! The loop of an actor that has an asynchronous handler.
//!
//! One future per actor, made when it is spawned, owns it and handles its messages one after the
//! other. It is polled where a message arrives, if the actor is idle, so that a handler which does
//! not wait costs no turn; and by the driver when something the handler waits for has woken it. A
//! panic is caught inside, so that the actor is not dropped while that panic unwinds: its drop may
//! panic itself.

use std::future::{Future, poll_fn};
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::cell::{Behaviour, Turn};
use super::origin::Origin;
use super::port::{MESSAGES_PER_POLL, Notes, Port};
use super::{
    Actor, Check, Content, Cx, Delivered, Delivery, Dispatch, LocalValue, Next, Outcome, Protocol,
};
use crate::core::{Core, Extra, Link, Notice};
use crate::reference::Ref;

/// Ready when the loop is polled again.
fn next_poll() -> impl Future<Output = ()> {
    let mut is_next = false;
    poll_fn(move |_| {
        if replace(&mut is_next, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// Owns `actor` and handles its messages until it is to end. A panic leaves it where it is, for the
/// core to drop, or to have it go on.
async fn run<A: Actor>(mut actor: A, me: Ref<A::Api>, core: Rc<Core>, port: Rc<Port>) {
    contain(&core, &me, &port, |cx| actor.started(cx));
    loop {
        let next = loop {
            match port.poll_next(&core) {
                Poll::Ready(next) => break next,
                Poll::Pending => next_poll().await,
            }
        };
        let Some(link) = next else {
            let Some(terminated) = port.take_aside() else {
                break;
            };
            contain(&core, &me, &port, |cx| actor.terminated(terminated, cx));
            continue;
        };
        let origin = Origin {
            core: &core,
            link: &link,
            handled: port.handled(),
        };
        let mut cx = Cx::new(&core, &me, Some(&origin));
        let handled = {
            let place = &port.place;
            let index = port.index();
            let next = Next { index, place };
            let serve = <A::Api as Dispatch<A>>::serve(&mut actor, next, &mut cx);
            let mut handler = pin!(Some(serve));
            // Polled before anything is awaited: most are ready then, and what an await keeps for
            // the polls to come is written to memory.
            loop {
                let polled = {
                    let mut context = Context::from_waker(port.waker());
                    port.poll_handler(&core, handler.as_mut(), &mut context)
                };
                match polled {
                    Poll::Ready(handled) => break handled,
                    Poll::Pending => next_poll().await,
                }
            }
        };
        if let Err(payload) = handled {
            port.fail(payload);
        }
        if cx.wants_stop() {
            port.notes.add(Notes::WANTS_STOP);
        }
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| actor.stopped())) {
        port.fail(payload);
    }
    std::future::pending().await
}

/// Calls what an actor does besides handling messages.
fn contain<A: Actor>(
    core: &Rc<Core>,
    me: &Ref<A::Api>,
    port: &Port,
    call: impl FnOnce(&mut Cx<'_, A>),
) {
    let called = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Cx::new(core, me, None);
        call(&mut cx);
        if cx.wants_stop() {
            port.notes.add(Notes::WANTS_STOP);
        }
    }));
    if let Err(payload) = called {
        port.fail(payload);
    }
}

/// An actor with a loop, as its cell holds it.
struct Looping<F> {
    port: Rc<Port>,
    run: Pin<Box<F>>,
    checks: &'static [Check],
}

/// The loop of `actor`, which the core polls first in `started`, and what they share.
pub(super) fn looping<A: Actor>(
    actor: A,
    me: Ref<A::Api>,
    core: &Rc<Core>,
) -> (Box<dyn Behaviour>, Rc<Port>) {
    let port = Port::of(core, (me.recipient.slot, me.recipient.generation));
    (loop_on(&port, actor, me, core), port)
}

/// The loop of `actor` on a port that may have had others.
pub(super) fn loop_on<A: Actor>(
    port: &Rc<Port>,
    actor: A,
    me: Ref<A::Api>,
    core: &Rc<Core>,
) -> Box<dyn Behaviour> {
    let run = run(actor, me, Rc::clone(core), Rc::clone(port));
    Box::new(Looping {
        port: Rc::clone(port),
        run: Box::pin(run),
        checks: <A::Api as Protocol>::CHECKS,
    })
}

impl<F: Future<Output = ()>> Looping<F> {
    /// Polls the loop until it waits for something.
    #[inline(never)]
    fn poll(&mut self) {
        self.poll_inline();
    }

    /// The same where a message arrives for an idle actor, which is the way of most.
    #[inline(always)]
    fn poll_inline(&mut self) {
        let mut context = Context::from_waker(self.port.waker());
        // It is pending for ever: the actor ends with the drop of its loop.
        let _ = self.run.as_mut().poll(&mut context);
        if self.port.notes.have(Notes::PANICKED)
            && let Some(payload) = self.port.panicked.take()
        {
            resume_unwind(payload);
        }
    }

    /// Whether the actor asked to be stopped.
    #[inline]
    fn wants_stop(&self) -> bool {
        self.port.notes.have(Notes::WANTS_STOP)
    }
}

impl<F: Future<Output = ()>> Behaviour for Looping<F> {
    fn started(&mut self, _: &Rc<Core>) -> bool {
        self.port.share.set(MESSAGES_PER_POLL);
        self.poll();
        self.wants_stop()
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // The loop answers, or says at its end that nobody did.
        if delivery.extra.is_some() {
            core.running_question().set(None);
        }
        if !self.port.idle.get() {
            return self.port.put_by(core, index, check, &delivery);
        }
        self.port.place.fresh.set(Some(delivery.payload.take(core)));
        self.port.hand(index, delivery.link, delivery.extra);
        self.poll_inline();
        if let Some(error) = self.port.place.invalid.get() {
            self.port.place.invalid.set(None);
            self.port.handled().question.set(None);
            return Turn::of(Delivered::Invalid(error));
        }
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: self.wants_stop(),
        }
    }

    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        core.running_question().set(None);
        if !self.port.idle.get() {
            return self.port.put_local(index, value, link);
        }
        self.port.place.kept.set(Some(Content::Local(value)));
        self.port.hand(index, link, Extra::None);
        self.poll();
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: self.wants_stop(),
        }
    }

    fn resume(&mut self) -> bool {
        self.port.share.set(MESSAGES_PER_POLL);
        self.poll();
        self.wants_stop()
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        if !self.port.idle.get() {
            self.port.put_notice(core, notice);
            return false;
        }
        if let Some(terminated) = core.claim(self.port.actor(), notice) {
            self.port.hand_aside(terminated);
            self.poll();
        }
        self.wants_stop()
    }

    fn stopped(&mut self) {
        self.port.notes.add(Notes::STOPPING);
        self.poll();
    }
}
