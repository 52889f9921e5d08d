//! Death watch: who is told that an actor has ended, what it is told, and why it may not be.

use std::fmt;

use ringmesh_proto::address::{Address, CoreId, Uid};

use crate::core::{Home, current};
use crate::reference::{Recipient, Ref};

/// Names one actor of one process start, whatever its protocol: what tells actors apart.
///
/// A [`Ref`] is the same with its protocol and a way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId {
    /// The process start.
    pub uid: Uid,
    /// The core it lives on.
    pub core: CoreId,
    /// Its place there.
    pub slot: u32,
    /// Which of the actors that the place has had. No other actor of the process has it.
    pub generation: u64,
}

/// Says that a watched actor has ended: the argument of [`Actor::terminated`].
///
/// [`Actor::terminated`]: crate::Actor::terminated
#[derive(Clone)]
pub struct Terminated {
    pub(crate) who: Recipient,
    pub(crate) why: Ended,
    pub(crate) path: Option<Box<str>>,
}

impl Terminated {
    /// Whether this is about the actor of `actor`.
    pub fn is<P>(&self, actor: &Ref<P>) -> bool {
        self.id() == actor.id()
    }

    /// Who ended.
    pub fn id(&self) -> ActorId {
        self.who.id()
    }

    /// Why, as far as this node knows.
    pub fn why(&self) -> Ended {
        self.why
    }

    /// The path of the actor behind `/user/`, if it had a name.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The address of its node; `None` off a core.
    pub fn address(&self) -> Option<Address> {
        let Recipient { table, node, .. } = self.who;
        current::try_with(|core| core.address_of(Home { table, node })).flatten()
    }
}

impl fmt::Debug for Terminated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminated")
            .field("id", &self.id())
            .field("why", &self.why)
            .field("path", &self.path)
            .finish()
    }
}

/// Why an actor is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// It was stopped, or stopped itself.
    Stopped,
    /// A panic ended it.
    Failed,
    /// Its node is gone, or cannot be reached any more.
    NodeLost,
    /// It had ended before it was watched; why is not known any more.
    Gone,
    /// It may live on: its node, or this one, has no room for the watch.
    Unwatched,
}

/// Why an actor is not watched. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The actor watches as many others as it may.
    #[error("the actor already watches {limit} others")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The actors of the core together watch as many others as they may.
    #[error("the actors of the core already watch {limit} others")]
    TooManyOnCore {
        /// The limit.
        limit: usize,
    },
    /// The core has as many timers as it may, and the message of a watch takes the place of one.
    #[error("the core already has {limit} timers and messages that wait for a death")]
    TooManyTimers {
        /// The limit.
        limit: usize,
    },
    /// As many errands wait for the core of the actor as may; it is stuck or overloaded.
    #[error("core {core} is overloaded: too many errands wait for it")]
    CoreOverloaded {
        /// The core.
        core: u16,
    },
    /// As many actors of other nodes, or of that one, are watched from here as may be.
    #[error("{limit} actors of other nodes are watched already")]
    TooManyOfNode {
        /// The limit.
        limit: usize,
    },
    /// The ref was made by another node of the same process: resolve its path here.
    #[error("the ref belongs to another node of this process")]
    OtherNode,
    /// The actor lives on another node, and that one or this is a client: see `node.role` of the
    /// [`Settings`](crate::Settings). What a client says and hears of others are messages alone.
    #[error("a client neither watches actors of other nodes nor has its own watched from there")]
    Client,
    /// The watcher has ended, or its node is stopping.
    #[error("the watcher has ended, or its node is stopping")]
    Stopping,
}
