//! Actors whose handlers wait: what waits behind them, who is told, and what is left when they end.

mod by_reference;
mod deadlines;
mod ends;
pub(crate) mod flow;
mod forward;
pub(crate) mod gate;
mod handlers;
mod later;
mod leases;
mod pipes;
mod timers;

use ringmesh::Ref;
use ringmesh_tests::live::node::LiveNode;

use gate::{Gate, Keeper, KeeperApi};

/// The name of a [`Keeper`].
const KEEPER: &str = "keeper";

/// A keeper of `gate` under its name.
fn spawn_keeper(node: &LiveNode, gate: &Gate) {
    let gate = gate.clone();
    node.run(move |node| async move {
        let keeper = Keeper::new(gate);
        node.spawn_named(KEEPER, keeper).expect("a free name");
    });
}

/// The keeper of `server`, as `node` reaches it.
async fn keeper_at(node: &ringmesh::Node, path: &str) -> Ref<KeeperApi> {
    node.resolve(path).await.expect("the keeper is there")
}
