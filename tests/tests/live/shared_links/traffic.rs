//! Traffic of every core with every core.

use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use ringmesh::{Actor, CoreId, Cx, Handler, Msg, Node, Ref, SendError, message, protocol};
use ringmesh_proto::matrix::LinkMatrix;
use ringmesh_tests::live::cores::{balanced, books_of, on_core, run_on, settled, total};
use ringmesh_tests::live::messages::{
    Account, Echo, EchoApi, Echoer, Recall, Record, Sink, SinkApi,
};
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{CORES, capped, sparse};

const RECORDS: u64 = 400;
const QUESTIONS: u64 = 20;

/// Has each core keep a sink for every core of a peer, and an echo.
fn serve(node: &LiveNode, cores_there: usize) {
    node.run(move |node| async move {
        for core in node.cores() {
            for from in 0..cores_there {
                let name = format!("sink{}from{from}", core.0);
                let sink = node.spawn_named_on(core, &name, Sink::default).await;
                sink.expect("a free name");
            }
            let name = format!("echo{}", core.0);
            let echo = node.spawn_named_on(core, &name, Echoer::default).await;
            echo.expect("a free name");
        }
    });
}

/// Every core of `from` tells and asks every core of `to`, all at once.
fn talk(from: &LiveNode, to: &LiveNode, cores_there: usize) -> Pending<()> {
    let address = to.address().to_string();
    from.begin(move |node| async move {
        let mut talking = Vec::new();
        for core in node.cores() {
            let address = address.clone();
            let (said, heard) = oneshot::channel();
            let task = move |there: Node| async move {
                for to in 0..cores_there {
                    one_talk(&there, &address, to).await;
                }
                let _ = said.send(());
            };
            node.spawn_task_on(core, task).await.expect("room");
            talking.push(heard);
        }
        for talk in talking {
            talk.await.expect("the task ends");
        }
    })
}

async fn one_talk(there: &Node, address: &str, to: usize) {
    let path = |name: String| format!("{address}/user/{name}");
    let me = there.core().0;
    let sink = path(format!("sink{to}from{me}"));
    let sink: Ref<SinkApi> = there.resolve(&sink).await.expect("it is there");
    let echo: Ref<EchoApi> = there
        .resolve(&path(format!("echo{to}")))
        .await
        .expect("it is there");
    for number in 1..=RECORDS {
        let body = Bytes::from(vec![7; number as usize % 300]);
        sink.tell(Record { number, body }).await.expect("it runs");
        if number % (RECORDS / QUESTIONS) == 0 {
            let body = Bytes::from(vec![8; 2000]);
            let answer = echo.ask(Echo { number, body }).await.expect("an answer");
            assert_eq!(
                (answer.number.to_native(), answer.body.len()),
                (number, 2000)
            );
        }
    }
    let Account {
        count,
        out_of_order,
        ..
    } = sink.ask(Recall).await.expect("it runs").deserialize();
    // The question came behind them, on the same way.
    assert_eq!((count, out_of_order), (RECORDS, 0), "from {me} to {to}");
}

#[test]
fn every_core_reaches_every_core_in_order_over_as_few_links_as_are_allowed() {
    for (here, there, cap) in [(3, 4, 1), (4, 3, 2), (4, 4, 12), (2, 2, 4)] {
        let (first, second) = (capped(here, cap), capped(there, 1000));
        serve(&first, there);
        serve(&second, here);
        let talks = [talk(&first, &second, there), talk(&second, &first, here)];
        talks.into_iter().for_each(Pending::finish);
        let books = balanced(&[&first, &second]);
        assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
        // The smaller cap counts at both ends.
        let sizes = [here, there].map(|cores| u16::try_from(cores).unwrap());
        let matrix = LinkMatrix::new(sizes[0], sizes[1], u32::try_from(cap).unwrap());
        let links = [&first, &second].map(|node| total(&books_of(node), |book| book.links));
        assert_eq!(links, [u64::from(matrix.links()); 2], "{matrix:?}");
        let hops = total(&books, |book| book.hopped);
        let all = u32::from(sizes[0]) * u32::from(sizes[1]);
        assert_eq!(hops > 0, matrix.links() < all, "{hops} with {matrix:?}");
    }
}

