//! Nodes whose cluster falls apart, and whose strategy goes by a lease: what they ask their store,
//! and what a store that is slow, or broken, does to them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::cluster::{ClusterSettings, Downing, Lease, LeaseError, LeaseStore};
use ringmesh::lease::{
    Answer, Ask, Clock, Deed, LeaseName, MemoryStore, Store, SystemClock, Token,
};
use ringmesh::{CoreId, Engine, EngineError, MetricsReader, Node, NodeBuilder};
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::{SYSTEM, WAIT};

use super::{Frozen, cluster_of, of, until_up, watchful};

/// Members that are lost are given up soon, by whoever has the lease.
fn by_lease() -> ClusterSettings {
    let mut settings = watchful();
    settings.resolver.stable_after = Some(Duration::from_secs(1));
    settings.downing = Downing::LeaseMajority { role: None };
    settings
}

fn lease() -> LeaseName {
    LeaseName::new(&format!("{SYSTEM}--default--downing")).expect("a name")
}

/// Three members, of which the first is the first by address: it looks up the last token.
fn three(settings: &ClusterSettings, change: impl Fn(NodeBuilder) -> NodeBuilder) -> Vec<LiveNode> {
    let host = AtomicU8::new(0);
    cluster_of(3, settings, |builder| {
        let host = host.fetch_add(1, Ordering::Relaxed) + 1;
        change(builder.bind(([127, 0, 0, host], 0)))
    })
}

/// Waits until all know which lease was given last: before that nobody can tell whether another
/// side had it since.
fn until_counted(nodes: &[LiveNode]) {
    let until = Instant::now() + WAIT;
    for node in nodes {
        let explain = || node.run(|node| async move { of(&node).explain().await });
        while explain()
            .expect("it runs")
            .lease
            .is_none_or(|it| it.known.is_none())
        {
            assert!(Instant::now() < until, "nobody counts");
            thread::yield_now();
        }
    }
}

/// The last of three members stands still: the others give it up.
fn fall_apart(nodes: &[LiveNode]) {
    until_counted(nodes);
    let frozen = Frozen::freeze(&nodes[2]);
    for node in &nodes[..2] {
        node.until_so("two members", |node| of(node).state().members().len() == 2);
    }
    let decided = nodes[..2].iter().filter_map(|node| {
        let last = node.run(|node| async move { of(&node).last_decision().await });
        last.expect("it runs")?.token
    });
    assert_eq!(decided.count(), 1, "one of them has the lease");
    frozen.thaw();
}

#[test]
fn whoever_gives_up_a_member_holds_the_lease_as_it_does() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let store = MemoryStore::new(clock);
    let nodes = three(&by_lease(), |builder| {
        let store = store.clone();
        builder.lease_store(move || store.clone())
    });
    fall_apart(&nodes);
    let (owner, token) = store.holder(&lease()).expect("it is kept for a while");
    let names = nodes[..2].iter().map(|node| node.id().to_string());
    assert!(names.into_iter().any(|name| *owner == name), "{owner}");
    assert_eq!(token, Token(1), "nobody had it before");
    let counters = || nodes.iter().map(LiveNode::counters);
    assert_eq!(
        counters().map(|it| it.lease_asks).sum::<u64>(),
        store.asks()
    );
    assert_eq!(counters().map(|it| it.lease_failures).sum::<u64>(), 0);
}

#[test]
fn the_members_of_a_cluster_may_share_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut settings = by_lease();
    settings.lease_store = LeaseStore::Directory(directory.path().to_owned());
    fall_apart(&three(&settings, |builder| builder));
    let record = directory.path().join(format!("{}.lease", lease()));
    let record = std::fs::read_to_string(record).expect("there is a record");
    assert!(record.contains("\nowner ringmesh://"), "{record}");
}

