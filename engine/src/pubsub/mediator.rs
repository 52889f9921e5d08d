//! The actors on each core that take what other nodes and cores publish.

use std::rc::Rc;

use ringmesh_cluster::pubsub::Hop;
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::archive::EncodeError;
use ringmesh_proto::link::Payload;

use crate::actor::{Actor, AsyncHandler, Cx, Handler};
use crate::core::{CONTROL_CORE, Core, Home};
use crate::error::SpawnError;
use crate::message::Msg;
use crate::reference::{Recipient, Ref};
use crate::{async_handler, message, protocol};
use ringmesh_transport::buffer::Chunk;

/// What is published, on its way to another node: a head of `ringmesh_cluster::pubsub`, and the
/// archive behind it.
#[message(id = "ringmesh.Published", v = 1, crate = crate)]
#[derive(Clone, Debug)]
pub struct Published {
    /// The head and what follows it.
    pub bytes: Vec<u8>,
}

/// The same on its way to another core of the node, which shares it with nobody: who published it
/// stands in front of the head.
#[message(id = "ringmesh.Shared", v = 1, crate = crate)]
#[derive(Clone, Debug)]
pub struct Shared {
    /// An `Origin` of `ringmesh_cluster::pubsub`, the head and what follows it.
    pub bytes: Vec<u8>,
}

/// What a publish has reached on a core, for the one that published it.
#[message(id = "ringmesh.Answered", v = 1, crate = crate)]
#[derive(Clone, Debug)]
pub struct Answered {
    /// A `Reached` of `ringmesh_cluster::pubsub`.
    pub bytes: Vec<u8>,
}

protocol! {
    /// What cores publish to those of other nodes.
    pub(crate) MediatorApi = "ringmesh.mediator" { Published }
}

protocol! {
    /// What the cores of a node share.
    pub(crate) SharerApi = "ringmesh.sharer" { Shared }
}

protocol! {
    /// What cores are told that their publishes have reached.
    pub(crate) HearerApi = "ringmesh.hearer" { Answered }
}

/// How many of its own actors a core has for this.
pub(crate) const COUNT: usize = 3;

/// The place of an actor of this module on a core: behind the directory, where that is.
fn place_on(core: CoreId, number: u32) -> (u32, u64) {
    let slot = u32::from(core == CONTROL_CORE) + number;
    (slot, u64::from(core.0) << 48 | u64::from(slot))
}

/// The mediator of a core of another node.
pub(crate) fn of_node(uid: Uid, home: Home, core: CoreId) -> Recipient {
    let (slot, generation) = place_on(core, 0);
    Ref::<MediatorApi>::new(uid, home, core, slot, generation).recipient
}

/// The sharer of a core of this node.
pub(crate) fn of_core(uid: Uid, home: Home, core: CoreId) -> Recipient {
    let (slot, generation) = place_on(core, 1);
    Ref::<SharerApi>::new(uid, home, core, slot, generation).recipient
}

/// The hearer of the core whose mediator or sharer that is.
pub(crate) fn hearer_beside(of: Recipient) -> Recipient {
    let (slot, generation) = place_on(of.core, 2);
    Recipient {
        slot,
        generation,
        ..of
    }
}

/// Spawns the mediator, the sharer and the hearer of a core, as its first actors but for the
/// directory.
pub(crate) fn spawn(core: &Rc<Core>) -> Result<(), SpawnError> {
    let mediator = core.bear(None, None, Mediator, |_| None)?.recipient;
    let sharer = core.bear(None, None, Sharer, |_| None)?.recipient;
    let hearer = core.bear(None, None, Hearer, |_| None)?.recipient;
    for (number, me) in [(0, mediator), (1, sharer), (2, hearer)] {
        let place = place_on(core.id(), number);
        assert_eq!(place, (me.slot, me.generation), "they are spawned first");
    }
    Ok(())
}

/// Takes what other nodes publish. It may wait for room at the sharers of other cores.
struct Mediator;

impl Actor for Mediator {
    type Api = MediatorApi;
}

/// Takes what other cores of the node share. It waits for subscribers alone: so of two cores that
/// share with each other neither waits for the other's wait.
struct Sharer;

impl Actor for Sharer {
    type Api = SharerApi;
}

#[async_handler(crate = crate)]
impl AsyncHandler<Published> for Mediator {
    async fn handle(&mut self, published: Msg<Published>, cx: &mut Cx<'_, Self>) {
        let core = cx.core();
        let Some(publisher) = cx.link_node().map(|it| core.publisher(it)) else {
            return;
        };
        let frame = within(published.chunk(), &published.bytes);
        // Whoever is waited for holds no buffer of others.
        drop(published);
        core.receive_published(frame, publisher, Hop::Link).await;
    }
}

