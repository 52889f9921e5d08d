//! Leases: what may be held by one node at a time, for a while.
//!
//! A lease is given out by a [`Store`] outside the cluster. A node is given one by
//! [`ClusterSettings::lease_store`](crate::cluster::ClusterSettings::lease_store), or by
//! [`NodeBuilder::lease_store`](crate::NodeBuilder::lease_store) if it is one of the program's own.
//! What all of these mean stands in [`ringmesh_lease`].
//!
//! A program has a lease by [`Cluster::lease`](crate::cluster::Cluster::lease):
//!
//! ```no_run
//! # use std::time::Duration;
//! # use ringmesh::lease::LeaseName;
//! # async fn work(node: ringmesh::Node) -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = node.cluster().ok_or("it takes part in a cluster")?;
//! let lease = cluster.lease(LeaseName::new("nightly-report")?, Duration::from_secs(15))?;
//! let token = lease.acquire().await;
//! // This node has it alone. Whatever the work is done to is given the token with it, and refuses
//! // smaller ones; and the work ends when `lease.lost()` does.
//! # drop(token);
//! # Ok(())
//! # }
//! ```

pub use ringmesh_lease::{
    Answer, Ask, Clock, Deed, DirectoryError, DirectoryStore, LeaseName, LeaseNameError,
    ManualClock, MemoryStore, Store, SystemClock, TOKENS_LEFT_OUT, Token,
};
#[cfg(feature = "lease-consul")]
pub use ringmesh_lease::{ConsulSettings, ConsulStore};
#[cfg(any(feature = "lease-consul", feature = "lease-kubernetes"))]
pub use ringmesh_lease::{Credential, CredentialError, ServerError};
#[cfg(feature = "lease-kubernetes")]
pub use ringmesh_lease::{KubernetesSettings, KubernetesStore};
