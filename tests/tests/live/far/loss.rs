//! The ends of nodes.

use std::time::{Duration, Instant};

use ringmesh::{Ended, Events, NodeEvent, NodeLoss, Ref};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::messages::{ECHO, EchoApi, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::serving::Serving;

use super::{Diary, FellowApi, done, fellow, until_none};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// Within that long a crash is noticed that leaves evidence.
const CRASH_NOTICED: Duration = Duration::from_secs(1);

/// A watcher on another core than the control core, which watches two actors of a process.
struct Vigil {
    node: LiveNode,
    diary: Diary,
    watcher: Ref<FellowApi>,
}

impl Vigil {
    fn keep(node: LiveNode) -> Self {
        let diary = Diary::default();
        let watcher = fellow(&node, 1, "watcher", &diary);
        Self {
            node,
            diary,
            watcher,
        }
    }

    fn watch(&self, serving: &Serving) -> (Ref<SinkApi>, Ref<EchoApi>) {
        let (sink, echo) = (serving.path(SINK), serving.path(ECHO));
        let found = self.node.run(move |node| async move {
            let sink = node.resolve(&sink).await.expect("it is there");
            let echo = node.resolve(&echo).await.expect("it is there");
            (sink, echo)
        });
        self.watch_again(found);
        found
    }

    fn watch_again(&self, (sink, echo): (Ref<SinkApi>, Ref<EchoApi>)) {
        done(&self.node, self.watcher, move |_, cx| {
            cx.watch(&sink).expect("room");
            cx.watch(&echo).expect("room");
        });
    }

    /// Waits until heartbeats are sent, and so until the watches are declared.
    fn is_kept(&self) {
        self.node.until("a heartbeat", |books| books.heartbeats > 1);
    }

    /// Waits for word of both, and says how long that took.
    fn ended(&self, found: (Ref<SinkApi>, Ref<EchoApi>), since: Instant) -> Duration {
        let mut ended = self.diary.until_ended(&self.node, 2);
        let took = since.elapsed();
        let mut expected = [
            (found.0.id(), Ended::NodeLost),
            (found.1.id(), Ended::NodeLost),
        ];
        ended.sort_unstable_by_key(|(who, _)| *who);
        expected.sort_unstable_by_key(|(who, _)| *who);
        assert_eq!(ended, expected);
        took
    }
}

/// What the events say of the node of a process so far: why it is lost, or `None` when it is found.
fn told(events: &mut Events, serving: &Serving) -> Vec<Option<NodeLoss>> {
    let all = std::iter::from_fn(|| events.try_next());
    let of_node = all.filter_map(|event| match event {
        NodeEvent::NodeLost { node, why, .. } => Some((node, Some(why))),
        NodeEvent::NodeFound { node, .. } => Some((node, None)),
        _ => None,
    });
    let told = of_node.inspect(|(node, _)| assert_eq!(*node, serving.id));
    told.map(|(_, why)| why).collect()
}

/// A node that notices silence soon.
fn impatient() -> LiveNode {
    LiveNode::start_with(|builder| {
        builder.cores(2).settings(|settings| {
            settings.heartbeat_interval = Duration::from_millis(50);
            settings.heartbeat_pause = Duration::from_millis(500);
        })
    })
}

/// A node whose detector would take its time.
fn patient() -> LiveNode {
    LiveNode::start_with(|builder| {
        builder.cores(2).settings(|settings| {
            settings.heartbeat_interval = Duration::from_millis(50);
        })
    })
}

#[test]
fn a_killed_process_is_noticed_by_its_refusal() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let vigil = Vigil::keep(patient());
    let found = vigil.watch(&serving);
    vigil.is_kept();
    let mut events = vigil.node.run(|node| async move { node.events() });
    let since = Instant::now();
    serving.process.kill();
    let took = vigil.ended(found, since);
    println!("noticed after {took:?}");
    assert!(took <= CRASH_NOTICED, "{took:?}");
    assert_eq!(told(&mut events, &serving), [Some(NodeLoss::Crashed)]);
    // Whoever watches the dead is told at once, and once.
    vigil.watch_again(found);
    let ended = vigil.diary.until_ended(&vigil.node, 4);
    assert!(ended[2..].iter().all(|(_, why)| *why == Ended::Gone));
    until_none(&[&vigil.node]);
    assert_eq!(vigil.diary.ended().len(), 4);
}

#[test]
fn a_frozen_process_is_noticed_by_its_silence_and_may_come_back() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let vigil = Vigil::keep(impatient());
    let found = vigil.watch(&serving);
    vigil.is_kept();
    let mut events = vigil.node.run(|node| async move { node.events() });
    let since = Instant::now();
    serving.process.freeze();
    let took = vigil.ended(found, since);
    assert_eq!(told(&mut events, &serving), [Some(NodeLoss::Silent)]);
    println!("noticed after {took:?}");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took <= Duration::from_secs(3), "{took:?}");
    serving.process.thaw();
    vigil.watch_again(found);
    vigil
        .node
        .until_so("the watches", |node| node.counters().watches_far == 2);
    let mut met = Vec::new();
    let begin = Instant::now();
    while met.is_empty() {
        assert!(begin.elapsed() < WAIT, "it is not found");
        met = told(&mut events, &serving);
        vigil
            .node
            .run(|node| async move { node.sleep(Duration::from_millis(1)).await });
    }
    assert_eq!(met, [None], "it was found");
    let (node, since) = (&vigil.node, Instant::now());
    serving.process.kill();
    let ended = vigil.diary.until_ended(node, 4);
    assert!(since.elapsed() <= Duration::from_secs(3));
    assert_eq!(ended.len(), 4, "each once more");
    until_none(&[node]);
}

