//! The loop of an actor that has an asynchronous handler.
//!
//! One future per actor, made when it is spawned, owns it and handles its messages one after the
//! other. It is polled where a message arrives, if the actor is idle, so that a handler which does
//! not wait costs no turn; and by the driver when something the handler waits for has woken it. A
//! panic is caught inside, so that the actor is not dropped while that panic unwinds: its drop may
//! panic itself.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmesh_proto::time::Instant;

use super::cell::{Behaviour, Turn};
use super::context::Origin;
use super::mailbox::{Bound, Filled, Letter, Mailbox, Told};
use super::serve::Place;
use super::{
    Actor, Arrived, Check, Content, Cx, Delivered, Delivery, Dispatch, LocalValue, Next, Outcome,
};
use crate::core::{ActorPlace, Core, Link, Notice, PanicPayload, Question};
use crate::reference::Ref;
use crate::watch::Terminated;

/// Messages that a loop takes out of its mailbox before other tasks get their turn.
const MESSAGES_PER_POLL: u32 = 32;

/// What the loop of an actor and its core tell each other.
pub(crate) struct Port {
    slot: u32,
    generation: u64,
    /// Where the message that is to be handled next came from, if there is one. It lies in its
    /// place, with its number.
    link: Cell<Option<Rc<Link>>>,
    index: Cell<u16>,
    place: Place,
    mailbox: RefCell<Mailbox>,
    /// The loop waits for a message.
    idle: Cell<bool>,
    /// The question that is being handled and not answered, and where it came from.
    question: Cell<Option<u64>>,
    asked_on: RefCell<Option<Rc<Link>>>,
    /// The deadline of the question that is being handled, answered or not.
    deadline: Cell<Option<Instant>>,
    /// The actor asked to be stopped.
    wants_stop: Cell<bool>,
    /// The core stops the actor.
    stopping: Cell<bool>,
    /// There is something else than messages: the end, or what lies aside.
    interrupted: Cell<bool>,
    /// A watched actor has ended.
    aside: Cell<Option<Terminated>>,
    panicked: Cell<Option<PanicPayload>>,
    /// Messages that may still be taken out of the mailbox in this poll.
    share: Cell<u32>,
    waker: OnceCell<Waker>,
}

impl Port {
    fn new(slot: u32, generation: u64, bound: Bound) -> Self {
        Self {
            slot,
            generation,
            link: Cell::default(),
            index: Cell::default(),
            place: Place::default(),
            mailbox: RefCell::new(Mailbox::new(bound)),
            idle: Cell::default(),
            question: Cell::default(),
            asked_on: RefCell::default(),
            deadline: Cell::default(),
            wants_stop: Cell::default(),
            stopping: Cell::default(),
            interrupted: Cell::default(),
            aside: Cell::default(),
            panicked: Cell::default(),
            share: Cell::default(),
            waker: OnceCell::new(),
        }
    }

    /// The actor's slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// The actor's generation, which no other actor of the process has.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Says what polls the loop when it is woken.
    pub(crate) fn set_waker(&self, waker: Waker) {
        // Set once: an actor is spawned once.
        let _ = self.waker.set(waker);
    }

    /// What polls the loop when it is woken.
    pub(crate) fn waker(&self) -> &Waker {
        self.waker.get().unwrap_or(Waker::noop())
    }

    /// The question whose handler ended without an answer, and where it came from.
    pub(crate) fn take_question(&self) -> Option<(Rc<Link>, u64)> {
        let link = self.asked_on.take();
        let question = self.question.take();
        link.zip(question)
    }

    /// The oldest message that waits.
    pub(crate) fn take_letter(&self) -> Option<Letter> {
        self.mailbox.borrow_mut().take()
    }

    /// Whether the message that came last waits beyond the mailbox's bound.
    pub(crate) fn charges_last(&self) -> bool {
        self.mailbox.borrow().charges_last()
    }

    /// The links to be told ready, if there is room again.
    pub(crate) fn take_told(&self) -> Vec<Told> {
        self.mailbox.borrow_mut().take_told()
    }

    /// Says that the next message lies in its place.
    #[inline(always)]
    fn hand(&self, index: u16, link: &Rc<Link>, question: Option<Question>) {
        self.idle.set(false);
        // Of a message that nobody asks there is nothing to set, if that was so before it.
        if question.is_some() || self.deadline.get().is_some() {
            self.question.set(question.map(|it| it.correlation));
            self.deadline.set(question.map(|it| it.deadline));
        }
        if question.is_some() {
            *self.asked_on.borrow_mut() = Some(Rc::clone(link));
        }
        self.index.set(index);
        self.link.set(Some(Rc::clone(link)));
    }

