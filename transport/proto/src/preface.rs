//! The preface: the 64 bytes that open every connection, from the dialler.
//!
//! ```text
//!  0                8    9    10    11    12      14      16              24
//!  +----------------+----+----+-----+-----+-------+-------+---------------+
//!  | RINGMSH\0      |min |max |role |lane |sending|wanted | cluster hash  |
//!  |                |version  |     |     |core   |core   |               |
//!  +----------------+----+----+-----+-----+-------+-------+---------------+
//!  24               32              40              48              56    60    64
//!  +----------------+---------------+---------------+---------------+-----+-----+
//!  | format         | sender's uid  | expected uid  | nonce         |flags|crc32|
//!  +----------------+---------------+---------------+---------------+-----+-----+
//! ```
//! Strangers are told apart here, before anything of variable length is read.

use crate::address::{ClusterHash, CoreId, Uid};
use crate::checksum;
use crate::frame::body::RefuseReason;
use crate::lane::Lane;
use crate::limits::PREFACE_BYTES;
use crate::reader::{Reader, Truncated};

/// The protocol version that this crate speaks, and the only one.
pub const PROTOCOL_VERSION: u8 = 1;

/// Who opens a connection, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// The lowest protocol version the dialler speaks.
    pub version_min: u8,
    /// The highest protocol version the dialler speaks.
    pub version_max: u8,
    /// What the dialler is.
    pub role: Role,
    /// What the connection will carry.
    pub lane: Lane,
    /// The core that dials.
    pub sending_core: CoreId,
    /// The core it wants to reach; `None`: any.
    pub wanted_core: Option<CoreId>,
    /// The dialler's cluster.
    pub cluster: ClusterHash,
    /// What the dialler's archives look like.
    pub format_fingerprint: u64,
    /// The dialler's process start.
    pub uid: Uid,
    /// The process start it wants to reach; `None`: whichever runs.
    pub expected_uid: Option<Uid>,
    /// Random; the answer repeats it. An inquirer's is that of the dial it asks about.
    pub nonce: u64,
}

/// What a dialler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A node of the cluster, or of another one.
    Node = 1,
    /// A client from outside, which is not trusted.
    Client = 2,
    /// A node that was dialled, and asks back whether the dial with this nonce is the receiver's;
    /// or one that asks which process start is there, about no dial at all.
    Inquirer = 3,
}

/// Why 64 bytes are not a preface that this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefaceError {
    /// Another protocol altogether.
    #[error("the first bytes are not those of this protocol")]
    Magic,
    /// The bytes are damaged.
    #[error("the checksum of the preface is wrong")]
    Checksum,
    /// No protocol version in common.
    #[error("the peer speaks protocol versions {min} to {max}")]
    Version {
        /// The lowest version the peer speaks.
        min: u8,
        /// The highest version the peer speaks.
        max: u8,
    },
    /// No role has the number.
    #[error("no role has number {0}")]
    Role(u8),
    /// No lane has the number.
    #[error("no lane has number {0}")]
    Lane(u8),
    /// The sending core has the number that means any.
    #[error("the peer names no sending core")]
    SendingCore,
    /// The sender's uid is zero.
    #[error("the peer has no uid")]
    Uid,
    /// A flag is set that has no meaning.
    #[error("flags {0:#010x} have no meaning")]
    Flags(u32),
}

impl PrefaceError {
    /// What the peer is told. `None`: nothing, because whoever sent that would not understand.
    pub const fn refusal(&self) -> Option<RefuseReason> {
        match self {
            Self::Magic | Self::Checksum => None,
            Self::Version { .. } => Some(RefuseReason::Version),
            Self::Role(_) | Self::Lane(_) | Self::SendingCore | Self::Uid | Self::Flags(_) => {
                Some(RefuseReason::Preface)
            }
        }
    }

    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Magic => "preface_magic",
            Self::Checksum => "preface_checksum",
            Self::Version { .. } => "preface_version",
            Self::Role(_) => "preface_role",
            Self::Lane(_) => "preface_lane",
            Self::SendingCore => "preface_sending_core",
            Self::Uid => "preface_uid",
            Self::Flags(_) => "preface_flags",
        }
    }
}

