//! Descriptors of a process in which many nodes start and stop, one after the other: no ring,
//! socket or signal descriptor of a node stays. One test, for it counts what all threads share.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{Actor, CoreId, Cx, Handler, LookUp, Msg, Node, Ref};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoed};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::{SYSTEM, WAIT};

/// Nodes of each sort.
const NODES: usize = 5;

/// What an eventfd is called by procfs.
const EVENTFD: &str = "anon_inode:[eventfd]";

/// How long a thread that has nothing left to do may take to be gone.
const LATENESS: Duration = Duration::from_secs(5);

#[test]
fn descriptors_come_back_whatever_a_node_was_doing() {
    // What is done, and with how many cores.
    let sorts: [(&str, usize, fn()); 7] = [
        ("idle", 1, || LiveNode::start().stop()),
        ("with an actor that holds its node", 1, with_an_actor),
        ("with tasks that hold their node", 1, with_tasks),
        ("with a peer", 2, with_a_peer),
        ("with a look-up behind it", 1, with_a_look_up),
        ("with a look-up that hangs", 1, with_a_look_up_that_hangs),
        (
            "with a look-up behind its other core",
            2,
            with_a_look_up_elsewhere,
        ),
    ];
    // What the process makes once and keeps.
    sorts.iter().for_each(|(_, _, run)| run());
    for (what, cores, run) in sorts {
        let before = settled(|_| true);
        (0..NODES).for_each(|_| run());
        // The executor loses one with each of its threads; see the head of `engine/src/rt/mod.rs`.
        let mut allowed = before.clone();
        *allowed.entry(EVENTFD.to_owned()).or_default() += cores * NODES;
        let is_allowed = |now: &BTreeMap<String, usize>| {
            now.iter()
                .all(|(sort, count)| allowed.get(sort).is_some_and(|most| count <= most))
        };
        let after = settled(is_allowed);
        assert!(
            is_allowed(&after),
            "{what}: {before:?} before, {after:?} after"
        );
    }
}

/// Open descriptors by what they are, once that is as wanted or the time is up.
fn settled(is_wanted: impl Fn(&BTreeMap<String, usize>) -> bool) -> BTreeMap<String, usize> {
    let deadline = Instant::now() + LATENESS;
    loop {
        let now = open_descriptors();
        if is_wanted(&now) || Instant::now() >= deadline {
            return now;
        }
        std::thread::yield_now();
    }
}

fn open_descriptors() -> BTreeMap<String, usize> {
    let mut open = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").expect("procfs") {
        let path = entry.expect("procfs").path();
        // The one of this listing is gone already.
        if let Ok(target) = fs::read_link(path) {
            let text = target.to_string_lossy();
            // Sockets and pipes have numbers of their own.
            let sort = text.split([':', '[']).next().unwrap_or_default();
            let sort = if sort == "anon_inode" { &*text } else { sort };
            *open.entry(sort.to_owned()).or_default() += 1;
        }
    }
    open
}

/// Answers, and holds its node.
struct Keeper {
    node: Node,
}

ringmesh::protocol! {
    /// Keeps its node.
    pub KeeperApi = "tests.keeper" { Echo }
}

impl Actor for Keeper {
    type Api = KeeperApi;
}

impl Handler<Echo> for Keeper {
    fn handle(&mut self, message: Msg<Echo>, _: &mut Cx<'_, Self>) -> Echoed {
        assert_eq!(self.node.address().system(), SYSTEM);
        let message = message.deserialize();
        Echoed {
            number: message.number,
            body: message.body,
        }
    }
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::from_static(b"who holds you"),
    }
}

fn with_an_actor() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let keeper = Keeper { node: node.clone() };
        let keeper = node.spawn_named("keeper", keeper).expect("a free name");
        keeper.ask(question(1)).await.expect("it answers");
    });
    node.stop();
}

fn with_tasks() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let waits = node.clone();
        node.spawn_task(async move { waits.until_shutdown().await })
            .expect("room");
        let sleeps = node.clone();
        node.spawn_task(async move { sleeps.sleep(Duration::from_secs(3600)).await })
            .expect("room");
        let asks = node.clone();
        let path = format!("ringmesh://{SYSTEM}@127.0.0.1:1/user/{ECHO}");
        node.spawn_task(async move {
            let _ = asks.resolve::<EchoApi>(&path).await;
        })
        .expect("room");
        let pends = node.clone();
        node.spawn_task(async move {
            std::future::pending::<()>().await;
            drop(pends);
        })
        .expect("room");
        node.sleep(Duration::from_millis(2)).await;
    });
    node.stop();
}

fn with_a_peer() {
    let serving = LiveNode::start_serving();
    let client = LiveNode::start();
    let path = serving.path(ECHO);
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        echo.ask(question(2)).await.expect("it answers");
        let holds = node.clone();
        // A question that is never answered in time.
        node.spawn_task(async move {
            while echo.ask(question(3)).await.is_ok() {}
            drop(holds);
        })
        .expect("room");
    });
    serving.stop();
    client.stop();
}

fn with_a_look_up_elsewhere() {
    let node = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.cores = 2;
            settings.ask_timeout = Duration::from_millis(20);
            settings.look_up = LookUp::with(|_, _| Ok(Vec::new()));
        })
    });
    node.run(|node| async move {
        let (done, finished) = futures_channel::oneshot::channel();
        let resolve = |there: Node| async move {
            let path = format!("ringmesh://{SYSTEM}@some.host:1/user/{ECHO}");
            let resolved = there.resolve::<EchoApi>(&path).await;
            done.send(resolved.is_err()).expect("the test waits");
        };
        node.spawn_task_on(CoreId(1), resolve).await.expect("room");
        assert_eq!(finished.await, Ok(true), "nobody has the name");
    });
    node.stop();
}

fn with_a_look_up() {
    resolve_with(
        LookUp::with(|_, _| Ok(Vec::new())),
        Duration::from_millis(20),
    );
}

fn with_a_look_up_that_hangs() {
    let (_release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let released = Arc::new(std::sync::Mutex::new(released));
    let look_up = LookUp::with(move |_, _| {
        let released = released.lock().expect("nobody panics with it");
        // Ends with this function.
        let _ = released.recv_timeout(WAIT);
        Ok(Vec::new())
    });
    resolve_with(look_up, Duration::from_millis(20));
}

fn resolve_with(look_up: LookUp, patience: Duration) {
    let node = LiveNode::start_with(|builder| {
        builder
            .ask_timeout(patience)
            .settings(|settings| settings.look_up = look_up)
    });
    let found = node.run(|node| async move {
        let path = format!("ringmesh://{SYSTEM}@peer.test:1/user/{ECHO}");
        node.resolve::<EchoApi>(&path).await.map(|_| ())
    });
    assert!(found.is_err());
    node.stop();
}
