//! What happens in a cluster, followed on every core; commands from any core.

use std::fs;
use std::time::Duration;

use ringmesh::cluster::{ClusterError, ClusterSettings, News, StopReason, Topology};
use ringmesh::{CoreId, Node};
use ringmesh_tests::live::cores::{on_core, run_on};
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{cluster_of, is_up, of, until_up, watchful};

const CORES: u16 = 3;

/// Follows the events of a core until they have told of so many members in full; then the core
/// itself knows the same.
async fn follow(node: Node, members: usize) {
    let cluster = of(&node);
    let mut events = cluster.events();
    let mut state: Option<Topology> = None;
    let mut number = 0;
    let mut version = 0;
    let is_whole = |state: &Option<Topology>| {
        let up = state.iter().flat_map(|it| it.members());
        up.filter(|it| it.up_number().is_given()).count() == members
    };
    while !is_whole(&state) {
        match events.next().await.expect("the node goes on") {
            News::Snapshot(snapshot) => {
                number = snapshot.events();
                state = Some(Topology::clone(&snapshot));
            }
            News::Event(event) => {
                assert_eq!(event.number, number + 1, "contiguous");
                number = event.number;
                let state = state.as_mut().expect("a snapshot comes first");
                state.apply(&event.event);
            }
            other => panic!("{other:?}"),
        }
        let now = cluster.state().version();
        assert!(now >= version, "{now} after {version}");
        version = now;
    }
    let mut state = state.expect("a snapshot came");
    // The two may be at different events yet.
    loop {
        let now = cluster.state();
        if now.events() == number && state.is_same_state(&now) {
            return;
        }
        match events.try_next() {
            Some(News::Event(event)) => {
                assert_eq!(event.number, number + 1, "contiguous");
                number = event.number;
                state.apply(&event.event);
            }
            Some(other) => panic!("{other:?}"),
            None => node.sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Begins `job` on each core of a node.
fn on_each<F, R>(
    node: &LiveNode,
    job: impl Fn(Node) -> F + Copy + Send + 'static,
) -> Vec<Pending<R>>
where
    F: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let begin =
        |core| node.begin(move |node| async move { on_core(&node, CoreId(core), job).await });
    (0..CORES).map(begin).collect()
}

#[test]
fn every_core_follows_what_happens_and_takes_commands() {
    let outside = || LiveNode::start_with(|it| it.cores(CORES.into()).cluster(watchful()));
    let (one, other) = (outside(), outside());
    let following: Vec<_> = [&one, &other]
        .map(|node| on_each(node, |node| follow(node, 2)))
        .into_iter()
        .flatten()
        .collect();
    let up = on_each(&other, |node| async move { of(&node).up().await });
    let found = run_on(&one, 1, |node| async move { of(&node).found().await });
    found.expect("it is in no cluster");
    let seeds = vec![one.address().clone()];
    let join = run_on(&other, 2, |node| async move { of(&node).join(seeds).await });
    join.expect("it is in no cluster");
    up.into_iter().for_each(Pending::finish);
    following.into_iter().for_each(Pending::finish);
    let again = run_on(&one, 2, |node| async move { of(&node).found().await });
    assert!(matches!(again, Err(ClusterError::Command(_))), "{again:?}");
    for node in [&one, &other] {
        node.until_so("a quorum", |node| of(node).has_quorum());
    }
    // Who leaves is told so on all its cores.
    let ends = on_each(&other, |node| async move { of(&node).ended().await });
    let address = other.address().clone();
    let leave = run_on(&one, 1, |node| async move {
        of(&node).have_leave(address).await
    });
    leave.expect("it is a member");
    for end in ends {
        assert_eq!(end.finish(), StopReason::Left);
    }
    until_up(&one, 1);
}

#[test]
fn a_core_with_nothing_to_do_hears_of_each_topology() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(CORES.into()));
    for node in &nodes {
        let cores = on_each(node, |node| async move {
            let cluster = of(&node);
            // It is asked every millisecond, as `until_so` does.
            while !is_up(&cluster, 2) {
                node.sleep(Duration::from_millis(1)).await;
            }
            cluster.state().cluster()
        });
        let whole: Vec<_> = cores.into_iter().map(Pending::finish).collect();
        let expected = node.run(|node| async move { of(&node).state().cluster() });
        assert_eq!(whole, vec![expected; CORES.into()]);
    }
}

#[test]
fn a_node_that_cannot_write_its_state_down_counts_that_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    // The place of what is written is taken.
    fs::create_dir(directory.path().join("cluster.state.new")).expect("a directory");
    let mut settings = ClusterSettings::default();
    settings.state_dir = Some(directory.path().to_owned());
    let nodes = cluster_of(1, &settings, |builder| builder);
    let books = nodes[0].until("a failure", |books| books.cluster_state_failures > 0);
    assert_eq!(books.dead_sent, 0);
    until_up(&nodes[0], 1);
}
