//! Actors whose handlers wait: what waits behind them, who is told, and what is left when they end.

mod ends;
mod flow;
mod gate;
mod handlers;
mod leases;

use ringmesh::{Counters, Ref};
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

/// Checks that the accounts of a core close.
fn assert_balanced(books: &Counters) {
    assert_eq!(
        books.received,
        books.delivered + books.dead_received + books.waiting,
        "{books:#?}"
    );
    assert_eq!(
        books.sent,
        books.acknowledged + books.dead_sent + books.in_flight,
        "{books:#?}"
    );
}
