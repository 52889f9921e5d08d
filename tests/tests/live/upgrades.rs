//! Nodes with different versions of one message: the reader upgrades, whatever kind of handler
//! follows, and what cannot be upgraded costs nobody else anything.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use ringmesh::{
    Actor, AskError, AsyncHandler, Cx, Executed, Handler, Msg, Ref, Upgrade, async_handler,
    message, protocol,
};
use ringmesh_proto::archive::access;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};

const CART: &str = "cart";
const LEDGER: &str = "ledger";

/// As the oldest programs have it.
mod v1 {
    use super::*;

    #[message(id = "tests.Add", v = 1, reply = Total)]
    #[derive(Clone, Debug)]
    pub(super) struct Add {
        pub(super) sku: String,
    }

    #[message(id = "tests.Total", v = 1)]
    #[derive(Clone, Debug)]
    pub(super) struct Total {
        pub(super) cents: u32,
    }

    #[message(id = "tests.Audit", v = 1, reply = Total)]
    #[derive(Clone, Debug)]
    pub(super) struct Audit {
        pub(super) cents: u32,
    }

    protocol! { pub(super) CartApi = "tests.cart" { Add } }
    protocol! { pub(super) LedgerApi = "tests.ledger" { Audit } }
}

/// In between.
mod v2 {
    use super::*;

    #[message(id = "tests.Add", v = 2, reply = v1::Total)]
    #[derive(Clone, Debug)]
    pub(super) struct Add {
        pub(super) sku: String,
        pub(super) count: u8,
    }

    protocol! { pub(super) CartApi = "tests.cart" { Add } }
}

/// A version that nobody released: `v = 1` with other fields.
mod forged {
    use super::*;

    #[message(id = "tests.Add", v = 1, reply = v1::Total)]
    #[derive(Clone, Debug)]
    pub(super) struct Add {
        pub(super) sku: u64,
    }

    protocol! { pub(super) CartApi = "tests.cart" { Add } }
}

#[message(id = "tests.Add", v = 3, reply = Total, upgrades(v1::Add, v2::Add))]
#[derive(Clone, Debug)]
struct Add {
    count: u32,
    sku: String,
    note: Option<String>,
}

#[message(id = "tests.Total", v = 2, upgrades(v1::Total))]
#[derive(Clone, Debug, PartialEq)]
struct Total {
    cents: u64,
    currency: String,
}

#[message(id = "tests.Audit", v = 1, reply = Total)]
#[derive(Clone, Debug)]
struct Audit {
    cents: u32,
}

protocol! { CartApi = "tests.cart" { Add } }
protocol! { LedgerApi = "tests.ledger" { Audit } }

/// What an upgrade panics at, and what it makes too long a message of.
const CURSED: &str = "cursed";
const ENDLESS: &str = "endless";

impl Upgrade<v1::Add> for Add {
    fn upgrade(old: v1::Add) -> Self {
        Self::upgrade(v2::Add {
            sku: old.sku,
            count: 1,
        })
    }
}

impl Upgrade<v2::Add> for Add {
    fn upgrade(old: v2::Add) -> Self {
        assert_ne!(old.sku, CURSED, "an upgrade panics");
        let note = (old.sku == ENDLESS).then(|| "x".repeat(1 << 20));
        Self {
            count: old.count.into(),
            sku: old.sku,
            note,
        }
    }
}

impl Upgrade<v1::Total> for Total {
    fn upgrade(old: v1::Total) -> Self {
        assert_ne!(old.cents, 13, "an upgrade of an answer panics");
        Self {
            cents: old.cents.into(),
            currency: "EUR".to_owned(),
        }
    }
}

/// What a cart was told, as its handler read it.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<(String, u32)>>>);

impl Seen {
    fn note(&self, add: &ArchivedAdd) -> Total {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((add.sku.as_str().to_owned(), add.count.to_native()));
        Total {
            cents: seen.len() as u64,
            currency: "USD".to_owned(),
        }
    }

