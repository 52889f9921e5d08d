//! The actor on each core that takes what other nodes and cores publish.

use std::rc::Rc;

use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::archive::EncodeError;
use ringmesh_proto::link::Payload;

use crate::actor::{Actor, AsyncHandler, Cx};
use crate::core::{CONTROL_CORE, Core, Home};
use crate::error::SpawnError;
use crate::message::Msg;
use crate::reference::{Recipient, Ref};
use crate::{async_handler, message, protocol};
use ringmesh_transport::buffer::Chunk;

/// What is published, on its way to another node: a head of `ringmesh_cluster::pubsub`, and the
/// archive behind it; or an answer to one.
#[message(id = "ringmesh.Published", v = 1, crate = crate)]
#[derive(Clone, Debug)]
pub struct Published {
    /// The head and what follows it.
    pub bytes: Vec<u8>,
}

/// The same on its way to another core of the node, which shares it with nobody.
#[message(id = "ringmesh.Shared", v = 1, crate = crate)]
#[derive(Clone, Debug)]
pub struct Shared {
    /// The head and what follows it.
    pub bytes: Vec<u8>,
}

protocol! {
    /// What the cores of all nodes publish to each other.
    pub(crate) MediatorApi = "ringmesh.mediator" { Published, Shared }
}

/// The place of the mediator of a core: behind the directory, where that is.
fn place_on(core: CoreId) -> (u32, u64) {
    let before = u32::from(core == CONTROL_CORE);
    (before, u64::from(core.0) << 48 | u64::from(before))
}

/// The mediator of a core of a node.
pub(crate) fn of_core(uid: Uid, home: Home, core: CoreId) -> Recipient {
    let (slot, generation) = place_on(core);
    Ref::<MediatorApi>::new(uid, home, core, slot, generation).recipient
}

/// Spawns the mediator of a core, as its first actor but for the directory.
pub(crate) fn spawn(core: &Rc<Core>) -> Result<(), SpawnError> {
    let me = core.bear(None, None, Mediator, |_| None)?;
    let place = (me.recipient.slot, me.recipient.generation);
    assert_eq!(place, place_on(core.id()), "the mediator is spawned first");
    Ok(())
}

struct Mediator;

impl Actor for Mediator {
    type Api = MediatorApi;
}

#[async_handler(crate = crate)]
impl AsyncHandler<Published> for Mediator {
    async fn handle(&mut self, published: Msg<Published>, cx: &mut Cx<'_, Self>) {
        let core = cx.core();
        let frame = within(published.chunk(), &published.bytes);
        core.receive_published(frame, true).await;
    }
}

#[async_handler(crate = crate)]
impl AsyncHandler<Shared> for Mediator {
    async fn handle(&mut self, shared: Msg<Shared>, cx: &mut Cx<'_, Self>) {
        let core = cx.core();
        let frame = within(shared.chunk(), &shared.bytes);
        core.receive_published(frame, false).await;
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

/// Behind its bytes an archived vector lies as their distance and their number.
const ROOT_BYTES: usize = 8;

impl Payload for Parts<'_> {
    fn exact_bytes(&self) -> Option<usize> {
        Some(self.head.len() + self.archive.len() + ROOT_BYTES)
    }

    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        let length = self.head.len() + self.archive.len();
        let needed = length + ROOT_BYTES;
        let into = into.get_mut(..needed);
        let into = into.ok_or(EncodeError::NoRoom { needed })?;
        let (head, rest) = into.split_at_mut(self.head.len());
        head.copy_from_slice(self.head);
        let (archive, root) = rest.split_at_mut(self.archive.len());
        archive.copy_from_slice(self.archive);
        let count = i32::try_from(length).map_err(|_| EncodeError::Failed)?;
        root[..4].copy_from_slice(&(-count).to_le_bytes());
        root[4..].copy_from_slice(&count.to_le_bytes());
        Ok(needed)
    }
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
