//! What a cluster costs in which nothing happens.

use std::time::{Duration, Instant};

use ringmesh::cluster::ClusterSettings;

use super::cluster_of;

/// What a node may send in a second, in a cluster of nine.
const BYTES_PER_SECOND: u64 = 2 << 10;

#[test]
fn nine_idle_members_say_little() {
    let nodes = cluster_of(9, &ClusterSettings::default(), |builder| builder);
    // What they say when one joins is said.
    let rest = |span| nodes[0].run(move |node| async move { node.sleep(span).await });
    rest(Duration::from_millis(500));
    let bytes = || {
        nodes
            .iter()
            .map(|it| it.counters().cluster_bytes)
            .sum::<u64>()
    };
    let (begun, before) = (Instant::now(), bytes());
    rest(Duration::from_secs(2));
    let said = bytes() - before;
    let per_second = said as f64 / nodes.len() as f64 / begun.elapsed().as_secs_f64();
    println!("{per_second:.0} bytes a second of each node, {BYTES_PER_SECOND} are meant");
    assert!(said > 0, "they watch each other");
    assert!(per_second <= 2.0 * BYTES_PER_SECOND as f64, "{per_second}");
}
