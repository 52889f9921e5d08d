//! Messages that are passed on from the receive buffer they came in.

use bytes::Bytes;
use ringmesh::{Actor, Cx, Handler, LaterHandler, Msg, Ref, ReplyTo, later_handler, protocol};
use ringmesh_proto::limits::COPIED_BYTES_MAX;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::account;

protocol! { PasserApi = "tests.passer" { Echo, Record } }

/// Passes everything on to the node behind it.
struct Passer {
    echo: Ref<EchoApi>,
    sink: Ref<SinkApi>,
}

impl Actor for Passer {
    type Api = PasserApi;
}

#[later_handler]
impl LaterHandler<Echo> for Passer {
    fn handle(&mut self, echo: Msg<Echo>, reply: ReplyTo<Echo>, _: &mut Cx<'_, Self>) {
        reply.forward(echo, &self.echo).expect("room");
    }
}

impl Handler<Record> for Passer {
    fn handle(&mut self, record: Msg<Record>, cx: &mut Cx<'_, Self>) {
        cx.forward(record, &self.sink).expect("room");
    }
}

/// An echo and a sink at the back, and a passer to them on `front`.
fn start(front: &LiveNode) -> LiveNode {
    let back = LiveNode::start_serving();
    let (echo, sink) = (back.path(ECHO), back.path(SINK));
    front.run(move |node| async move {
        let echo = node.resolve(&echo).await.expect("it is there");
        let sink = node.resolve(&sink).await.expect("it is there");
        node.spawn_named("passer", Passer { echo, sink })
            .expect("a free name");
    });
    back
}

/// Bytes that no other message has.
fn body(number: u64, len: usize) -> Bytes {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(number + 7) >> 3) as u8)
        .collect()
}

/// Far more bytes than there are receive buffers: they come home when the next node has them.
#[test]
fn questions_and_answers_go_over_three_nodes_without_a_copy() {
    let front = LiveNode::start();
    let back = start(&front);
    let client = LiveNode::start();
    let path = front.path("passer");
    let rounds = [(64 << 10, 100), (5000, 400)];
    client.run(move |node| async move {
        let passer: Ref<PasserApi> = node.resolve(&path).await.expect("it is there");
        for (len, count) in rounds {
            for number in 0..count {
                let body = body(number, len);
                let echo = Echo {
                    number,
                    body: body.clone(),
                };
                let answer = passer.ask(echo).await.expect("an answer");
                assert_eq!(answer.number.to_native(), number);
                assert!(*answer.body == *body, "the bytes of {number} are others");
            }
        }
    });
    for node in [&client, &front, &back] {
        assert_closed(&node.until("quiet", |now| now.in_flight == 0));
    }
    let books = front.counters();
    assert_eq!(books.forwarded_by_reference, 2 * 500, "{books:#?}");
    assert_eq!(books.frames_copied_pinned, 0, "{books:#?}");
    assert_eq!(client.counters().forwarded_by_reference, 0);
}

#[test]
fn as_much_as_the_limit_is_copied_and_one_over_it_is_not() {
    let front = LiveNode::start();
    let back = start(&front);
    let client = LiveNode::start();
    let path = front.path("passer");
    let record = |number, len| Record {
        number,
        body: body(number, len),
    };
    let most = COPIED_BYTES_MAX - make::archived(&record(0, 0)).len();
    let records = [most - 1, most, most + 1].map(|len| record(len as u64, len));
    let lengths = records.each_ref().map(|it| make::archived(it).len());
    assert_eq!(lengths[1..], [COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1]);
    for record in records {
        let (path, number) = (path.clone(), record.number);
        client.run(move |node| async move {
            let passer: Ref<PasserApi> = node.resolve(&path).await.expect("it is there");
            passer.tell(record).await.expect("room");
        });
        for node in [&client, &front] {
            node.until("it is taken over", |now| now.in_flight == 0);
        }
        let shared = u64::from(number > most as u64);
        assert_eq!(front.counters().forwarded_by_reference, shared);
        assert_eq!(account(&back).highest, number);
    }
    assert_closed(&front.until("quiet", |now| now.in_flight == 0));
}

/// A frame that comes in two halves is put together in memory that grows with the longest, and is
/// used again: what is passed on out of it must not keep far more than it fills.
#[test]
fn what_would_keep_more_than_four_times_its_length_is_copied() {
    // The memory is of 32 KiB behind the first, of which a quarter is 8 KiB.
    const LENGTHS: [(usize, bool); 5] = [
        (30_000, true),
        (5000, false),
        (7500, false),
        (9000, true),
        (6000, false),
    ];
    let front = LiveNode::start();
    let back = start(&front);
    let path = front.path("passer");
    let passer = front.run(|node| async move {
        let passer: Ref<PasserApi> = node.resolve(&path).await.expect("it is there");
        make::target_of(&passer)
    });
    let mut peer = RawPeer::link(front.id());
    peer.send(&make::definitions::<Record>(passer));
    let mut shared = 0;
    for (number, (len, is_shared)) in (1..).zip(LENGTHS) {
        let body = body(number, len);
        let frame = make::tell(&Record { number, body });
        let before = front.until("quiet", |now| now.in_flight == 0);
        let half = frame.len() / 2;
        let (first, second) = frame.split_at(half);
        peer.send(first);
        let all = before.bytes_received + half as u64;
        front.until("the half", move |now| now.bytes_received >= all);
        peer.send(second);
        front.until("it is passed on", move |now| now.received > before.received);
        shared += u64::from(is_shared);
        let books = front.until("it is taken over", |now| now.in_flight == 0);
        assert_eq!(books.forwarded_by_reference, shared, "{len} bytes");
        assert_eq!(books.frames_copied_pinned, 0, "no buffer was short");
        assert_closed(&books);
    }
    let seen = account(&back);
    assert_eq!((seen.count, seen.out_of_order), (LENGTHS.len() as u64, 0));
}

/// Within a node the bytes go to another thread, and are copied whatever their number.
#[test]
fn within_a_node_everything_is_copied() {
    let node = LiveNode::start_serving();
    let (echo, sink) = (node.path(ECHO), node.path(SINK));
    let client = LiveNode::start();
    node.run(move |node| async move {
        let echo = node.resolve(&echo).await.expect("it is there");
        let sink = node.resolve(&sink).await.expect("it is there");
        node.spawn_named("passer", Passer { echo, sink })
            .expect("a free name");
    });
    let path = node.path("passer");
    client.run(move |node| async move {
        let passer: Ref<PasserApi> = node.resolve(&path).await.expect("it is there");
        let body = body(1, 20_000);
        let echo = Echo {
            number: 1,
            body: body.clone(),
        };
        let answer = passer.ask(echo).await.expect("an answer");
        assert!(*answer.body == *body);
    });
    let books = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(books.forwarded_by_reference, 0, "{books:#?}");
}
