//! The end of an actor that somebody asked for: how long it may take, and how it came.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;

use crate::core::Alarm;

/// How an actor that was stopped with a deadline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stopped {
    /// In order: its handlers and those of its children came to their ends.
    InOrder,
    /// The deadline, or somebody who stopped it at once, cut it short: a handler that waited, of it
    /// or of a child, was dropped where it did, or not all of what waited was handled. Or how a
    /// child elsewhere ended is not known.
    CutShort,
    /// A handler of it panicked on the way.
    Failed,
    /// It had ended before.
    Gone,
}

/// Why an actor was not stopped. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It lives on another node, and only its own stops an actor: send it a message that it stops
    /// at.
    #[error("the actor lives on another node, which alone can stop it")]
    Remote,
    /// The ref was made by another node of the same process.
    #[error("the ref belongs to another node of this process")]
    OtherNode,
    /// The actor lives, and is no child of the one that was to stop it, or a child that was
    /// [spawned](crate::Cx::spawn_at) on another core.
    #[error("the actor is no child of this one, or not on its core")]
    NotAChild,
    /// As many actors of its core are being stopped with a deadline as may be, or as many wait for
    /// the end of this one.
    #[error("{limit} stops are under way already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// As many errands wait for the core of the actor as may; it is stuck or overloaded.
    #[error("core {core} is overloaded: too many errands wait for it")]
    CoreOverloaded {
        /// The core.
        core: u16,
    },
    /// The core of the actor did not say how it went, a second beyond the deadline: a handler
    /// blocks it, or it has too much to do. The actor is stopped when that is over.
    #[error("core {core} does not answer: a handler blocks it, or it is overloaded")]
    NoWord {
        /// The core.
        core: u16,
    },
    /// The node is stopping, and its actors with it.
    #[error("the node is stopping")]
    Stopping,
}

/// How long beyond the deadline another core may take to say how it went.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

pub(crate) type Outcome = Result<Stopped, StopError>;

/// The end of an actor that was stopped with a deadline, when it has come. Made by
/// [`Node::stop_within`](crate::Node::stop_within) and its like.
///
/// It comes also when this is dropped. It comes by the deadline, a blocked core aside, which is
/// said as [`StopError::NoWord`].
pub struct Ending {
    heard: oneshot::Receiver<Outcome>,
    /// If the actor lives on another core: which, and how long that may take.
    patience: Option<(u16, Alarm)>,
}

impl Ending {
    pub(crate) fn new(heard: oneshot::Receiver<Outcome>, patience: Option<(u16, Alarm)>) -> Self {
        Self { heard, patience }
    }

    /// How it came, if it is known. It is said once.
    pub(crate) fn said(&mut self) -> Option<Outcome> {
        self.heard.try_recv().ok().flatten()
    }

    /// One that has come, or never will.
    pub(crate) fn known(outcome: Outcome) -> Self {
        let (said, heard) = oneshot::channel();
        // It is read behind this.
        let _ = said.send(outcome);
        Self::new(heard, None)
    }
}

impl Future for Ending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Self { heard, patience } = self.get_mut();
        if let Poll::Ready(said) = Pin::new(heard).poll(context) {
            // Nobody says it when the core of the actor has ended.
            return Poll::Ready(said.unwrap_or(Err(StopError::Stopping)));
        }
        match patience {
            Some((core, alarm)) => {
                let core = *core;
                alarm
                    .poll(context)
                    .map(|()| Err(StopError::NoWord { core }))
            }
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").finish_non_exhaustive()
    }
}
