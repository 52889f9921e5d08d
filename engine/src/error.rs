//! Errors, split by who has to act: the caller, the peer, the host.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringmesh_proto::address::ParseAddressError;
use ringmesh_transport::probe::ProbeError;

use crate::cluster::StateError;
use crate::config::ConfigurationError;
pub(crate) use crate::refusal::Refusal;

/// Why a node could not run, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The host refuses io_uring, or lacks what Ringmesh needs of it. The text names the fix.
    #[error(transparent)]
    Host(#[from] ProbeError),
    /// The listener could not be bound.
    #[error("cannot listen at {at}: {error}")]
    Bind {
        /// The address asked for.
        at: SocketAddr,
        /// What the system answered.
        error: io::Error,
    },
    /// A setting is wrong, or where settings are read from cannot be read. One line that names the
    /// place, the key and the remedy.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Two types that other nodes may have made here have the same key: see
    /// [`Spawnable`](crate::Spawnable).
    #[error("two spawnable types have the key `{key}`: give one of them another")]
    FactoryTwice {
        /// The key.
        key: &'static str,
    },
    /// The cluster settings contradict what may be. The text names the setting.
    #[error("the cluster settings cannot be: {0}")]
    Cluster(String),
    /// What the node remembers of its cluster cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is to give leases to the node cannot be used.
    #[error("the lease store cannot be used: {0}")]
    LeaseStore(String),
    /// The program was built with `panic = "abort"`: a handler's panic would end the process.
    #[error(
        "Ringmesh needs panic = \"unwind\" in the build profile: a panicking handler stops its \
             actor, not the process"
    )]
    PanicAbort,
    /// A core's thread or ring could not be made, or its ring failed.
    #[error("core {core}: {error}")]
    Core {
        /// The core.
        core: u16,
        /// What the system answered.
        error: io::Error,
    },
    /// The core ended because another one failed. The error of that one is reported.
    #[error("another core of the node failed")]
    Aborted,
    /// The future given to `run` panicked. The node was stopped in order.
    #[error("the node's main future panicked: {message}")]
    MainPanicked {
        /// The panic's message, as far as it has one.
        message: String,
    },
}

/// Why a timer was not set. Its message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimerError {
    /// The actors of the core have as many timers as they may. Cancel some, or have one timer do
    /// the work of many.
    #[error("the actors of this core have {limit} timers already")]
    TooManyTimers {
        /// The limit.
        limit: usize,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why an actor or a task was not spawned. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor has the name, and is not wholly gone.
    #[error("the name `{name}` is taken")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name is empty, longer than 255 bytes, holds `/`, `#` or a control character, begins with
    /// `$`, or makes the path of the actor longer than 1024 bytes.
    #[error("`{name}` is not a valid actor name: {problem}")]
    InvalidName {
        /// The name.
        name: String,
        /// The rule it breaks.
        problem: String,
    },
    /// The actor that is to be its parent ends.
    #[error("the parent is ending")]
    ParentEnding,
    /// There are as many actors above it as may be.
    #[error("an actor has fewer than {limit} others above it")]
    TooDeep {
        /// The limit.
        limit: u8,
    },
    /// The core holds as many actors as it may.
    #[error("the core already holds {limit} actors")]
    TooManyActors {
        /// The limit.
        limit: usize,
    },
    /// The core runs as many tasks as it may.
    #[error("the core already runs {limit} tasks")]
    TooManyTasks {
        /// The limit.
        limit: usize,
    },
    /// The node has no core of that number.
    #[error("the node has no core {core}: their numbers are below {cores}")]
    NoSuchCore {
        /// The core that was asked for.
        core: u16,
        /// How many there are.
        cores: u16,
    },
    /// `core.reserve_control_core` of the [settings](crate::Settings) keeps actors off that core.
    /// Name another one of [`Node::actor_cores`](crate::Node::actor_cores), or spawn from a task
    /// there: see [`Node::spawn_task_on`](crate::Node::spawn_task_on).
    #[error(
        "core {core} is reserved for the node itself (core.reserve_control_core): spawn on another \
             one, with `spawn_on`, `spawn_each`, or in a task of `spawn_task_on`"
    )]
    CoreReserved {
        /// The core.
        core: u16,
    },
    /// As many errands wait for that core as may; it is stuck or overloaded.
    #[error("core {core} is overloaded: too many errands wait for it")]
    CoreOverloaded {
        /// The core.
        core: u16,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The actor's factory or its `started` panicked; it was dropped.
    #[error("the actor panicked while starting: {message}")]
    Panicked {
        /// The panic's message, as far as it has one.
        message: String,
    },
}

