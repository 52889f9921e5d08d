//! The loop of an actor that has an asynchronous handler.
//!
//! One future per actor, made when it is spawned, owns it and handles its messages one after the
//! other. It is polled where a message arrives, if the actor is idle, so that a handler which does
//! not wait costs no turn; and by the driver when something the handler waits for has woken it. A
//! panic is caught inside, so that the actor is not dropped while that panic unwinds: its drop may
//! panic itself.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;

use super::cell::{Behaviour, Turn};
use super::context::Origin;
use super::mailbox::{Bound, Filled, Letter, Told};
use super::port::{Notes, Port};
use super::{
    Actor, Arrived, Check, Content, Cx, Delivered, Delivery, Dispatch, LocalValue, Next, Outcome,
};
use crate::core::{Core, Link, Notice};
use crate::reference::Ref;

/// Messages that a loop takes out of its mailbox before other tasks get their turn.
const MESSAGES_PER_POLL: u32 = 32;

/// Owns `actor` and handles its messages until it is to end. A panic leaves it where it is, for the
/// core to drop.
async fn run<A: Actor>(mut actor: A, me: Ref<A::Api>, core: Rc<Core>, port: Rc<Port>) {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Cx::new(&core, &me, None);
        actor.started(&mut cx);
        if cx.wants_stop() {
            port.notes.add(Notes::WANTS_STOP);
        }
    }));
    let mut panicked = done.err();
    while panicked.is_none() {
        let next = poll_fn(|context| port.poll_next(&core, context)).await;
        let Some((index, link)) = next else {
            let Some(terminated) = port.take_aside() else {
                break;
            };
            panicked = catch_unwind(AssertUnwindSafe(|| {
                let mut cx = Cx::new(&core, &me, None);
                actor.terminated(terminated, &mut cx);
                if cx.wants_stop() {
                    port.notes.add(Notes::WANTS_STOP);
                }
            }))
            .err();
            continue;
        };
        let origin = Origin {
            core: &core,
            link: &link,
            question: &port.question,
        };
        let mut cx = Cx::new(&core, &me, Some(&origin));
        let handled = {
            let place = &port.place;
            let next = Next { index, place };
            let serve = <A::Api as Dispatch<A>>::serve(&mut actor, next, &mut cx);
            let mut handler = pin!(Some(serve));
            poll_fn(|context| port.poll_handler(&core, handler.as_mut(), context)).await
        };
        panicked = handled.err();
        if cx.wants_stop() {
            port.notes.add(Notes::WANTS_STOP);
        }
    }
    if panicked.is_none() {
        panicked = catch_unwind(AssertUnwindSafe(|| actor.stopped())).err();
    }
    if panicked.is_some() {
        port.notes.add(Notes::PANICKED);
        port.panicked.set(panicked);
    }
    std::future::pending().await
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
    let settings = core.settings();
    let bound = Bound {
        messages: settings.mailbox_messages_max,
        bytes: settings.mailbox_bytes_max,
    };
    let port = Rc::new(Port::new(me.recipient.slot, me.recipient.generation, bound));
    let run = run(actor, me, Rc::clone(core), Rc::clone(&port));
    let looping = Looping {
        port: Rc::clone(&port),
        run: Box::pin(run),
        checks: <A::Api as Dispatch<A>>::CHECKS,
    };
    (Box::new(looping), port)
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

    /// Puts a message into the mailbox.
    #[cold]
    fn put_by(&self, core: &Rc<Core>, index: u16, check: Check, delivery: &Delivery<'_>) -> Turn {
        let (link, number) = (delivery.link, delivery.target_number);
        let message = match check.0(delivery.payload.copied_to_wait(core)) {
            Ok(message) => message,
            Err(error) => return Turn::of(Delivered::Invalid(error)),
        };
        let bytes = delivery.payload.frame_bytes(delivery.question.is_some());
        self.port.notes.add(Notes::WAITING);
        let mut mailbox = self.port.mailbox.borrow_mut();
        let filled = mailbox.put(Letter {
            arrived: Arrived {
                index,
                content: Content::Archived(message),
            },
            link: Rc::clone(link),
            question: delivery.question,
            bytes,
            charged: false,
        });
        if mailbox.charges_last() {
            link.charge(bytes);
        }
        if filled == Filled::Full && core.say_busy(link, number, self.port.generation()) {
            mailbox.note_told(Told {
                link: Rc::clone(link),
                target_number: number,
            });
        }
        Turn::of(Delivered::Waiting)
    }
}

impl<F: Future<Output = ()>> Behaviour for Looping<F> {
    fn started(&mut self, _: &Rc<Core>) -> bool {
        self.poll();
        self.wants_stop()
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // The loop answers, or says at its end that nobody did.
        if delivery.question.is_some() {
            core.running_question().set(None);
        }
        if !self.port.idle.get() {
            return self.put_by(core, index, check, &delivery);
        }
        self.port.place.fresh.set(Some(delivery.payload.take(core)));
        self.port.hand(index, delivery.link, delivery.question);
        self.poll_inline();
        if let Some(error) = self.port.place.invalid.get() {
            self.port.place.invalid.set(None);
            self.port.question.set(None);
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
        let content = Content::Local(value);
        if !self.port.idle.get() {
            // Senders of archives hear that there is no room with the next one of theirs. Those of
            // local messages do by the bound between their core and this one.
            self.port.notes.add(Notes::WAITING);
            let _ = self.port.mailbox.borrow_mut().put(Letter {
                arrived: Arrived { index, content },
                link: Rc::clone(link),
                question: None,
                bytes: 0,
                charged: false,
            });
            return Turn::of(Delivered::Waiting);
        }
        self.port.place.kept.set(Some(content));
        self.port.hand(index, link, None);
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
            self.port.notes.add(Notes::WAITING);
            let _ = self.port.mailbox.borrow_mut().put(Letter {
                arrived: Arrived {
                    index: 0,
                    content: Content::Notice(Box::new(notice)),
                },
                link: Rc::clone(core.own_link()),
                question: None,
                bytes: 0,
                charged: false,
            });
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
