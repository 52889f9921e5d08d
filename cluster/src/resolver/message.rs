//! What members tell each other when they vote, as bytes.
//!
//! Each message names the process start it is for, and each but one the number that the proposer
//! gave its proposal, which it gives to no other.

use std::collections::BTreeSet;

use ringmesh_proto::address::Uid;

use crate::codec::{self, CodecError, Reader, Writer};
use crate::membership::gossip::{MEMBERS_MAX, TOMBSTONES_MAX};

/// The first bytes of the messages of this room, the first and the last one that are its own.
pub const TAGS: std::ops::RangeInclusive<u8> = 48..=63;

/// The most process starts a proposal or an answer names to go down: all that a view can hold.
pub const NAMES_MAX: usize = MEMBERS_MAX + TOMBSTONES_MAX;

const PROPOSAL: u8 = 48;
const ANSWER: u8 = 49;
const WITHDRAWAL: u8 = 50;
const SURRENDER: u8 = 51;
const WITHDRAWN: u8 = 52;

/// What a member tells another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Of those in `base`, which count, those in `down` are to go. Do you agree?
    Proposal {
        to: Uid,
        number: u32,
        /// The last proposal of the sender that was carried out; those between never will be.
        carried: u32,
        base: BTreeSet<Uid>,
        down: BTreeSet<Uid>,
    },
    Answer {
        to: Uid,
        number: u32,
        answer: Answer,
        /// Whom the sender agreed to have gone down before, unless it agrees.
        named: BTreeSet<Uid>,
    },
    /// Of the sender's proposals up to this one, none after `carried` will be carried out.
    Withdrawal { to: Uid, number: u32, carried: u32 },
    /// Of those in `base`, too many are to go for the others to stay.
    Surrender { to: Uid, base: BTreeSet<Uid> },
    /// The sender has heard that the recipient withdrew its proposals up to this one.
    Withdrawn { to: Uid, number: u32 },
}

/// What a member answers to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// It agrees.
    Yes = 1,
    /// It counts others than the proposer does.
    Differs = 2,
    /// It agreed to others going down before.
    Named = 3,
    /// One of those to go down is not known to it.
    Unknown = 4,
}

impl Answer {
    const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Yes),
            2 => Some(Self::Differs),
            3 => Some(Self::Named),
            4 => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The word for it in texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Yes => "agrees",
            Self::Differs => "counts others",
            Self::Named => "agreed to others before",
            Self::Unknown => "does not know all",
        }
    }
}

