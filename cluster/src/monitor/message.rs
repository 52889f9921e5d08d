//! What monitors tell each other, as bytes.
//!
//! Each message names the process start it is for, so that none is taken by another one at the same
//! address. Of messages of one kind that still wait for one node, the latest may replace the
//! others.

use std::time::Duration;

use ringmesh_proto::address::Uid;

use crate::codec::{self, CodecError, Reader, Writer};

/// The first bytes of the messages of this room, the first and the last one that are its own.
pub const TAGS: std::ops::RangeInclusive<u8> = 32..=47;

const HEARTBEAT: u8 = 32;
const ANSWER: u8 = 33;
const QUESTION: u8 = 34;
const TESTIMONY: u8 = 35;

/// In place of a time in milliseconds: it is not known.
const UNKNOWN: u32 = u32::MAX;

/// What a monitor tells another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Are you there? It wants an answer with the same number.
    Heartbeat {
        to: Uid,
        number: u32,
        /// Whether the sender is away so often that others should watch in its place.
        is_stalling: bool,
    },
    Answer {
        to: Uid,
        number: u32,
        is_stalling: bool,
    },
    /// When did you last hear from that member?
    Question { to: Uid, number: u32, subject: Uid },
    Testimony {
        to: Uid,
        number: u32,
        subject: Uid,
        /// How long it has been silent for the sender; `None` if the sender does not watch it.
        silence: Option<Duration>,
    },
}

impl Message {
    pub(super) fn to(&self) -> Uid {
        match *self {
            Self::Heartbeat { to, .. }
            | Self::Answer { to, .. }
            | Self::Question { to, .. }
            | Self::Testimony { to, .. } => to,
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let begin = |tag, to, number| {
            let mut writer = Writer::new(tag);
            writer.uid(to).u32(number);
            writer
        };
        let mut writer;
        match self {
            Self::Heartbeat {
                to,
                number,
                is_stalling,
            } => {
                writer = begin(HEARTBEAT, to, number);
                writer.u8(u8::from(is_stalling));
            }
            Self::Answer {
                to,
                number,
                is_stalling,
            } => {
                writer = begin(ANSWER, to, number);
                writer.u8(u8::from(is_stalling));
            }
            Self::Question {
                to,
                number,
                subject,
            } => {
                writer = begin(QUESTION, to, number);
                writer.uid(subject);
            }
            Self::Testimony {
                to,
                number,
                subject,
                silence,
            } => {
                writer = begin(TESTIMONY, to, number);
                writer.uid(subject).u32(silence.map_or(UNKNOWN, millis));
            }
        }
        writer.finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8()?;
        if !(HEARTBEAT..=TESTIMONY).contains(&tag) {
            return Err(CodecError::Unknown);
        }
        let to = codec::uid(&mut reader)?;
        let number = reader.u32()?;
        let message = match tag {
            HEARTBEAT => Self::Heartbeat {
                to,
                number,
                is_stalling: codec::flag(&mut reader)?,
            },
            ANSWER => Self::Answer {
                to,
                number,
                is_stalling: codec::flag(&mut reader)?,
            },
            QUESTION => Self::Question {
                to,
                number,
                subject: codec::uid(&mut reader)?,
            },
            _ => Self::Testimony {
                to,
                number,
                subject: codec::uid(&mut reader)?,
                silence: silence(reader.u32()?),
            },
        };
        reader.finish()?;
        Ok(message)
    }
}

fn millis(silence: Duration) -> u32 {
    let millis = u32::try_from(silence.as_millis()).unwrap_or(UNKNOWN);
    millis.min(UNKNOWN - 1)
}

fn silence(millis: u32) -> Option<Duration> {
    (millis != UNKNOWN).then(|| Duration::from_millis(millis.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::uid;

    fn all() -> Vec<(Message, &'static str)> {
        let (to, number, subject) = (uid(7), 9, uid(8));
        let seconds = Some(Duration::from_secs(1));
        let testimony = |silence| Message::Testimony {
            to,
            number,
            subject,
            silence,
        };
        vec![
            (
                Message::Heartbeat {
                    to,
                    number,
                    is_stalling: true,
                },
                "2007000000000000000900000001",
            ),
            (
                Message::Answer {
                    to,
                    number,
                    is_stalling: false,
                },
                "2107000000000000000900000000",
            ),
            (
                Message::Question {
                    to,
                    number,
                    subject,
                },
                "220700000000000000090000000800000000000000",
            ),
            (
                testimony(seconds),
                "230700000000000000090000000800000000000000e8030000",
            ),
            (
                testimony(None),
                "230700000000000000090000000800000000000000ffffffff",
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
    }

    #[test]
    fn a_heartbeat_is_small() {
        let [(heartbeat, _), (answer, _), ..] = all()[..] else {
            panic!("both are there");
        };
        assert!(heartbeat.to_bytes().len() <= 20 && answer.to_bytes().len() <= 20);
    }

    #[test]
    fn what_ends_anywhere_else_or_means_nothing_is_refused() {
        for (message, _) in all() {
            let bytes = message.to_bytes();
            for end in 0..bytes.len() {
                let cut = Message::from_bytes(&bytes[..end]);
                assert_eq!(cut, Err(CodecError::Length), "at {end}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Message::from_bytes(&longer), Err(CodecError::Length));
            let mut other = bytes.clone();
            other[0] = TESTIMONY + 1;
            assert_eq!(Message::from_bytes(&other), Err(CodecError::Unknown));
            let mut nobody = bytes.clone();
            nobody[1..9].fill(0);
            assert_eq!(Message::from_bytes(&nobody), Err(CodecError::Number));
        }
        let mut neither = all()[0].0.to_bytes();
        neither[13] = 2;
        assert_eq!(Message::from_bytes(&neither), Err(CodecError::Number));
    }

    #[test]
    fn a_silence_one_over_what_fits_is_the_longest() {
        for millis in [u64::from(UNKNOWN) - 1, u64::from(UNKNOWN), u64::MAX] {
            let message = Message::Testimony {
                to: uid(1),
                number: 1,
                subject: uid(2),
                silence: Some(Duration::from_millis(millis)),
            };
            let Ok(Message::Testimony { silence, .. }) = Message::from_bytes(&message.to_bytes())
            else {
                panic!("it comes back");
            };
            assert_eq!(silence, Some(Duration::from_millis(u64::from(UNKNOWN) - 1)));
        }
    }
}