#[test]
fn a_strategy_that_needs_a_lease_is_refused_without_a_store() {
    let refusal = |settings| {
        let builder = Engine::node(SYSTEM).cluster(settings);
        builder.run(|_| async {}).expect_err("it has no store")
    };
    let refused = refusal(by_lease());
    assert!(matches!(refused, EngineError::Cluster(_)), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("cluster.lease_store") && !text.contains('\n'),
        "{text}"
    );
    let mut settings = by_lease();
    settings.lease_store = LeaseStore::Directory("/nowhere/leases".into());
    let refused = refusal(settings);
    assert!(matches!(refused, EngineError::LeaseStore(_)), "{refused}");
}

/// Says what it is asked, and answers that it failed when it is told to, or when nobody tells it
/// anything any more.
struct Slow {
    asked: Sender<Ask>,
    go_on: Receiver<()>,
}

impl Store for Slow {
    fn handle(&mut self, ask: &Ask) -> Answer {
        // The test may be over.
        let _ = self.asked.send(ask.clone());
        let _ = self.go_on.recv();
        let why = "it was slow".into();
        Answer::Failed { why }
    }
}

/// A node that founds a cluster of its own, with a store of the test's. Soon it asks that.
fn alone<S: Store + 'static>(
    make: impl Fn() -> S + Send + Sync + 'static,
) -> (LiveNode, MetricsReader) {
    let mut settings = by_lease();
    settings.seeds = Some(Vec::new());
    let mut reader = MetricsReader::default();
    let node = LiveNode::start_with(|builder| {
        reader = builder.metrics_reader();
        builder.cluster(settings).lease_store(make)
    });
    (node, reader)
}

#[test]
fn a_store_that_hangs_holds_up_no_node_nor_its_end() {
    let ((asked, heard), (go_on, told)) = (channel(), channel());
    let store = Mutex::new(Some(Slow { asked, go_on: told }));
    let (node, reader) = alone(move || {
        let mut store = store.lock().expect("nobody panicked");
        store.take().expect("the node starts once")
    });
    let ask = heard.recv_timeout(WAIT).expect("it is asked");
    assert_eq!((ask.deed, ask.name), (Deed::Look(Token(0)), lease()));
    until_up(&node, 1);
    let begun = Instant::now();
    node.stop();
    assert!(begun.elapsed() < WAIT / 2, "it was waited for");
    let counters = reader.metrics().total;
    assert_eq!((counters.lease_asks, counters.lease_asks_dropped), (1, 1));
    // Its thread was left behind, and ends now.
    drop(go_on);
    assert!(heard.recv_timeout(WAIT).is_err(), "nothing else is asked");
}

#[test]
fn what_fails_is_counted_and_asked_again() {
    let ((asked, heard), (go_on, told)) = (channel(), channel());
    let store = Mutex::new(Some(Slow { asked, go_on: told }));
    let (node, _) = alone(move || {
        let mut store = store.lock().expect("nobody panicked");
        store.take().expect("the node starts once")
    });
    for failures in 0..3 {
        let ask = heard.recv_timeout(WAIT).expect("it is asked");
        assert_eq!(ask.deed, Deed::Look(Token(0)));
        let counters = node.counters();
        assert_eq!(
            (counters.lease_asks, counters.lease_failures),
            (failures + 1, failures)
        );
        go_on.send(()).expect("it waits");
    }
    drop(go_on);
    node.stop();
}

struct Broken;

impl Store for Broken {
    fn handle(&mut self, _: &Ask) -> Answer {
        panic!("a store of the test, which is broken")
    }
}

#[test]
fn a_store_that_panics_fails_every_ask_and_the_node_goes_on() {
    let (node, _) = alone(|| Broken);
    node.until("two failures", |counters| counters.lease_failures >= 2);
    assert_eq!(node.log().with("the lease store panicked").len(), 1);
    until_up(&node, 1);
    node.stop();
}

/// Two nodes of one cluster, with two cores each, and one store.
fn two() -> (Vec<LiveNode>, MemoryStore) {
    let store = MemoryStore::new(Arc::new(SystemClock::default()));
    let nodes = cluster_of(2, &watchful(), |builder| {
        let store = store.clone();
        builder.cores(2).lease_store(move || store.clone())
    });
    (nodes, store)
}

fn shop() -> LeaseName {
    LeaseName::new("shop").expect("a name")
}