impl Message {
    pub(super) fn to(&self) -> Uid {
        match *self {
            Self::Proposal { to, .. }
            | Self::Answer { to, .. }
            | Self::Withdrawal { to, .. }
            | Self::Surrender { to, .. }
            | Self::Withdrawn { to, .. } => to,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut writer;
        match self {
            Self::Proposal {
                to,
                number,
                carried,
                base,
                down,
            } => {
                writer = begin(PROPOSAL, *to);
                writer.u32(*number).u32(*carried);
                write_set(&mut writer, base);
                write_set(&mut writer, down);
            }
            Self::Answer {
                to,
                number,
                answer,
                named,
            } => {
                writer = begin(ANSWER, *to);
                writer.u32(*number).u8(*answer as u8);
                write_set(&mut writer, named);
            }
            Self::Withdrawal {
                to,
                number,
                carried,
            } => {
                writer = begin(WITHDRAWAL, *to);
                writer.u32(*number).u32(*carried);
            }
            Self::Surrender { to, base } => {
                writer = begin(SURRENDER, *to);
                write_set(&mut writer, base);
            }
            Self::Withdrawn { to, number } => {
                writer = begin(WITHDRAWN, *to);
                writer.u32(*number);
            }
        }
        writer.finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut bytes = Reader::new(bytes);
        let reader = &mut bytes;
        let tag = reader.u8()?;
        if !(PROPOSAL..=WITHDRAWN).contains(&tag) {
            return Err(CodecError::Unknown);
        }
        let to = codec::uid(reader)?;
        let message = match tag {
            PROPOSAL => Self::Proposal {
                to,
                number: reader.u32()?,
                carried: reader.u32()?,
                base: read_set(reader, MEMBERS_MAX)?,
                down: read_set(reader, NAMES_MAX)?,
            },
            ANSWER => Self::Answer {
                to,
                number: reader.u32()?,
                answer: Answer::from_wire(reader.u8()?).ok_or(CodecError::Number)?,
                named: read_set(reader, NAMES_MAX)?,
            },
            WITHDRAWAL => Self::Withdrawal {
                to,
                number: reader.u32()?,
                carried: reader.u32()?,
            },
            SURRENDER => Self::Surrender {
                to,
                base: read_set(reader, MEMBERS_MAX)?,
            },
            _ => Self::Withdrawn {
                to,
                number: reader.u32()?,
            },
        };
        bytes.finish()?;
        Ok(message)
    }
}

fn begin(tag: u8, to: Uid) -> Writer {
    let mut writer = Writer::new(tag);
    writer.uid(to);
    writer
}

fn write_set(writer: &mut Writer, uids: &BTreeSet<Uid>) {
    writer.count(uids.len());
    uids.iter().for_each(|uid| {
        writer.uid(*uid);
    });
}

/// Each once, in order: a set has one spelling.
fn read_set(reader: &mut Reader<'_>, max: usize) -> Result<BTreeSet<Uid>, CodecError> {
    let count = usize::from(reader.u16()?);
    if count > max {
        return Err(CodecError::State);
    }
    let mut uids = BTreeSet::new();
    for _ in 0..count {
        let uid = codec::uid(reader)?;
        if uids.last().is_some_and(|last| *last >= uid) {
            return Err(CodecError::State);
        }
        uids.insert(uid);
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::uid;

    fn set(numbers: std::ops::Range<u64>) -> BTreeSet<Uid> {
        numbers.map(uid).collect()
    }

    fn all() -> Vec<(Message, &'static str)> {
        let (to, number) = (uid(7), 9);
        vec![
            (
                Message::Proposal {
                    to,
                    number,
                    carried: 8,
                    base: set(1..3),
                    down: set(2..3),
                },
                "30070000000000000009000000080000000200010000000000000002000000000000000100\
                 0200000000000000",
            ),
            (
                Message::Answer {
                    to,
                    number,
                    answer: Answer::Named,
                    named: set(2..3),
                },
                "310700000000000000090000000301000200000000000000",
            ),
            (
                Message::Withdrawal {
                    to,
                    number,
                    carried: 8,
                },
                "3207000000000000000900000008000000",
            ),
            (
                Message::Surrender {
                    to,
                    base: set(1..2),
                },
                "33070000000000000001000100000000000000",
            ),
            (
                Message::Withdrawn { to, number },
                "34070000000000000009000000",
            ),
        ]
    }

    #[test]
    fn the_bytes_are_fixed_and_come_back() {
        for (message, golden) in all() {
            let bytes = message.to_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden);
            assert_eq!(Message::from_bytes(&bytes), Ok(message));
            assert!(TAGS.contains(&bytes[0]));
        }
        for number in 0..=u8::MAX {
            let answer = Answer::from_wire(number);
            assert_eq!(
                answer.map(|it| it as u8),
                (1..=4).contains(&number).then_some(number)
            );
        }
    }

    #[test]
    fn what_ends_anywhere_else_or_is_not_known_is_refused() {
        for (message, _) in all() {
            let bytes = message.to_bytes();
            for end in 0..bytes.len() {
                let cut = Message::from_bytes(&bytes[..end]);
                assert_eq!(cut, Err(CodecError::Length), "at {end}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Message::from_bytes(&longer), Err(CodecError::Length));
            let mut other = bytes.clone();
            other[0] = WITHDRAWN + 1;
            assert_eq!(Message::from_bytes(&other), Err(CodecError::Unknown));
        }
    }

    #[test]
    fn a_set_that_is_not_in_order_is_refused() {
        let mut bytes = all()[0].0.to_bytes();
        bytes[19] = 2;
        assert_eq!(Message::from_bytes(&bytes), Err(CodecError::State), "twice");
        bytes[19] = 3;
        assert_eq!(
            Message::from_bytes(&bytes),
            Err(CodecError::State),
            "backwards"
        );
    }

    #[test]
    fn one_over_the_members_or_the_names_is_refused() {
        let (to, number) = (uid(7), 9);
        let members = MEMBERS_MAX as u64;
        let names = NAMES_MAX as u64;
        let proposal = |base, down| {
            let message = Message::Proposal {
                to,
                number,
                carried: 8,
                base: set(1..base + 1),
                down: set(1..down + 1),
            };
            Message::from_bytes(&message.to_bytes()).map(|_| ())
        };
        assert_eq!(proposal(members, names), Ok(()));
        assert_eq!(proposal(members + 1, names), Err(CodecError::State));
        assert_eq!(proposal(members, names + 1), Err(CodecError::State));
    }

    #[test]
    fn the_largest_message_fits_the_control_lane() {
        let largest = Message::Proposal {
            to: uid(7),
            number: 9,
            carried: 8,
            base: set(1..MEMBERS_MAX as u64 + 1),
            down: set(1..NAMES_MAX as u64 + 1),
        };
        let room = ringmesh_proto::limits::FRAME_BYTES_CONTROL as usize - 256;
        assert!(largest.to_bytes().len() <= room);
    }
}
