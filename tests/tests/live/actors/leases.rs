//! Messages that a handler keeps: whatever is kept, the receive buffers do not run out.

use bytes::Bytes;
use ringmesh::{Actor, Cx, Handler, Msg, Ref, message, protocol};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

const LEASES: u64 = 10_000;
const BODY_BYTES: usize = 1000;

#[message(id = "tests.Keep", v = 1)]
struct Keep {
    number: u64,
    body: Bytes,
}

#[message(id = "tests.Kept", v = 1, reply = Sums)]
struct Kept;

#[message(id = "tests.Sums", v = 1)]
struct Sums {
    count: u64,
    numbers: u64,
    body_bytes: u64,
}

protocol! { HoarderApi = "tests.hoarder" { Keep, Kept } }

/// Keeps the lease of every message for ever.
#[derive(Default)]
struct Hoarder(Vec<Msg<Keep>>);

impl Actor for Hoarder {
    type Api = HoarderApi;
}

impl Handler<Keep> for Hoarder {
    fn handle(&mut self, keep: Msg<Keep>, _: &mut Cx<'_, Self>) {
        self.0.push(keep);
    }
}

impl Handler<Kept> for Hoarder {
    fn handle(&mut self, _: Msg<Kept>, _: &mut Cx<'_, Self>) -> Sums {
        let bytes = |keep: &Msg<Keep>| keep.body.iter().filter(|byte| **byte == 7).count();
        Sums {
            count: self.0.len() as u64,
            numbers: self.0.iter().map(|keep| keep.number.to_native()).sum(),
            body_bytes: self.0.iter().map(bytes).sum::<usize>() as u64,
        }
    }
}

#[test]
fn ten_thousand_leases_are_kept_and_the_buffers_do_not_run_out() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named("hoarder", Hoarder::default())
            .expect("a free name");
    });
    let paths = (server.path("hoarder"), server.path(ECHO));
    client.run(move |node| async move {
        let hoarder: Ref<HoarderApi> = node.resolve(&paths.0).await.expect("it is there");
        for number in 0..LEASES {
            let body = Bytes::from(vec![7; BODY_BYTES]);
            hoarder.tell(Keep { number, body }).await.expect("room");
        }
        let sums = hoarder.ask(Kept).await.expect("an answer").deserialize();
        assert_eq!(sums.count, LEASES);
        assert_eq!(sums.numbers, LEASES * (LEASES - 1) / 2);
        assert_eq!(sums.body_bytes, LEASES * BODY_BYTES as u64);
        let echo: Ref<EchoApi> = node.resolve(&paths.1).await.expect("it is there");
        for number in 0..100 {
            let body = Bytes::from(vec![1; 100_000]);
            let answer = echo.ask(Echo { number, body }).await.expect("an answer");
            assert_eq!(
                (answer.number.to_native(), answer.body.len()),
                (number, 100_000)
            );
        }
    });
    let books = server.counters();
    assert_closed(&books);
    // More than a quarter of the buffers is never kept: the rest was copied, and counted.
    assert!(books.frames_copied_pinned > LEASES / 4, "{books:#?}");
}
