//! Local messages: values on their way from one core to an actor of another, or of the same.
//!
//! They travel beside the frames: by the ring between the two cores, or straight into the queue of
//! this one. There each waits for its turn within the turn's budget. What bounds them is one window
//! per ordered pair of cores: a message takes a place in it when it is sent, and gives it back when
//! its recipient, or the bound of that one's mailbox, takes it over.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;
use ringmesh_proto::link::Target;

use super::budget::Budget;
use super::letters::Described;
use super::local_line::LocalLines;
use super::slow::LocalHandled;
use super::user_code::{Contained, panic_message};
use super::{Core, NodeIndex, current};
use crate::actor::{ActorCell, Delivered, Letter, LocalValue};
use crate::counters::Count;
use crate::dead_letter::DeadLetterReason;
use crate::error::Refusal;
use crate::reference::Recipient;

/// The places for local messages on their way between two cores, as their sender sees them.
#[derive(Debug)]
pub(super) struct Window {
    sent: u64,
    /// How many have left the receiving core's hands, as last read.
    handled_seen: u64,
    handled: Arc<Count>,
}

impl Window {
    pub(super) fn new(handled: Arc<Count>) -> Self {
        Self {
            sent: 0,
            handled_seen: 0,
            handled,
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn has_room(&mut self) -> bool {
        if self.sent - self.handled_seen >= LOCAL_MESSAGES_MAX {
            self.handled_seen = self.handled.total();
        }
        self.sent - self.handled_seen < LOCAL_MESSAGES_MAX
    }
}

/// A local message on its way. One that drops there is a dead letter of the core that drops it.
pub(super) struct LocalLetter {
    to: Target,
    index: u16,
    /// Taken when its turn comes.
    value: Option<LocalValue>,
}

impl LocalLetter {
    /// Its turn has come, and it reaches nobody.
    fn bury(mut self, core: &Core, reason: DeadLetterReason, described: Described) {
        if let Some(value) = self.value.take() {
            core.tally.local_received.add(1);
            core.bury_local(reason, described, value);
        }
    }
}

impl Drop for LocalLetter {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else {
            return;
        };
        let value = Contained::new(value);
        let to = self.to;
        current::try_with(|core| {
            core.tally.local_received.add(1);
            let described = Described::for_place(to);
            core.count_local_dead(DeadLetterReason::NoRecipient, described);
        });
        drop(value);
    }
}

impl fmt::Debug for LocalLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLetter")
            .field("to", &self.to)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Local messages that have come to their core and wait for their turn, each with the core it came
/// from. There are at most as many as the windows of all cores to this one have places.
#[derive(Debug, Default)]
pub(super) struct Locals {
    queue: RefCell<VecDeque<(CoreId, LocalLetter)>>,
    /// How many have had their turn.
    taken: Cell<u64>,
    /// In the next turn that has both they go before the archived messages.
    go_first: Cell<bool>,
    /// Those that are not sent yet, for want of a place.
    pub(super) lines: LocalLines,
}

impl Locals {
    pub(super) fn put(&self, from: CoreId, letter: LocalLetter) {
        self.queue.borrow_mut().push_back((from, letter));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// How many have had their turn.
    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    fn take(&self) -> Option<(CoreId, LocalLetter)> {
        let letter = self.queue.borrow_mut().pop_front()?;
        self.taken.set(self.taken.get() + 1);
        Some(letter)
    }

    /// Drops all of them. No cell of the core may be borrowed.
    pub(super) fn clear(&self) {
        while let Some(letter) = self.take() {
            drop(letter);
        }
    }
}

impl Core {
    /// Whether a local message for `to` can be sent now.
    pub(crate) fn has_room_for_local(&self, to: Recipient) -> Result<(), Refusal> {
        if to.table != self.shared.table {
            return Err(Refusal::OtherCore);
        }
        match to.node {
            NodeIndex::SELF => {}
            NodeIndex::NOWHERE => return Err(Refusal::NotRunning),
            _ => return Err(Refusal::NotLocal),
        }
        if self.is_closing() {
            return Err(Refusal::Stopping);
        }
        let mut mesh = self.mesh.borrow_mut();
        let runs = to.core == self.id || !mesh.is_gone(to.core);
        if to.uid != self.local().id.uid || !runs {
            return Err(Refusal::NotRunning);
        }
        let window = &mut mesh.windows[usize::from(to.core.0)];
        if window.has_room() {
            Ok(())
        } else {
            Err(Refusal::NoRoom)
        }
    }

