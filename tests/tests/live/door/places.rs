//! Bound and canonical addresses, both families, and where dials leave from.

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use ringmesh::{LookUp, Ref};
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};

/// The loopback of IPv6, unless this host has none.
fn ipv6_loopback() -> Option<&'static str> {
    match TcpListener::bind(("::1", 0)) {
        Ok(_) => Some("::1"),
        Err(error) => {
            println!("skipped: this host has no IPv6 loopback ({error})");
            None
        }
    }
}

/// A serving node that is bound to `at`, and advertises `host` where that is given.
fn serving(at: &str, host: Option<&str>) -> LiveNode {
    let mut at: SocketAddr = at.parse().expect("an address");
    if host.is_some() {
        // What is advertised has to be known before.
        let free = TcpListener::bind(at).expect("a free port");
        at.set_port(free.local_addr().expect("it is bound").port());
    }
    LiveNode::start_serving_with(|builder| {
        builder.bind(at).settings(|settings| {
            settings.advertise = host.map(|host| (host.to_owned(), at.port()));
        })
    })
}

/// Asks the echo at `path` from `client`.
fn ask(client: &LiveNode, path: String) {
    client.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let body = Bytes::new();
        let answer = echo.ask(Echo { number: 7, body }).await;
        assert_eq!(answer.expect("an answer").number, 7);
    });
}

/// Where `node` dials a listener at `host` from.
fn source_of_dials(node: &LiveNode, host: &str) -> SocketAddr {
    let listener = RawListener::bind_at(host);
    let looking = listener.sought_by(node);
    let (peer, _) = listener.accept();
    drop(looking);
    peer.comes_from()
}

#[test]
fn dials_leave_from_the_bind_address() {
    let node = serving("127.0.0.2:0", None);
    let from = source_of_dials(&node, "127.0.0.1");
    assert_eq!(from.ip().to_string(), "127.0.0.2");
    assert_ne!(from.port(), node.address().port());
}

#[test]
fn dials_leave_from_anywhere_when_all_addresses_are_bound() {
    let node = serving("0.0.0.0:0", Some("127.0.0.1"));
    let from = source_of_dials(&node, "127.0.0.3");
    // The kernel's own choice for that place.
    assert!(from.ip().is_loopback(), "{from}");
}

#[test]
fn dials_to_the_other_family_do_not_leave_from_the_bind_address() {
    let Some(loopback) = ipv6_loopback() else {
        return;
    };
    let node = serving("127.0.0.2:0", None);
    let from = source_of_dials(&node, loopback);
    assert_eq!(from.ip().to_string(), loopback);
}

#[test]
fn two_nodes_meet_over_ipv6() {
    let Some(loopback) = ipv6_loopback() else {
        return;
    };
    let node = serving("[::1]:0", None);
    let client = serving("[::1]:0", None);
    assert_eq!(node.address().host(), loopback);
    ask(&client, node.path(ECHO));
    let from = source_of_dials(&client, loopback);
    assert_eq!(from.ip().to_string(), loopback);
}

#[test]
fn a_node_that_listens_on_all_of_ipv6_is_found_where_it_says() {
    let Some(loopback) = ipv6_loopback() else {
        return;
    };
    let node = serving("[::]:0", Some(loopback));
    let client = serving("[::1]:0", None);
    ask(&client, node.path(ECHO));
    // The other way round as well: dials leave from wherever they can.
    ask(&node, client.path(ECHO));
}

#[test]
fn a_node_goes_by_its_advertised_name_and_by_no_other() {
    const NAME: &str = "front.test";
    let node = serving("127.0.0.1:0", Some(NAME));
    let port = node.address().port();
    assert_eq!(node.address().host(), NAME);
    let client = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.look_up = LookUp::with(move |host, port| {
                assert_eq!(host, NAME);
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
            });
        })
    });
    ask(&client, node.path(ECHO));
    // Whoever dials it by where it is bound is told.
    let bound = RawListener::bind().address;
    let mut id = node.id().clone();
    id.address = ringmesh::Address::new(bound.system(), bound.host(), port).expect("an address");
    let mut dialler = RawPeer::connect(&id);
    dialler.send(&dialler.opening());
    assert_eq!(dialler.ending().refusal(), RefuseReason::Destination);
}
