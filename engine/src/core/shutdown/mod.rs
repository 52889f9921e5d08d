//! The shutdown of the node: what waits on each core for which phase, and the phases one by one.

mod progress;
mod run;
mod together;
mod waiters;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_transport::signal;

pub(super) use self::progress::Progress;
pub(crate) use self::together::PhaseTask;
pub(crate) use self::waiters::StopSeat;
use self::waiters::Waiters;
use super::shared::Stop;
use super::user_code::contain;
use super::{CONTROL_CORE, Core};
use crate::config::Settings;
use crate::error::EngineError;
use crate::shutdown::{
    PHASE_TIME_MAX, Plan, SHUTDOWN_TASKS_MAX, ShutdownError, ShutdownReason, phase,
};

/// What makes a task when its phase begins.
pub(crate) type MakeTask = Box<dyn FnOnce() -> PhaseTask>;

/// A core's part in the shutdown of its node.
#[derive(Debug)]
pub(super) struct ShutdownRoom {
    plan: Plan,
    waiting: RefCell<Vec<Waiting>>,
    next: Cell<u64>,
    /// Whether the phases run, on the control core.
    runs: Cell<bool>,
    /// Whether those that wait here know that it was asked for, and that it is over.
    heard: Cell<(bool, bool)>,
    /// Who is in `until_shutdown`, or waits for word of the phases.
    waiters: RefCell<Waiters>,
}

/// A task that waits for its phase.
struct Waiting {
    phase: usize,
    number: u64,
    name: Box<str>,
    make: MakeTask,
}

impl ShutdownRoom {
    pub(super) fn new(settings: &Settings) -> Result<Self, EngineError> {
        let plan = settings.shutdown.plan();
        Ok(Self {
            // The settings are checked before a core begins.
            plan: plan.map_err(EngineError::Cluster)?,
            waiting: RefCell::default(),
            next: Cell::default(),
            runs: Cell::default(),
            heard: Cell::default(),
            waiters: RefCell::default(),
        })
    }
}

impl Core {
    /// The place of a phase.
    pub(crate) fn phase_number(&self, name: &str) -> Result<usize, ShutdownError> {
        let found = self.shutdown.plan.find(name);
        found.ok_or_else(|| ShutdownError::NoSuchPhase {
            phase: name.to_owned(),
        })
    }

    /// Has a task wait on this core for its phase.
    pub(crate) fn add_phase_task(
        &self,
        phase: &str,
        name: &str,
        make: MakeTask,
    ) -> Result<u64, ShutdownError> {
        let at = self.phase_number(phase)?;
        let too_late = || ShutdownError::TooLate {
            phase: phase.to_owned(),
        };
        match self.shared.phases_end() {
            Some(Err(given_up)) => return Err(given_up),
            Some(Ok(())) => return Err(too_late()),
            None if self.is_closing() => return Err(too_late()),
            None => {}
        }
        let room = &self.shutdown;
        if room.waiting.borrow().len() >= SHUTDOWN_TASKS_MAX {
            return Err(ShutdownError::TooManyTasks);
        }
        let number = room.next.replace(room.next.get() + 1);
        room.waiting.borrow_mut().push(Waiting {
            phase: at,
            number,
            name: Box::from(name),
            make,
        });
        self.count_phase_tasks();
        if self.shared.shutdown.has_begun(at) && self.cancel_phase_task(number) {
            return Err(too_late());
        }
        Ok(number)
    }

    /// Takes a task back, if it still waits.
    pub(crate) fn cancel_phase_task(&self, number: u64) -> bool {
        let taken = {
            let mut waiting = self.shutdown.waiting.borrow_mut();
            let place = waiting.iter().position(|it| it.number == number);
            place.map(|it| waiting.remove(it))
        };
        self.count_phase_tasks();
        taken.is_some()
    }

    fn count_phase_tasks(&self) {
        let waiting = self.shutdown.waiting.borrow();
        let phases = waiting.iter().map(|it| it.phase);
        self.shared.shutdown.set_tasks(self.id, phases);
    }