/// Why a path did not become a [`Ref`](crate::Ref). Nothing was executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The text is not `ringmesh://system@host:port/user/name`.
    #[error(transparent)]
    Path(#[from] ParseAddressError),
    /// The host name had no address as long as it was tried; try again when it has one.
    #[error("cannot resolve the host `{host}`: {error}")]
    Host {
        /// The name.
        host: String,
        /// What the look-up answered last.
        error: io::Error,
    },
    /// No answer in time; the text says how far it got.
    #[error("`{path}` did not answer within {after:?}: {last}")]
    Timeout {
        /// The path.
        path: String,
        /// How long it was tried.
        after: Duration,
        /// The last thing that went wrong on the way.
        last: String,
    },
    /// The node at that address refuses this one, and trying again will not help.
    #[error("`{path}` is refused: {reason}")]
    Refused {
        /// The path.
        path: String,
        /// The reason the peer gave.
        reason: String,
    },
    /// The process start that runs at that address is [quarantined](crate::Node::quarantine), or
    /// has quarantined this node. It was dialled to find that out.
    #[error("the node of `{path}` {}", parted(*by_peer))]
    Quarantined {
        /// The path.
        path: String,
        /// It is this node that is quarantined, by that one.
        by_peer: bool,
    },
    /// The node runs, and has no actor of that name.
    #[error("no actor at `{path}`")]
    NotFound {
        /// The path.
        path: String,
    },
    /// The actor speaks another protocol.
    #[error("the actor at `{path}` does not speak `{wanted}`")]
    WrongProtocol {
        /// The path.
        path: String,
        /// The protocol asked for.
        wanted: &'static str,
    },
    /// As many peers are known as the limit allows.
    #[error("already {limit} peers are known")]
    TooManyPeers {
        /// The limit.
        limit: usize,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Whether a message was executed, as far as its sender can know: the answer to "may I retry?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// Certainly not: a retry is safe.
    No,
    /// It may have been: retry only what may happen twice.
    Maybe,
    /// Certainly.
    Yes,
}

/// Why a message was not sent. It comes back with the error, and was certainly not executed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// No room at the moment: the recipient's mailbox is full, the peer has not yet granted more,
    /// earlier sends to it still wait for that, or the core's memory for outgoing messages is used
    /// up; or as many local messages are on their way to its core as may be. Wait with
    /// [`Ref::tell`](crate::Ref::tell), try later, or drop the message knowingly.
    #[error("no room on the link for now")]
    Full(M),
    /// No room, or no link at all, came within the deadline of a waiting send.
    #[error("no room came within {after:?}")]
    TimedOut {
        /// The message.
        message: M,
        /// How long the send waited.
        after: Duration,
    },
    /// The message is larger than the lane takes.
    #[error("the message has {bytes} bytes, the lane takes {limit}")]
    TooLarge {
        /// The message.
        message: M,
        /// Its size as a frame body.
        bytes: usize,
        /// The lane's limit.
        limit: usize,
    },
    /// There is no link with the peer, and nothing waits for one at the moment: it was not found
    /// for as long as sends wait for that, or refuses this node, and is dialled again now and then;
    /// or its last link was lost for too long. Or this core has no place for it, because it knows
    /// as many peers as `node.peers_max` allows, and each of them is needed.
    #[error("the peer cannot be reached")]
    Unreachable(M),
    /// The node of the recipient is [quarantined](crate::Node::quarantine), or has quarantined this
    /// one. It stays so until the process of the one that is quarantined is restarted.
    #[error("the peer {}", parted(*by_peer))]
    Quarantined {
        /// The message.
        message: M,
        /// It is this node that is quarantined, by the peer.
        by_peer: bool,
    },
    /// The ref names an actor of a process that is gone, as far as any core of this node knows by
    /// any link, or one that this node knows no longer. Resolve its path again. That an actor alone
    /// has stopped only its node knows: it counts the message as a dead letter.
    #[error("the ref is of an actor that no longer runs")]
    NotRunning(M),
    /// The ref was made on another node of this process. Refs are of use on the core that made
    /// them: resolve the actor's path on this one.
    #[error("the ref was made on another core of this process; resolve its path on this one")]
    OtherCore(M),
    /// The actor lives on another node, where no local message gets.
    #[error("the actor lives on another node: a local message stays within its own")]
    NotLocal(M),
    /// More message types were sent over one link than it can number.
    #[error("the link cannot number another message type")]
    TooManyTypes(M),
    /// The message's own serialisation failed.
    #[error("the message could not be encoded")]
    Encode(M),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping(M),
    /// The call was made outside a core: refs send from handlers, tasks and the node's main future.
    #[error("a ref was used on a thread that is not a core")]
    OffCore(M),
}

impl<M> SendError<M> {
    /// The message, for another try or another place.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message)
            | Self::TimedOut { message, .. }
            | Self::TooLarge { message, .. }
            | Self::Quarantined { message, .. }
            | Self::Unreachable(message)
            | Self::NotRunning(message)
            | Self::OtherCore(message)
            | Self::NotLocal(message)
            | Self::TooManyTypes(message)
            | Self::Encode(message)
            | Self::Stopping(message)
            | Self::OffCore(message) => message,
        }
    }

    /// Always [`Executed::No`]: a refused send leaves no trace.
    pub fn executed(&self) -> Executed {
        Executed::No
    }
}

