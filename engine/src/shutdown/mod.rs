//! How a node shuts down in good order.
//!
//! A shutdown runs in phases, one after the other: first what the node does for others ends, then
//! it leaves its cluster, then it stops. The tasks of a phase run at the same time, on the cores
//! they were added on, and the next phase begins when all have ended or the time of the phase is
//! over. It runs once, for the first of these: [`Node::shutdown`], a termination signal, the node's
//! leaving its cluster by whose word ever, its being given up.
//!
//! What it is not: a way to end an actor (see [`Node::stop_within`]), or to save a program that is
//! killed. A second termination signal ends the process at once.

pub mod phase;
mod plan;
mod reason;
mod settings;

use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;

pub use self::plan::{PHASE_NAME_BYTES_MAX, PHASE_TIME_MAX, PHASES_MAX, PhaseSettings};
pub(crate) use self::plan::{Phase, Plan};
pub use self::reason::ShutdownReason;
pub use self::settings::ShutdownSettings;
use crate::core::{Core, PhaseTask};
use crate::node::Node;

/// The most tasks of all phases that wait on one core.
pub const SHUTDOWN_TASKS_MAX: usize = 1024;

/// The shutdown of the node that the current core belongs to. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct CoordinatedShutdown {
    core: Rc<Core>,
}

/// Why a shutdown takes no task, or does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// There is no such phase.
    #[error("a shutdown has no phase {phase:?}")]
    NoSuchPhase {
        /// The name.
        phase: String,
    },
    /// The shutdown is there, or beyond.
    #[error("the shutdown has come to {phase:?} already")]
    TooLate {
        /// The phase.
        phase: String,
    },
    /// The shutdown was given up: a task of a phase that does not recover failed.
    #[error("the shutdown was given up in {phase:?}")]
    GivenUp {
        /// The phase.
        phase: String,
    },
    /// Too many tasks wait on this core.
    #[error("{SHUTDOWN_TASKS_MAX} tasks wait for the shutdown on this core")]
    TooManyTasks,
}

/// A task that waits for its phase. It stays when this drops.
#[derive(Debug)]
pub struct ShutdownTask {
    core: Rc<Core>,
    number: u64,
}

impl ShutdownTask {
    /// Takes the task back. Says whether it had not begun; it never will, then.
    pub fn cancel(self) -> bool {
        self.core.cancel_phase_task(self.number)
    }
}

impl CoordinatedShutdown {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        Self { core }
    }

    /// Adds a task to a phase, which runs on this core: what `task` makes when the phase begins. It
    /// may be added while earlier phases run. One that fails or panics is logged by `name`; one
    /// that does not end in the time of its phase is dropped where it waits.
    ///
    /// # Errors
    /// [`ShutdownError`]; the task was dropped.
    pub fn add_task<F, Fut, E>(
        &self,
        phase: &str,
        name: &str,
        task: F,
    ) -> Result<ShutdownTask, ShutdownError>
    where
        F: FnOnce(Node) -> Fut + 'static,
        Fut: Future<Output = Result<(), E>> + 'static,
        E: fmt::Display,
    {
        let node = Node::new(Rc::clone(&self.core));
        let make = move || {
            let task = task(node);
            let ended = async move { task.await.map_err(|error| error.to_string()) };
            PhaseTask::boxed(ended)
        };
        let number = self.core.add_phase_task(phase, name, Box::new(make))?;
        let core = Rc::clone(&self.core);
        Ok(ShutdownTask { core, number })
    }

    /// Begins the shutdown, unless it has begun. The same as [`Node::shutdown`].
    pub fn run(&self) {
        let asked = ShutdownReason::Asked;
        self.core.shared_handle().ask_to_stop(asked, 0);
    }

    /// The same from that phase on: what is ahead of it does not run.
    ///
    /// # Errors
    /// [`ShutdownError::NoSuchPhase`].
    pub fn run_from(&self, phase: &str) -> Result<(), ShutdownError> {
        let from = self.core.phase_number(phase)?;
        let asked = ShutdownReason::Asked;
        self.core.shared_handle().ask_to_stop(asked, from);
        Ok(())
    }

    /// Why the node shuts down, if it does.
    pub fn reason(&self) -> Option<ShutdownReason> {
        self.core.shared_handle().stop_reason()
    }

    /// Ends when the shutdown begins, ahead of its phases, and says why.
    pub async fn begun(&self) -> ShutdownReason {
        let seat = self.core.stop_seat();
        poll_fn(|context| self.core.poll_shutdown(&seat, context)).await
    }

    /// Ends when the phases are over, or the node stops without them. Never while the node does not
    /// shut down.
    ///
    /// # Errors
    /// [`ShutdownError::GivenUp`]: the node goes on. Asked once more it stops, without phases.
    pub async fn ended(&self) -> Result<(), ShutdownError> {
        let seat = self.core.stop_seat();
        poll_fn(|context| self.core.poll_phases(&seat, context)).await
    }

    /// The exit code of a program that is nothing but this node: that of the reason, or of what
    /// became of the node in its cluster meanwhile if that is not 0. 0 before it shuts down, and if
    /// it had no time to leave.
    pub fn exit_code(&self) -> u8 {
        let end = self.core.cluster_end();
        let end = end.as_ref().map(ShutdownReason::of_end);
        // To have left is what a shutdown for another reason comes to in any case.
        let end = end.filter(|it| *it != ShutdownReason::Leaving);
        let codes = &self.core.settings().shutdown.exit_codes;
        let code = |reason: ShutdownReason| {
            let set = codes.get(reason.label()).copied();
            set.unwrap_or_else(|| reason.exit_code())
        };
        let of_end = end.map_or(0, code);
        match self.reason() {
            Some(reason) if of_end == 0 => code(reason),
            _ => of_end,
        }
    }
}

impl fmt::Debug for CoordinatedShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatedShutdown")
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
