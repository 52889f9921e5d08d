//! Bytes that are passed on from where they were received, over links that lose their connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, Counters, Cx, Engine, Handler, Msg, Node, NodeBuilder, Ref, message, protocol,
};
use ringmesh_tests::live::books::{assert_closed, assert_closed_at_the_end};
use ringmesh_tests::live::cores::{balanced, total};
use ringmesh_tests::live::cutter::Cuts;
use ringmesh_tests::live::messages::Account;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::seed;

use super::Pair;

const NAME: &str = "station";

#[message(id = "tests.Onward", v = 1, reply = Taken)]
struct Onward {
    number: u64,
    body: Bytes,
}

/// Whether it was passed on, or noted.
#[message(id = "tests.Taken", v = 1)]
struct Taken {
    so: bool,
}

#[message(id = "tests.Seen", v = 1, reply = Account)]
struct Seen;

protocol! { StationApi = "tests.station" { Onward, Seen } }

/// Passes on what it gets, or notes it where the way ends.
#[derive(Default)]
struct Station {
    next: Option<Ref<StationApi>>,
    seen: Account,
}

impl Actor for Station {
    type Api = StationApi;
}

impl Handler<Onward> for Station {
    fn handle(&mut self, onward: Msg<Onward>, cx: &mut Cx<'_, Self>) -> Taken {
        let so = match &self.next {
            Some(next) => cx.forward(onward, next).is_ok(),
            None => {
                self.seen
                    .note_record(onward.number.to_native(), &onward.body);
                true
            }
        };
        Taken { so }
    }
}

impl Handler<Seen> for Station {
    fn handle(&mut self, _: Msg<Seen>, _: &mut Cx<'_, Self>) -> Account {
        self.seen.clone()
    }
}

/// A way over three nodes, the second half of which can be cut.
struct Way {
    client: LiveNode,
    pair: Pair,
    station: Ref<StationApi>,
    /// What the far end is to see.
    sent: Account,
}

impl Way {
    fn start(cuts: &Arc<Cuts>, change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let pair = Pair::start(cuts, change);
        let client = LiveNode::start();
        let [near, far] = &pair.nodes;
        far.run(|node| async move {
            node.spawn_named(NAME, Station::default())
                .expect("a free name");
        });
        let (next, nobody) = (far.path(NAME), client.path("nobody"));
        near.run(move |node| async move {
            // Dials the client, so that nothing cuts this link.
            node.resolve::<StationApi>(&nobody)
                .await
                .expect_err("nobody");
            let next = Some(node.resolve(&next).await.expect("it is there"));
            let seen = Account::default();
            node.spawn_named(NAME, Station { next, seen })
                .expect("a free name");
        });
        let path = near.path(NAME);
        let station =
            client.run(move |node| async move { node.resolve(&path).await.expect("it is there") });
        let sent = Account::default();
        Self {
            client,
            pair,
            station,
            sent,
        }
    }

    /// Sends so many messages on their way, each when the one before was passed on.
    fn send(&mut self, count: u64, len: usize) {
        let (station, mut sent) = (self.station, self.sent.clone());
        self.sent = self.client.run(move |node| async move {
            // Each is another part of it.
            let whole: Bytes = (0..len + 256).map(|at| ((at * at) >> 4) as u8).collect();
            for number in sent.count..sent.count + count {
                let from = (number % 256) as usize;
                let body = whole.slice(from..from + len);
                sent.note_record(number, &body);
                while !pass(&node, station, number, &body).await {}
            }
            sent
        });
    }

    /// Sends until three in a row were refused, and says how many found room before, and how many
    /// did not.
    fn fill(&mut self, len: usize) -> (u64, u64) {
        let (station, mut sent) = (self.station, self.sent.clone());
        let (sent, more, refused) = self.client.run(move |node| async move {
            let (mut more, mut refused, mut row) = (0, 0, 0);
            while row < 3 {
                let body = Bytes::from(vec![1; len]);
                if pass(&node, station, sent.count, &body).await {
                    sent.note_record(sent.count, &body);
                    (more, row) = (more + 1, 0);
                } else {
                    (refused, row) = (refused + 1, row + 1);
                }
            }
            (sent, more, refused)
        });
        self.sent = sent;
        (more, refused)
    }

