//! What travels to a node, once for each publish: a head, and behind it the message.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | flags: 1 named, 2 open, 4 grouped, 8 forwarded, 16 answered, 32 besides, 64 by another |
//! | 8 | unless named: the number of the receiver's entry, which says topic and message type |
//! | 8, 1, n | if named: the fingerprint of the message type, and the topic behind its length |
//! | 1, then 2, 1, n for each | if grouped: how many groups, and of each the core and the name |
//! | 8, 8, 2 | if answered: the number of the publish, and the node and core that it is told |
//! | 8 | if by another than who sends it: the uid of the node that published it |
//!
//! Numbers are little-endian, and bit 7 of the flags is 0. It is open if subscribers without a
//! group get it. A number that its receiver does not know is of a subscription that has ended: a
//! dead letter. Only what is both forwarded and answered is answered besides, and only what is
//! forwarded was published by another.

use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::limits::CORES_MAX;
use ringmesh_proto::reader::{Reader, Truncated};

use super::limits::GROUPS_OF_TOPIC_MAX;
use super::name::{Topic, check_group};
use crate::registry::EntryId;

const NAMED: u8 = 1;
const OPEN: u8 = 2;
const GROUPED: u8 = 4;
const FORWARDED: u8 = 8;
const ANSWERED: u8 = 16;
const BESIDES: u8 = 32;
const BY_ANOTHER: u8 = 64;

/// The first byte of an answer, which no head begins with.
const ANSWER: u8 = 0x80;

/// The bytes of an answer.
pub const ANSWER_BYTES: usize = 17;

/// What an answer says in place of a count of cores, unless whoever answers has it from the
/// publisher.
const SHARED: u16 = u16::MAX;
const SENT_ON: u16 = u16::MAX - 1;
const SENT_BESIDES: u16 = u16::MAX - 2;

/// Why bytes are not what a node that keeps the rules sends. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A name in it is none.
    #[error("a name in a published frame is none")]
    Name,
    /// A number in it means nothing.
    #[error("a number in a published frame means nothing")]
    Number,
    /// It ends too early, or too late.
    #[error("a published frame is too short or too long")]
    Length,
}

impl From<Truncated> for FrameError {
    fn from(Truncated: Truncated) -> Self {
        Self::Length
    }
}

/// The room is too small for what is to be written;
/// [`HEAD_BYTES_MAX`](super::limits::HEAD_BYTES_MAX) bytes are always enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for the head of a published frame")]
pub struct NoRoom;

/// What is published to, as a frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameTopic<'a> {
    /// That of the receiver's entry with this number.
    Entry(EntryId),
    /// This one.
    Named {
        /// The topic.
        topic: Topic<'a>,
        /// The fingerprint of the message type.
        protocol: u64,
    },
}

/// Who is told how many a publish has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTo {
    /// The number of the publish, at that core.
    pub publish: u64,
    /// The node.
    pub node: Uid,
    /// The core.
    pub core: CoreId,
    /// Whether another node sent it on, so that nobody counts on the answer.
    pub is_besides: bool,
}

/// The groups of a frame that was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups<'a>(&'a [u8]);

impl<'a> Iterator for Groups<'a> {
    type Item = (CoreId, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.0);
        let core = reader.u16().ok()?;
        let name = reader.text().ok()??;
        self.0 = reader.rest();
        Some((CoreId(core), name))
    }
}

/// What a frame says before its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// What is published to.
    pub topic: FrameTopic<'a>,
    /// Whether subscribers without a group get it.
    pub is_open: bool,
    /// Whether nobody sends it on if a group has emptied: a node where it had has sent it on
    /// before, or it goes to all places where there are members.
    pub is_forwarded: bool,
    /// The groups of which one member gets it, and on which core of the receiver.
    pub groups: Groups<'a>,
    /// Who is told how many it has reached, if anybody.
    pub answer_to: Option<AnswerTo>,
    /// The node that published it, as the one says that sends it on.
    pub publisher: Option<Uid>,
}

impl<'a> Head<'a> {
    /// Reads a head, and what follows it: the message.
    ///
    /// # Errors
    /// [`FrameError`] if there is none.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FrameError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let is_by_another = flags & BY_ANOTHER != 0;
        if flags & ANSWER != 0 || is_by_another && flags & FORWARDED == 0 {
            return Err(FrameError::Number);
        }
        let topic = match flags & NAMED {
            0 => match reader.u64()? {
                0 => return Err(FrameError::Number),
                id => FrameTopic::Entry(EntryId(id)),
            },
            _ => {
                let protocol = reader.u64()?;
                let text = reader.text()?.ok_or(FrameError::Name)?;
                let topic = Topic::new(text).map_err(|_| FrameError::Name)?;
                FrameTopic::Named { topic, protocol }
            }
        };
        let is_besides = flags & BESIDES != 0;
        if is_besides && flags & (FORWARDED | ANSWERED) != FORWARDED | ANSWERED {
            return Err(FrameError::Number);
        }
        let mut rest = reader.rest();
        let groups = match flags & GROUPED {
            0 => Groups::default(),
            _ => read_groups(&mut rest)?,
        };
        let mut reader = Reader::new(rest);
        let answer_to = match flags & ANSWERED {
            0 => None,
            _ => Some(AnswerTo {
                publish: reader.u64()?,
                node: Uid::new(reader.u64()?).ok_or(FrameError::Number)?,
                core: read_core(&mut reader)?,
                is_besides,
            }),
        };
        let publisher = match is_by_another {
            true => Some(Uid::new(reader.u64()?).ok_or(FrameError::Number)?),
            false => None,
        };
        let is_forwarded = flags & FORWARDED != 0;
        let is_open = flags & OPEN != 0;
        if !is_open && groups == Groups::default() {
            // It would be for nobody.
            return Err(FrameError::Number);
        }
        let head = Self {
            topic,
            is_open,
            is_forwarded,
            groups,
            answer_to,
            publisher,
        };
        Ok((head, reader.rest()))
    }
}

