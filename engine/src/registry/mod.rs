//! Services: actors that are found by what they serve, on whatever member of the cluster.
//!
//! A [`ServiceKey`] names what is served, and is typed by the protocol that is spoken there.
//! [`Node::register`](crate::Node::register) announces an actor under it to all members; whoever
//! [finds](crate::Node::find) the key has refs to all such actors, and [`Listings`] tell when those
//! change. An entry is gone when its actor ends, when its node begins to leave or is removed, or
//! when it is [taken back](crate::Node::deregister). On a node that takes part in no cluster its
//! own actors are found in the same way.
//!
//! Each node is the only one that writes what it announces, and tells all members within a batch of
//! 10 ms (100 ms with more than 32 of them): there is no clock in it and nothing that times out.
//! Actors of members that cannot be reached are listed apart.
//!
//! It is not a store: names of up to 255 bytes, and so many entries per node as
//! `ringmesh_cluster::registry::limits` says.

mod error;
mod key;
mod listing;
mod on_node;

pub use ringmesh_cluster::registry::Acknowledgement;

pub use self::error::RegisterError;
pub use self::key::{ServiceKey, ServiceNameError};
pub use self::listing::{Listing, Listings};
