//! What a node does with bytes that are wrong, and with messages that nobody can take: the fault is
//! named and counted, nothing wrong is delivered, and nobody else notices.

mod archives;
mod frames;
mod oversize;
mod splits;
mod strangers;

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh_proto::link::Target;
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::Watched;

/// A link on which messages of type `M` to `target` can follow.
fn link_for<M: Message>(watched: &Watched, target: Target) -> RawPeer {
    let mut peer = RawPeer::link(watched.id());
    peer.send(&make::definitions::<M>(target));
    peer
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(b"bad input"),
    }
}