fn read_core(reader: &mut Reader<'_>) -> Result<CoreId, FrameError> {
    let core = reader.u16()?;
    if core < CORES_MAX {
        return Ok(CoreId(core));
    }
    Err(FrameError::Number)
}

/// Takes the groups off the front of bytes, when each of them is one.
fn read_groups<'a>(bytes: &mut &'a [u8]) -> Result<Groups<'a>, FrameError> {
    let mut reader = Reader::new(bytes);
    let count = usize::from(reader.u8()?);
    if count == 0 || count > GROUPS_OF_TOPIC_MAX {
        return Err(FrameError::Number);
    }
    let all = reader.rest();
    let mut reader = Reader::new(all);
    for _ in 0..count {
        read_core(&mut reader)?;
        let name = reader.text()?.ok_or(FrameError::Name)?;
        check_group(name).map_err(|_| FrameError::Name)?;
    }
    let rest = reader.rest();
    *bytes = rest;
    let length = all.len() - rest.len();
    all.get(..length).map(Groups).ok_or(FrameError::Length)
}

/// A head that is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a, G> {
    pub(super) topic: FrameTopic<'a>,
    pub(super) is_open: bool,
    pub(super) is_forwarded: bool,
    pub(super) groups: G,
    pub(super) answer_to: Option<AnswerTo>,
    pub(super) publisher: Option<Uid>,
}

/// Bytes that are written one after the other.
struct Room<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.length + bytes.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(NoRoom)?;
        room.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), NoRoom> {
        let length = u8::try_from(text.len()).map_err(|_| NoRoom)?;
        self.write(&[length])?;
        self.write(text.as_bytes())
    }
}

impl<'a, G: Iterator<Item = (CoreId, &'a str)>> Draft<'a, G> {
    /// Writes it to the front of bytes. How many it takes.
    pub(super) fn write(self, bytes: &mut [u8]) -> Result<usize, NoRoom> {
        let mut room = Room { bytes, length: 0 };
        let mut flags = 0;
        room.write(&[flags])?;
        match self.topic {
            FrameTopic::Entry(EntryId(id)) => room.write(&id.to_le_bytes())?,
            FrameTopic::Named { topic, protocol } => {
                flags |= NAMED;
                room.write(&protocol.to_le_bytes())?;
                room.text(topic.as_str())?;
            }
        }
        let counted = room.length;
        let mut count = 0_u8;
        for (core, name) in self.groups {
            if count == 0 {
                flags |= GROUPED;
                room.write(&[0])?;
            }
            count = count.checked_add(1).ok_or(NoRoom)?;
            room.write(&core.0.to_le_bytes())?;
            room.text(name)?;
        }
        if let Some(answer_to) = self.answer_to {
            flags |= ANSWERED;
            flags |= if answer_to.is_besides { BESIDES } else { 0 };
            room.write(&answer_to.publish.to_le_bytes())?;
            room.write(&answer_to.node.as_u64().to_le_bytes())?;
            room.write(&answer_to.core.0.to_le_bytes())?;
        }
        if let Some(publisher) = self.publisher {
            flags |= BY_ANOTHER;
            room.write(&publisher.as_u64().to_le_bytes())?;
        }
        flags |= if self.is_open { OPEN } else { 0 };
        flags |= if self.is_forwarded { FORWARDED } else { 0 };
        let length = room.length;
        if count > 0 {
            bytes[counted] = count;
        }
        bytes[0] = flags;
        Ok(length)
    }
}

/// How a publish came to a core that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// From the publisher.
    Sent {
        /// To how many more cores of its node it gave the publish, each of which answers too.
        cores: u16,
    },
    /// From the core of its node that has it from the publisher.
    Shared,
    /// From a core of its node on which a group had emptied.
    SentOn,
    /// From another node on which a group had emptied: nobody counts on the answer.
    Besides,
}

/// What a core that was reached by a publish tells whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The number of the publish.
    pub publish: u64,
    /// How it came there.
    pub came: Came,
    /// How often it was sent on to other cores of its node, for groups that had emptied: each of
    /// those answers too.
    pub sent_on: u16,
    /// How many subscribers have it now, in their queues.
    pub subscribers: u32,
}

impl Reached {
    /// As bytes.
    pub fn to_bytes(self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        bytes[0] = ANSWER;
        bytes[1..9].copy_from_slice(&self.publish.to_le_bytes());
        let came = match self.came {
            Came::Sent { cores } => cores,
            Came::Shared => SHARED,
            Came::SentOn => SENT_ON,
            Came::Besides => SENT_BESIDES,
        };
        bytes[9..11].copy_from_slice(&came.to_le_bytes());
        bytes[11..13].copy_from_slice(&self.sent_on.to_le_bytes());
        bytes[13..].copy_from_slice(&self.subscribers.to_le_bytes());
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`FrameError`] if they are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != ANSWER {
            return Err(FrameError::Number);
        }
        let publish = reader.u64()?;
        let came = match reader.u16()? {
            SHARED => Came::Shared,
            SENT_ON => Came::SentOn,
            SENT_BESIDES => Came::Besides,
            cores if cores < CORES_MAX => Came::Sent { cores },
            _ => return Err(FrameError::Number),
        };
        let sent_on = reader.u16()?;
        let subscribers = reader.u32()?;
        reader.finish()?;
        Ok(Self {
            publish,
            came,
            sent_on,
            subscribers,
        })
    }
}

#[cfg(test)]
mod tests;