/// Waits until every core of `node` has seen the end of its links.
fn see_links_end(node: &LiveNode) {
    node.run(|node| async move {
        for core in node.cores() {
            let quiet = |there: Node| async move {
                while there.counters().links > 0 {
                    there.sleep(Duration::from_millis(1)).await;
                }
            };
            on_core(&node, core, quiet).await;
        }
    });
}

#[test]
fn tunnels_end_with_their_links_and_new_ones_take_their_place() {
    let server = sparse(CORES);
    serve(&server, 0);
    for _ in 0..3 {
        let client = sparse(CORES);
        for core in 1..3 {
            let path = server.path(&format!("echo{core}"));
            run_on(&client, core, move |node| async move {
                let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
                for number in 0..QUESTIONS {
                    let body = Bytes::new();
                    let answer = echo.ask(Echo { number, body }).await.expect("an answer");
                    assert_eq!(answer.number, number);
                }
            });
        }
        let books = balanced(&[&server, &client]);
        assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
        client.stop();
        see_links_end(&server);
    }
    // Each question and its answer: and nothing was lost with a tunnel.
    let books = settled(&[&server]);
    assert_eq!(total(&books, |book| book.hopped), 3 * 2 * 2 * QUESTIONS);
    assert_eq!(total(&books, |book| book.dead_sent), 0);
}

#[message(id = "tests.WhoSends", v = 1, reply = Sender)]
struct WhoSends;

#[message(id = "tests.Sender", v = 1)]
struct Sender {
    address: String,
    uid: u64,
}

protocol! { GreeterApi = "tests.greeter" { WhoSends } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl Handler<WhoSends> for Greeter {
    fn handle(&mut self, _: Msg<WhoSends>, cx: &mut Cx<'_, Self>) -> Sender {
        let sender = cx.sender().expect("it comes on a link");
        Sender {
            address: sender.address.to_string(),
            uid: sender.uid.as_u64(),
        }
    }
}

#[test]
fn a_handler_knows_the_node_behind_a_message_that_changed_cores() {
    let (server, client) = (sparse(CORES), sparse(CORES));
    server.run(|node| async move {
        let greeter = node.spawn_named_on(CoreId(1), "greeter", || Greeter).await;
        greeter.expect("a free name");
    });
    let path = server.path("greeter");
    let sender = run_on(&client, 1, move |node| async move {
        let greeter: Ref<GreeterApi> = node.resolve(&path).await.expect("it is there");
        greeter
            .ask(WhoSends)
            .await
            .expect("an answer")
            .deserialize()
    });
    let expected = client.id();
    assert_eq!(sender.address, expected.address.to_string());
    assert_eq!(sender.uid, expected.uid.as_u64());
    assert!(
        total(&books_of(&server), |book| book.hopped) > 0,
        "it was another way"
    );
}

#[test]
fn a_ref_that_was_made_elsewhere_takes_the_way_there_is() {
    let (server, client) = (sparse(CORES), sparse(CORES));
    serve(&server, CORES);
    let path = server.path("sink2from2");
    // Core 0 looks it up; core 2 has never heard of that node, nor of its links.
    let sink = client.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("it is there");
        sink
    });
    let count = run_on(&client, 2, move |_| async move {
        for number in 1..=RECORDS {
            let mut record = Record {
                number,
                body: Bytes::new(),
            };
            while let Err(error) = sink.tell(record).await {
                let SendError::Full(back) = error else {
                    panic!("{error:?}");
                };
                record = back;
            }
        }
        sink.ask(Recall).await.expect("it runs").deserialize()
    });
    assert_eq!((count.count, count.out_of_order), (RECORDS, 0));
    // The last question and its answer too.
    let books = balanced(&[&client, &server]);
    assert_eq!(total(&books, |book| book.hopped), RECORDS + 2);
}