#[test]
fn a_node_that_stops_in_order_says_so() {
    let other = LiveNode::start_serving();
    let vigil = Vigil::keep(patient());
    let (sink, echo) = (other.path(SINK), other.path(ECHO));
    let found = vigil.node.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&sink).await.expect("it is there");
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("it is there");
        (sink, echo)
    });
    vigil.watch_again(found);
    other.until_so("the watches", |node| node.counters().watches_far == 2);
    let since = Instant::now();
    other.stop();
    let took = vigil.ended(found, since);
    println!("noticed after {took:?}");
    until_none(&[&vigil.node]);
}

#[test]
fn a_quarantine_ends_the_watches_of_both_sides_and_later_ones_at_once() {
    let (near, far) = (patient(), patient());
    let diaries = [Diary::default(), Diary::default()];
    let nodes = [&near, &far];
    let fellows = [0, 1].map(|at| fellow(nodes[at], 1, "fellow", &diaries[at]));
    let found = [0, 1].map(|at| super::find(nodes[at], nodes[1 - at].path("fellow")));
    let watch = |at: usize| {
        let other: Ref<FellowApi> = found[at];
        done(nodes[at], fellows[at], move |_, cx| {
            cx.watch(&other).expect("room");
        });
    };
    for (at, node) in nodes.into_iter().enumerate() {
        watch(at);
        super::until_followed(nodes[1 - at], 1 + at as u64);
        node.until("a heartbeat", |books| books.heartbeats > 1);
    }
    let since = Instant::now();
    let other = far.id().clone();
    near.run(move |node| async move {
        assert_eq!(node.quarantine(&other, "a test"), Ok(true));
    });
    for (at, diary) in diaries.iter().enumerate() {
        let ended = diary.until_ended(nodes[at], 1);
        assert_eq!(ended, [(found[at].id(), Ended::NodeLost)]);
    }
    assert!(since.elapsed() <= CRASH_NOTICED, "{:?}", since.elapsed());
    until_none(&nodes);
    watch(0);
    assert_eq!(diaries[0].until_ended(&near, 2).len(), 2);
    until_none(&nodes);
}

#[test]
fn a_process_that_was_restarted_is_another_and_its_actors_hear_nothing() {
    let mut serving = Serving::start(LIVE_NODE, &[]);
    let at = format!("127.0.0.1:{}", serving.id.address.port());
    let vigil = Vigil::keep(patient());
    let found = vigil.watch(&serving);
    vigil.is_kept();
    let since = Instant::now();
    serving.process.kill();
    serving.process.wait(WAIT);
    vigil.ended(found, since);
    // Nobody listens at the port any more, or else that was no evidence.
    let again = Serving::start(LIVE_NODE, &["--bind", &at]);
    assert_ne!(again.id.uid, serving.id.uid);
    let heirs = vigil.watch(&again);
    assert_ne!(heirs.0.id(), found.0.id());
    vigil
        .node
        .until_so("the watches", |node| node.counters().watches_far == 2);
    // Old refs are of the dead, and what they are told is nobody's.
    vigil.watch_again(found);
    let ended = vigil.diary.until_ended(&vigil.node, 4);
    assert_eq!(ended.len(), 4);
    done(&vigil.node, vigil.watcher, move |_, cx| {
        assert!(cx.unwatch(&heirs.0) && cx.unwatch(&heirs.1));
    });
    until_none(&[&vigil.node]);
    assert_eq!(vigil.diary.ended().len(), 4);
}

#[test]
fn a_hundred_thousand_watches_are_one_stream_of_heartbeats_and_end_together() {
    const WATCHERS: u16 = 400;
    const WATCHED: u16 = 250;
    const ALL: usize = WATCHERS as usize * WATCHED as usize;
    let (node, other) = (patient(), LiveNode::start());
    let (diary, silent) = (Diary::default(), Diary::default());
    for number in 0..WATCHED {
        fellow(&other, 0, &format!("watched{number}"), &silent);
    }
    let address = other.address().clone();
    let far = node.run(move |node| async move {
        let mut far: Vec<Ref<FellowApi>> = Vec::new();
        for number in 0..WATCHED {
            let path = format!("{address}/user/watched{number}");
            far.push(node.resolve(&path).await.expect("it is there"));
        }
        far
    });
    for number in 0..WATCHERS {
        let far = far.clone();
        let watcher = fellow(&node, 0, &format!("watcher{number}"), &diary);
        done(&node, watcher, move |_, cx| {
            for watched in &far {
                cx.watch(watched).expect("room");
            }
        });
    }
    super::until_followed(&other, ALL as u64);
    let before = node.counters().heartbeats;
    node.until("a heartbeat", move |books| books.heartbeats > before + 1);
    let sent = node.counters();
    assert!(sent.heartbeats < 1000, "{} heartbeats", sent.heartbeats);
    let since = Instant::now();
    other.stop();
    let ended = diary.until_ended(&node, ALL);
    let took = since.elapsed();
    println!("ended after {took:?}");
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(ended.len(), ALL);
    assert!(ended.iter().all(|(_, why)| *why == Ended::NodeLost));
    until_none(&[&node]);
}