const TIME_TO_LIVE: Duration = Duration::from_secs(3);

/// A node that has it, until it is told to give it back.
fn holds(node: &LiveNode) -> (Token, Sender<()>, Pending<()>) {
    let ((say, heard), (tell, told)) = (channel(), channel::<()>());
    let held = node.begin(move |node| async move {
        let lease = of(&node)
            .lease(shop(), TIME_TO_LIVE)
            .expect("there is a store");
        let token = lease.acquire().await;
        say.send(token).expect("the test listens");
        while told.try_recv() == Err(TryRecvError::Empty) {
            assert_eq!(lease.token(), Some(token), "it is kept");
            node.sleep(Duration::from_millis(1)).await;
        }
        lease.release();
        assert_eq!((lease.token(), lease.time_left()), (None, Duration::ZERO));
        lease.lost().await;
    });
    let token = heard.recv_timeout(WAIT).expect("it is given");
    (token, tell, held)
}

#[test]
fn of_two_nodes_that_want_a_lease_one_has_it_and_the_other_when_that_gives_it_back() {
    let (nodes, store) = two();
    let (first, give_back, held) = holds(&nodes[0]);
    let (owner, _) = store.holder(&shop()).expect("it is held");
    let waits = begin_on_another_core(&nodes[1], move |lease| async move {
        let token = lease.acquire().await;
        (token, lease.time_left() > Duration::ZERO)
    });
    // The other has asked, and was told who has it.
    let asks = store.asks();
    until(|| store.asks() > asks + 2);
    assert_eq!(store.holder(&shop()), Some((owner, first)));
    give_back.send(()).expect("it waits");
    held.finish();
    let (second, is_left) = waits.finish();
    assert_eq!((second, is_left), (Token(first.0 + 1), true));
    // It was dropped with what waited for it.
    until(|| store.holder(&shop()).is_none());
}

fn until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < until, "in vain");
        thread::yield_now();
    }
}

/// Begins something with a lease on the second core of a node.
fn begin_on_another_core<R, Fut>(
    node: &LiveNode,
    job: impl FnOnce(Lease) -> Fut + Send + 'static,
) -> Pending<R>
where
    R: Send + 'static,
    Fut: Future<Output = R> + 'static,
{
    node.begin(move |node| async move {
        let (say, heard) = oneshot::channel();
        let task = move |node: Node| async move {
            let lease = of(&node)
                .lease(shop(), TIME_TO_LIVE)
                .expect("there is a store");
            // The test may have failed.
            let _ = say.send(job(lease).await);
        };
        let begun = node.spawn_task_on(CoreId(1), task).await;
        begun.expect("there is room");
        heard.await.expect("it ends")
    })
}

#[test]
fn a_lease_is_lost_in_time_when_its_store_is_and_whoever_had_it_is_told() {
    let (nodes, store) = two();
    let lost = nodes[0].begin(|node| async move {
        let lease = of(&node)
            .lease(shop(), TIME_TO_LIVE)
            .expect("there is a store");
        let token = lease.acquire().await;
        let left = lease.time_left();
        lease.lost().await;
        assert_eq!(lease.token(), None);
        (token, left, lease.heard())
    });
    until(|| store.holder(&shop()).is_some());
    store.set_outage(Some("the disk is full"));
    let (token, left, heard) = lost.finish();
    assert!(left < TIME_TO_LIVE, "less than it was given for: {left:?}");
    assert_eq!(heard.as_deref(), Some("the disk is full"));
    // Whoever gives it counts on for a while.
    let holder = store.holder(&shop());
    assert_eq!(holder.map(|(_, token)| token), Some(token));
    store.set_outage(None);
    let (next, ..) = holds(&nodes[1]);
    assert_eq!(next, Token(token.0 + 1));
}

/// Says when something is to be given back, and has that wait until it is told to go on.
struct Gated {
    store: MemoryStore,
    asked: Sender<()>,
    go_on: Receiver<()>,
}

impl Store for Gated {
    fn handle(&mut self, ask: &Ask) -> Answer {
        if matches!(ask.deed, Deed::Release(_)) {
            // The test may be over.
            let _ = self.asked.send(());
            let _ = self.go_on.recv();
        }
        self.store.handle(ask)
    }
}

