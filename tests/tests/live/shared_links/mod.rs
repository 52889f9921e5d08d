//! Two nodes with more pairs of cores than links: messages change cores once, and nobody else can
//! tell.

mod fates;
mod pressure;
mod raw;
mod traffic;

use std::sync::{Arc, Barrier};

use ringmesh::{CoreId, Node};
use ringmesh_tests::live::node::LiveNode;

/// Nodes of this size have no links of their own for core 1 with core 1, and 2 with 2, under the
/// smallest cap: what goes from one to the other takes the link to the other core.
const CORES: usize = 3;

/// A node whose links are as few as can be.
fn sparse(cores: usize) -> LiveNode {
    capped(cores, 1)
}

fn capped(cores: usize, links_max: usize) -> LiveNode {
    LiveNode::start_with(|builder| {
        builder.cores(cores).settings(|settings| {
            settings.links_per_association_max = links_max;
        })
    })
}

/// Holds a core until the barrier is waited for: nothing is read there meanwhile.
pub(crate) fn block(node: &LiveNode, core: CoreId) -> Arc<Barrier> {
    let barrier = Arc::new(Barrier::new(2));
    let held = Arc::clone(&barrier);
    node.run(move |node| async move {
        let hold = move |_: Node| async move {
            held.wait();
            held.wait();
        };
        node.spawn_task_on(core, hold).await.expect("room");
    });
    barrier.wait();
    barrier
}
