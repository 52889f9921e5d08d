//! The kinds of frames, and what a frame of each kind may look like.

use crate::limits::{
    EXTENSION_BYTES, HELLO_BYTES_MAX, REFUSE_TEXT_BYTES_MAX, SYSTEM_BODY_BYTES_MAX,
    TARGET_NUMBER_MAX, TYPE_NUMBER_MAX,
};

/// What a frame is. The numbers are fixed by the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A message that wants no answer.
    Tell = 1,
    /// A message that wants one answer.
    Ask = 2,
    /// The answer to an ask.
    Reply = 3,
    /// What comes instead of the answer, as a code.
    Error = 4,
    /// The asker no longer wants the answer. The ask is answered all the same, once: with what was
    /// sent before this arrived, or else with a reply or an error that says so.
    Cancel = 5,
    /// Gives a number to a message type.
    DefineType = 6,
    /// Gives a number to a recipient, possibly one that named another before.
    DefineTarget = 7,
    /// How far was received, and up to where the peer may send.
    Grant = 8,
    /// A recipient is over its bound.
    Busy = 9,
    /// A recipient has room again.
    Ready = 10,
    /// The dialler introduces itself.
    Hello = 11,
    /// The dialled side agrees.
    Accept = 12,
    /// The dialled side does not, and says why.
    Refuse = 13,
    /// Asks whether the peer still reads.
    Ping = 14,
    /// It does.
    Pong = 15,
    /// The sender stops; nothing follows.
    Bye = 16,
    /// Nothing goes over the link. Of whoever accepted its connection: this gives that up, and the
    /// link stays. Of whoever dialled it: asks the other side to do so.
    Rest = 17,
    /// What nodes tell each other of their actors. On the control lane alone.
    System = 18,
    /// What the members of a cluster tell each other of it. On the control lane alone.
    Cluster = 19,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Tell,
        Self::Ask,
        Self::Reply,
        Self::Error,
        Self::Cancel,
        Self::DefineType,
        Self::DefineTarget,
        Self::Grant,
        Self::Busy,
        Self::Ready,
        Self::Hello,
        Self::Accept,
        Self::Refuse,
        Self::Ping,
        Self::Pong,
        Self::Bye,
        Self::Rest,
        Self::System,
        Self::Cluster,
    ];

    /// The kind with this number on the wire.
    #[inline]
    pub const fn from_wire(number: u8) -> Option<Self> {
        if number == 0 || number as usize > Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[number as usize - 1])
    }

    /// The number on the wire.
    #[inline]
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether frames of this kind occupy positions of the link's stream: they are granted,
    /// acknowledged and retained. The others are not, and may be lost with their connection.
    #[inline]
    pub const fn is_positioned(self) -> bool {
        self.to_wire() <= Self::DefineTarget.to_wire()
            || matches!(self, Self::System | Self::Cluster)
    }

    /// Whether the body begins with an extension. That of a tell does only where it says for which
    /// node it is told, within a process.
    #[inline]
    pub const fn has_extension(self) -> bool {
        matches!(self, Self::Ask | Self::Reply | Self::Error | Self::Cancel)
    }

    /// Whether the frame carries a message of a user, or stands for one.
    #[inline]
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Tell | Self::Ask | Self::Reply | Self::Error)
    }

    /// Whether the frame gives a number.
    #[inline]
    pub const fn is_definition(self) -> bool {
        matches!(self, Self::DefineType | Self::DefineTarget)
    }

    /// Where the payload begins: behind the header, and the extension if the kind has one.
    #[inline]
    pub const fn payload_offset(self) -> usize {
        crate::limits::HEADER_BYTES
            + if self.has_extension() {
                EXTENSION_BYTES
            } else {
                0
            }
    }

    /// What every frame of this kind keeps to.
    #[inline]
    pub(crate) const fn shape(self) -> &'static Shape {
        &SHAPES[self as usize - 1]
    }
}

/// The lengths and numbers that a frame of one kind may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) body_min: u32,
    pub(crate) body_max: u32,
    pub(crate) type_number: (u16, u16),
    pub(crate) target_number: (u32, u32),
}

/// Not more than the cap of the lane, which is checked before.
const UP_TO_CAP: u32 = u32::MAX;

const EXTENSION: u32 = EXTENSION_BYTES as u32;

static SHAPES: [Shape; 19] = {
    const TYPE: (u16, u16) = (1, TYPE_NUMBER_MAX);
    const NO_TYPE: (u16, u16) = (0, 0);
    const TARGET: (u32, u32) = (1, TARGET_NUMBER_MAX);
    const NO_TARGET: (u32, u32) = (0, 0);
    const fn shape(
        (body_min, body_max): (u32, u32),
        type_number: (u16, u16),
        target_number: (u32, u32),
    ) -> Shape {
        Shape {
            body_min,
            body_max,
            type_number,
            target_number,
        }
    }
    [
        shape((0, UP_TO_CAP), TYPE, TARGET),                    // tell
        shape((EXTENSION, UP_TO_CAP), TYPE, TARGET),            // ask
        shape((EXTENSION, UP_TO_CAP), TYPE, NO_TARGET),         // reply
        shape((EXTENSION, EXTENSION), NO_TYPE, NO_TARGET),      // error
        shape((EXTENSION, EXTENSION), NO_TYPE, NO_TARGET),      // cancel
        shape((20, 20), TYPE, NO_TARGET),                       // define-type
        shape((12, 12), NO_TYPE, TARGET),                       // define-target
        shape((16, 16), NO_TYPE, NO_TARGET),                    // grant
        shape((0, 0), NO_TYPE, TARGET),                         // busy
        shape((0, 0), NO_TYPE, TARGET),                         // ready
        shape((0, HELLO_BYTES_MAX as u32), NO_TYPE, NO_TARGET), // hello
        shape((0, HELLO_BYTES_MAX as u32), NO_TYPE, NO_TARGET), // accept
        shape((2, 2 + REFUSE_TEXT_BYTES_MAX as u32), NO_TYPE, NO_TARGET), // refuse
        shape((8, 8), NO_TYPE, NO_TARGET),                      // ping
        shape((8, 8), NO_TYPE, NO_TARGET),                      // pong
        shape((2, 2), NO_TYPE, NO_TARGET),                      // bye
        shape((0, 0), NO_TYPE, NO_TARGET),                      // rest
        shape((1, SYSTEM_BODY_BYTES_MAX), NO_TYPE, NO_TARGET),  // system
        shape((1, UP_TO_CAP), NO_TYPE, NO_TARGET),              // cluster
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_fixed_and_those_beside_them_unknown() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.to_wire()), index + 1);
            assert_eq!(Kind::from_wire(kind.to_wire()), Some(kind));
        }
        assert_eq!(Kind::from_wire(0), None);
        assert_eq!(Kind::from_wire(20), None);
        assert_eq!(Kind::from_wire(255), None);
    }

    #[test]
    fn positions_belong_to_messages_definitions_and_what_nodes_tell_each_other() {
        let positioned: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_positioned())
            .collect();
        let (others, last) = positioned.split_at(7);
        assert_eq!(others, &Kind::ALL[..7]);
        assert_eq!(last, [Kind::System, Kind::Cluster]);
    }

    #[test]
    fn a_kind_with_an_extension_has_room_for_it() {
        for kind in Kind::ALL {
            let expected = if kind.has_extension() { EXTENSION } else { 0 };
            assert_eq!(kind.payload_offset(), 16 + expected as usize);
            assert!(kind.shape().body_min >= expected);
        }
    }
}
