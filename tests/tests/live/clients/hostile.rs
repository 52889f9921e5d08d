//! Clients made by hand that want more than they may have: refused, counted, and felt by nobody.

use std::time::Duration;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::frame::body::{Bye, ByeReason, ErrorCode, RefuseReason, System, Watch};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::link::Target;
use ringmesh_proto::preface::Role;
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::messages::{Echo, EchoApi, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer, frames as make};
use ringmesh_tests::live::watched::{Watched, account};

use super::{by_hand, open, own};

/// A watched node whose echo is registered for clients, and its sink is not.
fn watched() -> Watched {
    let watched = Watched::start();
    let echo = own::<EchoApi>(&watched.node, "echo");
    let registered = watched
        .node
        .run(move |node| async move { node.register_for_clients(&echo) });
    assert_eq!(registered, Ok(true));
    watched
}

#[test]
fn targets_that_are_forged_are_all_alike_and_dead_letters_of_their_own_kind() {
    let watched = watched();
    let (sink, echo) = (watched.sink(), watched.echo());
    let elsewhere = |slot, generation| Target { slot, generation };
    let forged = [
        sink,
        elsewhere(sink.slot, sink.generation + 100),
        elsewhere(sink.slot + 1, sink.generation),
        // Of a core that there is not.
        elsewhere(0, 7 << 48),
        elsewhere(u32::MAX, u64::MAX),
    ];
    let mut peer = by_hand(watched.id(), Lane::Ordinary);
    peer.send(&make::define_type(
        make::TYPE,
        <Echo as ringmesh::Message>::TYPE,
    ));
    let question = super::echo(1);
    let count = forged.len() as u64;
    for (correlation, target) in (1..).zip(forged) {
        peer.send(&make::define_target(make::TARGET, target));
        peer.send(&make::tell(&question));
        peer.send(&make::ask(&question, correlation));
    }
    // The one that is registered, by a wrong slot.
    peer.send(&make::define_target(
        make::TARGET,
        elsewhere(sink.slot, echo.generation),
    ));
    peer.send(&make::ask(&question, count + 1));
    peer.send(&make::define_target(make::TARGET, echo));
    peer.send(&make::ask(&question, count + 2));
    let answers = peer.answers(forged.len() + 2);
    let nobody = ErrorCode::NotRunning.to_wire();
    for (correlation, answer) in (1..=count + 1).zip(&answers) {
        assert_eq!(*answer, (correlation, Kind::Error, nobody));
    }
    assert_eq!(answers.last(), Some(&(count + 2, Kind::Reply, 0)));
    let books = settled(&[&watched.node]);
    let dead = (books[0].dead_not_for_clients, books[0].dead_no_recipient);
    assert_eq!(dead, (2 * count, 1));
    assert_eq!(account(&watched.node).count, 0, "the sink saw nothing");
    watched.saw_nothing();
}

#[test]
fn a_message_of_another_protocol_for_one_that_is_registered_is_only_that() {
    let watched = watched();
    let mut peer = by_hand(watched.id(), Lane::Ordinary);
    peer.send(&make::definitions::<Record>(watched.echo()));
    let record = super::record(1);
    peer.send(&make::ask(&record, 1));
    let unknown = ErrorCode::UnknownMessage.to_wire();
    assert_eq!(peer.answers(1), [(1, Kind::Error, unknown)]);
    let books = settled(&[&watched.node]);
    assert_eq!(books[0].dead_unknown_message, 1);
    watched.saw_nothing();
}

/// That somebody wants to be told when an actor ends.
fn said(about: Target) -> Vec<u8> {
    let watch = System::Watch {
        watch: Watch {
            watched: about.generation,
            watcher: 1,
        },
        watcher_core: CoreId(0),
        core: CoreId(0),
        slot: about.slot,
    };
    let mut said = vec![0; System::FRAME_BYTES_MAX];
    let length = watch.encode(&mut said);
    said.truncate(length);
    said
}

#[test]
fn what_nodes_tell_each_other_ends_the_link_of_a_client_and_no_other() {
    let watched = watched();
    let ended = watched.closes_one("refuse_lane", || {
        let mut peer = RawPeer::connect(watched.id());
        peer.lane = Lane::Control;
        open(&mut peer, Role::Client);
        peer.ending().refusal()
    });
    assert_eq!(ended, RefuseReason::Lane);
    let said = said(watched.echo());
    let mut bystander = by_hand(watched.id(), Lane::Ordinary);
    watched.closes_one("unexpected_frame", || {
        let mut peer = by_hand(watched.id(), Lane::Ordinary);
        peer.send(&said);
        peer.ending()
    });
    bystander.send(&make::definitions::<Echo>(watched.echo()));
    bystander.send(&make::ask(&super::echo(1), 1));
    assert_eq!(bystander.answers(1), [(1, Kind::Reply, 0)]);
    let books = settled(&[&watched.node]);
    assert_eq!((books[0].watches_far, books[0].heartbeats), (0, 0));
    watched.saw_nothing();
}

