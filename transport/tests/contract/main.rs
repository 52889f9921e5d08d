//! What every transport promises, checked against each of them, alone and beside others.

mod pigeon;
mod rig;
mod scenarios;

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use pigeon::PigeonNetwork;
use rig::Rig;
use ringmesh_transport::tcp::{BulkMode, Settings};
use ringmesh_transport::transports::NETWORKS_MAX;
use ringmesh_transport::{
    ConnectionId, MemoryNetwork, MemoryTransport, Network, TcpTransport, Transport, Transports,
};

/// TCP with the settings a node uses.
struct Tcp;

/// TCP with few small buffers and no bulk mode: every path that runs out of buffers is taken.
struct TcpStarved;

struct Memory;

/// TCP on a core that is in two networks too, none of which leads to the other.
struct TcpBesideOthers;

/// A network in memory beside TCP.
struct MemoryBesideTcp;

/// A transport of this test, the last of three.
struct Pigeons;

fn reset_socket(transport: &mut impl Transport, connection: ConnectionId) {
    // Only a connection that does not receive can be detached, so scenarios reset such ones.
    let socket: OwnedFd = transport
        .detach(connection)
        .expect("a connection that can be detached")
        .take()
        .expect("a socket");
    let reset = socket2::SockRef::from(&socket.as_fd()).set_linger(Some(std::time::Duration::ZERO));
    reset.unwrap();
}

impl Rig for Tcp {
    type Transport = TcpTransport;

    fn pair() -> (TcpTransport, TcpTransport) {
        let make = || TcpTransport::new(Settings::default()).unwrap();
        (make(), make())
    }

    fn reset(transport: &mut TcpTransport, connection: ConnectionId) {
        reset_socket(transport, connection);
    }
}

impl Rig for TcpStarved {
    type Transport = TcpTransport;

    fn pair() -> (TcpTransport, TcpTransport) {
        let make = || {
            let mut settings = Settings::default();
            settings.receive_buffers = 2;
            settings.receive_buffer_bytes = 1000;
            settings.submission_entries = 8;
            settings.bulk = BulkMode::Off;
            TcpTransport::new(settings).unwrap()
        };
        (make(), make())
    }

    fn reset(transport: &mut TcpTransport, connection: ConnectionId) {
        reset_socket(transport, connection);
    }
}

impl Rig for Memory {
    type Transport = MemoryTransport;

    fn pair() -> (MemoryTransport, MemoryTransport) {
        let network = MemoryNetwork::new();
        let seed = std::process::id().into();
        println!("seed {seed}");
        (network.transport(seed), network.transport(seed + 1))
    }

    fn reset(transport: &mut MemoryTransport, connection: ConnectionId) {
        transport.reset(connection);
    }
}

/// TCP, and a transport of each network.
fn beside_tcp(networks: &[Arc<dyn Network>]) -> Transports {
    let tcp = TcpTransport::new(Settings::default()).unwrap();
    Transports::new(tcp, networks, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap()
}

impl Rig for TcpBesideOthers {
    type Transport = Transports;

    fn pair() -> (Transports, Transports) {
        let make = || {
            beside_tcp(&[
                Arc::new(MemoryNetwork::new()),
                Arc::new(MemoryNetwork::new()),
            ])
        };
        (make(), make())
    }

    fn reset(transport: &mut Transports, connection: ConnectionId) {
        assert_eq!(transport.name_of(connection), "tcp");
        reset_socket(transport, connection);
    }
}

impl Rig for MemoryBesideTcp {
    type Transport = Transports;

    fn pair() -> (Transports, Transports) {
        let network: Arc<dyn Network> = Arc::new(MemoryNetwork::new());
        let make = || beside_tcp(std::slice::from_ref(&network));
        (make(), make())
    }

    fn reset(transport: &mut Transports, connection: ConnectionId) {
        assert_eq!(transport.name_of(connection), "memory");
        let detached = transport.detach(connection).expect("one at rest");
        MemoryNetwork::reset(detached).unwrap();
    }
}

impl Rig for Pigeons {
    type Transport = Transports;

    fn pair() -> (Transports, Transports) {
        let pigeons: Arc<dyn Network> = Arc::new(PigeonNetwork::default());
        let make = || beside_tcp(&[Arc::new(MemoryNetwork::new()), Arc::clone(&pigeons)]);
        (make(), make())
    }

    fn reset(transport: &mut Transports, connection: ConnectionId) {
        assert_eq!(transport.name_of(connection), "pigeons");
        pigeon::scare(transport.detach(connection).expect("one at rest"));
    }
}

#[test]
fn one_over_the_networks_of_a_node_is_refused() {
    let make = |count| {
        let tcp = TcpTransport::new(Settings::default()).unwrap();
        let network = || Arc::new(MemoryNetwork::new()) as Arc<dyn Network>;
        let networks: Vec<_> = std::iter::repeat_with(network).take(count).collect();
        Transports::new(tcp, &networks, IpAddr::V4(Ipv4Addr::LOCALHOST)).map(|_| ())
    };
    make(NETWORKS_MAX).unwrap();
    let refused = make(NETWORKS_MAX + 1).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

macro_rules! contract {
    (@run $module:ident, $rig:ident, $($scenario:ident),*) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    crate::scenarios::$scenario::<super::$rig>();
                }
            )*

            #[test]
            #[should_panic(expected = "a send is in flight")]
            fn a_second_send_before_sent_panics() {
                crate::scenarios::a_second_send_before_sent_panics::<super::$rig>();
            }
        }
    };
    ($($scenario:ident),* $(,)?) => {
        contract!(@run tcp, Tcp, $($scenario),*);
        contract!(@run tcp_starved, TcpStarved, $($scenario),*);
        contract!(@run memory, Memory, $($scenario),*);
        contract!(@run tcp_beside_others, TcpBesideOthers, $($scenario),*);
        contract!(@run memory_beside_tcp, MemoryBesideTcp, $($scenario),*);
        contract!(@run pigeons, Pigeons, $($scenario),*);
    };
}

contract![
    a_preface_in_single_bytes_loses_nothing_behind_it,
    a_dial_to_nobody_fails,
    a_port_in_use_is_an_error,
    large_transfers_both_ways_arrive_whole,
    a_peer_that_closes_is_heard_to_the_end,
    a_peer_that_closes_before_its_preface_is_reported,
    a_reset_ends_the_connection,
    closing_while_both_ends_send_ends_both,
    dead_ids_are_ignored,
    slots_are_reused_under_new_ids,
    slices_are_kept_until_sent,
    more_slices_than_one_call_takes_arrive_in_order,
    an_empty_send_completes,
    a_closed_listener_refuses_and_its_connections_live,
    a_dial_can_be_closed_at_once,
    held_chunks_stay_as_they_are,
    a_detached_connection_goes_on_where_it_is_adopted,
    what_is_detached_and_dropped_ends,
];
