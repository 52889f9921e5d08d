//! Messages for one of those under a path, and for all of them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ringmesh::pubsub::{
    NameError, Path, PathError, PathSender, PutError, SentToAll, SubscribeError, Topic,
};
use ringmesh::registry::RegisterError;
use ringmesh::{
    Actor, AsyncHandler, CoreId, Cx, Executed, Handler, Msg, Node, Ref, async_handler, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, run_on, total};
use ringmesh_tests::live::messages::{Echoed, Record};
use ringmesh_tests::live::node::LiveNode;

use super::{cluster_of, of, watchful};
use crate::actors::gate::Gate;

const DESK: Path<Record> = Path::new("tests/desk");

fn record(number: u64) -> Record {
    record_of(number, 32)
}

fn record_of(number: u64, bytes: usize) -> Record {
    Record {
        number,
        body: vec![7; bytes].into(),
    }
}

protocol! { ClerkApi = "tests.clerk" { Record } }

/// Says its own number for each record.
struct Clerk(u32, Sender<u32>);

impl Actor for Clerk {
    type Api = ClerkApi;
}

impl Handler<Record> for Clerk {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        let _ = self.1.send(self.0);
    }
}

/// Puts a clerk on a core of a node under the path, so that all know.
fn put(node: &LiveNode, core: u16, number: u32, said: &Sender<u32>) -> Ref<ClerkApi> {
    let said = said.clone();
    node.run(move |node| async move {
        let clerk = node
            .spawn_on(CoreId(core), move || Clerk(number, said))
            .await;
        let clerk = clerk.expect("room");
        let known = node.put_everywhere(&DESK, &clerk).await.expect("room");
        assert!(known.is_enough, "{known:?}");
        // What is there already stays as it is.
        node.put(&DESK, &clerk).await.expect("room");
        clerk
    })
}

fn desk(node: &Node) -> PathSender<Record> {
    node.path_sender(&DESK).expect("a path")
}

/// How many messages each of the clerks got.
fn shares(heard: &Receiver<u32>, count: usize) -> Vec<usize> {
    let mut shares = vec![0; 4];
    for _ in 0..count {
        shares[heard.recv_timeout(WAIT).expect("it comes") as usize] += 1;
    }
    shares
}

#[test]
fn what_is_sent_to_a_path_reaches_one_of_those_there_and_what_is_for_all_each_of_them() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (said, heard) = channel();
    for (number, (node, core)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
        put(&nodes[node], core, number as u32, &said);
    }
    for core in [0, 1] {
        run_on(&nodes[0], core, |node| async move {
            let desk = desk(&node).in_turn();
            for number in 0..80 {
                desk.send(record(number)).await.expect("room");
            }
        });
        let shares = shares(&heard, 80);
        assert!(shares.iter().all(|it| (19..=21).contains(it)), "{shares:?}");
    }
    nodes[0].run(|node| async move {
        let near = desk(&node).prefer_local();
        for number in 0..40 {
            near.try_send(record(number)).expect("room");
        }
    });
    let near = shares(&heard, 40);
    assert!(
        near[0] + near[1] == 40 && near[0] > 0 && near[1] > 0,
        "{near:?}"
    );
    nodes[0].run(|node| async move {
        let sent = desk(&node).send_to_all(record(0)).await.expect("room");
        assert_eq!(sent, SentToAll { told: 4, lost: 0 });
        let others = desk(&node).all_but_self();
        let sent = others.send_to_all_lossy(record(1)).expect("room");
        assert_eq!(sent, SentToAll { told: 2, lost: 0 });
        // The role is that of nobody else.
        let alone = desk(&node).role("nobody").send_to_all_lossy(record(1));
        assert_eq!(alone.expect("room").told, 2);
        // What is long takes the large lane.
        let long = desk(&node).all_but_self();
        let sent = long.send_to_all(record_of(2, 1 << 20)).await;
        assert_eq!(sent.expect("room").told, 2);
        let refused = desk(&node).send(record_of(3, 9 << 20)).await;
        assert!(matches!(refused, Err(PathError::TooLarge { .. })));
    });
    assert_eq!(shares(&heard, 10), [2, 2, 3, 3]);
    assert!(heard.try_recv().is_err());
}