    fn all(&self) -> Vec<(String, u32)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Cart(Seen);

impl Actor for Cart {
    type Api = CartApi;
}

impl Handler<Add> for Cart {
    fn handle(&mut self, add: Msg<Add>, _: &mut Cx<'_, Self>) -> Total {
        self.0.note(&add)
    }
}

/// Takes a turn for each message, so that others wait in its mailbox.
struct SlowCart(Seen);

impl Actor for SlowCart {
    type Api = CartApi;
}

#[async_handler]
impl AsyncHandler<Add> for SlowCart {
    async fn handle(&mut self, add: Msg<Add>, _: &mut Cx<'_, Self>) -> Total {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.0.note(&add)
    }
}

/// A ledger of the oldest programs.
struct Ledger;

impl Actor for Ledger {
    type Api = v1::LedgerApi;
}

impl Handler<v1::Audit> for Ledger {
    fn handle(&mut self, audit: Msg<v1::Audit>, _: &mut Cx<'_, Self>) -> v1::Total {
        let cents = audit.cents.to_native();
        v1::Total { cents }
    }
}

/// A node with a cart of the current version, of either kind.
fn cart(is_slow: bool) -> (LiveNode, Seen) {
    let (node, seen) = (LiveNode::start(), Seen::default());
    let theirs = seen.clone();
    node.run(move |node| async move {
        let spawned = if is_slow {
            node.spawn_named(CART, SlowCart(theirs)).map(drop)
        } else {
            node.spawn_named(CART, Cart(theirs)).map(drop)
        };
        spawned.expect("a free name");
    });
    (node, seen)
}

fn old(sku: impl Into<String>) -> v1::Add {
    v1::Add { sku: sku.into() }
}

/// Tells a cart at `path` messages of three versions by turns.
async fn tell_all_versions(node: ringmesh::Node, path: String, rounds: u32) {
    let first: Ref<v1::CartApi> = node.resolve(&path).await.expect("the cart is there");
    let second: Ref<v2::CartApi> = node.resolve(&path).await.expect("the cart is there");
    let third: Ref<CartApi> = node.resolve(&path).await.expect("the cart is there");
    for round in 0..rounds {
        let sku = || format!("article number {round}");
        first.tell(old(sku())).await.expect("sent");
        let add = v2::Add {
            sku: sku(),
            count: 2,
        };
        second.tell(add).await.expect("sent");
        let add = Add {
            count: 3,
            sku: sku(),
            note: None,
        };
        third.tell(add).await.expect("sent");
    }
}

fn expected(rounds: u32) -> Vec<(String, u32)> {
    let skus = (0..rounds).map(|round| format!("article number {round}"));
    skus.flat_map(|sku| (1..=3).map(move |count| (sku.clone(), count)))
        .collect()
}

const ROUNDS: u32 = 200;

#[test]
fn older_versions_reach_the_handler_as_the_current_one_and_in_order() {
    for is_slow in [false, true] {
        let (server, seen) = cart(is_slow);
        let client = LiveNode::start();
        let path = server.path(CART);
        client.run(move |node| tell_all_versions(node, path, ROUNDS));
        let count = u64::from(3 * ROUNDS);
        let all = seen.clone();
        server.until_so("all of them", move |_| all.all().len() as u64 == count);
        assert_eq!(seen.all(), expected(ROUNDS), "slow: {is_slow}");
        let counters = server.counters();
        assert_eq!(counters.upgraded, u64::from(2 * ROUNDS), "{counters:?}");
        assert_eq!(counters.dead_received, 0, "{counters:?}");
        assert_closed(&counters);
    }
}

#[test]
fn they_do_so_within_one_node_and_between_its_cores() {
    let (server, seen) = (LiveNode::of_cores(2), Seen::default());
    let (theirs, path) = (seen.clone(), server.path(CART));
    server.run(move |node| async move {
        let core = ringmesh::CoreId(1);
        let spawned = node.spawn_named_on(core, CART, move || Cart(theirs)).await;
        spawned.expect("a free name");
        tell_all_versions(node, path, ROUNDS).await;
    });
    let all = seen.clone();
    server.until_so("all of them", move |_| all.all().len() as u32 == 3 * ROUNDS);
    assert_eq!(seen.all(), expected(ROUNDS));
    assert_closed(&server.counters());
}

#[test]
fn an_asker_upgrades_the_answer_of_an_older_program() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named(LEDGER, Ledger).expect("a free name");
    });
    let path = server.path(LEDGER);
    client.run(move |node| async move {
        let ledger: Ref<LedgerApi> = node.resolve(&path).await.expect("the ledger is there");
        let total = ledger.ask(Audit { cents: 7 }).await.expect("upgraded");
        let currency = "EUR".to_owned();
        assert_eq!(total.deserialize(), Total { cents: 7, currency });
        // One whose upgrade panics is lost, and only that.
        let error = ledger
            .ask(Audit { cents: 13 })
            .await
            .expect_err("it panics");
        assert_eq!(error.executed(), Executed::Yes);
        assert_eq!(error, AskError::ReplyNotUpgraded);
        let total = ledger.ask(Audit { cents: 8 }).await.expect("upgraded");
        assert_eq!(total.cents, 8);
    });
    let counters = client.counters();
    assert_eq!((counters.upgraded, counters.panics), (2, 1), "{counters:?}");
    assert_eq!((counters.dialled, counters.links), (1, 1), "{counters:?}");
    assert_closed(&counters);
}

