//! The door of a node: where it is found, where its own dials come from, and who is let in.

use bytes::Bytes;
use ringmesh::{Address, Ref};
use ringmesh_proto::frame::body::{Refuse, RefuseReason};
use ringmesh_proto::preface::Role;
use ringmesh_tests::live::messages::{Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::Watched;

mod crowds;
mod defects;
mod hellos;
mod identities;
mod idle_links;
mod places;

/// A serving node that asks back, of so many cores.
pub(crate) fn careful(cores: usize) -> LiveNode {
    LiveNode::start_serving_with(|builder| {
        let builder = builder.cores(cores);
        builder.settings(|settings| settings.verify_peers = true)
    })
}

pub(crate) fn watched() -> Watched {
    Watched::start_with(|builder| builder.settings(|settings| settings.verify_peers = true))
}

/// How often a node closed a connection for that reason.
pub(crate) fn closed_for(node: &LiveNode, reason: &'static str) -> u64 {
    let reasons = node.run(|node| async move { node.close_reasons() });
    reasons.get(reason).copied().unwrap_or(0)
}

pub(crate) fn ask(client: &LiveNode, path: String) {
    client.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let body = Bytes::new();
        let answer = echo.ask(Echo { number: 7, body }).await;
        assert_eq!(answer.expect("an answer").number, 7);
    });
}

/// A dialler that says it is at `address`, with its hello on the way.
pub(crate) fn claims(node: &LiveNode, address: &Address) -> RawPeer {
    let mut dialler = RawPeer::connect(node.id());
    dialler.me.address = address.clone();
    dialler.send(&dialler.opening());
    dialler
}

/// Answers the inquiry about a dialler as the node at its address does, which made that dial.
pub(crate) fn vouch(listener: &RawListener, dialler: &RawPeer) {
    let (mut asking, preface) = listener.accept();
    assert_eq!(preface.role, Role::Inquirer);
    assert_eq!(preface.expected_uid, Some(dialler.me.uid));
    assert_eq!(preface.nonce, dialler.preface().nonce);
    asking.me.uid = dialler.me.uid;
    let mut accept = Vec::new();
    asking.accept_of(&preface).encode(&mut accept);
    asking.send(&accept);
    let ending = asking.ending();
    assert!(ending.is_silent(), "{ending:?}");
}

/// The same for a dial that it has not made.
pub(crate) fn deny(listener: &RawListener) {
    let (mut asking, _) = listener.accept();
    let mut refuse = Vec::new();
    let (reason, text) = (RefuseReason::Unproven, String::new());
    Refuse { reason, text }.encode(&mut refuse);
    asking.send(&refuse);
    asking.ending();
}