#[test]
fn a_client_that_lets_its_peer_make_a_control_link_says_nothing_on_it() {
    let watched = Watched::start_with(|builder| builder.ask_timeout(Duration::from_millis(400)));
    let listener = RawListener::bind();
    let mut client = RawPeer::connect(watched.id());
    client.me.address = listener.address.clone();
    open(&mut client, Role::Client);
    client.accepted();
    let address = listener.address.clone();
    let ping = watched
        .node
        .begin(move |node| async move { node.ping(&address).await });
    let (mut control, preface) = listener.accept();
    assert_eq!(preface.lane, Lane::Control);
    control.me = client.me.clone();
    watched.closes_one("unexpected_frame", || {
        let mut accept = Vec::new();
        control.accept_of(&preface).encode(&mut accept);
        control.send(&accept);
        control.send(&said(watched.echo()));
        control.ending()
    });
    assert!(ping.finish().is_err(), "it was not answered");
    assert_eq!(watched.node.counters().watches_far, 0);
    watched.saw_nothing();
}

#[test]
fn the_first_role_of_a_process_start_holds_on_all_lanes() {
    let watched = watched();
    for (first, second) in [(Role::Client, Role::Node), (Role::Node, Role::Client)] {
        let mut one = RawPeer::connect(watched.id());
        open(&mut one, first);
        one.accepted();
        for lane in [Lane::Large, Lane::Ordinary] {
            let refused = watched.closes_one("refuse_role", || {
                let mut other = RawPeer::connect(watched.id());
                other.me = one.me.clone();
                other.lane = lane;
                open(&mut other, second);
                other.ending().refusal()
            });
            assert_eq!(refused, RefuseReason::Role, "{first:?} {lane:?}");
        }
        // What it has goes on as what it was.
        one.send(&make::definitions::<Record>(watched.sink()));
        one.send(&make::ask(&super::record(1), 1));
        let code = match first {
            Role::Client => ErrorCode::NotRunning,
            // The sink has seen it, and answers nothing.
            _ => ErrorCode::UnknownMessage,
        };
        assert_eq!(one.answers(1), [(1, Kind::Error, code.to_wire())]);
        let mut large = RawPeer::connect(watched.id());
        large.me = one.me.clone();
        large.lane = Lane::Large;
        open(&mut large, first);
        large.accepted();
    }
    let books = settled(&[&watched.node]);
    assert_eq!(books[0].dead_not_for_clients, 1);
    watched.saw_nothing();
}

#[test]
fn a_client_lets_neither_nodes_nor_clients_in() {
    let watched = Watched::start();
    let client = super::client();
    for role in [Role::Node, Role::Client] {
        let mut peer = RawPeer::connect(client.id());
        open(&mut peer, role);
        assert_eq!(peer.ending().refusal(), RefuseReason::Role, "{role:?}");
    }
    let reasons = client.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons["refuse_role"], 2);
    assert_eq!(client.counters().links, 0);
    watched.saw_nothing();
}

#[test]
fn a_client_takes_the_place_of_no_node_that_may_come_back() {
    let one = |settings: &mut ringmesh::Settings| settings.peers_max = 1;
    let node = LiveNode::start_with(|builder| builder.settings(one));
    let lost = |peer: RawPeer| {
        drop(peer);
        node.until("a link without a connection", |now| now.links == 0);
    };
    lost(RawPeer::link(node.id()));
    let mut client = RawPeer::connect(node.id());
    open(&mut client, Role::Client);
    assert_eq!(client.ending().refusal(), RefuseReason::Overloaded);
    // Another node does, and then a client the place of a client.
    let mut follower = RawPeer::link(node.id());
    let reason = ByeReason::Stopping;
    let mut bye = vec![0; Bye::FRAME_BYTES];
    Bye { reason }.encode(&mut bye);
    follower.send(&bye);
    follower.ending();
    lost(by_hand(node.id(), Lane::Ordinary));
    by_hand(node.id(), Lane::Ordinary);
}
