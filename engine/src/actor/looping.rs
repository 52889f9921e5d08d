//! The loop of an actor that has an asynchronous handler.
//!
//! One future per actor, made when it is spawned, owns it and handles its messages one after the
//! other. It is polled where a message arrives, if the actor is idle, so that a handler which does
//! not wait costs no turn; and by the driver when something the handler waits for has woken it. A
//! panic is caught inside, so that the actor is not dropped while that panic unwinds: its drop may
//! panic itself. The macro writes that future, of what a [`Seat`] offers it.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use super::cell::{Behaviour, Turn};
use super::notes::Notes;
use super::port::{MESSAGES_PER_POLL, Port};
use super::seat::Seat;
use super::{Actor, Check, Content, Delivered, Delivery, Dispatch, LocalValue, Outcome, Protocol};
use crate::core::{Core, Link, Notice};
use crate::reference::Ref;

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
    let seat = Seat {
        core: Rc::clone(core),
        me,
        port: Rc::clone(port),
    };
    let run = <A::Api as Dispatch<A>>::run(actor, seat);
    Box::new(Looping {
        port: Rc::clone(port),
        run: Box::pin(run),
        checks: <A::Api as Protocol>::CHECKS,
    })
}

impl<F: Future<Output = ()>> Looping<F> {
    /// Polls the loop until it waits for something. Says whether the actor asked to be stopped.
    fn poll(&mut self) -> bool {
        self.turn(None, 0, None).stop
    }

    /// Hands a message to the loop, if there is one, and polls it until it waits for something; or
    /// has the message wait, if the loop is not idle. There is no other poll of the loop, so that
    /// all of it becomes part of this function, down to the handlers.
    #[inline(never)]
    fn turn(
        &mut self,
        core: Option<&Rc<Core>>,
        index: u16,
        delivery: Option<&Delivery<'_>>,
    ) -> Turn {
        if let (Some(core), Some(delivery)) = (core, delivery) {
            if !self.port.is_idle() {
                return self.put_by(core, index, delivery);
            }
            let fresh = delivery.payload.take(core);
            self.port.hand(index, Some(fresh), delivery.link);
            if delivery.extra.is_some() {
                // The loop answers, or says at its end that nobody did.
                core.running_question().set(None);
                // What else is handled in this poll has nothing of its deadline.
                core.replace_deadline(None);
                self.port.hand_extra(core, delivery.extra, delivery.link);
            }
        }
        let mut context = Context::from_waker(self.port.waker());
        // It is pending for ever: the actor ends with the drop of its loop.
        let _ = self.run.as_mut().poll(&mut context);
        let notes = &self.port.notes;
        if notes.have(Notes::PANICKED | Notes::REFUSED) {
            return self.after_failure();
        }
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: notes.have(Notes::WANTS_STOP),
        }
    }

    /// What became of a message that reached no handler, or whose handler panicked.
    #[cold]
    fn after_failure(&self) -> Turn {
        let refused = self.port.place.refused.take();
        self.port.notes.remove(Notes::REFUSED);
        if let Some(payload) = self.port.panicked.take() {
            resume_unwind(payload);
        }
        let mut turn = Turn::of(Delivered::Handled);
        if let Some(refused) = refused {
            self.port.handled().question.set(None);
            turn = Turn::of(refused);
        }
        turn.stop = self.wants_stop();
        turn
    }

    /// Puts a message into the mailbox.
    #[cold]
    fn put_by(&self, core: &Rc<Core>, index: u16, delivery: &Delivery<'_>) -> Turn {
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // It is answered when its turn comes.
        core.running_question().set(None);
        self.port.put_by(core, index, check, delivery)
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
        self.poll()
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        self.turn(Some(core), index, Some(&delivery))
    }

    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        core.running_question().set(None);
        if !self.port.is_idle() {
            return self.port.put_local(index, value, link);
        }
        self.port.place.kept.set(Some(Content::Local(value)));
        self.port.hand(index, None, link);
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: self.poll(),
        }
    }

    fn resume(&mut self) -> bool {
        self.port.share.set(MESSAGES_PER_POLL);
        self.poll()
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        if !self.port.is_idle() {
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
