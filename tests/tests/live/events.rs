//! What happens to links, as those hear it who subscribed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ringmesh::{CoreId, Events, Node, NodeEvent, Ref, SendError};
use ringmesh_fault_proxy::{Ending, Faults, Proxy};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::between::Between;
use ringmesh_tests::live::messages::{ECHO, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;

/// What a node tells from now on, read by a task of its own.
struct Heard(Receiver<NodeEvent>);

impl Heard {
    fn of(node: &LiveNode) -> Self {
        let (said, heard) = channel();
        node.run(move |node| async move {
            let events = node.events();
            node.spawn_task(tell(events, move |event| said.send(event).is_ok()))
                .expect("room for a task");
        });
        Self(heard)
    }

    fn next(&self) -> NodeEvent {
        self.0.recv_timeout(WAIT).expect("an event comes")
    }

    /// The next events, by their names.
    fn names<const COUNT: usize>(&self) -> [&'static str; COUNT] {
        [(); COUNT].map(|()| self.next().label())
    }

    /// The next event with this name; those before it do not matter.
    fn until(&self, name: &str) -> NodeEvent {
        loop {
            let event = self.next();
            if event.label() == name {
                return event;
            }
        }
    }
}

async fn tell(mut events: Events, mut said: impl FnMut(NodeEvent) -> bool) {
    while let Some(event) = events.next().await {
        if !said(event) {
            return;
        }
    }
}

fn record(number: u64, bytes: usize) -> Record {
    Record {
        number,
        body: vec![7; bytes].into(),
    }
}

async fn sink_at(node: &Node, path: &str) -> Ref<SinkApi> {
    node.resolve(path).await.expect("the sink is there")
}

/// Brings the near node's link up.
fn meet(near: &LiveNode, far: &LiveNode) {
    let path = far.path(SINK);
    near.run(move |node| async move { sink_at(&node, &path).await });
}

#[test]
fn a_subscription_begins_with_where_the_node_listens() {
    let between = Between::start(Faults::default());
    let (first, address) = (
        Heard::of(&between.far).next(),
        between.far.address().clone(),
    );
    let NodeEvent::Listening {
        address: told,
        bound,
        ..
    } = first
    else {
        panic!("{first:?}");
    };
    assert_eq!(told, address);
    assert_eq!(bound.to_string(), format!("127.0.0.2:{}", address.port()));
}

#[test]
fn a_link_is_lost_and_goes_on_and_nothing_is_dropped() {
    let between = Between::start(Faults::default());
    let (near, far) = (Heard::of(&between.near), Heard::of(&between.far));
    meet(&between.near, &between.far);
    assert_eq!(near.names(), ["listening", "associated"]);
    let NodeEvent::Associated { link, dialled, .. } = far.until("associated") else {
        panic!("it has that name");
    };
    assert!(!dialled && link.peer == *between.near.id());
    assert_eq!((link.core, link.peer_core), (CoreId(0), CoreId(0)));
    let path = between.path(SINK);
    let sink = between
        .near
        .run(move |node| async move { sink_at(&node, &path).await });
    between.near.until("quiet", |now| now.in_flight == 0);
    between.far.until("quiet", |now| now.in_flight == 0);
    // Held on their way, these are lost with the connection, and sent again.
    between
        .proxy
        .change(|faults| faults.to_upstream.stalled = true);
    between.near.run(move |_| async move {
        for number in 1..=4 {
            sink.try_tell(record(number, 10)).expect("there is room");
        }
    });
    between.until("bytes on their way", |now| now.bytes_held > 0);
    between.proxy.cut_all(Ending::Reset);
    let NodeEvent::Lost {
        link, reason, over, ..
    } = near.next()
    else {
        panic!("the loss comes next");
    };
    assert_eq!((link.peer, reason), (between.far.id().clone(), "broken"));
    assert!(!over);
    between.proxy.set(Faults::default());
    assert_eq!(near.names(), ["resumed"]);
    assert_eq!(far.names(), ["lost", "resumed"]);
    let books = between.near.until("quiet", |now| now.in_flight == 0);
    assert_eq!((books.dead_sent, books.resumed), (0, 1));
}

#[test]
fn a_restarted_peer_is_told_with_both_starts() {
    let near = LiveNode::start();
    let heard = Heard::of(&near);
    let first = LiveNode::start_serving();
    let (address, old) = (first.address().clone(), first.id().uid);
    meet(&near, &first);
    first.stop();
    let NodeEvent::Lost { reason, .. } = heard.until("lost") else {
        panic!("it has that name");
    };
    assert_eq!(reason, "bye");
    let bind: std::net::SocketAddr = ([127, 0, 0, 1], address.port()).into();
    let second = LiveNode::start_serving_with(|builder| builder.bind(bind));
    meet(&near, &second);
    let NodeEvent::Restarted {
        old: told_old,
        new: told_new,
        address: told,
        ..
    } = heard.next()
    else {
        panic!("a restart comes next");
    };
    assert_eq!((told_old, told_new, told), (old, second.id().uid, address));
    assert_eq!(heard.names(), ["associated"]);
}

#[test]
fn a_refusal_is_told_on_both_sides() {
    let far = LiveNode::start_serving();
    let upstream: std::net::SocketAddr = ([127, 0, 0, 1], far.address().port()).into();
    // The far node does not know of it, so it takes who dials it for lost.
    let proxy = Proxy::start(upstream, Faults::default()).expect("a free port");
    let near = LiveNode::start();
    let (here, there) = (Heard::of(&near), Heard::of(&far));
    let path = format!("ringmesh://tests@{}/user/{ECHO}", proxy.address());
    near.run(|node| async move {
        let resolved = node.resolve::<EchoApi>(&path).await;
        assert!(resolved.is_err(), "it is not that node");
    });
    let (ours, theirs) = (here.until("refused"), there.until("refused"));
    let (
        NodeEvent::Refused { by, reason, .. },
        NodeEvent::Refused {
            by: by_them,
            reason: their_reason,
            ..
        },
    ) = (ours, theirs)
    else {
        panic!("they have that name");
    };
    assert_eq!(by.map(|by| by.port()), Some(proxy.address().port()));
    assert_eq!((by_them, their_reason), (None, reason));
}

#[test]
fn a_peer_that_takes_nothing_over_is_told_before_its_link_ends() {
    let between = Between::start_with(Faults::default(), |builder| {
        builder.settings(|settings| settings.grant_timeout = Duration::from_millis(600))
    });
    let heard = Heard::of(&between.near);
    let path = between.path(SINK);
    meet(&between.near, &between.far);
    assert_eq!(heard.names(), ["listening", "associated"]);
    let sink = between
        .near
        .run(move |node| async move { sink_at(&node, &path).await });
    between.near.until("quiet", |now| now.in_flight == 0);
    between.proxy.change(|faults| faults.to_client.dead = true);
    let told = between.near.run(move |_| async move {
        (1..=3).all(|number| sink.try_tell(record(number, 10)).is_ok())
    });
    assert!(told);
    let NodeEvent::Stalled {
        in_flight_bytes, ..
    } = heard.next()
    else {
        panic!("a standstill comes next");
    };
    assert!(in_flight_bytes > 0);
    let NodeEvent::Lost { reason, .. } = heard.next() else {
        panic!("the loss comes next");
    };
    assert_eq!(reason, "grant_stall");
    let NodeEvent::Dropped {
        messages, received, ..
    } = heard.next()
    else {
        panic!("what it lost comes next");
    };
    assert_eq!((messages, received), (3, false));
    assert_eq!(between.near.counters().dead_sent, 3);
}

#[test]
fn a_message_too_long_is_told_once_for_its_link() {
    let between = Between::start(Faults::default());
    let heard = Heard::of(&between.near);
    meet(&between.near, &between.far);
    let path = between.path(SINK);
    between.near.run(move |node| async move {
        let sink = sink_at(&node, &path).await;
        for number in 1..=5 {
            let refused = sink.try_tell(record(number, 3 << 20));
            assert!(matches!(refused, Err(SendError::TooLarge { .. })));
        }
    });
    assert_eq!(heard.names(), ["listening", "associated", "oversize"]);
    between.proxy.cut_all(Ending::Reset);
    assert_eq!(heard.names(), ["lost"]);
}

#[test]
fn a_frame_too_long_of_a_peer_is_told_and_ends_the_link() {
    let node = LiveNode::start_serving();
    let heard = Heard::of(&node);
    let mut peer = RawPeer::link(node.id());
    let mut header = vec![0; 16];
    header[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    peer.send(&header);
    assert_eq!(heard.names(), ["listening", "associated"]);
    let event = heard.next();
    assert!(
        matches!(event, NodeEvent::Oversize { received: true, .. }),
        "{event:?}"
    );
    assert_eq!(heard.names(), ["lost"]);
}

#[test]
fn a_subscription_of_any_core_hears_the_links_of_all_and_ends_with_the_node() {
    let near = LiveNode::of_cores(2);
    let (said, heard) = channel();
    near.run(|node| async move {
        let listen = |node: Node| async move {
            let events = node.events();
            said.send(None).expect("somebody waits");
            tell(events, |event| said.send(Some(event)).is_ok()).await;
        };
        let spawned = node.spawn_task_on(CoreId(1), listen).await;
        spawned.expect("room for a task");
    });
    let next = || heard.recv_timeout(WAIT).expect("an event comes");
    assert_eq!(next(), None);
    let far = LiveNode::start_serving();
    meet(&near, &far);
    assert_eq!(next().map(|event| event.label()), Some("listening"));
    let event = next().expect("an event");
    let link = event.link().expect("of a link");
    assert_eq!((event.label(), link.core), ("associated", CoreId(0)));
    let (kept, keep) = channel();
    near.run(|node| async move { kept.send(node.events()).expect("somebody waits") });
    let mut kept = keep.recv_timeout(WAIT).expect("a subscription");
    near.stop();
    // What it did not read is still there, and then the end.
    let names: Vec<_> = std::iter::from_fn(|| kept.try_next())
        .map(|event| event.label())
        .collect();
    assert_eq!(names, ["listening", "lost"]);
    assert_eq!(kept.missed(), 0);
}

/// Panics when it is called.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("an alarm");
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_an_event() {
    let near = LiveNode::start();
    let heard = Heard::of(&near);
    let mut alarmed = near.run(|node| async move { node.events() });
    let first = alarmed.try_next().map(|event| event.label());
    assert_eq!(first, Some("listening"));
    let waker = Waker::from(Arc::new(Alarm));
    {
        let mut waiting = pin!(alarmed.next());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }
    let far = LiveNode::start_serving();
    meet(&near, &far);
    assert_eq!(heard.names(), ["listening", "associated"]);
    let next = alarmed.try_next().map(|event| event.label());
    assert_eq!(next, Some("associated"));
    near.until("the panic", |now| now.panics == 1);
}
