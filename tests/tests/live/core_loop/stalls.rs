//! Cores that do not turn: who says so, and when.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, CoreId, Cx, Events, Handler, MetricsReader, Msg, Node, NodeBuilder, NodeEvent, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, run_on};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::LiveNode;

/// What is told of a core that does not turn for so long.
const TOLD: Duration = Duration::from_secs(1);

/// Longer than the control core looks at others that all sleep.
const QUIET: Duration = Duration::from_millis(700);

/// Holds its core until it is let go, or for a time.
struct Holder {
    let_go: Receiver<()>,
    at_most: Duration,
}

impl Actor for Holder {
    type Api = HolderApi;
}

protocol! { HolderApi = "tests.holder" { Record } }

impl Handler<Record> for Holder {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        match self.let_go.recv_timeout(self.at_most) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("the test has ended"),
        }
    }
}

/// What is told of a core of a node from now on, to its end. A busy machine may hold others.
fn heard_of(node: &LiveNode, core: CoreId) -> Receiver<NodeEvent> {
    let (said, heard) = channel();
    node.run(move |node| async move {
        let mut events: Events = node.events();
        let tell = async move {
            while let Some(event) = events.next().await {
                let (NodeEvent::CoreStalled { core: of, .. }
                | NodeEvent::CoreTurns { core: of, .. }) = &event
                else {
                    continue;
                };
                if *of == core && said.send(event).is_err() {
                    return;
                }
            }
        };
        node.spawn_task(tell).expect("room for a task");
    });
    heard
}

/// Has an actor on a core hold it.
fn hold(node: &LiveNode, core: u16, let_go: Receiver<()>, at_most: Duration) {
    let holder = Holder { let_go, at_most };
    let holder = run_on(node, core, move |there| async move {
        there.spawn(holder).expect("room")
    });
    let record = Record {
        number: 1,
        body: Bytes::new(),
    };
    node.run(move |_| async move { holder.tell(record).await.expect("it lives") });
}

fn stalled(event: &NodeEvent) -> (CoreId, Duration) {
    match event {
        NodeEvent::CoreStalled { core, span, .. } => (*core, *span),
        other => panic!("{other:?}"),
    }
}

fn turns(event: &NodeEvent) -> (CoreId, Duration) {
    match event {
        NodeEvent::CoreTurns { core, span, .. } => (*core, *span),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_core_that_is_held_is_told_of_while_it_is_and_again_when_it_turns() {
    let node = LiveNode::of_cores(2);
    let heard = heard_of(&node, CoreId(1));
    // Nobody looks any more at a core that sleeps, until it wakes.
    node.run(|node| async move { node.sleep(QUIET).await });
    let (release, let_go) = sync_channel(1);
    hold(&node, 1, let_go, WAIT);
    let (core, seen) = stalled(&heard.recv_timeout(WAIT).expect("that it is held"));
    assert!(core == CoreId(1) && seen >= TOLD, "{core:?} {seen:?}");
    release.send(()).expect("it waits");
    let (core, span) = turns(&heard.recv_timeout(WAIT).expect("that it turns"));
    assert!(core == CoreId(1) && span >= seen, "{core:?} {span:?}");
    assert_eq!(books_of(&node)[1].core_stalls, 1);
    node.stop();
    let more: Vec<NodeEvent> = heard
        .iter()
        .filter(|it| it.label() == "core_stalled")
        .collect();
    assert_eq!(more, [], "once is enough");
}

#[test]
fn a_control_core_that_was_held_says_so_itself_afterwards() {
    let node = LiveNode::start();
    let heard = heard_of(&node, CoreId(0));
    let (_release, let_go) = sync_channel(1);
    hold(&node, 0, let_go, TOLD);
    let next = || heard.recv_timeout(WAIT).expect("an event");
    let (stalled, turns) = (stalled(&next()), turns(&next()));
    assert_eq!(stalled, turns);
    assert!(turns.0 == CoreId(0) && turns.1 >= TOLD, "{turns:?}");
    assert_eq!(node.counters().core_stalls, 1);
    let lines = node.log().with("a core did not turn");
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[test]
fn cores_that_sleep_wake_nobody_to_look_at_them() {
    fn begin(cores: usize) -> (LiveNode, MetricsReader) {
        let mut reader = None;
        let node = LiveNode::start_with(|builder: NodeBuilder| {
            reader = Some(builder.metrics_reader());
            builder.cores(cores)
        });
        (node, reader.expect("it was made"))
    }
    let parks = |reader: MetricsReader| {
        move |node: Node| async move {
            node.sleep(QUIET).await;
            let before = reader.metrics();
            node.sleep(Duration::from_millis(1600)).await;
            let cores = reader.metrics().cores.into_iter().zip(before.cores);
            let parks = cores.map(|(now, before)| now.parks - before.parks);
            parks.collect::<Vec<u64>>()
        }
    };
    let [(one, of_one), (three, of_three)] = [begin(1), begin(3)];
    let [one_sleeps, three_sleep] = [one.begin(parks(of_one)), three.begin(parks(of_three))];
    let (alone, among) = (one_sleeps.finish(), three_sleep.finish());
    println!("parks: {alone:?} alone, {among:?} among others");
    // Three looks in this time, if it looked.
    assert!(among[0] <= alone[0] + 1, "{among:?}, alone {alone:?}");
    assert_eq!(among[1..], [0, 0]);
}
