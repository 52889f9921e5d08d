//! Clients: nodes from outside, which reach only the actors that are registered for them.

/// Why an actor is not registered for clients. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAccessError {
    /// The actor is one of another node, or of an earlier start of this one. A node registers its
    /// own.
    #[error("the actor is not one of this node")]
    NotHere,
    /// The actor has ended, or is about to.
    #[error("the actor no longer runs")]
    NotRunning,
    /// As many actors are registered as may be: take some back, or have one of them speak for many.
    #[error("{limit} actors are registered for clients already")]
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
}
