//! What the membership of a node refused, as a value.

use ringmesh_cluster::control::Control;
pub use ringmesh_cluster::control::Refused;
pub use ringmesh_cluster::membership::machine::Counters as MembershipCounters;

/// What a node did not take of what others told its membership, counted since it started; see
/// [`Cluster::counters`](super::Cluster::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCounters {
    /// Messages that are none, or that came while this node was in no cluster.
    pub refused: Refused,
    /// What the membership itself refused, by why.
    pub membership: MembershipCounters,
    /// Heartbeats and answers that were for another process start, or answered nothing.
    pub heartbeats_ignored: u64,
}

impl ClusterCounters {
    pub(super) fn of(machine: &Control) -> Self {
        Self {
            refused: machine.refused(),
            membership: machine.membership().counters().clone(),
            heartbeats_ignored: machine.monitor().ignored(),
        }
    }
}
