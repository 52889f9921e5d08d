//! What nodes tell each other of their actors, on the control lane.

use super::BodyError;
use crate::address::CoreId;
use crate::frame::{Frame, Head, encode};
use crate::kind::Kind;
use crate::limits::HEADER_BYTES;
use crate::reader::Reader;

/// Names a watch between two process starts: who watches whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch {
    /// The generation of the watched actor.
    pub watched: u64,
    /// What the node of the watcher calls it: the other node repeats that and no more.
    pub watcher: u64,
}

/// A message from node to node. It occupies its place in the stream of the control link, so it
/// arrives exactly once and in order as long as that link lives.
///
/// An actor that has ended never lives again, so whatever is said of its end may come late or twice
/// and is true all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Wants to be told when an actor of the receiver ends.
    Watch {
        /// Who watches whom.
        watch: Watch,
        /// The core of the sender whose actor watches: what the watched one sent there is to arrive
        /// before the news of its end.
        watcher_core: CoreId,
        /// The core of the receiver that the watched actor lives on.
        core: CoreId,
        /// Its slot there.
        slot: u32,
    },
    /// Does not want to be told any more.
    Unwatch {
        /// Which watch is over.
        watch: Watch,
    },
    /// A watched actor does not run any more, and the watch is over.
    Terminated {
        /// Which watch.
        watch: Watch,
        /// Why.
        reason: WatchEnd,
    },
}

/// Why a watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum WatchEnd {
    /// For a reason this version does not know.
    Other = 0,
    /// The actor stopped.
    Stopped = 1,
    /// The actor failed.
    Failed = 2,
    /// No such actor ran when the watch came.
    NotRunning = 3,
    /// There is no room for another watch: the actor may live on.
    NoRoom = 4,
}

impl WatchEnd {
    /// The reason with this number on the wire; [`Other`](Self::Other) for one that a later version
    /// may have added.
    pub const fn from_wire(number: u8) -> Self {
        match number {
            1 => Self::Stopped,
            2 => Self::Failed,
            3 => Self::NotRunning,
            4 => Self::NoRoom,
            _ => Self::Other,
        }
    }
}

const WATCH: u8 = 1;
const UNWATCH: u8 = 2;
const TERMINATED: u8 = 3;

impl System {
    /// The longest body of this version, in bytes.
    pub const BODY_BYTES_MAX: usize = 25;

    /// The longest frame of this version, in bytes.
    pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + Self::BODY_BYTES_MAX;

    /// Writes the body at the start of `into` and returns its length.
    pub fn write(&self, into: &mut [u8; Self::BODY_BYTES_MAX]) -> usize {
        let (tag, watch) = match *self {
            Self::Watch { watch, .. } => (WATCH, watch),
            Self::Unwatch { watch } => (UNWATCH, watch),
            Self::Terminated { watch, .. } => (TERMINATED, watch),
        };
        into[0] = tag;
        into[1..9].copy_from_slice(&watch.watched.to_le_bytes());
        into[9..17].copy_from_slice(&watch.watcher.to_le_bytes());
        match *self {
            Self::Watch {
                watcher_core,
                core,
                slot,
                ..
            } => {
                into[17..19].copy_from_slice(&watcher_core.0.to_le_bytes());
                into[19..21].copy_from_slice(&core.0.to_le_bytes());
                into[21..25].copy_from_slice(&slot.to_le_bytes());
                25
            }
            Self::Unwatch { .. } => 17,
            Self::Terminated { reason, .. } => {
                into[17] = reason as u8;
                18
            }
        }
    }

    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than the frame.
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let mut body = [0; Self::BODY_BYTES_MAX];
        let bytes = self.write(&mut body);
        encode(into, &Head::plain(Kind::System), &body[..bytes])
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let tag = reader.u8()?;
        let watch = Watch {
            watched: reader.u64()?,
            watcher: reader.u64()?,
        };
        let read = match tag {
            WATCH => Self::Watch {
                watch,
                watcher_core: CoreId(reader.u16()?),
                core: CoreId(reader.u16()?),
                slot: reader.u32()?,
            },
            UNWATCH => Self::Unwatch { watch },
            TERMINATED => Self::Terminated {
                watch,
                reason: WatchEnd::from_wire(reader.u8()?),
            },
            _ => return Err(BodyError::Unknown),
        };
        reader.finish()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Parse, parse};

    fn parsed(body: &[u8]) -> Result<System, BodyError> {
        let mut bytes = vec![0; HEADER_BYTES + body.len()];
        encode(&mut bytes, &Head::plain(Kind::System), body);
        match parse(&bytes, 4096) {
            Ok(Parse::Complete(frame)) => System::parse(&frame),
            other => panic!("not one frame: {other:?}"),
        }
    }

    fn all() -> [System; 3] {
        let watch = Watch {
            watched: 1 << 63 | 9,
            watcher: 0x0102_0304_0506_0708,
        };
        [
            System::Watch {
                watch,
                watcher_core: CoreId(1),
                core: CoreId(2),
                slot: 7,
            },
            System::Unwatch { watch },
            System::Terminated {
                watch,
                reason: WatchEnd::Failed,
            },
        ]
    }

    #[test]
    fn each_body_is_exactly_what_it_should_be() {
        for system in all() {
            let mut body = [0; System::BODY_BYTES_MAX];
            let bytes = system.write(&mut body);
            assert_eq!(parsed(&body[..bytes]), Ok(system));
            for cut in 1..bytes {
                assert_eq!(parsed(&body[..cut]), Err(BodyError::Length));
            }
            let longer = [&body[..bytes], &[0]].concat();
            assert_eq!(parsed(&longer), Err(BodyError::Length));
        }
    }

    #[test]
    fn what_later_versions_add_is_told_apart() {
        assert_eq!(parsed(&[4; 17]), Err(BodyError::Unknown));
        for number in 0..=u8::MAX {
            let reason = WatchEnd::from_wire(number);
            assert!(reason as u8 == number || reason == WatchEnd::Other);
        }
    }
}
