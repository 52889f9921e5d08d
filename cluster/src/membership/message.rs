//! What the membership machines of nodes tell each other, as bytes.
//!
//! Each begins with a tag, and the process start it is for, so that what was meant for an earlier
//! start at an address means nothing to a later one; 0 is whoever answers. Who sent it is known
//! from the link alone. Tags 1 to 31 are of this room.

use ringmesh_proto::address::Uid;
use ringmesh_proto::limits::FRAME_BYTES_CONTROL;
use ringmesh_proto::time::Instant;

use super::configuration::{CONFIGURATION_MAX, Configuration, SETTING_NAME_BYTES_MAX};
use super::gossip::{ClusterId, Gossip};
use super::member::Profile;
use super::memory::Memory;
use super::summary::Summary;
use super::wire;
use crate::codec::{self, CodecError, Reader, Writer};

/// The longest body of a message: a frame of the control lane, less its header.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_CONTROL as usize - 64;

/// Whether the body of a message is of this room.
pub const fn is_of_membership(tag: u8) -> bool {
    matches!(tag, 1..=31)
}

const TAG_INIT_JOIN: u8 = 1;
const TAG_IN_CLUSTER: u8 = 2;
const TAG_NOT_IN_CLUSTER: u8 = 3;
const TAG_INCOMPATIBLE: u8 = 4;
const TAG_JOIN: u8 = 5;
const TAG_WELCOME: u8 = 6;
const TAG_JOIN_REFUSED: u8 = 7;
const TAG_GOSSIP: u8 = 8;
const TAG_STATUS: u8 = 9;
const TAG_EXITING_CONFIRMED: u8 = 10;
const TAG_REMOVED: u8 = 11;
const TAG_STRANGER: u8 = 12;
const TAG_FOREIGN: u8 = 13;

/// What a node tells another of who is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks whoever answers at an address whether it is in a cluster.
    InitJoin {
        /// Comes back in the answer: when it was asked, by the asker's clock.
        asked: u64,
        /// Whether the asker would found a cluster if it finds none.
        candidate: bool,
        /// What has to be the same on both.
        configuration: Configuration,
    },
    /// Answers that it is.
    InCluster {
        /// As asked.
        asked: u64,
        /// In which.
        cluster: ClusterId,
        /// What has to be the same on both.
        configuration: Configuration,
    },
    /// Answers that it is in none.
    NotInCluster {
        /// As asked.
        asked: u64,
        /// Whether it will let the asker found one, and nobody else for a while.
        consent: bool,
        /// Whether it would found one itself.
        candidate: bool,
        /// The cluster it was in before.
        memory: Option<Memory>,
    },
    /// Answers that the asker cannot join its cluster.
    Incompatible {
        /// In what the configurations differ.
        names: Vec<Box<str>>,
    },
    /// Asks to be let in.
    Join {
        /// What the asker says of itself.
        profile: Profile,
        /// What has to be the same on both.
        configuration: Configuration,
    },
    /// Answers that it is in.
    Welcome(Box<Gossip>),
    /// Answers that it is not.
    JoinRefused(Refusal),
    /// A view.
    Gossip(Box<Gossip>),
    /// A view in short.
    Status(Summary),
    /// The sender is exiting, has ended its work and may be removed.
    ExitingConfirmed,
    /// The recipient was removed from the cluster.
    Removed {
        /// Which.
        cluster: ClusterId,
    },
    /// The recipient spoke as a member, and the sender has never heard of it.
    Stranger {
        /// Of which cluster.
        cluster: ClusterId,
    },
    /// The recipient is in another cluster than the sender.
    Foreign {
        /// In which the sender is.
        cluster: ClusterId,
    },
}