#[test]
fn nobody_is_under_a_path_when_its_actors_have_gone_and_that_is_said() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (said, heard) = channel();
    nodes[0].run(|node| async move {
        let refused = desk(&node).try_send(record(7)).expect_err("nobody");
        assert_eq!(refused.executed(), Executed::No);
        assert_eq!(refused, PathError::Nobody { message: record(7) });
        let refused = desk(&node)
            .send_to_all(record(7))
            .await
            .expect_err("nobody");
        assert_eq!(refused.into_message(), record(7));
        for (name, why) in [("", NameError::Empty), ("a//b", NameError::Malformed)] {
            assert_eq!(Path::<Record>::named(name).err(), Some(why));
            assert_eq!(
                node.path_sender(&Path::<Record>::new("a//b")).err(),
                Some(NameError::Malformed)
            );
        }
        assert!(matches!(
            Path::<Record>::named("n".repeat(256)),
            Err(NameError::Overlong { length: 256, .. })
        ));
        assert_eq!(node.counters().sent_to_nobody, 2);
    });
    let first = put(&nodes[1], 0, 0, &said);
    let second = put(&nodes[1], 1, 1, &said);
    nodes[0].run(|node| async move {
        // Another type under that name is another path.
        let other = Path::<Echoed>::new("tests/desk");
        let message = Echoed {
            number: 1,
            body: Vec::new().into(),
        };
        let refused = node.path_sender(&other).expect("a path").try_send(message);
        assert!(matches!(refused, Err(PathError::Nobody { .. })));
        desk(&node).send(record(0)).await.expect("room");
    });
    shares(&heard, 1);
    nodes[1].run(move |node| async move {
        assert_eq!(node.remove(&DESK, &first).await, Ok(true));
        assert_eq!(node.remove(&DESK, &first).await, Ok(false));
        assert!(node.stop(&second));
        let until = |node: &Node| {
            let alone = desk(node).try_send(record(0));
            matches!(alone, Err(PathError::Nobody { .. }))
        };
        while !until(&node) {
            node.sleep(Duration::from_millis(1)).await;
        }
        let refused = node.put(&DESK, &second).await;
        assert_eq!(refused, Err(PutError::Register(RegisterError::NotRunning)));
        of(&node).leave().await.expect("it is a member");
        let refused = node.put(&DESK, &first).await;
        assert_eq!(refused, Err(PutError::Register(RegisterError::Leaving)));
        let topic = Topic::<Record>::new("tests.desk");
        let refused = node.subscribe(&topic).expect("a topic").begin_for(&first);
        assert_eq!(refused, Err(SubscribeError::Refused));
    });
    nodes[0].until_so("nobody", |node| {
        matches!(
            desk(node).try_send(record(0)),
            Err(PathError::Nobody { .. })
        )
    });
    nodes[0].run(move |node| async move {
        let refused = node.put(&DESK, &first).await;
        assert_eq!(refused, Err(PutError::Register(RegisterError::NotHere)));
    });
}

protocol! { SlowApi = "tests.slow-clerk" { Record } }

/// Handles nothing before the test opens its gate.
struct Slow(Gate);

impl Actor for Slow {
    type Api = SlowApi;
}

#[async_handler]
impl AsyncHandler<Record> for Slow {
    async fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.0.pass().await;
    }
}

#[test]
fn who_has_no_room_is_passed_over_and_waited_for_when_nobody_has() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let gate = Gate::default();
    let kept = gate.clone();
    let (said, heard) = channel();
    nodes[1].run(|node| async move {
        let slow = node.spawn(Slow(kept)).expect("room");
        node.put_everywhere(&DESK, &slow).await.expect("room");
    });
    nodes[0].run(|node| async move {
        let desk = desk(&node).timeout(Duration::from_millis(20));
        let mut sent = 0;
        let full = loop {
            match desk.send(record(sent)).await {
                Ok(()) => sent += 1,
                Err(full) => break full,
            }
            assert!(sent < 1 << 20, "nobody takes them");
        };
        assert_eq!(
            full,
            PathError::Full {
                message: record(sent)
            }
        );
        let lossy = desk
            .send_to_all_lossy(record(0))
            .expect("somebody is there");
        assert_eq!(lossy, SentToAll { told: 0, lost: 1 });
    });
    // Whoever has room gets all.
    put(&nodes[0], 0, 3, &said);
    nodes[0].run(|node| async move {
        for number in 0..100 {
            desk(&node).try_send(record(number)).expect("room");
        }
        let all = desk(&node).timeout(Duration::from_millis(20));
        let sent = all.send_to_all(record(0)).await.expect("somebody is there");
        assert_eq!(sent, SentToAll { told: 1, lost: 1 });
    });
    assert_eq!(shares(&heard, 101), [0, 0, 0, 101]);
    let waiting = nodes[0].begin(|node| async move {
        let far = desk(&node).all_but_self().timeout(WAIT);
        far.send_to_all(record(0)).await.expect("somebody is there")
    });
    gate.open();
    assert_eq!(waiting.finish(), SentToAll { told: 1, lost: 0 });
    assert_eq!(total(&books_of(&nodes[0]), |it| it.sends_lost), 2);
}

#[test]
fn who_is_busy_or_has_ended_is_no_reason_to_wait_while_others_of_its_core_have_room() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (said, heard) = channel();
    nodes[1].run(|node| async move {
        let slow = node.spawn(Slow(Gate::default())).expect("room");
        node.put_everywhere(&DESK, &slow).await.expect("room");
        let brief = desk(&node).timeout(Duration::from_millis(20));
        while brief.send(record(0)).await.is_ok() {}
    });
    put(&nodes[1], 0, 3, &said);
    nodes[1].run(|node| async move {
        for number in 0..100 {
            desk(&node).try_send(record(number)).expect("room");
            desk(&node)
                .prefer_local()
                .send(record(number))
                .await
                .expect("room");
        }
    });
    assert_eq!(shares(&heard, 200), [0, 0, 0, 200]);
    let (said, _heard) = channel();
    nodes[0].run(move |node| async move {
        let path = Path::<Record>::new("tests/brief");
        let clerk = node.spawn(Clerk(0, said)).expect("room");
        node.put_everywhere(&path, &clerk).await.expect("room");
        assert!(node.stop(&clerk));
        let sender = node.path_sender(&path).expect("a path");
        loop {
            match sender.try_send(record(0)) {
                Ok(()) => {}
                refused => break assert!(matches!(refused, Err(PathError::Nobody { .. }))),
            }
            node.sleep(Duration::ZERO).await;
        }
        assert_eq!(node.counters().sent_to_nobody, 1);
    });
}
