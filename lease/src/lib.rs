//! What gives leases: stores outside the cluster, each behind the one trait [`Store`].
//!
//! What it is: the answers to the [`Ask`]s of those who want to hold something alone for a while,
//! from a shared directory, from Kubernetes or from Consul. What it is not: it decides nothing
//! about who should ask, when to renew or when to stop; that is the holder's, in
//! [`ringmesh_cluster::lease`], whose words are named here too.
//!
//! - [`DirectoryStore`]: a directory that all hosts share.
//! - `KubernetesStore`, with the feature `kubernetes`: `Lease` objects of the API server.
//! - `ConsulStore`, with the feature `consul`: keys that are locked by sessions.
//! - [`MemoryStore`]: the memory of one process, for tests.
//!
//! # What every store promises
//!
//! - While the time to live that was asked for has not passed since somebody was told [`Held`], no
//!   other owner is told so, unless that one released it. A person who deletes the record of a
//!   lease breaks this, in every store: it releases the lease in its holder's name.
//! - The [`Token`] of a lease is the one after the token before it for that name. Only when its
//!   record was deleted and made anew, or is older than what is known, are numbers left out: it is
//!   larger then too. So work that comes late, from whoever was thought to be gone, is told apart
//!   and refused.
//! - Whoever looks up the last token is given nothing. If it knows a larger one, or whoever asks
//!   for the lease does, this is a store that was restored from a copy, or another one: it leaves
//!   out [so many](TOKENS_LEFT_OUT) tokens behind that, of which it may have given some, and counts
//!   on from there. Only Consul does not, whose tokens cannot be chosen.
//! - What was held and is renewed keeps its token. So it does if whoever has it asks for it again.
//! - No two clocks are compared. A store that has no clock of its own, as a directory or the API
//!   server, is watched: what stays as it is for its whole time to live, by the monotonic clock of
//!   whoever wants it, is over. So to be replaced takes a holder that is gone its time to live,
//!   from when somebody else first looked.
//! - [`Failed`] says nothing about what came of an ask: it may have been carried out.
//! - Every call ends within the patience of its store, 5 s unless set otherwise, as far as the
//!   operating system ends what it is asked to do.
//! - Texts of errors are one line, and hold no secret.
//!
//! [`Held`]: Answer::Held
//! [`Failed`]: Answer::Failed
#![forbid(unsafe_code)]

mod clock;
#[cfg(feature = "consul")]
mod consul;
#[cfg(any(feature = "consul", feature = "kubernetes"))]
mod credential;
mod directory;
#[cfg(any(feature = "consul", feature = "kubernetes"))]
mod http;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod memory;
mod observer;
mod refusal;

use std::time::Duration;

pub use ringmesh_cluster::lease::{
    Answer, Ask, Deed, LEASE_NAME_BYTES_MAX, LEASE_OWNER_BYTES_MAX, LeaseName, LeaseNameError,
    TOKENS_LEFT_OUT, Token,
};

pub use self::clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "consul")]
pub use self::consul::{ConsulSettings, ConsulStore};
#[cfg(any(feature = "consul", feature = "kubernetes"))]
pub use self::credential::{Credential, CredentialError};
pub use self::directory::{DirectoryError, DirectoryStore};
#[cfg(any(feature = "consul", feature = "kubernetes"))]
pub use self::http::ServerError;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::{KubernetesSettings, KubernetesStore};
pub use self::memory::MemoryStore;

/// How long a call may take, unless set otherwise. Less, and a store that is busy counts as one
/// that failed; more, and a holder hears later that it cannot renew.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time to live that is asked for: what Consul takes.
pub const TIME_TO_LIVE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most leases that one store is asked for: what it keeps about each is bounded with them.
pub const LEASES_MAX: usize = 1024;

/// What gives leases. See the [crate] for what every store promises.
///
/// A call blocks for as long as the store's patience: it is not for a thread that does other work.
/// The engine runs a store on a thread of its own.
pub trait Store: Send {
    /// Carries out an ask.
    fn handle(&mut self, ask: &Ask) -> Answer;

    /// How long others wait at most, from when they first ask, if whoever has a lease has just died
    /// that was given for `time_to_live`: that time, unless the store says otherwise.
    fn free_after(&self, time_to_live: Duration) -> Duration {
        time_to_live
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn handle(&mut self, ask: &Ask) -> Answer {
        (**self).handle(ask)
    }

    fn free_after(&self, time_to_live: Duration) -> Duration {
        (**self).free_after(time_to_live)
    }
}
