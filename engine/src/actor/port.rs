//! What the loop of an actor and its core tell each other.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::cell::Turn;
use super::mailbox::{Bound, Filled, Letter, Mailbox, Told};
use super::serve::Place;
use super::stash::{Stash, StashLimit};
use super::{Arrived, Check, Content, Delivered, Delivery, LocalValue};
use crate::core::{ActorPlace, Core, Extra, Handled, Link, Notice, PanicPayload};
use crate::watch::Terminated;

/// Messages that a loop takes out of its mailbox before other tasks get their turn.
pub(super) const MESSAGES_PER_POLL: u32 = 32;

/// What a loop sees to besides its next message. There is nothing for almost every message, and
/// finding that out is one look at all of it.
#[derive(Default)]
pub(super) struct Notes(Cell<u8>);

impl Notes {
    /// Messages may wait in the mailbox.
    pub(super) const WAITING: u8 = 1;
    /// The actor asked to be stopped.
    pub(super) const WANTS_STOP: u8 = 1 << 1;
    /// The core stops the actor.
    pub(super) const STOPPING: u8 = 1 << 2;
    /// The actor panicked.
    pub(super) const PANICKED: u8 = 1 << 3;
    /// Something else than a message is to be handled.
    pub(super) const ASIDE: u8 = 1 << 4;
    /// The actor ends behind the handler that runs.
    const LINGERS: u8 = 1 << 5;
    /// The actor ends when no more messages wait.
    const DRAINS: u8 = 1 << 6;

    #[inline]
    fn are_none(&self) -> bool {
        self.0.get() == 0
    }

    #[inline]
    pub(super) fn have(&self, note: u8) -> bool {
        self.0.get() & note != 0
    }

    pub(super) fn add(&self, note: u8) {
        self.0.set(self.0.get() | note);
    }

    fn remove(&self, note: u8) {
        self.0.set(self.0.get() & !note);
    }
}

/// What the loop of an actor and its core tell each other.
pub(crate) struct Port {
    slot: u32,
    generation: u64,
    /// Where the message that is to be handled next came from, if there is one. It lies in its
    /// place, with its number.
    link: Cell<Option<Rc<Link>>>,
    index: Cell<u16>,
    pub(super) place: Place,
    mailbox: RefCell<Mailbox>,
    stash: Stash,
    /// The loop waits for a message.
    pub(super) idle: Cell<bool>,
    /// What the message brought that is being handled: of a question its deadline too, answered or
    /// not.
    handled: Handled,
    /// Where the question came from.
    asked_on: RefCell<Option<Rc<Link>>>,
    /// What there is to see to besides the next message.
    pub(super) notes: Notes,
    /// Word of a watched actor's end.
    aside: Cell<Option<Terminated>>,
    pub(super) panicked: Cell<Option<PanicPayload>>,
    /// Messages that may still be taken out of the mailbox in this poll.
    pub(super) share: Cell<u32>,
    waker: OnceCell<Waker>,
}

impl Port {
    /// The port of an actor of `core`, at this slot and of this generation.
    pub(super) fn of(core: &Core, (slot, generation): (u32, u64)) -> Rc<Self> {
        let settings = core.settings();
        let bound = Bound {
            messages: settings.mailbox_messages_max,
            bytes: settings.mailbox_bytes_max,
        };
        Rc::new(Self::new(slot, generation, bound))
    }

    fn new(slot: u32, generation: u64, bound: Bound) -> Self {
        Self {
            slot,
            generation,
            link: Cell::default(),
            index: Cell::default(),
            place: Place::default(),
            mailbox: RefCell::new(Mailbox::new(bound)),
            stash: Stash::default(),
            idle: Cell::default(),
            handled: Handled::default(),
            asked_on: RefCell::default(),
            notes: Notes::default(),
            aside: Cell::default(),
            panicked: Cell::default(),
            share: Cell::default(),
            waker: OnceCell::new(),
        }
    }