    fn near(&self) -> Counters {
        self.pair.nodes[0].counters()
    }

    /// Waits until all is quiet, and checks that everything arrived, once and in order.
    fn arrived(&self) -> Vec<Counters> {
        let books = balanced(&[&self.client, &self.pair.nodes[0], &self.pair.nodes[1]]);
        assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
        let path = self.pair.nodes[1].path(NAME);
        let seen = self.pair.nodes[1].run(move |node| async move {
            let station: Ref<StationApi> = node.resolve(&path).await.expect("it is there");
            station.ask(Seen).await.expect("an answer").deserialize()
        });
        assert_eq!(seen, self.sent);
        books
    }
}

/// One attempt; a window that nobody empties is full for a while.
async fn pass(node: &Node, station: Ref<StationApi>, number: u64, body: &Bytes) -> bool {
    let body = body.clone();
    let taken = station.ask(Onward { number, body }).await;
    let so = taken.expect("an answer").so;
    if !so {
        node.sleep(Duration::from_millis(1)).await;
    }
    so
}

#[test]
fn passed_on_bytes_hold_a_quarter_of_the_buffers_at_most_until_they_are_acknowledged() {
    const SENT: u64 = 100;
    let mut way = Way::start(&Cuts::none(), |builder| builder);
    way.pair.cut_all(true);
    way.pair.nodes[0].until("the loss", |now| now.links == 1);
    way.send(SENT, 5000);
    let books = way.pair.nodes[0].until("the last answer", |now| now.in_flight == SENT);
    assert_closed(&books);
    let (shared, copied) = (books.forwarded_by_reference, books.frames_copied_pinned);
    // 64 shared buffers and 4 large ones. What is copied as it comes is not copied again.
    assert!(shared >= 8 && copied >= SENT - 18, "{books:#?}");
    let (more, refused) = way.fill(5000);
    assert!(refused >= 3, "no room in a window that nobody empties");
    let books = way.near();
    assert_eq!(books.in_flight, SENT + more, "{books:#?}");
    // What was refused was not copied.
    let (shared, copied) = (shared, copied + more);
    assert_eq!(
        (books.forwarded_by_reference, books.frames_copied_pinned),
        (shared, copied)
    );
    way.pair.cut_all(false);
    way.arrived();
    way.send(10, 5000);
    let books = way.near();
    assert_eq!(
        (books.forwarded_by_reference, books.frames_copied_pinned),
        (shared + 10, copied),
        "the buffers came home"
    );
    way.arrived();
}

#[test]
fn passed_on_bytes_arrive_once_and_in_order_over_any_number_of_connections() {
    const CUTS: u64 = 8;
    let cuts = Cuts::plan(seed::generator(), CUTS, 400_000);
    let mut way = Way::start(&cuts, |builder| builder);
    let mut by_hand = 0;
    while cuts.made().0 + by_hand < CUTS {
        let before = cuts.made().0;
        let mut sends = 0..40;
        while cuts.made().0 == before && sends.next().is_some() {
            way.send(5, 60_000);
        }
        if cuts.made().0 == before {
            // It waits for bytes that go the other way, of which there are few.
            way.pair.cut_all(false);
            by_hand += 1;
        }
    }
    let books = way.arrived();
    assert!(total(&books, |book| book.resumed) > 0);
    assert!(way.near().forwarded_by_reference > CUTS);
}

#[test]
fn a_node_that_stops_accounts_for_what_it_passed_on() {
    let flush = Duration::from_millis(100);
    let change = |builder: NodeBuilder| builder.settings(|it| it.flush_timeout = flush);
    let mut way = Way::start(&Cuts::none(), change);
    way.pair.cut_all(true);
    way.pair.nodes[0].until("the loss", |now| now.links == 1);
    way.send(5, 60_000);
    assert_eq!(way.near().forwarded_by_reference, 5);
    let reader = way.pair.nodes[0].run(|node: Node| async move { node.metrics_reader() });
    let Pair {
        nodes: [near, _far],
        cutters: _cutters,
    } = way.pair;
    near.stop();
    let metrics = Engine::metrics(&reader);
    assert_closed_at_the_end(&metrics);
    assert_eq!(metrics.total.dead_sent, 5, "{metrics:?}");
}
