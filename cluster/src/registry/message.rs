//! What registries tell each other, as bytes.
//!
//! A message never names the owner of the entries in it: that is whoever sent it, so nobody can
//! speak for another one. Each names the process start it is for, and how far the table of its
//! sender is, so whatever a member says tells the others what they lack of it.

use std::sync::Arc;

use ringmesh_proto::address::Uid;

use super::entry::{Change, Entry, EntryId};
use crate::codec::{self, CodecError, Reader, Writer};
use crate::membership::gossip::MEMBERS_MAX;

/// The first bytes of the messages of this room, the first and the last one that are its own.
pub const TAGS: std::ops::RangeInclusive<u8> = 64..=79;

const CHECK: u8 = 64;
const DIGEST: u8 = 65;
const ASK: u8 = 66;
const DELTA: u8 = 67;
const CHUNK: u8 = 68;
const CONFIRM: u8 = 69;

/// What a registry tells another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The process start it is for.
    pub(super) to: Uid,
    /// The version that the sender's own table has.
    pub(super) latest: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Do you have the same tables? This is the sum of all versions.
    Check { sum: u64 },
    /// The versions of the tables that the sender has, its own among them.
    Digest {
        /// Whether the recipient is to answer with its own if it has a later one.
        is_question: bool,
        versions: Vec<(Uid, u64)>,
    },
    /// The sender has the recipient's table up to `from`: what follows? With `after`, it is in the
    /// middle of the whole table as it was at `from`, which it has up to the entry of that number.
    Ask { from: u64, after: EntryId },
    /// What changed in the sender's table from that version on.
    Delta {
        from: u64,
        is_to_be_confirmed: bool,
        changes: Vec<Change>,
    },
    /// The entries behind that number in the sender's table, as it is at `latest`.
    Chunk {
        after: EntryId,
        is_last: bool,
        is_to_be_confirmed: bool,
        entries: Vec<Arc<Entry>>,
    },
    /// Every core of the sender has applied the recipient's table up to that version.
    Confirm { counter: u64 },
}

impl Message {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(self.body.tag());
        writer.uid(self.to).u64(self.latest);
        match &self.body {
            Body::Check { sum: number } | Body::Confirm { counter: number } => {
                writer.u64(*number);
            }
            Body::Digest {
                is_question,
                versions,
            } => {
                writer.u8(u8::from(*is_question)).count(versions.len());
                for (owner, counter) in versions {
                    writer.uid(*owner).u64(*counter);
                }
            }
            Body::Ask { from, after } => {
                writer.u64(*from).u64(after.0);
            }
            Body::Delta {
                from,
                is_to_be_confirmed,
                changes,
            } => {
                writer.u64(*from).u8(u8::from(*is_to_be_confirmed));
                writer.count(changes.len());
                changes.iter().for_each(|it| it.write(&mut writer));
            }
            Body::Chunk {
                after,
                is_last,
                is_to_be_confirmed,
                entries,
            } => {
                writer.u64(after.0).u8(u8::from(*is_last));
                writer.u8(u8::from(*is_to_be_confirmed));
                writer.count(entries.len());
                entries.iter().for_each(|it| it.write(&mut writer));
            }
        }
        writer.finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8()?;
        if !(CHECK..=CONFIRM).contains(&tag) {
            return Err(CodecError::Unknown);
        }
        let to = codec::uid(&mut reader)?;
        let latest = reader.u64()?;
        let body = Body::read(tag, latest, &mut reader)?;
        reader.finish()?;
        Ok(Self { to, latest, body })
    }
}

impl Body {
    const fn tag(&self) -> u8 {
        match self {
            Self::Check { .. } => CHECK,
            Self::Digest { .. } => DIGEST,
            Self::Ask { .. } => ASK,
            Self::Delta { .. } => DELTA,
            Self::Chunk { .. } => CHUNK,
            Self::Confirm { .. } => CONFIRM,
        }
    }

    fn read(tag: u8, latest: u64, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match tag {
            CHECK => Self::Check { sum: reader.u64()? },
            DIGEST => Self::Digest {
                is_question: codec::flag(reader)?,
                versions: read_versions(reader)?,
            },
            ASK => Self::Ask {
                from: reader.u64()?,
                after: EntryId(reader.u64()?),
            },
            DELTA => {
                let from = reader.u64()?;
                let is_to_be_confirmed = codec::flag(reader)?;
                let changes: Vec<Change> = codec::list(reader, Change::read)?;
                let until = from.checked_add(changes.len() as u64);
                if until.is_none_or(|until| until > latest) {
                    return Err(CodecError::State);
                }
                Self::Delta {
                    from,
                    is_to_be_confirmed,
                    changes,
                }
            }
            CHUNK => {
                let after = EntryId(reader.u64()?);
                let is_last = codec::flag(reader)?;
                let is_to_be_confirmed = codec::flag(reader)?;
                let entries = read_entries(reader, after)?;
                if entries.is_empty() && !is_last {
                    return Err(CodecError::State);
                }
                Self::Chunk {
                    after,
                    is_last,
                    is_to_be_confirmed,
                    entries,
                }
            }
            _ => Self::Confirm {
                counter: reader.u64()?,
            },
        })
    }
}

/// Whom a message is for, of which nothing else is looked at.
pub(super) fn recipient(message: &[u8]) -> Result<Uid, CodecError> {
    let mut reader = Reader::new(message);
    if !(CHECK..=CONFIRM).contains(&reader.u8()?) {
        return Err(CodecError::Unknown);
    }
    codec::uid(&mut reader)
}

/// Whether a message tells what changed.
pub(super) fn is_delta(message: &[u8]) -> bool {
    message.first() == Some(&DELTA)
}

/// The same message for another one: it stands behind the first byte.
pub(super) fn readdressed(message: &[u8], to: Uid) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(recipient) = message.get_mut(1..9) {
        recipient.copy_from_slice(&to.as_u64().to_le_bytes());
    }
    message
}

/// Each owner once, in order: a digest has one spelling.
fn read_versions(reader: &mut Reader<'_>) -> Result<Vec<(Uid, u64)>, CodecError> {
    let mut last = None;
    let versions: Vec<_> = codec::list(reader, |reader| {
        let owner = codec::uid(reader)?;
        if last.replace(owner).is_some_and(|last| last >= owner) {
            return Err(CodecError::State);
        }
        Ok((owner, reader.u64()?))
    })?;
    if versions.len() > MEMBERS_MAX {
        return Err(CodecError::State);
    }
    Ok(versions)
}

/// Each number once, in order, and all behind `after`.
fn read_entries(reader: &mut Reader<'_>, after: EntryId) -> Result<Vec<Arc<Entry>>, CodecError> {
    let mut last = after;
    codec::list(reader, |reader| {
        let entry = Entry::read(reader)?;
        if std::mem::replace(&mut last, entry.id) >= entry.id {
            return Err(CodecError::State);
        }
        Ok(Arc::new(entry))
    })
}

#[cfg(test)]
mod tests;
