//! What a node sends to a client: over the links that the client made, or not at all.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ringmesh::testkit::TestProbe;
use ringmesh::{
    Actor, AskError, AskPhase, CoreId, Cx, Handler, LinkState, Msg, Node, Ref, ResolveError,
    SendError, WatchError, message, protocol,
};
use ringmesh_tests::live::cores::{run_on, settled};
use ringmesh_tests::live::messages::{Recall, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;

use super::{as_client, found, own, record};

const RECORDS: u64 = 50;

/// Has the reader send records to a sink.
#[message(id = "tests.client.Visit", v = 1, reply = Visited)]
struct Visit {
    sink: Ref<SinkApi>,
}

#[message(id = "tests.client.Visited", v = 1)]
struct Visited {
    /// Whether it was a client.
    client: bool,
}

protocol! { HostApi = "tests.client.host" { Visit } }

/// Sends records to whoever visits, and shows the ref to the test.
struct Host(Sender<Ref<SinkApi>>);

impl Actor for Host {
    type Api = HostApi;
}

impl Handler<Visit> for Host {
    fn handle(&mut self, visit: Msg<Visit>, cx: &mut Cx<'_, Self>) -> Visited {
        let sink: Ref<SinkApi> = visit.sink.get();
        for number in 1..=RECORDS {
            sink.try_tell(record(number)).expect("the link it came on");
        }
        let _ = self.0.send(sink);
        let client = cx.is_from_client();
        Visited { client }
    }
}

async fn count(sink: Ref<SinkApi>) -> u64 {
    let account = sink.ask(Recall).await.expect("it runs").deserialize();
    assert_eq!(account.out_of_order, 0);
    account.count
}

/// Visits, and says whether it was taken for a client.
fn visit(by: &LiveNode, host: Ref<HostApi>, sink: Ref<SinkApi>) -> bool {
    by.run(move |_| async move {
        let visited = host.ask(Visit { sink }).await;
        visited.expect("an answer").client
    })
}

/// Waits until the client's sink has seen so many records.
fn until_seen(client: &LiveNode, sink: Ref<SinkApi>, records: u64) {
    client.run(move |node| async move {
        while count(sink).await < records {
            node.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_client_is_sent_to_over_its_own_links_and_never_dialled_for_others() {
    let soon = |settings: &mut ringmesh::Settings| {
        settings.idle_timeout = Duration::from_millis(60);
    };
    let server = LiveNode::start_with(|builder| builder.cores(2).settings(soon));
    let client = LiveNode::start_with(|builder| as_client(builder).settings(soon));
    let (shown, refs) = channel();
    server.run(move |node| async move {
        let host = node.spawn_named("host", Host(shown)).expect("room");
        assert_eq!(node.register_for_clients(&host), Ok(true));
    });
    let host = found::<HostApi>(&client, &server, "host");
    let sink =
        client.run(|node| async move { node.spawn_named("sink", Sink::default()).expect("room") });
    let is_client = visit(&client, host, sink);
    assert!(is_client);
    until_seen(&client, sink, RECORDS);
    let theirs = refs.recv().expect("it was visited");
    // The other core has no link with the client, and gets none: that is said at once.
    let begun = std::time::Instant::now();
    let refused = run_on(&server, 1, move |node| async move {
        let probe: TestProbe<SinkApi> = TestProbe::spawn(&node).expect("room");
        assert_eq!(probe.watch(&theirs), Err(WatchError::Client));
        assert!(matches!(
            theirs.try_tell(record(1)),
            Err(SendError::Unreachable(_))
        ));
        let told = theirs.tell(record(1)).await;
        assert!(matches!(told, Err(SendError::Unreachable(_))), "{told:?}");
        theirs.ask(Recall).await.map(drop)
    });
    let phase = AskPhase::Queued;
    assert_eq!(refused, Err(AskError::Unreachable { phase }));
    assert!(begun.elapsed() < Duration::from_secs(3), "it waited");
    // A link at rest is one of the client's: it is dialled for that.
    rests(&server);
    let woken = server.run(move |_| async move { theirs.tell(record(RECORDS + 1)).await.is_ok() });
    assert!(woken);
    until_seen(&client, sink, RECORDS + 1);
    let node = LiveNode::start_serving();
    let host = found::<HostApi>(&node, &server, "host");
    let is_client = visit(&node, host, own(&node, SINK));
    assert!(!is_client, "a node");
    let books = settled(&[&server, &client]);
    assert_eq!(
        (books[0].dialled, books[1].dialled),
        (1, 0),
        "to go on with it"
    );
    assert!(books[0].resumed >= 1, "{books:#?}");
    assert_eq!(books[2].accepted, 1, "{books:#?}");
}

/// Waits until the only link of a node rests.
fn rests(node: &LiveNode) {
    node.run(|node: Node| async move {
        loop {
            let links = node.links().await;
            if links.iter().all(|link| link.state == LinkState::Resting) && !links.is_empty() {
                return;
            }
            node.sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn nobody_makes_a_link_with_a_client_and_its_peer_finds_its_actors_over_its_own() {
    let server = super::serving(1, |builder| builder);
    let client = super::client();
    client.run(|node| async move {
        node.spawn_named("sink", Sink::default()).expect("room");
    });
    let path = client.path("sink");
    let refused = |by: &LiveNode, path: String| {
        by.run(move |node| async move {
            let found: Result<Ref<SinkApi>, _> = node.resolve(&path).await;
            matches!(found, Err(ResolveError::Refused { .. }))
        })
    };
    assert!(refused(&server, path.clone()), "a node");
    assert!(refused(&super::client(), path), "another client");
    found::<ringmesh_tests::live::messages::EchoApi>(&client, &server, "echo0");
    let sink = found::<SinkApi>(&server, &client, "sink");
    server.run(move |_| async move {
        sink.tell(record(1)).await.expect("a link");
        assert_eq!(count(sink).await, 1);
    });
    let its = own::<SinkApi>(&client, "sink");
    assert_eq!(its.id().core, CoreId(0));
    let books = settled(&[&server, &client]);
    assert_eq!((books[0].links, books[1].links), (1, 1));
}
