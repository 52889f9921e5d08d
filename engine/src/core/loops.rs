//! Loops of actors with asynchronous handlers: polled by the driver, fed from mailboxes, and what
//! they leave behind.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use ringmesh_proto::frame::body::ErrorCode;

use super::letters::Described;
use super::user_code::panic_message;
use super::{Asker, Core, Extra, NoRoute, Question};
use crate::actor::{ActorCell, Letter, Port};
use crate::dead_letter::DeadLetterReason;

impl Core {
    /// Has the driver poll the loop of an actor whenever that is woken, until the actor ends.
    pub(super) fn attach_loop(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        let Some(port) = cell.port() else {
            return;
        };
        let (core, cell) = (Rc::clone(self), Rc::clone(cell));
        let resume = poll_fn(move |_| {
            if cell.is_alive() || cell.kin.lingers.get() {
                core.resume(&cell);
            }
            // Its end wakes it once more.
            if cell.is_alive() || cell.kin.lingers.get() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        port.set_waker(self.tasks.attach(resume));
    }

    fn resume(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        match catch_unwind(AssertUnwindSafe(|| cell.resume())) {
            Ok(false) => {}
            Ok(true) => self.stop_cell(cell),
            Err(payload) => self.actor_panicked(cell, &panic_message(payload)),
        }
    }

    /// Takes the oldest message that waits for an actor to its loop; `None` if it is a question
    /// that nobody waits for any more, which is not handled, or word of an end.
    pub(crate) fn take_waiting(self: &Rc<Self>, port: &Port) -> Option<Letter> {
        let letter = port.take_letter()?;
        if letter.again {
            return self.take_stashed(port, letter);
        }
        if !letter.arrived.is_archived() {
            return self.take_unarchived(port, letter);
        }
        self.tally.waiting.take(1);
        self.uncharge(&letter);
        self.say_ready(port);
        if let Extra::Question(Question {
            correlation,
            deadline,
        }) = letter.extra
            && self.clock.peek() >= deadline
        {
            let describe = |core: &Self| {
                let actors = core.actors.borrow();
                let cell = actors.at(port.slot(), port.generation());
                cell.map_or_else(Described::default, |cell| {
                    Described::of_actor(cell, letter.arrived.index)
                })
            };
            self.bury(DeadLetterReason::Expired, 1, &letter.link, describe);
            Asker::new(self, &letter.link, correlation).fail(ErrorCode::Expired);
            return None;
        }
        self.tally.delivered.add(1);
        Some(letter)
    }

    /// The same of what was laid aside.
    #[cold]
    fn take_stashed(self: &Rc<Self>, port: &Port, letter: Letter) -> Option<Letter> {
        self.say_ready(port);
        let is_over = |deadline| self.clock.peek() >= deadline;
        if letter.extra.deadline().is_some_and(is_over) {
            let cell = self.cell_at(port.actor());
            self.bury_stashed(cell.as_deref(), letter, ErrorCode::Expired);
            return None;
        }
        self.unstashed();
        Some(letter)
    }

    /// The same of what came as a value; word of an end is laid aside for the loop.
    fn take_unarchived(self: &Rc<Self>, port: &Port, letter: Letter) -> Option<Letter> {
        if letter.arrived.is_local() {
            self.local_left_mailbox(&letter);
            self.say_ready(port);
            self.tally.local_delivered.add(1);
            return Some(letter);
        }
        self.say_ready(port);
        port.lay_aside(self, letter);
        None
    }

    /// Accounts for the messages that still wait for an actor which has ended, and tells whoever
    /// asked.
    pub(super) fn bury_mailbox(self: &Rc<Self>, cell: &ActorCell, port: &Port) {
        port.waker().wake_by_ref();
        if let Some((link, correlation)) = port.take_question() {
            Asker::new(self, &link, correlation).fail(ErrorCode::Failed);
        }
        for letter in port.take_stash() {
            self.bury_stashed(Some(cell), letter, ErrorCode::NotRunning);
        }
        while let Some(letter) = port.take_letter() {
            if letter.arrived.is_notice() {
                continue;
            }
            if letter.again {
                self.bury_stashed(Some(cell), letter, ErrorCode::NotRunning);
                continue;
            }
            if letter.arrived.is_local() {
                self.bury_waiting_local(cell, letter);
                continue;
            }
            self.tally.waiting.take(1);
            let describe = |_: &Self| Described::of_actor(cell, letter.arrived.index);
            self.bury(DeadLetterReason::NoRecipient, 1, &letter.link, describe);
            self.uncharge(&letter);
            if let Some(correlation) = letter.extra.correlation() {
                Asker::new(self, &letter.link, correlation).refuse(NoRoute::NoRecipient);
            }
        }
        self.say_ready(port);
    }
}