#[test]
fn an_older_asker_is_told_that_it_cannot_read_the_answer() {
    let (server, seen) = cart(false);
    let client = LiveNode::start();
    let path = server.path(CART);
    client.run(move |node| async move {
        let cart: Ref<v1::CartApi> = node.resolve(&path).await.expect("the cart is there");
        let error = cart
            .ask(old("a question"))
            .await
            .expect_err("a newer answer");
        assert_eq!(error.executed(), Executed::Yes);
        assert_eq!(error, AskError::ReplyMismatch);
    });
    assert_eq!(seen.all(), [("a question".to_owned(), 1)]);
}

#[test]
fn what_cannot_be_upgraded_is_a_dead_letter_and_the_actor_goes_on() {
    for is_slow in [false, true] {
        let (server, seen) = cart(is_slow);
        let client = LiveNode::start();
        let path = server.path(CART);
        client.run(move |node| async move {
            let cart: Ref<v1::CartApi> = node.resolve(&path).await.expect("the cart is there");
            for sku in [CURSED, ENDLESS, "plain"] {
                cart.tell(old(sku)).await.expect("sent");
            }
            for sku in [CURSED, ENDLESS] {
                let error = cart.ask(old(sku)).await.expect_err("no message came of it");
                assert_eq!(error, AskError::Failed);
            }
        });
        let counters = server.counters();
        assert_eq!(seen.all(), [("plain".to_owned(), 1)]);
        assert_eq!(counters.dead_not_upgraded, 4, "{counters:?}");
        assert_eq!(counters.dead_received, 4, "{counters:?}");
        assert_eq!((counters.upgraded, counters.panics), (1, 2), "{counters:?}");
        assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
        assert_closed(&counters);
    }
}

#[test]
fn an_older_version_with_other_fields_is_a_schema_mismatch() {
    let (server, seen) = cart(false);
    let client = LiveNode::start();
    let path = server.path(CART);
    client.run(move |node| async move {
        let cart: Ref<forged::CartApi> = node.resolve(&path).await.expect("the cart is there");
        let error = cart
            .ask(forged::Add { sku: 1 })
            .await
            .expect_err("no such layout");
        assert_eq!(error, AskError::SchemaMismatch);
    });
    let counters = server.counters();
    assert_eq!(seen.all(), []);
    assert_eq!(
        (counters.upgraded, counters.dead_schema_mismatch),
        (0, 1),
        "{counters:?}"
    );
    assert_closed(&counters);
}

#[test]
fn an_invalid_archive_of_an_older_version_closes_the_link() {
    let (server, seen) = cart(false);
    let path = server.path(CART);
    let target = server.run(move |node| async move {
        let cart: Ref<CartApi> = node.resolve(&path).await.expect("the cart is there");
        make::target_of(&cart)
    });
    let good = make::archived(&old("a name that does not fit in the root"));
    let mut not_utf8 = good.clone();
    not_utf8[0] = 0xff;
    let mut far_away = good.clone();
    let end = far_away.len();
    far_away[end - 4..].copy_from_slice(&i32::MIN.to_le_bytes());
    let forgeries = [Vec::new(), good[1..].to_vec(), not_utf8, far_away];
    let count = forgeries.len() as u64;
    for payload in forgeries {
        assert!(access::<v1::Add>(&payload).is_err(), "{payload:?} is right");
        let mut peer = RawPeer::link(server.id());
        peer.send(&make::definitions::<v1::Add>(target));
        peer.send(&make::tell_bytes(&payload));
        peer.ending();
    }
    let counters = server.until("all are closed", move |now| now.closed_for_fault == count);
    assert_eq!(counters.dead_invalid, count, "{counters:?}");
    assert_eq!((counters.upgraded, counters.panics), (0, 0), "{counters:?}");
    assert_eq!(seen.all(), []);
    assert_closed(&counters);
}
