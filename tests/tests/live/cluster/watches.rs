//! Actors of members watch each other: the membership says when a member is gone.

use std::sync::mpsc::{Receiver, Sender, channel};

use ringmesh::{Actor, ActorId, Cx, Ended, Ref, Terminated, protocol};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cores::{books_of, run_on};
use ringmesh_tests::live::messages::{SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;

use super::{Frozen, cluster_of, of, watchful};

protocol! { GuardApi = "tests.guard" {} }

/// Watches another actor, and says what it hears.
struct Guard {
    whom: Ref<SinkApi>,
    said: Sender<(ActorId, Ended)>,
}

impl Actor for Guard {
    type Api = GuardApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.watch(&self.whom).expect("room");
    }

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        let _ = self.said.send((who.id(), who.why()));
    }
}

/// Has the sink of `whom` watched from another core than the control core.
fn guard(by: &LiveNode, whom: Ref<SinkApi>, said: &Sender<(ActorId, Ended)>) -> ActorId {
    let said = said.clone();
    run_on(by, 1, move |node| async move {
        let id = whom.id();
        node.spawn(Guard { whom, said }).expect("room");
        id
    })
}

fn sink_of(whom: &LiveNode, by: &LiveNode) -> Ref<SinkApi> {
    let path = whom.path(SINK);
    by.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

fn until_reachable(node: &LiveNode, others: [&LiveNode; 2], are_reachable: bool) {
    let uids = others.map(|it| it.id().uid);
    node.until_so("another reachability", move |node| {
        let state = of(node).state();
        let are_so = uids.map(|uid| state.is_unreachable(uid) != are_reachable);
        are_so == [true; 2] && state.has_quorum() == are_reachable
    });
}

fn next(heard: &Receiver<(ActorId, Ended)>) -> (ActorId, Ended) {
    heard.recv_timeout(WAIT).expect("word of an end")
}

#[test]
fn watches_of_members_end_once_when_they_are_removed_and_not_when_they_are_silent() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    let [here, leaver, lost] = &nodes[..] else {
        panic!("three nodes");
    };
    let (said, heard) = channel();
    let sinks = [sink_of(leaver, here), sink_of(lost, here)];
    let [left, gone] = sinks.clone().map(|sink| guard(here, sink, &said));
    for node in [leaver, lost] {
        node.until("a watch that is declared", |books| books.watches_far == 1);
    }
    // The lone survivor has no quorum, and its watches go on.
    let frozen = [leaver, lost].map(Frozen::freeze);
    until_reachable(here, [leaver, lost], false);
    assert!(heard.try_recv().is_err(), "unreachable is not removed");
    frozen.into_iter().for_each(Frozen::thaw);
    until_reachable(here, [leaver, lost], true);
    assert!(heard.try_recv().is_err(), "they were never gone");
    assert_eq!(here.counters().heartbeats, 0, "the monitor alone asks");
    let address = lost.address().clone();
    let down = run_on(here, 1, |node| async move { of(&node).down(address).await });
    down.expect("it is a member");
    assert_eq!(next(&heard), (gone, Ended::NodeLost));
    let leave = run_on(leaver, 1, |node| async move { of(&node).leave().await });
    leave.expect("it is a member");
    let (who, why) = next(&heard);
    assert_eq!(who, left);
    assert!(matches!(why, Ended::NodeLost | Ended::Stopped), "{why:?}");
    // At once, and nothing else came in between.
    for sink in sinks {
        let again = guard(here, sink, &said);
        assert_eq!(next(&heard), (again, Ended::NodeLost));
    }
    here.until("no watches", |books| books.watches_far == 0);
    assert!(heard.try_recv().is_err(), "each once");
    books_of(here).iter().for_each(assert_closed);
}
