//! How actors end, with their children before them, and begin anew when they failed.
//!
//! An actor that ends takes no message from then on. Its children end first, the youngest before
//! the others; one whose handler runs at that time ends when that returns, and its parent behind
//! it. What an actor had is free for others when no handler of it runs any more: its slot and its
//! name. Those that are given time to end: [`super::linger`].

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::time::Instant;
use ringmesh_proto::token_bucket::TokenBucket;
use ringmesh_transport::timer::RESOLUTION;

use super::linger::{Rest, Stopping};
use super::notices::Notices;
use super::pipes::Pipes;
use super::user_code::panic_message;
use super::watch::{Place, Watches};
use super::{Asker, Core, Token};
use crate::actor::ActorCell;
use crate::supervision::Verdict;
use crate::watch::Ended;

/// Lines about failed actors that a core logs at once, and in the long run.
const LOGS_BURST: u32 = 16;
const LOGS_PER_SECOND: u32 = 4;

/// Actors of one core that may wait for their new state at one time; another one that fails then
/// ends.
pub(super) const PARKED_MAX: usize = 1 << 16;

/// What a core knows of the lives of its actors, besides the actors themselves.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// The tasks that end with them.
    pub(super) pipes: RefCell<Pipes>,
    pub(super) watches: RefCell<Watches>,
    pub(super) notices: Notices,
    failure_log: FailureLog,
    parked: Parked,
    pub(super) stopping: Stopping,
}

/// How many failed and wait for their new state.
#[derive(Debug, Default)]
struct Parked(Cell<usize>);

impl Parked {
    /// One more, if there is room for it.
    fn enter(&self) -> bool {
        let has_room = self.0.get() < PARKED_MAX;
        self.0.set(self.0.get() + usize::from(has_room));
        has_room
    }