/// Why a node is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Another process start at its address was asked, and answers.
    AddressInUse = 1,
    /// The configurations differ.
    Incompatible = 2,
    /// No more members can be told of in one message.
    Full = 3,
    /// The cluster is being shut down.
    ShuttingDown = 4,
    /// Whoever was asked is no member that can let others in.
    NotMember = 5,
    /// It was a member, and was removed: a process start is that once.
    Removed = 6,
    /// Not yet: an earlier process start at its address is being looked for, or removed.
    Wait = 7,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::AddressInUse,
        Self::Incompatible,
        Self::Full,
        Self::ShuttingDown,
        Self::NotMember,
        Self::Removed,
        Self::Wait,
    ];

    fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl Message {
    /// As bytes, for the process start `to` or for whoever answers.
    pub fn encode(&self, to: Option<Uid>, now: Instant) -> Vec<u8> {
        let mut writer = begin(self.tag(), to);
        match self {
            Self::InitJoin {
                asked,
                candidate,
                configuration,
            } => {
                writer.u64(*asked).u8(u8::from(*candidate));
                configuration.write(&mut writer);
            }
            Self::InCluster {
                asked,
                cluster,
                configuration,
            } => {
                writer.u64(*asked).u64(cluster.0);
                configuration.write(&mut writer);
            }
            Self::NotInCluster {
                asked,
                consent,
                candidate,
                memory,
            } => {
                writer.u64(*asked).u8(u8::from(*consent));
                writer.u8(u8::from(*candidate));
                writer.u8(u8::from(memory.is_some()));
                if let Some(memory) = memory {
                    wire::write_memory(&mut writer, memory);
                }
            }
            Self::Incompatible { names } => {
                writer.count(names.len());
                names.iter().for_each(|name| {
                    writer.text(name);
                });
            }
            Self::Join {
                profile,
                configuration,
            } => {
                wire::write_profile(&mut writer, profile);
                configuration.write(&mut writer);
            }
            Self::Welcome(gossip) | Self::Gossip(gossip) => {
                wire::write_gossip(&mut writer, gossip, now);
            }
            Self::JoinRefused(refusal) => {
                writer.u8(*refusal as u8);
            }
            Self::Status(summary) => summary.write(&mut writer),
            Self::ExitingConfirmed => {}
            Self::Removed { cluster } | Self::Stranger { cluster } | Self::Foreign { cluster } => {
                writer.u64(cluster.0);
            }
        }
        writer.finish()
    }

    const fn tag(&self) -> u8 {
        match self {
            Self::InitJoin { .. } => TAG_INIT_JOIN,
            Self::InCluster { .. } => TAG_IN_CLUSTER,
            Self::NotInCluster { .. } => TAG_NOT_IN_CLUSTER,
            Self::Incompatible { .. } => TAG_INCOMPATIBLE,
            Self::Join { .. } => TAG_JOIN,
            Self::Welcome(_) => TAG_WELCOME,
            Self::JoinRefused(_) => TAG_JOIN_REFUSED,
            Self::Gossip(_) => TAG_GOSSIP,
            Self::Status(_) => TAG_STATUS,
            Self::ExitingConfirmed => TAG_EXITING_CONFIRMED,
            Self::Removed { .. } => TAG_REMOVED,
            Self::Stranger { .. } => TAG_STRANGER,
            Self::Foreign { .. } => TAG_FOREIGN,
        }
    }

    /// Reads what another node of `system` sent, and whom it is for.
    ///
    /// # Errors
    /// [`CodecError`] if it is none of these.
    pub fn decode(
        body: &[u8],
        system: &str,
        now: Instant,
    ) -> Result<(Option<Uid>, Self), CodecError> {
        let mut reader = Reader::new(body);
        let (tag, to) = (reader.u8()?, Uid::new(reader.u64()?));
        let message = read(tag, &mut reader, system, now)?;
        reader.finish()?;
        Ok((to, message))
    }
}

/// A view as bytes for whoever its first bytes are changed to name.
pub(super) fn encode_gossip(gossip: &Gossip, welcome: bool, now: Instant) -> Vec<u8> {
    let tag = if welcome { TAG_WELCOME } else { TAG_GOSSIP };
    let mut writer = begin(tag, None);
    wire::write_gossip(&mut writer, gossip, now);
    writer.finish()
}

/// Names whom a body is for.
pub(super) fn addressed(body: &[u8], to: Uid) -> Vec<u8> {
    let mut body = body.to_vec();
    if let Some(place) = body.get_mut(1..9) {
        place.copy_from_slice(&to.as_u64().to_le_bytes());
    }
    body
}

fn begin(tag: u8, to: Option<Uid>) -> Writer {
    let mut writer = Writer::new(tag);
    writer.u64(to.map_or(0, Uid::as_u64));
    writer
}

fn read(
    tag: u8,
    reader: &mut Reader<'_>,
    system: &str,
    now: Instant,
) -> Result<Message, CodecError> {
    Ok(match tag {
        TAG_INIT_JOIN => Message::InitJoin {
            asked: reader.u64()?,
            candidate: codec::flag(reader)?,
            configuration: Configuration::read(reader)?,
        },
        TAG_IN_CLUSTER => Message::InCluster {
            asked: reader.u64()?,
            cluster: ClusterId(reader.u64()?),
            configuration: Configuration::read(reader)?,
        },
        TAG_NOT_IN_CLUSTER => Message::NotInCluster {
            asked: reader.u64()?,
            consent: codec::flag(reader)?,
            candidate: codec::flag(reader)?,
            memory: match codec::flag(reader)? {
                true => Some(wire::read_memory(reader, system)?),
                false => None,
            },
        },
        TAG_INCOMPATIBLE => Message::Incompatible {
            names: read_names(reader)?,
        },
        TAG_JOIN => Message::Join {
            profile: wire::read_profile(reader, system)?,
            configuration: Configuration::read(reader)?,
        },
        TAG_WELCOME => Message::Welcome(Box::new(wire::read_gossip(reader, system, now)?)),
        TAG_JOIN_REFUSED => {
            let refusal = Refusal::from_wire(reader.u8()?);
            Message::JoinRefused(refusal.ok_or(CodecError::Number)?)
        }
        TAG_GOSSIP => Message::Gossip(Box::new(wire::read_gossip(reader, system, now)?)),
        TAG_STATUS => Message::Status(Summary::read(reader)?),
        TAG_EXITING_CONFIRMED => Message::ExitingConfirmed,
        TAG_REMOVED => Message::Removed {
            cluster: ClusterId(reader.u64()?),
        },
        TAG_STRANGER => Message::Stranger {
            cluster: ClusterId(reader.u64()?),
        },
        TAG_FOREIGN => Message::Foreign {
            cluster: ClusterId(reader.u64()?),
        },
        _ => return Err(CodecError::Unknown),
    })
}

fn read_names(reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, CodecError> {
    let names: Vec<Box<str>> = codec::list(reader, |reader| Ok(Box::from(codec::text(reader)?)))?;
    let mut lengths = names.iter().map(|name| name.len());
    let fit = lengths.all(|length| (1..=SETTING_NAME_BYTES_MAX).contains(&length));
    if names.len() > CONFIGURATION_MAX || !fit {
        return Err(CodecError::State);
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
