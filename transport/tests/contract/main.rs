//! What every transport promises, checked against TCP and against the in-memory one.

mod rig;
mod scenarios;

use std::os::fd::AsFd;

use rig::Rig;
use ringmesh_transport::tcp::{BulkMode, Settings};
use ringmesh_transport::{ConnectionId, MemoryNetwork, MemoryTransport, TcpTransport, Transport};

/// TCP with the settings a node uses.
struct Tcp;

/// TCP with few small buffers and no bulk mode: every path that runs out of buffers is taken.
struct TcpStarved;

struct Memory;

fn reset_socket(transport: &mut TcpTransport, connection: ConnectionId) {
    // Only a connection that does not receive can be detached, so scenarios reset such ones.
    let socket = transport
        .detach(connection)
        .expect("a connection that can be detached");
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
    };
}

contract![
    a_preface_in_single_bytes_loses_nothing_behind_it,
    a_dial_to_nobody_fails,
    a_port_in_use_is_an_error,
    large_transfers_both_ways_arrive_whole,
    a_paced_connection_moves_no_byte_one_over_its_bound_between_two_polls,
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
];