// By hand, so that a message need not be `Debug` for its error to be printed.
impl<M> std::fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SendError({self})")
    }
}

/// Why an ask has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The deadline passed.
    #[error("no answer within {after:?} ({phase})")]
    Timeout {
        /// The deadline given.
        after: Duration,
        /// Where the question was then.
        phase: AskPhase,
    },
    /// The link ended before the answer came.
    #[error("the link to the peer ended ({phase})")]
    Unreachable {
        /// Where the question was then.
        phase: AskPhase,
    },
    /// The node of the actor is [quarantined](crate::Node::quarantine), or has quarantined this
    /// one; the question never left.
    #[error("the peer {}", parted(*by_peer))]
    Quarantined {
        /// It is this node that is quarantined, by the peer.
        by_peer: bool,
    },
    /// The actor, or its whole process, no longer runs.
    #[error("the actor no longer runs")]
    NotRunning,
    /// The ref was made on another node of this process; see [`SendError::OtherCore`].
    #[error("the ref was made on another core of this process; resolve its path on this one")]
    OtherCore,
    /// The peer could not keep the answer: its queue of answers was full. The handler ran.
    #[error("the peer had no room for the answer")]
    Overloaded,
    /// The peer's protocol has no such message.
    #[error("the actor's protocol has no such message")]
    UnknownMessage,
    /// The peer knows the message in another version or with other fields.
    #[error("the peer knows this message in another version or with other fields")]
    SchemaMismatch,
    /// The question is larger than the lane takes.
    #[error("the message has {bytes} bytes, the lane takes {limit}")]
    TooLarge {
        /// Its size as a frame body.
        bytes: usize,
        /// The lane's limit.
        limit: usize,
    },
    /// The handler panicked, its answer could not be encoded, or the peer gave a reason that this
    /// version does not know.
    #[error("the handler failed")]
    Failed,
    /// The handler ran, and its answer is larger than the lane takes.
    #[error("the answer is larger than the lane takes")]
    ReplyTooLarge,
    /// The handler ran, and the peer answered with another message than this side knows as the
    /// answer, or with the same in another version or with other fields.
    #[error("the answer is of another type, version or layout than expected")]
    ReplyMismatch,
    /// The handler ran, and answered with an older version of what is expected; this side's
    /// [`upgrade`](crate::Upgrade::upgrade) of it panicked, or made it too long.
    #[error("the answer came in an older version and could not be upgraded")]
    ReplyNotUpgraded,
    /// The answer's bytes are not valid. The link was closed for it.
    #[error("the answer is not a valid message")]
    InvalidReply,
    /// As many questions are outstanding on the link, or on the core, as the limit allows. One that
    /// was dropped or that timed out stays outstanding on its link until its answer comes: ask
    /// again when others were answered.
    #[error("{limit} questions are outstanding already")]
    TooManyAsks {
        /// The limit.
        limit: usize,
    },
    /// The question could not be encoded, or its type not numbered on the link.
    #[error("the question could not be encoded")]
    Encode,
    /// This node, or the peer's, is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The call was made outside a core.
    #[error("a ref was used on a thread that is not a core")]
    OffCore,
}

/// How far a question got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskPhase {
    /// It never left this node.
    Queued,
    /// It was given to the network.
    Sent,
    /// It reached its recipient and waited there for its turn, which came too late: it was not
    /// handled.
    Waiting,
}

impl std::fmt::Display for AskPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queued => "it never left this node",
            Self::Sent => "it was sent",
            Self::Waiting => "it waited at the recipient",
        })
    }
}

impl AskError {
    /// Whether the question was executed: the answer to "may I retry?".
    pub fn executed(&self) -> Executed {
        match self {
            Self::Timeout { phase, .. } | Self::Unreachable { phase } => match phase {
                AskPhase::Queued | AskPhase::Waiting => Executed::No,
                AskPhase::Sent => Executed::Maybe,
            },
            Self::Failed => Executed::Maybe,
            Self::Overloaded
            | Self::InvalidReply
            | Self::ReplyMismatch
            | Self::ReplyNotUpgraded
            | Self::ReplyTooLarge => Executed::Yes,
            Self::NotRunning
            | Self::Quarantined { .. }
            | Self::OtherCore
            | Self::UnknownMessage
            | Self::SchemaMismatch
            | Self::TooLarge { .. }
            | Self::TooManyAsks { .. }
            | Self::Encode
            | Self::Stopping
            | Self::OffCore => Executed::No,
        }
    }
}

/// What a quarantine is, of the peer or by it.
pub(crate) const fn parted(by_peer: bool) -> &'static str {
    if by_peer {
        "has quarantined this node"
    } else {
        "is quarantined"
    }
}
