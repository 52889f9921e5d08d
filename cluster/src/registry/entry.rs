//! What a node announces to all others: an actor or a core, under a key.

use std::fmt;
use std::sync::Arc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::CORES_MAX;
use ringmesh_proto::link::Target;

use super::limits::KEY_NAME_BYTES_MAX;
use crate::codec::{self, CodecError, Reader, Writer};

/// What a key is for. Kinds that this version does not know are kept as they are, so members of
/// several versions hold the same tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u8);

impl Kind {
    /// Actors that serve a protocol.
    pub const SERVICE: Self = Self(1);

    /// Cores with subscribers of a topic, or of all that match a pattern: see
    /// [`pubsub`](crate::pubsub).
    pub const TOPIC: Self = Self(2);

    /// Cores with members of a group of subscribers. The name is the pattern, a space, and the name
    /// of the group.
    pub const GROUP: Self = Self(3);

    /// Actors that were put under a path.
    pub const PATH: Self = Self(4);

    /// The kind with this number on the wire, unless that is zero.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self(number)),
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What entries are found by. Two keys of one name and different protocols are different.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    protocol: u64,
    name: Arc<str>,
}

/// A text is no name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a key has {length} bytes, and may have 1 to {KEY_NAME_BYTES_MAX}")]
pub struct KeyError {
    /// How long it is, in bytes.
    pub length: usize,
}

impl Key {
    /// The key of that kind and name; `protocol` is the fingerprint of what is spoken there.
    ///
    /// # Errors
    /// [`KeyError`] if the name is empty or longer than [`KEY_NAME_BYTES_MAX`].
    pub fn new(kind: Kind, name: &str, protocol: u64) -> Result<Self, KeyError> {
        let length = name.len();
        if length == 0 || length > KEY_NAME_BYTES_MAX {
            return Err(KeyError { length });
        }
        let name = name.into();
        Ok(Self {
            kind,
            protocol,
            name,
        })
    }

    /// The key of a name that is neither empty nor too long, as its own rules say. It is shared.
    pub(crate) fn of(kind: Kind, name: Arc<str>, protocol: u64) -> Self {
        debug_assert!((1..=KEY_NAME_BYTES_MAX).contains(&name.len()));
        Self {
            kind,
            protocol,
            name,
        }
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The fingerprint of what is spoken there.
    pub fn protocol(&self) -> u64 {
        self.protocol
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that equal keys share, the same in every process: FNV-1a.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        let protocol = self.protocol.to_le_bytes();
        let bytes = self.name.bytes().chain(protocol).chain([self.kind.0]);
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        hash
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The number of an entry, which its owner gives to no other one. The first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// Where an entry is, on the node of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The core.
    pub core: CoreId,
    /// The actor there. Of a topic, whose subscribers only their core knows, it is all zeros.
    pub target: Target,
}

/// What a node announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// What it is found by.
    pub key: Key,
    /// Where it is.
    pub place: Place,
    /// How many it stands for: subscribers of the core, or 1.
    pub weight: u32,
}

/// What an entry takes on the wire, besides the bytes of its name.
const ENTRY_BYTES: usize = 36;

impl Entry {
    /// What it takes on the wire, in bytes.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + self.key.name.len()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.id.0).u8(self.key.kind.0);
        writer.u64(self.key.protocol).text(&self.key.name);
        let Place { core, target } = self.place;
        writer.u16(core.0).u32(target.slot).u64(target.generation);
        writer.u32(self.weight);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let id = read_id(reader)?;
        let kind = Kind::new(reader.u8()?).ok_or(CodecError::Number)?;
        let protocol = reader.u64()?;
        let key = Key::new(kind, codec::text(reader)?, protocol).map_err(|_| CodecError::Text)?;
        let core = reader.u16()?;
        if core >= CORES_MAX {
            return Err(CodecError::Number);
        }
        let target = Target {
            slot: reader.u32()?,
            generation: reader.u64()?,
        };
        let place = Place {
            core: CoreId(core),
            target,
        };
        Ok(Self {
            id,
            key,
            place,
            weight: reader.u32()?,
        })
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<EntryId, CodecError> {
    match reader.u64()? {
        0 => Err(CodecError::Number),
        id => Ok(EntryId(id)),
    }
}

/// What an owner did with its table. Each raises the table's version by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The entry is in it from here on, in the place of another of its number.
    Put(Arc<Entry>),
    /// The entry with that number is not.
    Remove(EntryId),
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;

impl Change {
    /// What it takes on the wire, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(entry) => 1 + entry.bytes(),
            Self::Remove(_) => 9,
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Put(entry) => entry.write(writer.u8(PUT)),
            Self::Remove(id) => {
                writer.u8(REMOVE).u64(id.0);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.u8()? {
            PUT => Entry::read(reader).map(|entry| Self::Put(Arc::new(entry))),
            REMOVE => read_id(reader).map(Self::Remove),
            _ => Err(CodecError::Number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_key_name_bytes_max_is_no_name_nor_is_none() {
        let name = "n".repeat(KEY_NAME_BYTES_MAX + 1);
        let key = |name| Key::new(Kind::SERVICE, name, 1);
        assert!(key(&name[1..]).is_ok());
        let length = KEY_NAME_BYTES_MAX + 1;
        assert_eq!(key(&name), Err(KeyError { length }));
        assert_eq!(key(""), Err(KeyError { length: 0 }));
    }

    #[test]
    fn keys_differ_by_name_protocol_and_kind() {
        let keys = [
            Key::new(Kind::SERVICE, "a", 1).expect("a key"),
            Key::new(Kind::SERVICE, "a", 2).expect("a key"),
            Key::new(Kind::SERVICE, "b", 1).expect("a key"),
            Key::new(Kind::TOPIC, "a", 1).expect("a key"),
        ];
        for (at, key) in keys.iter().enumerate() {
            for other in &keys[at + 1..] {
                assert!(key != other && key.hash() != other.hash());
            }
        }
    }
}
