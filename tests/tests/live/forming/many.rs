//! More nodes at once than a core may know.

use std::net::TcpListener;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh::{Address, AskError, AskPhase, CoreId, Node, Ref, SendError};
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, EchoApi, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::watched::account;

use super::{Spot, hand, question, record, sized};

const NODES: usize = 100;
const PEERS_MAX: usize = 40;

/// Where nobody listens, so many times.
fn nobody() -> Vec<Address> {
    let bind = |_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let listeners: Vec<TcpListener> = (0..NODES).map(bind).collect();
    let address = |listener: &TcpListener| {
        let port = listener.local_addr().expect("it is bound").port();
        Address::new(SYSTEM, "127.0.0.1", port).expect("an address")
    };
    listeners.iter().map(address).collect()
}

#[test]
fn a_hundred_that_are_not_there_keep_within_the_bound_and_leave_their_places() {
    let sender = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.dial_timeout = Duration::from_millis(400);
            settings.peers_max = PEERS_MAX;
        })
    });
    let spots: Vec<Spot> = nobody().into_iter().map(Spot::nowhere).collect();
    let refs = hand(&sender, &spots);
    let sinks: Vec<Ref<SinkApi>> = refs.into_iter().map(|(sink, _)| sink).collect();
    let (taken, links) = sender.run(move |node| async move {
        let mut taken = 0;
        for sink in sinks {
            match sink.try_tell(record(1)) {
                Ok(()) => taken += 1,
                // The place of its node may be another's by now.
                Err(SendError::Full(_) | SendError::Unreachable(_) | SendError::NotRunning(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        (taken, node.links().await.len())
    });
    // One place is the raw peer's.
    assert_eq!((taken, links), (PEERS_MAX as u64 - 1, PEERS_MAX));
    let books = sender.until("their end", |now| now.in_flight == 0);
    assert_eq!(books.dead_unsent, taken);
    assert_closed(&books);
    let mut events = sender.run(|node| async move { node.events() });
    let far = LiveNode::start();
    let (sink, _) = hand(&sender, &[Spot::on(&far)])[0];
    sender.run(move |_| async move { sink.try_tell(record(1)).expect("a place") });
    sender.until("rest", |now| now.in_flight == 0);
    assert_eq!(account(&far).count, 1);
    // A place for who handed it over, and one for the node.
    let all = std::iter::from_fn(|| events.try_next());
    let forgotten = all.filter(|event| event.label() == "forgotten");
    assert_eq!(forgotten.count(), 2);
    assert_closed(&sender.counters());
}

#[test]
fn a_core_that_knows_all_it_may_says_the_same_of_every_send() {
    // Of each core and lane: the other node takes the place on core 1.
    let client = LiveNode::start_with(|builder| {
        builder.cores(2).settings(|settings| settings.peers_max = 1)
    });
    let (known, other) = (LiveNode::start_serving(), LiveNode::start_serving());
    let (known, sink, echo) = (known.path(SINK), other.path(SINK), other.path(ECHO));
    let told = client.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&sink).await.expect("it is there");
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("it is there");
        let (said, heard) = oneshot::channel();
        let task = move |node: Node| async move {
            let known: Ref<SinkApi> = node.resolve(&known).await.expect("the only place");
            known.tell(record(1)).await.expect("room");
            let tells = [
                sink.try_tell(record(1)),
                sink.tell(record(1)).await,
                sink.try_tell(sized(1, 1 << 20)),
                sink.tell(sized(1, 1 << 20)).await,
            ];
            let asked = echo.ask(question(1)).await.err();
            let told: Vec<_> = tells.into_iter().map(Result::err).collect();
            said.send((told, asked)).expect("somebody waits");
        };
        node.spawn_task_on(CoreId(1), task).await.expect("room");
        heard.await.expect("the task ends")
    });
    for error in &told.0 {
        assert!(matches!(error, Some(SendError::Unreachable(_))), "{told:?}");
    }
    let phase = AskPhase::Queued;
    assert_eq!(told.1, Some(AskError::Unreachable { phase }));
}