    fn leave(&self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How often a core says in its log that an actor failed.
#[derive(Debug)]
struct FailureLog {
    budget: RefCell<TokenBucket>,
    /// Failures that were not logged since the last line.
    suppressed: Cell<u64>,
}

impl Default for FailureLog {
    fn default() -> Self {
        Self {
            budget: RefCell::new(TokenBucket::new(LOGS_BURST, LOGS_PER_SECOND)),
            suppressed: Cell::default(),
        }
    }
}

impl FailureLog {
    /// Whether a failure may be logged now: how many were not, since the last line.
    fn take(&self, now: Instant) -> Option<u64> {
        if self.budget.borrow_mut().take(now) {
            return Some(self.suppressed.take());
        }
        self.suppressed.set(self.suppressed.get() + 1);
        None
    }
}

impl Core {
    /// An actor has asked to be stopped, or something of it returned that is to end.
    pub(super) fn stop_cell(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        if cell.kin.ends_for().is_some() {
            return self.conclude(cell);
        }
        if !cell.kin.lingers.get() {
            return self.bring_down(cell, Ended::Stopped);
        }
        // Else a handler of it waits, or more messages do, which it may go on with.
        if cell.port().is_some_and(|port| port.wants_stop()) {
            self.end_softly(cell);
        }
    }

    /// An actor takes no more messages, and ends when its children have.
    pub(super) fn bring_down(self: &Rc<Self>, cell: &Rc<ActorCell>, why: Ended) {
        cell.kin.end_for(why);
        // What somebody waits for to end in order does not.
        let is_cut = cell.is_alive() && cell.kin.stops.is_under_way();
        if cell.kin.lingers.replace(false) || is_cut {
            cell.kin.is_cut.set(true);
        }
        self.close_to_new(cell);
        self.stop_children(cell);
        self.conclude(cell);
    }

    /// An actor takes no more messages, and its name is not found.
    pub(super) fn close_to_new(&self, cell: &ActorCell) {
        if cell.is_alive() {
            cell.bury();
            self.close_to_clients(cell.generation);
            self.close_to_finders(cell.generation);
            self.close_to_publishers(cell.generation);
            if let Some(name) = &cell.name {
                self.shared.end_name(name, cell.generation);
            }
        }
    }

    fn stop_children(self: &Rc<Self>, cell: &ActorCell) {
        for place in cell.kin.children() {
            if let Some(child) = self.cell_at(place) {
                self.bring_down(&child, Ended::Stopped);
            }
        }
    }

    /// Ends an actor that was brought down, unless that has to wait: for a child, or for a handler
    /// of its own. Either comes back here.
    pub(super) fn conclude(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        let Some(why) = cell.kin.ends_for() else {
            return;
        };
        if cell.kin.has_children() {
            return;
        }
        let Some(behaviour) = cell.take() else {
            // A handler of it runs. It is the last: what waits behind it is not handled.
            cell.port().into_iter().for_each(|port| port.linger(false));
            return;
        };
        self.end_pause(cell);
        self.actors.borrow_mut().remove(cell);
        if let Some(name) = &cell.name {
            self.shared.free_name(name, cell.generation);
        }
        if let Err(payload) = ActorCell::end(behaviour, why != Ended::Failed) {
            self.tally.panics.add(1);
            let panic = panic_message(payload);
            if let Some(suppressed) = self.lives.failure_log.take(self.clock.now()) {
                let text = "an actor panicked while it ended";
                tracing::error!(actor = %cell, panic, suppressed, "{text}");
            }
        }
        self.end_ticks(cell.generation);
        self.end_pipes(cell.generation);
        if let Some(port) = cell.port() {
            if cell.kin.stops.drains() && !port.has_nothing() {
                cell.kin.is_cut.set(true);
            }
            self.bury_mailbox(cell, port);
        }
        self.actor_is_gone(cell, why);
        self.stop_is_over(cell, why);
        self.leave_parent(cell);
    }

    /// A child is gone. Its parent may have waited for that.
    fn leave_parent(self: &Rc<Self>, child: &ActorCell) {
        let parent = child.kin.parent.and_then(|place| self.cell_at(place));
        let Some(parent) = parent else {
            return;
        };
        parent.kin.remove(child.place());
        if child.kin.is_cut.get() && parent.kin.ends_for().is_some() {
            parent.kin.is_cut.set(true);
        }
        if parent.kin.has_children() {
            return;
        }
        if parent.kin.is_awaited.replace(false) {
            self.make_anew(&parent);
        }
        self.conclude(&parent);
    }

    /// An actor failed: a handler of it panicked, or what makes it anew, or a child whose failure
    /// is its own. No handler of it runs.
    pub(super) fn actor_failed(self: &Rc<Self>, cell: &Rc<ActorCell>, problem: &str) {
        self.tally.failures.add(1);
        let verdict = if cell.is_alive() {
            cell.judge(|| (self.clock.peek(), crate::random::number()))
        } else {
            // It ends already.
            Verdict::Stop
        };
        if let Some(suppressed) = self.lives.failure_log.take(self.clock.now()) {
            tracing::error!(actor = %cell, problem, suppressed, ?verdict, "an actor failed");
        }
        match verdict {
            Verdict::Stop => self.bring_down(cell, Ended::Failed),
            Verdict::Resume => self.resume_failed(cell),
            Verdict::Restart { after } => self.park(cell, after),
            Verdict::Escalate => {
                self.bring_down(cell, Ended::Failed);
                let parent = cell.kin.parent.and_then(|place| self.cell_at(place));
                if let Some(parent) = parent {
                    let problem = format!("{cell}, a child of it, failed: {problem}");
                    self.actor_failed(&parent, &problem);
                }
            }
        }
    }

    /// An actor goes on as if it had not failed, but for the message that it failed at.
    fn resume_failed(self: &Rc<Self>, cell: &ActorCell) {
        let Some(port) = cell.port() else {
            return;
        };
        // Of a loop, or an actor with a mailbox, the question is known here alone. That of a
        // handler which waits, and did not fail, is still to be answered.
        if port.resume() || !cell.has_loop() {
            self.fail_question(cell);
        }
        port.waker().wake_by_ref();
    }

    fn fail_question(self: &Rc<Self>, cell: &ActorCell) {
        let question = cell.port().and_then(|port| port.take_question());
        if let Some((link, correlation)) = question {
            Asker::new(self, &link, correlation).fail(ErrorCode::Failed);
        }
    }

    /// An actor loses its state, and gets another after a pause. Messages wait meanwhile.
    fn park(self: &Rc<Self>, cell: &Rc<ActorCell>, after: Duration) {
        if cell.kin.is_parked.get() {
            return;
        }
        if !self.lives.parked.enter() {
            return self.bring_down(cell, Ended::Failed);
        }
        cell.kin.is_parked.set(true);
        cell.kin.losses.set(cell.kin.losses.get().wrapping_add(1));
        self.stop_children(cell);
        self.end_timers(cell.generation);
        self.end_pipes(cell.generation);
        let has_port = cell.port().is_some();
        self.fail_question(cell);
        if let Err(payload) = cell.park(self) {
            self.tally.panics.add(1);
            let panic = panic_message(payload);
            tracing::error!(actor = %cell, panic, "an actor that failed panicked in its drop");
        }
        if !has_port {
            self.attach_loop(cell);
        }
        let Place { slot, generation } = cell.place();
        let at = self.clock.peek() + after.max(RESOLUTION);
        let token = Token::Restart { slot, generation };
        match self.set_timer(at, token) {
            Some(timer) => cell.kin.pause.set(Some(timer)),
            None => self.bring_down(cell, Ended::Failed),
        }
    }

    /// An actor that failed waits no longer.
    fn end_pause(&self, cell: &ActorCell) {
        if cell.kin.is_parked.replace(false) {
            self.lives.parked.leave();
            let timer = cell.kin.pause.take();
            timer.into_iter().for_each(|timer| self.cancel_timer(timer));
        }
    }

    /// The pause of an actor that failed is over.
    pub(super) fn restart(self: &Rc<Self>, place: Place) {
        let cell = self.cell_at(place).filter(|cell| cell.is_alive());
        let Some(cell) = cell.filter(|cell| cell.kin.is_parked.get()) else {
            return;
        };
        cell.kin.pause.take();
        if cell.kin.has_children() {
            cell.kin.is_awaited.set(true);
        } else {
            self.make_anew(&cell);
        }
    }

    fn make_anew(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        if !cell.is_alive() {
            return;
        }
        self.end_pause(cell);
        let made = catch_unwind(AssertUnwindSafe(|| cell.make(self)));
        let problem = match made {
            Ok(Ok(())) => {
                self.tally.restarts.add(1);
                match catch_unwind(AssertUnwindSafe(|| cell.started(self))) {
                    Ok(false) if cell.kin.drains.take() => return self.linger(cell, Rest::Handle),
                    Ok(false) => return,
                    Ok(true) => return self.stop_cell(cell),
                    Err(payload) => self.note_panic(payload),
                }
            }
            Ok(Err(problem)) => problem,
            Err(payload) => self.note_panic(payload),
        };
        self.actor_failed(cell, &problem);
    }

    /// Counts a panic, and gives back its text.
    pub(super) fn note_panic(&self, payload: super::PanicPayload) -> String {
        self.tally.panics.add(1);
        panic_message(payload)
    }

    /// Ends all actors, those first that have no parents, and so each behind its children.
    pub(super) fn stop_all_actors(self: &Rc<Self>) {
        let all = self.actors.borrow().all();
        for cell in all.iter().filter(|cell| cell.kin.parent.is_none()) {
            self.bring_down(cell, Ended::Stopped);
        }
        // Nobody of these has a parent that knows of it.
        let rest = self.actors.borrow_mut().drain();
        let end = |cell| self.bring_down(cell, Ended::Stopped);
        rest.iter().for_each(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_those_who_may_wait_for_their_new_state_finds_no_room_until_one_leaves() {
        let parked = Parked::default();
        assert!((0..PARKED_MAX).all(|_| parked.enter()));
        assert!(!parked.enter());
        assert!(!parked.enter(), "what was refused takes no room");
        parked.leave();
        assert!(parked.enter());
        assert!(!parked.enter());
    }
}
