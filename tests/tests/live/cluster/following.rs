//! What happens in a cluster, followed on every core; commands from any core.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use ringmesh::cluster::{
    AppVersion, ClusterError, ClusterSettings, CommandError, News, StopReason, Topology,
};
use ringmesh::{CoreId, Node};
use ringmesh_tests::live::cores::{on_core, run_on};
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{cluster_of, is_up, of, until_up, watchful};

const CORES: u16 = 3;

#[test]
fn a_node_whose_version_comes_later_joins_when_a_core_sets_it() {
    let first = cluster_of(1, &watchful(), |builder| builder);
    let mut settings = watchful();
    settings.seeds = Some(vec![first[0].address().clone()]);
    settings.app_version_later = true;
    let later = LiveNode::start_with(|builder| builder.cores(2).cluster(settings));
    let version: AppVersion = "3.1".parse().expect("a version");
    let set = version.clone();
    run_on(&later, 1, move |node| async move {
        let cluster = of(&node);
        assert_eq!(cluster.state().cluster(), None, "it waits");
        let founds = cluster.found().await;
        assert_eq!(founds, Err(ClusterError::Command(CommandError::NoVersion)));
        cluster.set_app_version(set).await.expect("in time");
        cluster.up().await;
    });
    first
        .iter()
        .chain([&later])
        .for_each(|node| until_up(node, 2));
    let versions = first[0].run(|node| async move {
        let state = of(&node).state();
        let members = state.members().iter();
        let versions = members.map(|it| it.profile().app_version.clone());
        versions.collect::<Vec<AppVersion>>()
    });
    assert!(versions.contains(&version), "{versions:?}");
}

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

/// A waker that wakes nobody, and is counted.
struct Bell;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn whoever_waits_no_more_leaves_nothing_behind() {
    let node = LiveNode::start_with(|builder| builder.cluster(ClusterSettings::default()));
    let counted = node.run(|node| async move {
        let cluster = of(&node);
        let bell = Arc::new(Bell);
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        let (mut up, mut ended) = (Box::pin(cluster.up()), Box::pin(cluster.ended()));
        for _ in 0..10 {
            assert!(up.as_mut().poll(&mut context).is_pending());
            assert!(ended.as_mut().poll(&mut context).is_pending());
        }
        let both = Arc::strong_count(&bell);
        drop(up);
        let one = Arc::strong_count(&bell);
        drop(ended);
        [both, one, Arc::strong_count(&bell)]
    });
    // The waker and the bell itself are the last two.
    assert_eq!(counted, [4, 3, 2]);
}
