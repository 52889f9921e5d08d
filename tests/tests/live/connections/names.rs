//! Peers whose address has a host name.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringmesh::{Address, LookUp, Ref, ResolveError};
use ringmesh_proto::limits::HANDSHAKE_TIMEOUT;
use ringmesh_tests::live::messages::{ECHO, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawListener;
use ringmesh_tests::live::{SYSTEM, WAIT};

const NAME: &str = "peer.test";

/// A node that looks names up with `find`, and is patient for `patience`.
fn node_with(
    patience: Duration,
    find: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> LiveNode {
    let look_up = LookUp::with(find);
    LiveNode::start_with(|builder| {
        builder
            .ask_timeout(patience)
            .settings(|settings| settings.look_up = look_up)
    })
}

/// A place at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

/// A listener that is known by its name.
fn named() -> (RawListener, SocketAddr, String) {
    let mut listener = RawListener::bind();
    let port = listener.address.port();
    listener.address = Address::new(SYSTEM, NAME, port).expect("an address");
    let path = format!("{}/user/{ECHO}", listener.address);
    (listener, SocketAddr::from(([127, 0, 0, 1], port)), path)
}

#[test]
fn every_address_of_a_name_is_dialled_in_turn() {
    let (listener, place, path) = named();
    let first = nobody();
    let unused = SocketAddr::from((Ipv6Addr::LOCALHOST, first.port()));
    let looked_up = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&looked_up);
    let client = node_with(WAIT, move |host, port| {
        assert_eq!((host, port), (NAME, place.port()));
        count.fetch_add(1, Ordering::Relaxed);
        Ok(vec![unused, first, place])
    });
    let looking = client.begin(move |node| async move {
        node.resolve::<EchoApi>(&path)
            .await
            .map(|_: Ref<EchoApi>| ())
    });
    let (peer, _) = listener.accept();
    assert_eq!(
        looked_up.load(Ordering::Relaxed),
        1,
        "one look-up led there"
    );
    drop((peer, listener));
    // The round starts over with a look-up of its own.
    let again = Arc::clone(&looked_up);
    client.until_so("another look-up", move |_| {
        again.load(Ordering::Relaxed) > 1
    });
    drop(looking);
}

#[test]
fn an_address_that_leads_to_somebody_else_is_followed_by_the_next() {
    let (listener, place, path) = named();
    // It refuses, since it goes by another address.
    let other = LiveNode::start();
    let wrong = SocketAddr::from(([127, 0, 0, 1], other.address().port()));
    let client = node_with(WAIT, move |_, _| Ok(vec![wrong, place]));
    let looking = client.begin(move |node| async move {
        let patience = Instant::now() + WAIT / 2;
        // A refusal fails the look-up of an actor at once; the node goes on dialling.
        while Instant::now() < patience {
            match node.resolve::<EchoApi>(&path).await {
                Err(ResolveError::Refused { .. }) => node.sleep(Duration::from_millis(5)).await,
                other => return drop(other),
            }
        }
    });
    let (peer, _) = listener.accept();
    drop((peer, looking));
    other.stop();
}

#[test]
fn a_name_without_address_is_named_in_the_error() {
    let client = node_with(Duration::from_millis(400), |host, _| {
        Err(io::Error::other(format!("no address for {host}")))
    });
    let found = client.run(|node| async move {
        let path = format!("ringmesh://{SYSTEM}@{NAME}:7000/user/{ECHO}");
        node.resolve::<EchoApi>(&path).await
    });
    match found {
        Err(ResolveError::Host { host, error }) => {
            assert_eq!(host, NAME);
            assert_eq!(error.to_string(), format!("no address for {NAME}"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_core_keeps_its_time_while_a_name_is_looked_up() {
    let called = Arc::new(AtomicU64::new(0));
    let (release, released) = sync_channel::<()>(1);
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    let count = Arc::clone(&called);
    let client = node_with(WAIT, move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        let released = released.lock().unwrap_or_else(PoisonError::into_inner);
        // Ends when the test says so, or is over.
        let _ = released.recv_timeout(WAIT);
        Err(io::ErrorKind::NotFound.into())
    });
    let path = format!("ringmesh://{SYSTEM}@{NAME}:7000/user/{ECHO}");
    let looking = client.begin(move |node| async move { node.resolve::<EchoApi>(&path).await });
    let begun = Arc::clone(&called);
    client.until_so("the look-up", move |_| begun.load(Ordering::Relaxed) == 1);
    // Each wait ends by the core's own timer, for which it slept in its own ring.
    let (before, after) = client.run(|node| async move {
        let before = node.counters();
        for _ in 0..20 {
            node.sleep(Duration::from_millis(1)).await;
        }
        (before, node.counters())
    });
    let slept = after.parks - before.parks;
    assert!(slept >= 19, "{slept} sleeps: {after:#?}");
    assert_eq!(called.load(Ordering::Relaxed), 1, "it is still under way");
    drop((release, looking));
}

#[test]
fn a_look_up_that_hangs_is_not_asked_again() {
    let (listener, place, path) = named();
    let calls = Arc::new(AtomicU64::new(0));
    let (release, released) = sync_channel::<()>(1);
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    let count = Arc::clone(&calls);
    // As long as two deadlines of a dial, and the pauses behind them.
    let patience = 2 * HANDSHAKE_TIMEOUT + Duration::from_millis(900);
    let client = node_with(patience, move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        let released = released.lock().unwrap_or_else(PoisonError::into_inner);
        // Ends when the test says so, or is over.
        let _ = released.recv_timeout(WAIT);
        Ok(vec![place])
    });
    let found = client.run(move |node| async move { node.resolve::<EchoApi>(&path).await });
    assert!(
        matches!(found, Err(ResolveError::Timeout { .. })),
        "{found:?}"
    );
    release.send(()).expect("the look-up waits");
    // What it found in the end is dialled.
    let (peer, _) = listener.accept();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    drop((peer, release));
}
