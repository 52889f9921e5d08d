//! What the loop of an actor and its core tell each other.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use ringmesh_proto::time::Instant;
use ringmesh_transport::buffer::Chunk;

use super::cell::Turn;
use super::mailbox::{Bound, Filled, Letter, Mailbox, Told};
use super::notes::Notes;
use super::seat::Look;
use super::serve::{Place, fill};
use super::stash::{Stash, StashLimit};
use super::{Arrived, Check, Content, Delivered, Delivery, LocalValue};
use crate::core::{ActorPlace, Core, Extra, Handled, Link, Notice, PanicPayload};
use crate::watch::Terminated;

/// Messages that a loop takes out of its mailbox before other tasks get their turn.
pub(super) const MESSAGES_PER_POLL: u32 = 32;

/// What the loop of an actor is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It handles something, or was not polled yet.
    Busy,
    /// It waits for a message.
    Idle,
    /// A message was handed to it.
    Handed,
}

/// What the loop of an actor and its core tell each other.
pub(crate) struct Port {
    slot: u32,
    generation: u64,
    stage: Cell<Stage>,
    /// Where the message that is to be handled next came from, if there is one. It lies in its
    /// place, with its number.
    link: Cell<Option<Rc<Link>>>,
    index: Cell<u16>,
    pub(super) place: Place,
    mailbox: RefCell<Mailbox>,
    stash: Stash,
    /// What the message brought that is being handled: of a question its deadline too, answered or
    /// not.
    handled: Handled,
    /// Where the question came from.
    asked_on: RefCell<Option<Rc<Link>>>,
    /// The deadline of the core before that of the question.
    former_deadline: Cell<Option<Instant>>,
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
            stage: Cell::new(Stage::Busy),
            link: Cell::default(),
            index: Cell::default(),
            place: Place::default(),
            mailbox: RefCell::new(Mailbox::new(bound)),
            stash: Stash::default(),
            handled: Handled::default(),
            asked_on: RefCell::default(),
            former_deadline: Cell::default(),
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
        self.stage.set(Stage::Busy);
        self.link.take();
        self.place.clear();
        self.aside.take();
        self.panicked.take();
        self.handled.extra.set(Extra::None);
        let is_empty = self.mailbox.borrow().is_empty();
        self.notes.reset(if is_empty { 0 } else { Notes::WAITING });
    }

    /// Has the loop go on behind a panic. Says whether there was one.
    pub(crate) fn resume(&self) -> bool {
        let has_panicked = self.notes.have(Notes::PANICKED);
        self.notes.remove(Notes::PANICKED);
        has_panicked
    }

    /// The message that was handed over reaches no handler.
    #[cold]
    pub(super) fn refuse(&self, delivered: Delivered) {
        self.place.refused.set(Some(delivered));
        self.notes.add(Notes::REFUSED);
    }

    /// The actor panicked: the core hears of it behind this poll, and nothing more is handled until
    /// [`resume`](Self::resume).
    #[cold]
    pub(super) fn fail(&self, payload: PanicPayload) {
        self.panicked.set(Some(payload));
        self.notes.add(Notes::PANICKED);
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

    /// Whether the loop waits for a message.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.stage.get() == Stage::Idle
    }

    /// Has the loop, which handles nothing, handle a message next: as it arrived, or one that was
    /// put in its place before.
    #[inline(always)]
    pub(super) fn hand(&self, index: u16, fresh: Option<Chunk>, link: &Rc<Link>) {
        self.stage.set(Stage::Handed);
        self.index.set(index);
        fill(&self.place.fresh, fresh);
        fill(&self.link, Some(Rc::clone(link)));
    }

    /// What the message brought that was handed over, until that is
    /// [forgotten](Self::forget_extra). What the handler of a question asks inherits its deadline.
    #[cold]
    pub(super) fn hand_extra(&self, core: &Core, extra: Extra, link: &Rc<Link>) {
        self.ask(extra, link);
        self.notes.add(Notes::EXTRA);
        self.enter(core);
    }

    /// Whether a message was handed over, which the loop takes now.
    #[inline(always)]
    pub(super) fn is_handed(&self) -> bool {
        let is_handed = self.stage.get() == Stage::Handed;
        if is_handed {
            self.stage.set(Stage::Busy);
        }
        is_handed
    }

    /// The number of the message that is handled next.
    #[inline]
    pub(super) fn index(&self) -> u16 {
        self.index.get()
    }

    /// Where it came from.
    #[inline]
    pub(super) fn take_link(&self) -> Option<Rc<Link>> {
        self.link.take()
    }

    /// The loop has nothing to do.
    #[inline]
    pub(super) fn rest(&self) {
        self.stage.set(Stage::Idle);
    }

    /// What a loop does next that has something to see to; `None` if that is not a message.
    pub(super) fn look(&self, core: &Rc<Core>) -> Option<Look> {
        if self.notes.have(Notes::PANICKED) {
            return Some(Look::Nothing);
        }
        if self.notes.have(Notes::STOPPING | Notes::ASIDE) {
            return None;
        }
        if self.notes.have(Notes::WANTS_STOP) || self.ends_now() {
            return Some(Look::Nothing);
        }
        if self.take_waiting(core) {
            return Some(Look::Message);
        }
        if self.is_idle() && self.ends_now() {
            return Some(Look::Nothing);
        }
        let is_aside = self.notes.have(Notes::ASIDE);
        (!is_aside).then_some(Look::Nothing)
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
        self.stage.set(Stage::Busy);
        self.aside.set(Some(terminated));
        self.notes.add(Notes::ASIDE);
    }

    /// What else there is than messages; `None` when it is the end.
    pub(crate) fn take_aside(&self) -> Option<Terminated> {
        self.notes.remove(Notes::ASIDE);
        let aside = self.aside.take();
        aside.filter(|_| !self.notes.have(Notes::STOPPING))
    }

    /// Takes the oldest message that waits and whose time is not up, if its turn has come. The loop
    /// is idle when none waits.
    fn take_waiting(&self, core: &Rc<Core>) -> bool {
        while !self.mailbox.borrow().is_empty() {
            if self.share.get() == 0 {
                self.waker().wake_by_ref();
                return false;
            }
            self.share.set(self.share.get() - 1);
            if let Some(letter) = core.take_waiting(self) {
                let Arrived { index, content } = letter.arrived;
                self.place.kept.set(Some(content));
                self.hand(index, None, &letter.link);
                if letter.extra.is_some() {
                    self.hand_extra(core, letter.extra, &letter.link);
                }
                return self.is_handed();
            }
            if self.notes.have(Notes::ASIDE) {
                return false;
            }
        }
        self.notes.remove(Notes::WAITING);
        self.rest();
        false
    }

    /// The message that was handled last is over.
    pub(super) fn forget_extra(&self, core: &Core) {
        self.leave(core);
        self.handled.extra.set(Extra::None);
        if self.handled.question.get().is_none() {
            self.asked_on.take();
        }
        self.notes.remove(Notes::EXTRA);
    }

    /// Has questions inherit the deadline of the one that is being handled, if it is one.
    pub(super) fn enter(&self, core: &Core) {
        let deadline = self.handled.extra.get().deadline();
        if deadline.is_some() {
            self.former_deadline.set(core.replace_deadline(deadline));
        }
    }

    /// The handler of that question has ended, or waits.
    pub(super) fn leave(&self, core: &Core) {
        if self.handled.extra.get().deadline().is_some() {
            core.replace_deadline(self.former_deadline.take());
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("idle", &self.is_idle())
            .finish_non_exhaustive()
    }
}
