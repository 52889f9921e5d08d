//! Links that outlive their connections: nothing is lost, repeated or out of order, whatever is
//! cut; and what cannot go on is accounted for.

mod ends;
mod forwarded;
mod holdings;
mod positions;
pub(crate) mod traffic;

use std::sync::Arc;
use std::time::Duration;

use ringmesh::NodeBuilder;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::node::LiveNode;

/// Longer than any test goes without a connection that it wants to get over.
const PATIENCE: Duration = Duration::from_secs(25);

/// Two nodes, each of which can only be dialled through a cutter.
struct Pair {
    nodes: [LiveNode; 2],
    cutters: [Cutter; 2],
}

impl Pair {
    fn start(cuts: &Arc<Cuts>, change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let cutters = [0, 1].map(|_| Cutter::start(cuts));
        let [first, second] = &cutters;
        Self {
            nodes: [behind(first, &change), behind(second, &change)],
            cutters,
        }
    }

    /// With cutters that cut when they are told to.
    fn calm(change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        Self::start(&Cuts::none(), change)
    }

    fn cut_all(&self, shut: bool) {
        self.cutters.iter().for_each(|cutter| cutter.cut_all(shut));
    }
}

/// A node that says it listens where a cutter does.
fn behind(cutter: &Cutter, change: impl Fn(NodeBuilder) -> NodeBuilder) -> LiveNode {
    LiveNode::start_with(|builder| {
        let builder = builder
            .bind(cutter.behind())
            .advertise("127.0.0.1", cutter.address().port())
            .settings(|settings| {
                settings.resume_timeout = PATIENCE;
                settings.ask_timeout = PATIENCE;
                settings.send_timeout = PATIENCE;
            });
        change(builder)
    })
}
