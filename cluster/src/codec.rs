//! How what members tell each other is written as bytes, and read again.
//!
//! The first byte of a body names the message, fixed-width numbers are little-endian, texts and
//! lists stand behind their lengths. Reading is strict: a body is exactly what it should be. A list
//! is as long as its elements are, so nothing is allocated by a declared length.

use ringmesh_proto::address::{Address, NodeId, Uid};
pub use ringmesh_proto::reader::{Reader, Truncated};

/// Why a body is not what its first byte says. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// It ends too early, or too late.
    #[error("a message of the cluster is too short or too long")]
    Length,
    /// A text in it is not valid.
    #[error("a text in a message of the cluster is not valid")]
    Text,
    /// A number in it means nothing.
    #[error("a number in a message of the cluster means nothing")]
    Number,
    /// It is a message that this version does not know.
    #[error("a message of the cluster is not known here")]
    Unknown,
    /// It describes a state that no member can be in.
    #[error("a message of the cluster describes a state that no member can be in")]
    State,
}

impl CodecError {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Length => "cluster_length",
            Self::Text => "cluster_text",
            Self::Number => "cluster_number",
            Self::Unknown => "cluster_unknown",
            Self::State => "cluster_state",
        }
    }
}

impl From<Truncated> for CodecError {
    fn from(Truncated: Truncated) -> Self {
        Self::Length
    }
}

/// Appends the fields of a message.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message that begins with this byte.
    pub fn new(tag: u8) -> Self {
        Self(vec![tag])
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// A number of 16 bits.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A number of 32 bits.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A number of 64 bits.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A text behind its length.
    ///
    /// # Panics
    /// If it is longer than 255 bytes: what is written was checked before.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let length = u8::try_from(text.len());
        self.u8(length.expect("texts are checked before they are written"));
        self.bytes(text.as_bytes())
    }

    /// The length of a list, which its elements follow.
    ///
    /// # Panics
    /// If there are more than 65,535: lists are bounded far below.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u16(u16::try_from(count).expect("lists are bounded"))
    }

    /// A process start.
    pub fn uid(&mut self, uid: Uid) -> &mut Self {
        self.u64(uid.as_u64())
    }

    /// An address, without the name of the system, which all members share.
    pub fn address(&mut self, address: &Address) -> &mut Self {
        self.text(address.host()).u16(address.port())
    }

    /// The bytes written.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Reads a text.
///
/// # Errors
/// [`CodecError`] if there is none.
pub fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, CodecError> {
    reader.text()?.ok_or(CodecError::Text)
}

/// Reads a process start.
///
/// # Errors
/// [`CodecError`] if there is none.
pub fn uid(reader: &mut Reader<'_>) -> Result<Uid, CodecError> {
    Uid::new(reader.u64()?).ok_or(CodecError::Number)
}

/// Reads an address of the system.
///
/// # Errors
/// [`CodecError`] if there is none, or not in its one spelling.
pub fn address(reader: &mut Reader<'_>, system: &str) -> Result<Address, CodecError> {
    let (host, port) = (text(reader)?, reader.u16()?);
    address_of(system, host, port)
}

/// The address of the system that has those parts.
///
/// # Errors
/// [`CodecError`] if there is none, or it is not in its one spelling.
pub fn address_of(system: &str, host: &str, port: u16) -> Result<Address, CodecError> {
    let address = Address::new(system, host, port).map_err(|_| CodecError::Text)?;
    if address.host() == host {
        return Ok(address);
    }
    Err(CodecError::Text)
}

/// Reads a node of the system.
///
/// # Errors
/// [`CodecError`] if there is none.
pub fn node(reader: &mut Reader<'_>, system: &str) -> Result<NodeId, CodecError> {
    let uid = uid(reader)?;
    let address = address(reader, system)?;
    Ok(NodeId { address, uid })
}

/// Reads a flag.
///
/// # Errors
/// [`CodecError`] if it is neither 0 nor 1.
pub fn flag(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Number),
    }
}

/// Reads a list: its length, and as many elements.
///
/// # Errors
/// Those of the elements.
pub fn list<'a, T, C: FromIterator<T>>(
    reader: &mut Reader<'a>,
    mut element: impl FnMut(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<C, CodecError> {
    let count = reader.u16()?;
    (0..count).map(|_| element(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let at = Address::new("demo", "10.0.0.1", 7000).unwrap();
        let mut writer = Writer::new(9);
        writer.u8(1).u16(2).u32(3).u64(4).text("five").address(&at);
        writer.count(2).u8(7).u8(8);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(9));
        assert_eq!(flag(&mut reader), Ok(true));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(text(&mut reader), Ok("five"));
        assert_eq!(address(&mut reader, "demo"), Ok(at));
        let bytes: Result<Vec<u8>, _> = list(&mut reader, |reader| Ok(reader.u8()?));
        assert_eq!(bytes, Ok(vec![7, 8]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_list_that_is_shorter_than_it_says_is_refused_without_room_for_it() {
        let mut reader = Reader::new(&[0xFF, 0xFF, 1, 2]);
        let bytes: Result<Vec<u8>, _> = list(&mut reader, |reader| Ok(reader.u8()?));
        assert_eq!(bytes, Err(CodecError::Length));
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        assert_eq!(uid(&mut Reader::new(&[0; 8])), Err(CodecError::Number));
        assert_eq!(flag(&mut Reader::new(&[2])), Err(CodecError::Number));
        assert_eq!(text(&mut Reader::new(&[1, 0xFF])), Err(CodecError::Text));
        let upper = b"\x01A\x01\x00";
        assert_eq!(
            address(&mut Reader::new(upper), "demo"),
            Err(CodecError::Text)
        );
    }
}
