//! Nodes of one cluster, within this process: what their users see and are told on all cores.

mod acknowledged;
mod following;
mod hostile;
mod idle;
mod leases;
mod notebook;
mod paths;
mod seeds;
mod senders;
mod services;
mod shutdown;
mod subscribers;
mod topic_faults;
mod topics;
mod watches;

use std::sync::mpsc::{Sender, channel};

use ringmesh::cluster::{Cluster, ClusterSettings, Status};
use ringmesh::{Node, NodeBuilder};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::node::{LiveNode, Pending, watchful};

/// A cluster of so many nodes, all of them up and known to be so by all.
fn cluster_of(
    count: usize,
    settings: &ClusterSettings,
    change: impl Fn(NodeBuilder) -> NodeBuilder,
) -> Vec<LiveNode> {
    let mut nodes: Vec<LiveNode> = Vec::new();
    for _ in 0..count {
        let mut settings = settings.clone();
        let seeds = nodes.first().map(|first| first.address().clone());
        settings.seeds = Some(seeds.into_iter().collect());
        let node = LiveNode::start_serving_with(|builder| change(builder.cluster(settings)));
        nodes.push(node);
    }
    nodes.iter().for_each(|node| until_up(node, count));
    nodes
}

fn of(node: &Node) -> Cluster {
    node.cluster().expect("it takes part in a cluster")
}

/// Waits until the control core of a node knows of so many members in full, and of no others.
fn until_up(node: &LiveNode, count: usize) {
    node.until_so("all members", move |node| is_up(&of(node), count));
}

fn is_up(cluster: &Cluster, count: usize) -> bool {
    let state = cluster.state();
    let mut members = state.members().iter();
    state.members().len() == count && members.all(|it| it.status() == Status::Up)
}

/// A node whose control core stands still, until this is dropped.
struct Frozen {
    _thaw: Sender<()>,
    thawed: Pending<()>,
}

impl Frozen {
    /// Stands still when this returns.
    fn freeze(node: &LiveNode) -> Self {
        let (_thaw, wait) = channel::<()>();
        let (stand, stands) = channel();
        let thawed = node.begin(move |_| async move {
            let _ = stand.send(());
            // The end of the other side ends it.
            let _ = wait.recv_timeout(WAIT);
        });
        stands.recv_timeout(WAIT).expect("the node runs its jobs");
        Self { _thaw, thawed }
    }

    fn thaw(self) {
        let Self { _thaw, thawed } = self;
        drop(_thaw);
        thawed.finish();
    }
}
