//! What goes wrong with topics.

use ringmesh_cluster::pubsub::NameError;
use ringmesh_proto::address::Uid;

use crate::core::Undelivered;
use crate::error::Executed;
use crate::registry::RegisterError;

/// Why something was not published. Nobody got it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<M> {
    /// There is no room on the way to these nodes; this one is named when a subscriber here wants
    /// to be waited for. [`publish`](super::Publisher::publish) waits, and
    /// [`publish_lossy`](super::Publisher::publish_lossy) leaves them out.
    #[error("there is no room on the way to {} of the nodes with subscribers", nodes.len())]
    Full {
        /// The message.
        message: M,
        /// The process starts of the nodes.
        nodes: Vec<Uid>,
    },
    /// The message is longer than any lane takes, or than an archive may be: make it smaller.
    #[error("the message is longer than any lane takes")]
    TooLarge {
        /// The message.
        message: M,
    },
    /// As many publishes of this core wait for answers as may: 1,024. Wait for some of them, or
    /// [`publish`](super::Publisher::publish) without.
    #[error("too many publishes of this core wait for answers")]
    TooManyWait {
        /// The message.
        message: M,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping {
        /// The message.
        message: M,
    },
}

impl<M> PublishError<M> {
    /// The message, for another try.
    pub fn into_message(self) -> M {
        match self {
            Self::Full { message, .. }
            | Self::TooLarge { message }
            | Self::TooManyWait { message }
            | Self::Stopping { message } => message,
        }
    }

    /// Always [`Executed::No`]: nobody got it.
    pub fn executed(&self) -> Executed {
        Executed::No
    }
}

/// Why something that was sent to a path reached nobody.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError<M> {
    /// There are actors under the path, and no room on the way to any, or in their mailboxes: 64 of
    /// those are tried at most. [`send`](super::PathSender::send) waits.
    #[error("there is no room on the way to any actor under the path")]
    Full {
        /// The message.
        message: M,
    },
    /// No actor is under the path, for messages of this type, on a node that can be reached: a dead
    /// letter, counted as [`sent_to_nobody`](crate::Counters::sent_to_nobody).
    #[error("there is no actor under the path on any node that can be reached")]
    Nobody {
        /// The message.
        message: M,
    },
    /// The message is longer than any lane takes, or than an archive may be: make it smaller.
    #[error("the message is longer than any lane takes")]
    TooLarge {
        /// The message.
        message: M,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping {
        /// The message.
        message: M,
    },
}

impl<M> PathError<M> {
    pub(super) fn new(why: Undelivered, message: M) -> Self {
        match why {
            Undelivered::Full(_) => Self::Full { message },
            Undelivered::Nobody => Self::Nobody { message },
            Undelivered::TooLarge => Self::TooLarge { message },
            Undelivered::Stopping => Self::Stopping { message },
        }
    }

    /// The message, for another try.
    pub fn into_message(self) -> M {
        match self {
            Self::Full { message }
            | Self::Nobody { message }
            | Self::TooLarge { message }
            | Self::Stopping { message } => message,
        }
    }

    /// Always [`Executed::No`]: nobody was told it.
    pub fn executed(&self) -> Executed {
        Executed::No
    }
}

/// Why a subscription does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// This core has as many subscriptions as one core may have: end some, or use another core.
    #[error("the core has as many subscriptions as it may")]
    Core,
    /// This subscriber has as many as one may have.
    #[error("the subscriber has as many subscriptions as it may")]
    Subscriber,
    /// The patterns of this core have wildcards at as many different places as they may.
    #[error("the patterns of the core have wildcards at too many different places")]
    Shapes,
    /// The actor is not one of this core: subscribe on its own.
    #[error("the actor is not one of this core")]
    NotHere,
    /// The actor has ended, or is about to.
    #[error("the actor no longer runs")]
    NotRunning,
    /// What is to be subscribed to is no topic.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The node announces no more: as many as it may already, or it leaves its cluster.
    #[error("the node announces no more subscriptions")]
    Refused,
    /// Too many wait to be confirmed, or for the control core. Try again later.
    #[error("too many subscriptions wait to be confirmed")]
    Overloaded,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why an actor is not put under a path, or taken from it. Nothing was changed, but where it was
/// put and there was no room to wait until that is announced, or until others know: with
/// [`RegisterError::CoreOverloaded`] and [`RegisterError::TooManyWait`] the actor may be there all
/// the same. Put it once more, or [`remove`](crate::Node::remove) it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The name of the path is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is not announced.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// Why there were not as many subscribers as were waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is over.
    #[error("only {known} subscribed in time")]
    TimedOut {
        /// How many there are.
        known: u64,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// So many messages were lost here, because the queue was full: what follows comes next.
    #[error("{0} messages were lost because the subscriber was too slow")]
    Lagged(u64),
    /// The subscription has ended: its queue was full under [`OnFull::End`](super::OnFull::End), or
    /// the node does not announce it.
    #[error("the subscription has ended")]
    Closed,
}
