//! The names of the phases that every shutdown has, in the order they run.
//!
//! They are those that users of other engines of this kind know, with the same times.

use std::time::Duration;

/// Tasks that have to be done while everything still works.
pub const BEFORE_SERVICE_UNBIND: &str = "before-service-unbind";
/// Take nothing new from outside: close the listeners of services.
pub const SERVICE_UNBIND: &str = "service-unbind";
/// Wait for what was taken before.
pub const SERVICE_REQUESTS_DONE: &str = "service-requests-done";
/// Stop what served.
pub const SERVICE_STOP: &str = "service-stop";
/// Tasks that need the cluster as it is.
pub const BEFORE_CLUSTER_SHUTDOWN: &str = "before-cluster-shutdown";
/// Hand over what is spread over the members.
pub const CLUSTER_SHARDING_SHUTDOWN_REGION: &str = "cluster-sharding-shutdown-region";
/// The node begins to leave its cluster, and waits until that has agreed.
pub const CLUSTER_LEAVE: &str = "cluster-leave";
/// Hand over what is done once in the cluster: no other does it before this ends.
pub const CLUSTER_EXITING: &str = "cluster-exiting";
/// The node says that its work is done.
pub const CLUSTER_EXITING_DONE: &str = "cluster-exiting-done";
/// The node waits until it is removed.
pub const CLUSTER_SHUTDOWN: &str = "cluster-shutdown";
/// Tasks that need links and actors, and no cluster any more.
pub const BEFORE_NODE_STOP: &str = "before-node-stop";
/// The last tasks. Behind all phases [`Node::until_shutdown`](crate::Node::until_shutdown) ends,
/// and with the main future the node.
pub const NODE_STOP: &str = "node-stop";

const LONG: Option<Duration> = Some(Duration::from_secs(10));

/// All of them in their order, with the time of those that have one of their own.
pub(crate) const ALL: [(&str, Option<Duration>); 12] = [
    (BEFORE_SERVICE_UNBIND, None),
    (SERVICE_UNBIND, None),
    (SERVICE_REQUESTS_DONE, None),
    (SERVICE_STOP, None),
    (BEFORE_CLUSTER_SHUTDOWN, None),
    (CLUSTER_SHARDING_SHUTDOWN_REGION, LONG),
    (CLUSTER_LEAVE, None),
    (CLUSTER_EXITING, LONG),
    (CLUSTER_EXITING_DONE, None),
    (CLUSTER_SHUTDOWN, None),
    (BEFORE_NODE_STOP, None),
    (NODE_STOP, None),
];
