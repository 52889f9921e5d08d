//! What a node remembers of its cluster over restarts.

use std::sync::Arc;

use ringmesh_proto::address::NodeId;

use super::gossip::{ClusterId, MEMBERS_MAX};
use crate::codec::{self, CodecError, Reader, Writer};

const FORMAT: u8 = 1;

/// What a node remembers of its cluster over restarts: with it, it founds no second one while those
/// it knew may still be in the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Which cluster it was in.
    pub cluster: ClusterId,
    /// Who was in it, by process start.
    pub members: Arc<[NodeId]>,
}

impl Memory {
    /// As it is written down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(FORMAT);
        writer.u64(self.cluster.0).count(self.members.len());
        for member in &*self.members {
            writer.uid(member.uid).address(&member.address);
        }
        writer.finish()
    }

    /// What was written down by a node of `system`.
    ///
    /// # Errors
    /// [`CodecError`] if it was damaged, or written by something else.
    pub fn from_bytes(bytes: &[u8], system: &str) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(CodecError::Unknown);
        }
        let cluster = ClusterId(reader.u64()?);
        let members: Vec<NodeId> = codec::list(&mut reader, |it| codec::node(it, system))?;
        reader.finish()?;
        if members.len() > MEMBERS_MAX {
            return Err(CodecError::State);
        }
        let members = members.into();
        Ok(Self { cluster, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::node;

    #[test]
    fn what_was_written_comes_back_and_what_was_damaged_does_not() {
        let memory = Memory {
            cluster: ClusterId(7),
            members: [node(1), node(2)].into(),
        };
        let bytes = memory.to_bytes();
        assert_eq!(Memory::from_bytes(&bytes, "demo"), Ok(memory));
        for end in 0..bytes.len() {
            assert!(Memory::from_bytes(&bytes[..end], "demo").is_err());
        }
        let other = [&[9], &bytes[1..]].concat();
        assert_eq!(Memory::from_bytes(&other, "demo"), Err(CodecError::Unknown));
    }

    #[test]
    fn one_over_the_members_max_is_refused() {
        let members = (1..=MEMBERS_MAX as u64 + 1).map(node);
        let mut memory = Memory {
            cluster: ClusterId(7),
            members: members.collect(),
        };
        let read = |memory: &Memory| Memory::from_bytes(&memory.to_bytes(), "demo");
        assert_eq!(read(&memory), Err(CodecError::State));
        memory.members = memory.members[1..].into();
        assert_eq!(read(&memory), Ok(memory));
    }
}
