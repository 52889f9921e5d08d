//! Refs in messages: what is named by one works wherever it is read.

use bytes::Bytes;
use ringmesh::{Actor, CoreId, Cx, Handler, Msg, Ref, SendError, message, protocol};
use ringmesh_tests::live::messages::{Account, EchoApi, Recall, Record, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;

const RECORDS: u64 = 100;

/// Has the reader send records to a sink.
#[message(id = "tests.Introduce", v = 1, reply = Introduced)]
struct Introduce {
    sink: Ref<SinkApi>,
}

/// The same ref, back where it came from.
#[message(id = "tests.Introduced", v = 1)]
struct Introduced {
    sink: Ref<SinkApi>,
}

/// Takes the ref for one of another protocol.
#[message(id = "tests.Confuse", v = 1, reply = Confused)]
struct Confuse {
    sink: Ref<SinkApi>,
}

#[message(id = "tests.Confused", v = 1)]
struct Confused {
    reached_nobody: bool,
}

protocol! { CourierApi = "tests.courier" { Introduce, Confuse } }

struct Courier;

impl Actor for Courier {
    type Api = CourierApi;
}

impl Handler<Introduce> for Courier {
    fn handle(&mut self, introduce: Msg<Introduce>, cx: &mut Cx<'_, Self>) -> Introduced {
        let sink: Ref<SinkApi> = introduce.sink.get();
        let send = async move {
            for number in 1..=RECORDS {
                let body = Bytes::from_static(b"delivered");
                sink.tell(Record { number, body })
                    .await
                    .expect("the sink is there");
            }
        };
        cx.node().spawn_task(send).expect("room for a task");
        Introduced { sink }
    }
}

impl Handler<Confuse> for Courier {
    fn handle(&mut self, confuse: Msg<Confuse>, _: &mut Cx<'_, Self>) -> Confused {
        let wrong: Ref<EchoApi> = confuse.sink.get();
        let message = ringmesh_tests::live::messages::Retire;
        let refused = wrong.try_tell(message);
        // The dial of nobody's node fails at once.
        let reached_nobody = matches!(
            refused,
            Err(SendError::NotRunning(_) | SendError::Unreachable(_) | SendError::OtherCore(_))
        );
        Confused { reached_nobody }
    }
}

#[test]
fn a_ref_that_was_sent_to_a_third_node_works_there() {
    introduce_a_third(1000);
}

#[test]
fn a_ref_that_was_sent_to_a_third_node_works_there_over_shared_links() {
    introduce_a_third(1);
}

fn introduce_a_third(links_max: usize) {
    let [asking, courier, third] = [1, 3, 3].map(|cores| {
        LiveNode::start_with(|builder| {
            builder.cores(cores).settings(|settings| {
                settings.links_per_association_max = links_max;
            })
        })
    });
    courier.run(|node| async move {
        let spawned = node.spawn_named_on(CoreId(2), "courier", || Courier).await;
        spawned.expect("a free name");
    });
    third.run(|node| async move {
        let spawned = node.spawn_named_on(CoreId(2), SINK, Sink::default).await;
        spawned.expect("a free name");
    });
    let (to_courier, to_sink) = (courier.path("courier"), third.path(SINK));
    let account = asking.run(|node| async move {
        let courier: Ref<CourierApi> = node.resolve(&to_courier).await.expect("it is there");
        let sink: Ref<SinkApi> = node.resolve(&to_sink).await.expect("it is there");
        let introduced = courier.ask(Introduce { sink }).await.expect("it answers");
        assert_eq!(introduced.sink.get::<SinkApi>(), sink, "the same actor");
        assert_eq!(introduced.deserialize().sink, sink);
        all_records(sink).await
    });
    assert_eq!((account.count, account.out_of_order), (RECORDS, 0));
}

#[test]
fn a_ref_comes_home_to_its_own_node_and_to_another_core_of_it() {
    let [home, courier] = [LiveNode::of_cores(2), LiveNode::of_cores(1)];
    courier.run(|node| async move {
        node.spawn_named("courier", Courier).expect("a free name");
    });
    let to_courier = courier.path("courier");
    home.run(|node| async move {
        let away: Ref<CourierApi> = node.resolve(&to_courier).await.expect("it is there");
        let beside = node.spawn_on(CoreId(1), || Courier).await.expect("room");
        for courier in [away, beside] {
            let sink = node.spawn(Sink::default()).expect("room");
            let introduced = courier.ask(Introduce { sink }).await.expect("it answers");
            assert_eq!(introduced.sink.get::<SinkApi>(), sink);
            assert_eq!(all_records(sink).await.count, RECORDS);
        }
    });
}

#[test]
fn a_ref_that_is_read_as_one_of_another_protocol_reaches_nobody() {
    let node = LiveNode::of_cores(1);
    node.run(|node| async move {
        let courier = node.spawn(Courier).expect("room");
        let sink = node.spawn(Sink::default()).expect("room");
        let confused = courier.ask(Confuse { sink }).await.expect("it answers");
        assert!(confused.reached_nobody);
    });
}

async fn all_records(sink: Ref<SinkApi>) -> Account {
    loop {
        let account = sink.ask(Recall).await.expect("it answers").deserialize();
        if account.count >= RECORDS {
            return account;
        }
    }
}