    /// Sends a local message that there [is room for](Self::has_room_for_local).
    pub(crate) fn tell_local(&self, to: Recipient, index: u16, value: LocalValue) {
        self.tally.local_sent.add(1);
        let letter = LocalLetter {
            to: to.target(),
            index,
            value: Some(value),
        };
        let mut mesh = self.mesh.borrow_mut();
        mesh.windows[usize::from(to.core.0)].sent += 1;
        if to.core == self.id {
            return self.locals.put(self.id, letter);
        }
        let refused = mesh.put_local(to.core, letter);
        drop(mesh);
        drop(refused);
    }

    /// A message from that core has its place in the window no longer.
    fn give_place_back(&self, from: CoreId) {
        self.mesh.borrow().handled[usize::from(from.0)].add(1);
    }

    /// Dispatches what waits, archived or local, until the budget is spent: the two take turns at
    /// going first. Says whether anything waited.
    pub(super) fn dispatch(self: &Rc<Self>, budget: &mut Budget) -> bool {
        if self.locals.is_empty() {
            return self.dispatch_waiting(budget);
        }
        let locals_go_first = self.locals.go_first.get();
        self.locals.go_first.set(!locals_go_first);
        if locals_go_first {
            self.dispatch_locals(budget);
            self.dispatch_waiting(budget);
        } else {
            self.dispatch_waiting(budget);
            self.dispatch_locals(budget);
        }
        true
    }

    fn dispatch_locals(self: &Rc<Self>, budget: &mut Budget) {
        loop {
            let stride = self.next_stride(budget);
            let mut dispatched = 0;
            let mut last = None;
            while dispatched < stride
                && let Some((from, letter)) = self.locals.take()
            {
                dispatched += 1;
                last = Some(LocalHandled {
                    slot: letter.to.slot,
                    generation: letter.to.generation,
                    index: letter.index,
                });
                self.deliver_local(from, letter);
            }
            let Some(last) = last else {
                return;
            };
            self.spend_on_locals(budget, dispatched, last);
        }
    }

    fn deliver_local(self: &Rc<Self>, from: CoreId, mut letter: LocalLetter) {
        let Target { slot, generation } = letter.to;
        let index = letter.index;
        let cell = self.actors.borrow().at(slot, generation).cloned();
        let Some(cell) = cell.filter(|cell| cell.is_alive()) else {
            self.give_place_back(from);
            let described = Described::for_place(letter.to);
            return letter.bury(self, DeadLetterReason::NoRecipient, described);
        };
        let is_its_own = |value: &mut LocalValue| {
            let info = cell.local(index);
            info.is_some_and(|info| info.is_of(value))
        };
        let Some(value) = letter.value.take_if(is_its_own) else {
            self.give_place_back(from);
            let described = Described::for_place(letter.to);
            return letter.bury(self, DeadLetterReason::UnknownMessage, described);
        };
        self.tally.local_received.add(1);
        self.running.question.set(None);
        let link = &self.ends[usize::from(from.0)].link;
        let handle = || cell.deliver_local(self, index, value, link);
        match catch_unwind(AssertUnwindSafe(handle)) {
            Ok(turn) => {
                self.local_delivered(&cell, from, &turn.outcome.0);
                if turn.stop {
                    self.stop_cell(&cell);
                }
            }
            Err(payload) => {
                self.local_delivered(&cell, from, &Delivered::Handled);
                self.actor_panicked(&cell, &panic_message(payload));
            }
        }
    }

    /// Accounts for a message that its actor took. One that waits in the mailbox beyond its bound
    /// keeps its place in the window, so that its sender soon finds no room.
    fn local_delivered(&self, cell: &ActorCell, from: CoreId, delivered: &Delivered) {
        if !matches!(delivered, Delivered::Waiting) {
            self.tally.local_delivered.add(1);
            return self.give_place_back(from);
        }
        self.tally.local_waiting.add(1);
        if !cell.port().is_some_and(|port| port.charges_last()) {
            self.give_place_back(from);
        }
    }

    /// A message that waited is taken out of its actor's mailbox.
    pub(super) fn local_left_mailbox(&self, letter: &Letter) {
        self.tally.local_waiting.take(1);
        if letter.charged {
            self.give_place_back(letter.link.to_core);
        }
    }

    /// The same of one whose actor has ended.
    pub(super) fn bury_waiting_local(&self, cell: &ActorCell, letter: Letter) {
        self.local_left_mailbox(&letter);
        let described = Described::of_actor(cell, letter.arrived.index);
        if let Some(value) = letter.arrived.into_local() {
            self.bury_local(DeadLetterReason::NoRecipient, described, value);
        }
    }

    fn bury_local(&self, reason: DeadLetterReason, described: Described, value: LocalValue) {
        self.count_local_dead(reason, described);
        drop(Contained::new(value));
    }

    fn count_local_dead(&self, reason: DeadLetterReason, described: Described) {
        self.tally.local_dead.add(1);
        self.report(reason, 1, &self.own_end().link, |_| described);
    }
}