    /// The number of the next message to handle, and its link; ready with `None` when the actor is
    /// to end.
    #[inline]
    fn poll_next(
        &self,
        core: &Rc<Core>,
        context: &mut Context<'_>,
    ) -> Poll<Option<(u16, Rc<Link>)>> {
        if let Some(link) = self.link.take() {
            return Poll::Ready(Some((self.index.get(), link)));
        }
        if self.interrupted.get() {
            return Poll::Ready(None);
        }
        if self.wants_stop.get() {
            return Poll::Pending;
        }
        if self.mailbox.borrow().is_empty() {
            self.idle.set(true);
            return Poll::Pending;
        }
        self.take_waiting(core, context);
        match self.link.take() {
            Some(link) => Poll::Ready(Some((self.index.get(), link))),
            None if self.interrupted.get() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Lays word of an end aside for the loop.
    fn hand_aside(&self, terminated: Terminated) {
        self.idle.set(false);
        self.aside.set(Some(terminated));
        self.interrupted.set(true);
    }

    /// What else there is than messages; `None` when it is the end.
    fn take_aside(&self) -> Option<Terminated> {
        let aside = self.aside.take();
        if self.stopping.get() {
            return None;
        }
        self.interrupted.set(false);
        aside
    }

    /// Hands over the oldest message that waits and whose time is not up, if its turn has come. The
    /// loop is idle when there is none.
    #[cold]
    fn take_waiting(&self, core: &Rc<Core>, context: &Context<'_>) {
        while !self.mailbox.borrow().is_empty() {
            if self.share.get() == 0 {
                return context.waker().wake_by_ref();
            }
            self.share.set(self.share.get() - 1);
            if let Some(letter) = core.take_waiting(self) {
                let Arrived { index, content } = letter.arrived;
                if let Content::Notice(notice) = content {
                    let me = ActorPlace {
                        slot: self.slot,
                        generation: self.generation,
                    };
                    match core.claim(me, *notice) {
                        Some(terminated) => return self.hand_aside(terminated),
                        None => continue,
                    }
                }
                self.place.kept.set(Some(content));
                return self.hand(index, &letter.link, letter.question);
            }
        }
        self.idle.set(true);
    }

    /// Polls a handler, or drops it if the actor is to end. One that is ready or panicked has
    /// dropped all it held: a generated loop awaits it within a function of its own.
    #[inline]
    fn poll_handler<F: Future<Output = ()>>(
        &self,
        core: &Core,
        mut handler: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PanicPayload>> {
        let poll = || match handler.as_mut().as_pin_mut() {
            Some(future) if !self.stopping.get() => future.poll(context),
            _ => {
                handler.set(None);
                Poll::Ready(())
            }
        };
        // Outside of handlers there is none, so that a message without one has nothing to set.
        let deadline = self.deadline.get();
        let _scope = deadline.is_some().then(|| core.with_deadline(deadline));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("idle", &self.idle.get())
            .finish_non_exhaustive()
    }
}

/// Owns `actor` and handles its messages until it is to end. A panic leaves it where it is, for the
/// core to drop.
async fn run<A: Actor>(mut actor: A, me: Ref<A::Api>, core: Rc<Core>, port: Rc<Port>) {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Cx::new(&core, &me, None);
        actor.started(&mut cx);
        port.wants_stop.set(cx.wants_stop());
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
                port.wants_stop.set(port.wants_stop.get() | cx.wants_stop());
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
            port.wants_stop.set(true);
        }
    }
    if panicked.is_none() {
        panicked = catch_unwind(AssertUnwindSafe(|| actor.stopped())).err();
    }
    port.panicked.set(panicked);
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
        if let Some(payload) = self.port.panicked.take() {
            resume_unwind(payload);
        }
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
        if filled == Filled::Full && core.say_busy(link, number, self.port.generation) {
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
        self.port.wants_stop.get()
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // The loop answers, or says at its end that nobody did.
        core.running_question().set(None);
        if !self.port.idle.get() {
            return self.put_by(core, index, check, &delivery);
        }
        self.port.place.fresh.set(Some(delivery.payload.take(core)));
        self.port.hand(index, delivery.link, delivery.question);
        self.poll_inline();
        if let Some(error) = self.port.place.invalid.take() {
            self.port.question.set(None);
            return Turn::of(Delivered::Invalid(error));
        }
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: self.port.wants_stop.get(),
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
            stop: self.port.wants_stop.get(),
        }
    }

    fn resume(&mut self) -> bool {
        self.port.share.set(MESSAGES_PER_POLL);
        self.poll();
        self.port.wants_stop.get()
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        if !self.port.idle.get() {
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
        let me = ActorPlace {
            slot: self.port.slot,
            generation: self.port.generation,
        };
        if let Some(terminated) = core.claim(me, notice) {
            self.port.hand_aside(terminated);
            self.poll();
        }
        self.port.wants_stop.get()
    }

    fn stopped(&mut self) {
        self.port.stopping.set(true);
        self.port.interrupted.set(true);
        self.poll();
    }
}