impl Preface {
    /// The bytes on the wire.
    ///
    /// # Panics
    /// If a core has number 65,535, which means any.
    pub fn encode(&self) -> [u8; PREFACE_BYTES] {
        assert!(
            self.sending_core.0 != ANY_CORE && self.wanted_core != Some(CoreId(ANY_CORE)),
            "no core has the number that means any"
        );
        let wanted_core = self.wanted_core.map_or(ANY_CORE, |core| core.0);
        let expected_uid = self.expected_uid.map_or(0, Uid::as_u64);
        let mut bytes = [0; PREFACE_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = self.version_min;
        bytes[9] = self.version_max;
        bytes[10] = self.role as u8;
        bytes[11] = self.lane.to_wire();
        bytes[12..14].copy_from_slice(&self.sending_core.0.to_le_bytes());
        bytes[14..16].copy_from_slice(&wanted_core.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.cluster.as_u64().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.format_fingerprint.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.uid.as_u64().to_le_bytes());
        bytes[40..48].copy_from_slice(&expected_uid.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.nonce.to_le_bytes());
        // 56..60 are the flags; none has a meaning yet.
        let crc = checksum::of_bytes(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a preface. Whether its cluster, format, core and uid are the right ones
    /// is for the [`Acceptor`](crate::handshake::Acceptor) to say.
    ///
    /// # Errors
    /// [`PrefaceError`]; the version is judged first, since a later one may lay the rest out anew.
    pub fn parse(bytes: &[u8; PREFACE_BYTES]) -> Result<Self, PrefaceError> {
        if !bytes.starts_with(MAGIC) {
            return Err(PrefaceError::Magic);
        }
        let (covered, crc) = bytes.split_at(CRC_OFFSET);
        if checksum::of_bytes(covered).to_le_bytes() != *crc {
            return Err(PrefaceError::Checksum);
        }
        // The fields cannot be truncated: they fill an array of fixed size.
        Self::parse_fields(&covered[MAGIC.len()..]).unwrap_or(Err(PrefaceError::Checksum))
    }

    fn parse_fields(bytes: &[u8]) -> Result<Result<Self, PrefaceError>, Truncated> {
        let mut reader = Reader::new(bytes);
        let [min, max, role, lane] = reader.array()?;
        if min > PROTOCOL_VERSION || max < PROTOCOL_VERSION {
            return Ok(Err(PrefaceError::Version { min, max }));
        }
        let role = match role {
            1 => Role::Node,
            2 => Role::Client,
            3 => Role::Inquirer,
            _ => return Ok(Err(PrefaceError::Role(role))),
        };
        let Some(lane) = Lane::from_wire(lane) else {
            return Ok(Err(PrefaceError::Lane(lane)));
        };
        let sending_core = CoreId(reader.u16()?);
        if sending_core.0 == ANY_CORE {
            return Ok(Err(PrefaceError::SendingCore));
        }
        let wanted_core = Some(CoreId(reader.u16()?)).filter(|core| core.0 != ANY_CORE);
        let cluster = ClusterHash::from_u64(reader.u64()?);
        let format_fingerprint = reader.u64()?;
        let Some(uid) = Uid::new(reader.u64()?) else {
            return Ok(Err(PrefaceError::Uid));
        };
        let expected_uid = Uid::new(reader.u64()?);
        let nonce = reader.u64()?;
        let flags = reader.u32()?;
        if flags != 0 {
            return Ok(Err(PrefaceError::Flags(flags)));
        }
        Ok(Ok(Self {
            version_min: min,
            version_max: max,
            role,
            lane,
            sending_core,
            wanted_core,
            cluster,
            format_fingerprint,
            uid,
            expected_uid,
            nonce,
        }))
    }
}

const MAGIC: &[u8; 8] = b"RINGMSH\0";
const CRC_OFFSET: usize = PREFACE_BYTES - 4;
const ANY_CORE: u16 = 0xFFFF;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Preface {
        Preface {
            version_min: 1,
            version_max: 1,
            role: Role::Node,
            lane: Lane::Ordinary,
            sending_core: CoreId(3),
            wanted_core: None,
            cluster: ClusterHash::from_u64(0x1122_3344_5566_7788),
            format_fingerprint: 0x99AA_BBCC_DDEE_FF00,
            uid: Uid::new(0x0102_0304_0506_0708).unwrap(),
            expected_uid: None,
            nonce: 0xA5A5_5A5A_0F0F_F0F0,
        }
    }

    /// The bytes with a right checksum.
    fn sealed(mut bytes: [u8; PREFACE_BYTES]) -> [u8; PREFACE_BYTES] {
        let crc = checksum::of_bytes(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn golden_bytes() {
        let expected = "52494e474d534800" // magic
            .to_owned()
            + "01010102" // versions, role, lane
            + "0300ffff" // cores
            + "8877665544332211" // cluster
            + "00ffeeddccbbaa99" // format
            + "0807060504030201" // uid
            + "0000000000000000" // expected uid
            + "f0f00f0f5a5aa5a5" // nonce
            + "00000000" // flags
            + "d2c89a5e";
        let bytes = sample().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(Preface::parse(&bytes), Ok(sample()));
    }

    #[test]
    fn golden_bytes_of_an_inquiry() {
        let inquiry = Preface {
            role: Role::Inquirer,
            wanted_core: Some(CoreId(7)),
            expected_uid: Uid::new(9),
            ..sample()
        };
        let bytes = inquiry.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "52494e474d534800".to_owned() // magic
            + "01010302" // versions, role, lane
            + "03000700" // cores
            + "8877665544332211" // cluster
            + "00ffeeddccbbaa99" // format
            + "0807060504030201" // uid
            + "0900000000000000" // expected uid
            + "f0f00f0f5a5aa5a5" // nonce of the dial
            + "00000000" // flags
            + "ad48b754";
        assert_eq!(hex, expected);
        assert_eq!(Preface::parse(&bytes), Ok(inquiry));
    }

    #[test]
    fn all_fields_come_back() {
        let preface = Preface {
            role: Role::Client,
            lane: Lane::Control,
            wanted_core: Some(CoreId(0)),
            expected_uid: Uid::new(9),
            ..sample()
        };
        assert_eq!(Preface::parse(&preface.encode()), Ok(preface));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = sample().encode();
        for bit in 0..8 * PREFACE_BYTES {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Preface::parse(&flipped).expect_err("a flipped bit is an error");
            assert!(matches!(
                error,
                PrefaceError::Magic | PrefaceError::Checksum
            ));
            assert_eq!(error.refusal(), None);
        }
    }

    #[test]
    fn only_the_wanted_core_may_be_any() {
        let highest = Preface {
            sending_core: CoreId(ANY_CORE - 1),
            ..sample()
        };
        let mut bytes = highest.encode();
        assert_eq!(Preface::parse(&bytes), Ok(highest));
        bytes[12..14].copy_from_slice(&ANY_CORE.to_le_bytes());
        let error = PrefaceError::SendingCore;
        assert_eq!(Preface::parse(&sealed(bytes)), Err(error));
        assert_eq!(error.refusal(), Some(RefuseReason::Preface));
    }

    #[test]
    fn each_field_out_of_range_is_named_and_refused() {
        let cases: [(usize, u8, PrefaceError); 6] = [
            (8, 2, PrefaceError::Version { min: 2, max: 1 }),
            (9, 0, PrefaceError::Version { min: 1, max: 0 }),
            (10, 4, PrefaceError::Role(4)),
            (11, 0, PrefaceError::Lane(0)),
            (11, 4, PrefaceError::Lane(4)),
            (57, 1, PrefaceError::Flags(0x100)),
        ];
        for (offset, value, expected) in cases {
            let mut bytes = sample().encode();
            bytes[offset] = value;
            assert_eq!(Preface::parse(&sealed(bytes)), Err(expected));
            assert!(expected.refusal().is_some());
        }
        let mut bytes = sample().encode();
        bytes[32..40].fill(0);
        assert_eq!(Preface::parse(&sealed(bytes)), Err(PrefaceError::Uid));
    }
}
