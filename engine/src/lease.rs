//! Leases: what may be held by one node at a time, for a while.
//!
//! A lease is given out by a [`Store`] outside the cluster. A node is given one by
//! [`ClusterSettings::lease_store`](crate::cluster::ClusterSettings::lease_store), or by
//! [`NodeBuilder::lease_store`](crate::NodeBuilder::lease_store) if it is one of the program's own.
//! What all of these mean stands in [`ringmesh_lease`].

pub use ringmesh_lease::{
    Answer, Ask, Clock, Deed, DirectoryError, DirectoryStore, LeaseName, LeaseNameError,
    ManualClock, MemoryStore, Store, SystemClock, Token,
};
#[cfg(feature = "lease-consul")]
pub use ringmesh_lease::{ConsulSettings, ConsulStore};
#[cfg(any(feature = "lease-consul", feature = "lease-kubernetes"))]
pub use ringmesh_lease::{Credential, CredentialError, ServerError};
#[cfg(feature = "lease-kubernetes")]
pub use ringmesh_lease::{KubernetesSettings, KubernetesStore};