    /// Drops what never ran: each task holds a handle on this core.
    pub(super) fn drop_phase_tasks(&self) {
        for task in self.shutdown.waiting.take() {
            if let Err(panic) = contain(|| drop(task)) {
                tracing::error!(panic, "a task of the shutdown panicked in its drop");
            }
        }
    }

    /// The tasks of a phase, in the order they were added.
    fn take_phase_tasks(&self, phase: usize) -> Vec<(Box<str>, MakeTask)> {
        let mut waiting = self.shutdown.waiting.borrow_mut();
        let taken = waiting.extract_if(.., |it| it.phase == phase);
        let taken = taken.map(|it| (it.name, it.make)).collect();
        drop(waiting);
        self.count_phase_tasks();
        taken
    }

    /// A termination signal came: the next one ends the process.
    pub(super) fn terminate(&self) {
        if self.settings.shutdown.on_signal {
            self.shared.ask_to_stop(ShutdownReason::Signal, 0);
        } else {
            self.shared.stop_at_once(ShutdownReason::Signal);
        }
        if let Err(error) = signal::unblock_termination_signals() {
            tracing::warn!(%error, "a second signal will not end the process at once");
        }
    }

    /// Runs the phases, if this is the control core; once.
    pub(super) fn begin_phases(self: &Rc<Self>) {
        let is_new = self.shared.phases_end().is_none();
        if self.id == CONTROL_CORE && is_new && !self.shutdown.runs.replace(true) {
            self.tasks.spawn(run::phases(Rc::clone(self)));
        }
    }

    /// Wakes whoever waits for the stop, or for word that it comes.
    pub(super) fn wake_stop_waiters(&self) {
        let waiting = self.shutdown.waiters.borrow_mut().take();
        waiting.for_each(|waker| self.wake(waker));
    }

    /// Wakes whoever waits for word of the shutdown, when there is news of it.
    pub(super) fn hear_of_shutdown(&self) {
        let asked = self.shared.stop_reason().is_some();
        let news = (asked, self.shared.phases_end().is_some());
        if self.shutdown.heard.replace(news) != news {
            self.wake_stop_waiters();
        }
    }

    /// Ready when the node shuts down: why.
    pub(crate) fn poll_shutdown(
        &self,
        seat: &StopSeat,
        context: &Context<'_>,
    ) -> Poll<ShutdownReason> {
        match self.shared.stop_reason() {
            Some(reason) => Poll::Ready(reason),
            None => {
                seat.wait(context);
                Poll::Pending
            }
        }
    }

    /// Ready when the phases are over: what came of them.
    pub(crate) fn poll_phases(
        &self,
        seat: &StopSeat,
        context: &Context<'_>,
    ) -> Poll<Result<(), ShutdownError>> {
        match self.shared.phases_end() {
            Some(how) => Poll::Ready(how),
            None => {
                seat.wait(context);
                Poll::Pending
            }
        }
    }

    /// How long it may take until the phases say that the work of this node is done.
    pub(super) fn time_of_work(&self) -> Duration {
        let phases = self.shutdown.plan.phases().iter();
        let work = phases.take_while(|it| &*it.name != phase::CLUSTER_EXITING_DONE);
        let time: Duration = work.map(|it| it.timeout + run::GRACE).sum();
        time.min(PHASE_TIME_MAX)
    }

    /// Whether the phases run, or are about to.
    pub(super) fn phases_run(&self) -> bool {
        self.shared.stopping() == Stop::Asked && self.shared.phases_end().is_none()
    }

    /// Whether the phases have yet to say that the work of this node is done.
    pub(super) fn phases_say_exited(&self) -> bool {
        let done = self.phase_number(phase::CLUSTER_EXITING_DONE);
        let is_ahead = done.is_ok_and(|it| !self.shared.shutdown.has_begun(it));
        self.shutdown.runs.get() && is_ahead
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("phase", &self.phase)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
