//! Why an actor cannot be announced.

/// Why an actor is not announced. Nothing was changed, but where a variant says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The actor is one of another node, or of an earlier start of this one. A node announces its
    /// own.
    #[error("the actor is not one of this node")]
    NotHere,
    /// The actor has ended, or is about to.
    #[error("the actor no longer runs")]
    NotRunning,
    /// This node announces as many entries, or bytes of names, as it may: take some back.
    #[error("the node announces as much as it may")]
    Full,
    /// As many registrations as may be wait to be confirmed everywhere: wait for some of them.
    #[error("too many registrations wait to be confirmed")]
    TooManyWait,
    /// The node leaves its cluster, or has left it.
    #[error("the node leaves and announces nothing more")]
    Leaving,
    /// As many errands wait for a core as may; it is stuck or overloaded. Try again later.
    #[error("core {core} is overloaded: too many errands wait for it")]
    CoreOverloaded {
        /// The core.
        core: u16,
    },
    /// The node ends. What was announced ends with it.
    #[error("the node is stopping")]
    Stopping,
}