    /// The place of the actor.
    pub(crate) fn actor(&self) -> ActorPlace {
        ActorPlace {
            slot: self.slot,
            generation: self.generation,
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

    /// Has the actor ask to be stopped when its handler has ended or, if it `drains`, when all is
    /// handled that waits.
    pub(crate) fn linger(&self, drains: bool) {
        let note = if drains {
            Notes::DRAINS
        } else {
            Notes::LINGERS
        };
        self.notes.add(note);
        self.waker().wake_by_ref();
    }

    /// Whether the actor handles what waits before it ends.
    pub(crate) fn drains(&self) -> bool {
        self.notes.have(Notes::DRAINS)
    }

    /// Whether the actor asked to be stopped.
    pub(crate) fn wants_stop(&self) -> bool {
        self.notes.have(Notes::WANTS_STOP)
    }

    /// Whether the actor is to end before it handles another message.
    pub(super) fn ends_now(&self) -> bool {
        if !self.notes.have(Notes::LINGERS | Notes::DRAINS) {
            return false;
        }
        let ends = self.notes.have(Notes::LINGERS) || self.mailbox.borrow().is_empty();
        if ends {
            self.notes.add(Notes::WANTS_STOP);
        }
        ends
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
        let question = self.handled.question.take();
        link.zip(question)
    }

    /// Puts a message into the mailbox.
    #[cold]
    pub(super) fn put_by(
        &self,
        core: &Rc<Core>,
        index: u16,
        check: Check,
        delivery: &Delivery<'_>,
    ) -> Turn {
        let (link, number) = (delivery.link, delivery.target_number);
        let message = match check.0(delivery.payload.copied_to_wait(core)) {
            Ok(message) => message,
            Err(error) => return Turn::of(Delivered::Invalid(error)),
        };
        let bytes = delivery.payload.frame_bytes(delivery.extra.is_some());
        self.notes.add(Notes::WAITING);
        let mut mailbox = self.mailbox.borrow_mut();
        let filled = mailbox.put(Letter {
            arrived: Arrived {
                index,
                content: Content::Archived(message),
            },
            link: Rc::clone(link),
            extra: delivery.extra,
            bytes,
            charged: false,
            again: false,
        });
        if mailbox.charges_last() {
            link.charge(bytes);
        }
        if filled == Filled::Full && core.say_busy(link, number, self.generation) {
            mailbox.note_told(Told {
                link: Rc::clone(link),
                target_number: number,
            });
        }
        Turn::of(Delivered::Waiting)
    }

    /// Puts a local message into the mailbox. Senders of archives hear that there is no room with
    /// the next one of theirs. Those of local messages do by the bound between their core and this
    /// one.
    pub(super) fn put_local(&self, index: u16, value: LocalValue, link: &Rc<Link>) -> Turn {
        self.put_aside(index, Content::Local(value), link);
        Turn::of(Delivered::Waiting)
    }

    /// Puts word of an end into the mailbox.
    pub(super) fn put_notice(&self, core: &Core, notice: Notice) {
        let content = Content::Notice(Box::new(notice));
        self.put_aside(0, content, core.own_link());
    }

    /// Puts what has no bytes into the mailbox.
    fn put_aside(&self, index: u16, content: Content, link: &Rc<Link>) {
        self.notes.add(Notes::WAITING);
        let _ = self.mailbox.borrow_mut().put(Letter {
            arrived: Arrived { index, content },
            link: Rc::clone(link),
            extra: Extra::None,
            bytes: 0,
            charged: false,
            again: false,
        });
    }

    /// Whether a message of so many bytes can be laid aside.
    pub(crate) fn has_stash_room(&self, bytes: usize, limit: StashLimit) -> bool {
        self.stash.has_room(bytes, limit)
    }

    /// Lays a message aside.
    pub(crate) fn stash(&self, letter: Letter) {
        self.stash.put(letter);
    }

    /// How many are laid aside.
    pub(crate) fn stashed(&self) -> usize {
        self.stash.len()
    }

    /// What was laid aside, of an actor that has ended.
    pub(crate) fn take_stash(&self) -> impl Iterator<Item = Letter> + use<> {
        self.stash.take_all().into_iter()
    }

    /// Puts what was laid aside in front of all that waits. Says how many messages.
    pub(crate) fn unstash(&self) -> usize {
        let letters = self.stash.take_all();
        let count = letters.len();
        if count > 0 {
            self.mailbox.borrow_mut().put_back(letters);
            self.notes.add(Notes::WAITING);
            self.waker().wake_by_ref();
        }
        count
    }

    /// Whether nothing waits; takes note of it.
    pub(crate) fn has_nothing(&self) -> bool {
        let is_empty = self.mailbox.borrow().is_empty();
        if is_empty {
            self.notes.remove(Notes::WAITING);
        }
        is_empty
    }

    /// What the message brought that is being handled.
    #[inline]
    pub(super) fn handled(&self) -> &Handled {
        &self.handled
    }

    /// A message is about to be handled that may be a question.
    pub(super) fn ask(&self, extra: Extra, link: &Rc<Link>) {
        self.handled.question.set(extra.correlation());
        self.handled.extra.set(extra);
        *self.asked_on.borrow_mut() = extra.question().map(|_| Rc::clone(link));
    }

    /// The state of the actor is gone; what waits in the mailbox is not, and what was laid aside
    /// goes before it.
    pub(crate) fn reset(&self) {
        self.unstash();
        self.link.take();
        self.place.clear();
        self.aside.take();
        self.panicked.take();
        self.idle.set(false);
        self.handled.extra.set(Extra::None);
        let is_empty = self.mailbox.borrow().is_empty();
        self.notes.0.set(if is_empty { 0 } else { Notes::WAITING });
    }

    /// Has the loop go on behind a panic. Says whether there was one.
    pub(crate) fn resume(&self) -> bool {
        let has_panicked = self.notes.have(Notes::PANICKED);
        self.notes.remove(Notes::PANICKED);
        has_panicked
    }

    /// The actor panicked: the core hears of it behind this poll, and nothing more is handled until
    /// [`resume`](Self::resume).
    #[cold]
    pub(super) fn fail(&self, payload: PanicPayload) {
        self.panicked.set(Some(payload));
        self.notes.add(Notes::PANICKED);
    }

    /// The number of the message that was handed over last.
    #[inline]
    pub(super) fn index(&self) -> u16 {
        self.index.get()
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
    pub(super) fn hand(&self, index: u16, link: &Rc<Link>, extra: Extra) {
        self.idle.set(false);
        // Of a message that brings nothing there is nothing to set, if that was so before it.
        if extra.is_some() || self.handled.extra.get().is_some() {
            self.handled.question.set(extra.correlation());
            self.handled.extra.set(extra);
        }
        if extra.question().is_some() {
            *self.asked_on.borrow_mut() = Some(Rc::clone(link));
        }
        self.index.set(index);
        self.link.set(Some(Rc::clone(link)));
    }

    /// The link of the next message to handle; ready with `None` when there is something else.
    #[inline]
    pub(super) fn poll_next(&self, core: &Rc<Core>) -> Poll<Option<Rc<Link>>> {
        if let Some(link) = self.link.take() {
            return Poll::Ready(Some(link));
        }
        if self.notes.are_none() {
            self.idle.set(true);
            return Poll::Pending;
        }
        self.poll_waiting(core)
    }

    /// The same where there is something to see to.
    #[cold]
    fn poll_waiting(&self, core: &Rc<Core>) -> Poll<Option<Rc<Link>>> {
        if self.notes.have(Notes::PANICKED) {
            return Poll::Pending;
        }
        if self.notes.have(Notes::STOPPING | Notes::ASIDE) {
            return Poll::Ready(None);
        }
        if self.notes.have(Notes::WANTS_STOP) || self.ends_now() {
            return Poll::Pending;
        }
        self.take_waiting(core);
        if self.idle.get() && self.ends_now() {
            return Poll::Pending;
        }
        match self.link.take() {
            Some(link) => Poll::Ready(Some(link)),
            None if self.notes.have(Notes::ASIDE) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Lays word of an end aside that waited, if the actor watches still.
    pub(crate) fn lay_aside(&self, core: &Core, letter: Letter) {
        if let Content::Notice(notice) = letter.arrived.content
            && let Some(terminated) = core.claim(self.actor(), *notice)
        {
            self.hand_aside(terminated);
        }
    }

    /// Lays word of an end aside for the loop.
    pub(super) fn hand_aside(&self, terminated: Terminated) {
        self.idle.set(false);
        self.aside.set(Some(terminated));
        self.notes.add(Notes::ASIDE);
    }

    /// What else there is than messages; `None` when it is the end.
    pub(crate) fn take_aside(&self) -> Option<Terminated> {
        self.notes.remove(Notes::ASIDE);
        let aside = self.aside.take();
        aside.filter(|_| !self.notes.have(Notes::STOPPING))
    }

    /// Hands over the oldest message that waits and whose time is not up, if its turn has come. The
    /// loop is idle when there is none.
    fn take_waiting(&self, core: &Rc<Core>) {
        while !self.mailbox.borrow().is_empty() {
            if self.share.get() == 0 {
                return self.waker().wake_by_ref();
            }
            self.share.set(self.share.get() - 1);
            if let Some(letter) = core.take_waiting(self) {
                let Arrived { index, content } = letter.arrived;
                self.place.kept.set(Some(content));
                return self.hand(index, &letter.link, letter.extra);
            }
            if self.notes.have(Notes::ASIDE) {
                return;
            }
        }
        self.notes.remove(Notes::WAITING);
        self.idle.set(true);
    }

    /// Polls a handler, or drops it if the actor is to end. One that is ready or panicked has
    /// dropped all it held: a generated loop awaits it within a function of its own.
    #[inline]
    pub(super) fn poll_handler<F: Future<Output = ()>>(
        &self,
        core: &Core,
        mut handler: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PanicPayload>> {
        let poll = || match handler.as_mut().as_pin_mut() {
            Some(future) if !self.notes.have(Notes::STOPPING) => future.poll(context),
            _ => {
                handler.set(None);
                Poll::Ready(())
            }
        };
        // Outside of handlers there is none, so that a message without one has nothing to set.
        let deadline = self.handled.extra.get().deadline();
        let former = deadline.is_some().then(|| core.replace_deadline(deadline));
        let polled = catch_unwind(AssertUnwindSafe(poll));
        if let Some(former) = former {
            core.replace_deadline(former);
        }
        match polled {
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
