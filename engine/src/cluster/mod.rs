//! Membership of a cluster: who is in it, as every core of a node knows.
//!
//! A node takes part when it is given [`ClusterSettings`]. Its [`Cluster`], from
//! [`Node::cluster`](crate::Node::cluster), shows the members as this core knows them, without a
//! lock; follows what happens; and takes the commands of users. What all of these mean stands in
//! `ringmesh_cluster::membership`, whose types are named here too.

mod counters;
mod downing;
mod events;
mod handle;
mod lease;
mod lease_store;
mod settings;
pub(crate) mod state_file;

pub use ringmesh_cluster::effect::StopReason;
pub use ringmesh_cluster::membership::command::CommandError;
pub use ringmesh_cluster::membership::configuration::Configuration;
pub use ringmesh_cluster::membership::event::{Event, Numbered};
pub use ringmesh_cluster::membership::machine::WhyNotConverged;
pub use ringmesh_cluster::membership::reachability::Reason;
pub use ringmesh_cluster::membership::settings::Settings as MembershipSettings;
pub use ringmesh_cluster::membership::topology::Topology;
pub use ringmesh_cluster::membership::{AppVersion, ClusterId, Member, Roles, Status, UpNumber};
pub use ringmesh_cluster::monitor::MonitorSettings;
pub use ringmesh_cluster::resolver::{
    Accuser, Decision, Explanation, LeaseStanding, ResolverSettings, Side, Standing, Verdict,
    Votes, Why,
};

pub use self::counters::{ClusterCounters, MembershipCounters, Refused};
pub use self::downing::Downing;
pub use self::events::{ClusterEvents, News};
pub use self::handle::{Cluster, ClusterError};
pub use self::lease::{Lease, LeaseError};
pub use self::lease_store::LeaseStore;
pub(crate) use self::lease_store::StoreFactory;
pub use self::settings::ClusterSettings;
pub(crate) use self::settings::begin;
pub use self::state_file::StateError;
