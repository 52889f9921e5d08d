//! The fixed parts of a frame.

use std::time::Duration;

use crate::kind::Kind;
use crate::limits::{EXTENSION_BYTES, HEADER_BYTES};

/// The header of a frame whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the body: extension and payload.
    pub body_bytes: u32,
    /// What the frame is.
    pub kind: Kind,
    /// The sender's number for the type of the message, 0 where the kind has none.
    pub type_number: u16,
    /// The number of the recipient among those of whoever sends messages to it, 0 where the kind
    /// has none.
    pub target_number: u32,
}

impl Header {
    /// The length of the whole frame.
    #[inline]
    pub const fn wire_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }
}

/// What an ask, and whatever answers or cancels it, carries in front of its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Chosen by the asker, repeated by everything that belongs to the ask.
    pub correlation: u64,
    /// What is left of the ask's deadline, in microseconds; 0 where the kind has none.
    pub remaining_us: u32,
    /// Why there is no answer, see [`ErrorCode`](super::body::ErrorCode); 0 where the kind has
    /// none.
    pub code: u32,
}

impl Extension {
    /// What is left of `deadline` in the wire's unit: at least a microsecond, at most about 71
    /// minutes.
    pub fn micros(remaining: Duration) -> u32 {
        u32::try_from(remaining.as_micros())
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Reads it: in a frame it stands right before the payload.
    #[inline]
    pub fn parse(bytes: &[u8; EXTENSION_BYTES]) -> Self {
        let whole = u128::from_le_bytes(*bytes);
        Self {
            correlation: whole as u64,
            remaining_us: (whole >> 64) as u32,
            code: (whole >> 96) as u32,
        }
    }

    #[inline]
    pub(crate) fn encode(self) -> [u8; EXTENSION_BYTES] {
        let whole = u128::from(self.correlation)
            | u128::from(self.remaining_us) << 64
            | u128::from(self.code) << 96;
        whole.to_le_bytes()
    }
}
