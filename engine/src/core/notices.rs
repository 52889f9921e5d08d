//! Word of the ends of actors, on its way to who watches: behind all that those actors sent.
//!
//! Between two cores of a node all frames go by one link, and local messages by the ring that the
//! word takes too. So the word carries where the link stood when the actor was gone: its turn has
//! come when all before that, and the local messages that came before it, are handled or wait in
//! mailboxes. There it waits in its place as well. It needs no room that a message could take.
//! The word that an actor is to end behind what was sent to it goes the same way.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ringmesh_proto::address::{CoreId, Uid};

use super::budget::Budget;
use super::linger::Rest;
use super::slow::LocalHandled;
use super::user_code::panic_message;
use super::watch::{Notice, Place};
use super::{Core, Errand};
use crate::actor::ActorTable;
use crate::watch::Ended;

/// Word that waits for its turn, by the core that sent it, in order. No more than there are
/// watches and stops, and those that were taken back, or over, while it was on its way.
#[derive(Debug, Default)]
pub(super) struct Notices {
    any: Cell<bool>,
    by_core: RefCell<BTreeMap<CoreId, VecDeque<Due>>>,
}

/// What an actor is told when its turn has come.
#[derive(Debug)]
pub(super) enum Word {
    /// The end of another.
    Ended(Notice),
    /// That it is to end when it has handled what came.
    Drain,
}

#[derive(Debug)]
struct Due {
    actor: Place,
    word: Word,
    /// Where the link from there has to be.
    position: u64,
    /// How many local messages must have had their turn.
    locals: u64,
}

impl Core {
    /// Has an actor of this node told that one of this core has ended.
    pub(super) fn notice(
        &self,
        watcher: Place,
        watched: Place,
        why: Ended,
        path: Option<Box<str>>,
    ) {
        let uid = self.local().id.uid;
        let core = ActorTable::core_of(watcher.generation);
        if core == self.id {
            return self.notice_here(watcher, uid, watched.generation, why, path);
        }
        let position = self.position_towards(core);
        let notice = Notice {
            uid,
            generation: watched.generation,
            why,
            path,
        };
        let from = self.id;
        let word = Word::Ended(notice);
        let word: Errand = Box::new(move |there| there.await_turn(from, position, watcher, word));
        // No more of these wait than there are watches.
        self.send_word(core, word);
    }

    /// Has an actor of this core told that another has ended, behind what this core sent itself.
    pub(super) fn notice_here(
        &self,
        watcher: Place,
        uid: Uid,
        generation: u64,
        why: Ended,
        path: Option<Box<str>>,
    ) {
        let notice = Notice {
            uid,
            generation,
            why,
            path,
        };
        let position = self.position_towards(self.id);
        self.await_turn(self.id, position, watcher, Word::Ended(notice));
    }

    pub(super) fn position_towards(&self, core: CoreId) -> u64 {
        let link = &self.ends[usize::from(core.0)].link;
        link.outbound.borrow().positions().tail
    }

    pub(super) fn await_turn(&self, from: CoreId, position: u64, actor: Place, word: Word) {
        let due = Due {
            actor,
            word,
            position,
            locals: self.locals.taken() + self.locals.len() as u64,
        };
        let mut by_core = self.lives.notices.by_core.borrow_mut();
        by_core.entry(from).or_default().push_back(due);
        self.lives.notices.any.set(true);
    }

    /// Tells actors of the ends of those they watch, as far as their turn has come and the turn's
    /// budget goes. Says whether there was any.
    pub(super) fn deliver_notices(self: &Rc<Self>, budget: &mut Budget) -> bool {
        let mut any = false;
        while self.lives.notices.any.get() {
            let stride = self.next_stride(budget);
            let mut last = None;
            let mut told = 0;
            while told < stride
                && let Some((actor, word)) = self.next_notice()
            {
                told += 1;
                last = Some(LocalHandled {
                    slot: actor.slot,
                    generation: actor.generation,
                    index: u16::MAX,
                });
                self.deliver_word(actor, word);
            }
            let Some(last) = last else {
                break;
            };
            any = true;
            self.spend_on_locals(budget, told, last);
        }
        any
    }

    /// Whether word waits whose turn has come.
    pub(super) fn has_notices(&self) -> bool {
        self.lives.notices.any.get() && {
            let by_core = self.lives.notices.by_core.borrow();
            let mut fronts = by_core
                .iter()
                .filter_map(|(core, dues)| Some((core, dues.front()?)));
            fronts.any(|(core, due)| self.is_due(*core, due))
        }
    }

    fn next_notice(&self) -> Option<(Place, Word)> {
        let mut by_core = self.lives.notices.by_core.borrow_mut();
        for (core, dues) in by_core.iter_mut() {
            let is_due = dues.front().is_some_and(|due| self.is_due(*core, due));
            if is_due && let Some(due) = dues.pop_front() {
                return Some((due.actor, due.word));
            }
        }
        by_core.retain(|_, dues| !dues.is_empty());
        self.lives.notices.any.set(!by_core.is_empty());
        None
    }

    fn is_due(&self, from: CoreId, due: &Due) -> bool {
        let link = &self.ends[usize::from(from.0)].link;
        let has_come = link.inbound.borrow().received_to() >= due.position || link.ended.get();
        has_come && self.locals.taken() >= due.locals
    }

    fn deliver_word(self: &Rc<Self>, actor: Place, word: Word) {
        let Some(cell) = self.cell_at(actor).filter(|cell| cell.is_alive()) else {
            return;
        };
        let notice = match word {
            Word::Ended(notice) => notice,
            Word::Drain => return self.linger(&cell, Rest::Handle),
        };
        self.running.question.set(None);
        match catch_unwind(AssertUnwindSafe(|| cell.notify(self, notice))) {
            Ok(false) => {}
            Ok(true) => self.stop_cell(&cell),
            Err(payload) => self.actor_panicked(&cell, &panic_message(payload)),
        }
    }
}