#[test]
fn a_node_does_not_end_before_what_its_main_future_had_is_given_back() {
    let store = MemoryStore::new(Arc::new(SystemClock::default()));
    let ((asked, is_asked), (go_on, told)) = (channel(), channel());
    let gated = Mutex::new(Some(Gated {
        store: store.clone(),
        asked,
        go_on: told,
    }));
    let mut settings = watchful();
    settings.seeds = Some(Vec::new());
    let node = Engine::node(SYSTEM).cluster(settings);
    let node = node.settings(|it| it.flush_timeout = WAIT);
    let node = node.lease_store(move || {
        let mut gated = gated.lock().expect("nobody panicked");
        gated.take().expect("the node starts once")
    });
    let (say, ended) = channel();
    thread::spawn(move || {
        let ran = node.run(|node| async move {
            let hour = Duration::from_secs(3600);
            let lease = of(&node).lease(shop(), hour).expect("there is a store");
            lease.acquire().await
        });
        say.send(ran)
    });
    is_asked.recv_timeout(WAIT).expect("it is given back");
    let while_it_is = ended.recv_timeout(Duration::from_millis(300));
    assert!(
        matches!(while_it_is, Err(RecvTimeoutError::Timeout)),
        "it ended before"
    );
    go_on.send(()).expect("it waits");
    let ran = ended.recv_timeout(WAIT).expect("it ends");
    assert_eq!(ran.expect("it runs"), Token(1));
    assert_eq!(store.holder(&shop()), None);
}

/// Answers as often as it is told to, until nobody tells it anything any more.
struct Sluggish {
    store: MemoryStore,
    go_on: Receiver<()>,
}

impl Store for Sluggish {
    fn handle(&mut self, ask: &Ask) -> Answer {
        let _ = self.go_on.recv();
        self.store.handle(ask)
    }
}

/// It answers an ask alone that was given up, when the same had been asked again.
#[test]
fn what_a_slow_store_answers_late_is_heard() {
    let (go_on, told) = channel();
    let store = MemoryStore::new(Arc::new(SystemClock::default()));
    let slow = Sluggish { store, go_on: told };
    let slow = Mutex::new(Some(slow));
    let mut settings = watchful();
    settings.seeds = Some(Vec::new());
    let node = LiveNode::start_with(|builder| {
        builder.cluster(settings).lease_store(move || {
            let mut slow = slow.lock().expect("nobody panicked");
            slow.take().expect("the node starts once")
        })
    });
    let held = node.begin(|node| async move {
        let lease = of(&node).lease(shop(), Duration::from_secs(8));
        lease.expect("there is a store").acquire().await
    });
    node.until("the same is asked again", |it| it.lease_asks >= 2);
    go_on.send(()).expect("it waits");
    assert_eq!(held.finish(), Token(1));
    drop(go_on);
    node.stop();
}

#[test]
fn a_lease_that_cannot_be_is_refused() {
    let (nodes, store) = two();
    let refusals = nodes[0].run(|node| async move {
        let refusal = |name: &str, time| {
            let name = LeaseName::new(name).expect("a name");
            of(&node).lease(name, time).expect_err("it cannot be")
        };
        let hour = Duration::from_secs(3600);
        [
            refusal("tests--default--downing", TIME_TO_LIVE),
            refusal("shop", Duration::from_millis(999)),
            refusal("shop", hour + Duration::from_nanos(1)),
        ]
    });
    let [downing, short, long] = refusals;
    assert_eq!(downing, LeaseError::Reserved);
    assert_eq!(
        (short, long),
        (LeaseError::TimeToLive, LeaseError::TimeToLive)
    );
    assert_eq!(store.asks(), 0);
    let nodes = cluster_of(1, &watchful(), |builder| builder);
    let refusal = nodes[0].run(|node| async move { of(&node).lease(shop(), TIME_TO_LIVE).err() });
    assert_eq!(refusal, Some(LeaseError::NoStore));
}