#[async_handler(crate = crate)]
impl AsyncHandler<Shared> for Sharer {
    async fn handle(&mut self, shared: Msg<Shared>, cx: &mut Cx<'_, Self>) {
        let core = cx.core();
        let whole = within(shared.chunk(), &shared.bytes);
        drop(shared);
        let Some((publisher, frame)) = core.open_shared(cx.sender_uid(), &whole) else {
            return;
        };
        core.receive_published(frame, publisher, Hop::Mesh).await;
    }
}

/// Takes what publishes of this core have reached. It waits for nothing, so that whoever waits for
/// that does not wait for subscribers here.
struct Hearer;

impl Actor for Hearer {
    type Api = HearerApi;
}

impl Handler<Answered> for Hearer {
    fn handle(&mut self, answered: Msg<Answered>, cx: &mut Cx<'_, Self>) {
        if let Some(from) = cx.sender_uid() {
            cx.core().hear_reached(from, &answered.bytes);
        }
    }
}

/// Bytes of a message with their hold on its buffer.
fn within(message: &Chunk, bytes: &[u8]) -> Chunk {
    // They lie in the message, wherever it says.
    let start = bytes.as_ptr().addr() - message.as_ptr().addr();
    message.slice(start..start + bytes.len())
}

/// A [`Published`] or a [`Shared`] that is written where it is sent from, out of its two parts.
pub(crate) struct Parts<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) archive: &'a [u8],
}

/// A [`Shared`] that is written out of what says who published it, and the parts of a frame.
pub(crate) struct SharedParts<'a> {
    pub(crate) origin: &'a [u8],
    pub(crate) parts: &'a Parts<'a>,
}

/// Behind its bytes an archived vector lies as their distance and their number.
pub(crate) const ROOT_BYTES: usize = 8;

impl Parts<'_> {
    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.head.len() + self.archive.len() + ROOT_BYTES
    }
}

impl Payload for Parts<'_> {
    fn exact_bytes(&self) -> Option<usize> {
        Some(self.bytes())
    }

    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        write_all([&[], self.head, self.archive], into)
    }
}

impl SharedParts<'_> {
    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.origin.len() + self.parts.bytes()
    }
}

impl Payload for SharedParts<'_> {
    fn exact_bytes(&self) -> Option<usize> {
        Some(self.bytes())
    }

    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        write_all([self.origin, self.parts.head, self.parts.archive], into)
    }
}

/// Writes the archive of a message whose bytes are those of all parts.
fn write_all(parts: [&[u8]; 3], into: &mut [u8]) -> Result<usize, EncodeError> {
    let length = parts.iter().map(|it| it.len()).sum::<usize>();
    let needed = length + ROOT_BYTES;
    let into = into.get_mut(..needed);
    let mut rest = into.ok_or(EncodeError::NoRoom { needed })?;
    for part in parts {
        let (here, behind) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = behind;
    }
    let count = i32::try_from(length).map_err(|_| EncodeError::Failed)?;
    rest[..4].copy_from_slice(&(-count).to_le_bytes());
    rest[4..].copy_from_slice(&count.to_le_bytes());
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::archive::encode;

    use super::*;

    #[test]
    fn what_is_written_out_of_parts_is_the_archive_of_both_messages() {
        for (head, archive) in [(1, 0), (0, 1), (17, 4000), (200, 1)] {
            let (head, archive) = (vec![7; head], vec![9; archive]);
            let bytes = [head.clone(), archive.clone()].concat();
            let mut whole = [vec![0; 5000], vec![0; 5000], vec![0; 5000]];
            let [parts, published, shared] = &mut whole;
            let written = Parts {
                head: &head,
                archive: &archive,
            };
            let length = written.write(parts).expect("room");
            assert_eq!(written.exact_bytes(), Some(length));
            let message = Published {
                bytes: bytes.clone(),
            };
            assert_eq!(encode(&message, published).expect("room"), length);
            assert_eq!(encode(&Shared { bytes }, shared).expect("room"), length);
            assert!(parts == published && parts == shared);
        }
    }

    #[test]
    fn parts_say_what_room_they_need() {
        let parts = Parts {
            head: &[1],
            archive: &[2, 3],
        };
        let needed = 3 + ROOT_BYTES;
        let refused = parts.write(&mut vec![0; needed - 1]);
        assert_eq!(refused, Err(EncodeError::NoRoom { needed }));
    }
}
