//! Framed records: the floor's wire unit, with the header layout of Ringmesh's frames.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | length of the payload |
//! | 4 | 4 | crc32 over bytes 0..4, 8..16 and the payload |
//! | 8 | 1 | kind |
//! | 9 | 7 | zero |

use crc32fast::Hasher;

/// Bytes of a record before its payload.
pub(crate) const HEADER_BYTES: usize = 16;

/// Bytes of the smallest payload: the sequence number.
pub(crate) const PAYLOAD_BYTES_MIN: usize = 8;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// One message of the workload.
    Data = 1,
    /// Ends the warm-up: the receiver zeroes its counts and answers with the same record.
    Begin = 2,
    /// Ends the measured interval: the receiver answers with a [`Kind::Report`].
    End = 3,
    /// The receiver's counts.
    Report = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Begin),
            3 => Some(Self::End),
            4 => Some(Self::Report),
            _ => None,
        }
    }
}

/// A checked record, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// What it is for.
    pub(crate) kind: Kind,
    /// Its bytes, at least [`PAYLOAD_BYTES_MIN`] of them.
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// The first 8 bytes of the payload.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Bytes it took in the stream.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// Bytes that are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// The declared length is outside what both sides agreed on.
    #[error("a record declares {0} payload bytes")]
    Length(u32),
    /// The checksum does not match.
    #[error("a record fails its checksum")]
    Checksum,
    /// The kind is unknown.
    #[error("a record has the unknown kind {0}")]
    Kind(u8),
}

/// Writes one record over all of `target`, all but its checksum: `payload` with `number` over its
/// first 8 bytes. [`seal`] completes it.
///
/// # Panics
/// If `target` is not exactly [`HEADER_BYTES`] longer than `payload`, or `payload` is shorter than
/// [`PAYLOAD_BYTES_MIN`].
#[inline]
pub(crate) fn write(target: &mut [u8], kind: Kind, number: u64, payload: &[u8]) {
    let (header, body) = target.split_at_mut(HEADER_BYTES);
    body.copy_from_slice(payload);
    body[..PAYLOAD_BYTES_MIN].copy_from_slice(&number.to_le_bytes());
    header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    // One 8-byte store, not one of a byte over zeros: the checksum loads more than a byte at once,
    // and a load cannot be forwarded from two stores in flight (measured: 10 ns a record).
    header[8..].copy_from_slice(&u64::from(kind as u8).to_le_bytes());
}

/// Writes the checksum of a record that [`write()`] left in `record`.
///
/// Best called a few records later, when the stores it reads have left the store buffer (measured:
/// 5 ns a record).
///
/// # Panics
/// If `record` is shorter than a header.
#[inline]
pub(crate) fn seal(record: &mut [u8]) {
    let (header, body) = record.split_at_mut(HEADER_BYTES);
    let mut covered = [0; 12];
    covered[..4].copy_from_slice(&header[..4]);
    covered[4..].copy_from_slice(&header[8..]);
    let checksum = checksum(&covered, body);
    header[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Writes one whole record over all of `target`.
///
/// # Panics
/// As [`write()`].
#[inline]
pub(crate) fn encode(target: &mut [u8], kind: Kind, number: u64, payload: &[u8]) {
    write(target, kind, number, payload);
    seal(target);
}

/// Reads the record at the front of `bytes` in place, or says `None` while it is incomplete.
///
/// # Errors
/// When the bytes cannot be a record; the stream cannot be read on.
#[inline]
pub(crate) fn decode(
    bytes: &[u8],
    payload_bytes_max: usize,
) -> Result<Option<Record<'_>>, RecordError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, tail @ ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let payload_bytes = length as usize;
    if !(PAYLOAD_BYTES_MIN..=payload_bytes_max).contains(&payload_bytes) {
        return Err(RecordError::Length(length));
    }
    let Some(payload) = rest.get(..payload_bytes) else {
        return Ok(None);
    };
    let mut covered = [0; 12];
    covered[..4].copy_from_slice(&header[..4]);
    covered[4..].copy_from_slice(&tail);
    if checksum(&covered, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(RecordError::Checksum);
    }
    match Kind::from_byte(tail[0]) {
        Some(kind) => Ok(Some(Record { kind, payload })),
        None => Err(RecordError::Kind(tail[0])),
    }
}

#[inline]
fn checksum(covered: &[u8; 12], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(covered);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + payload.len()];
        encode(&mut bytes, Kind::Data, 7, payload);
        bytes
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = record(&[9; 24]);
        let read = decode(&bytes, 24).unwrap().unwrap();
        assert_eq!(read.kind, Kind::Data);
        assert_eq!(read.number(), 7);
        assert_eq!(read.payload[8..], [9; 16]);
        assert_eq!(read.bytes(), bytes.len());
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let bytes = record(&[9; 24]);
        for end in 0..bytes.len() {
            assert!(
                decode(&bytes[..end], 24).unwrap().is_none(),
                "prefix of {end} bytes"
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_caught() {
        let bytes = record(&[9; 24]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = decode(&flipped, 24);
            // A shorter length is an error of the checksum, a longer one of the length.
            assert!(read.is_err(), "bit {bit} flipped: {read:?}");
        }
    }

    #[test]
    fn a_length_outside_the_agreed_range_is_refused() {
        for payload_bytes in [0, 7, 25, u32::MAX] {
            let mut bytes = record(&[9; 24]);
            bytes[..4].copy_from_slice(&payload_bytes.to_le_bytes());
            assert_eq!(
                decode(&bytes, 24).unwrap_err(),
                RecordError::Length(payload_bytes)
            );
        }
    }

    #[test]
    fn the_checksum_is_the_crc32_of_one_run_of_bytes() {
        let bytes = record(&[9; 24]);
        let mut covered = bytes[..4].to_vec();
        covered.extend_from_slice(&bytes[8..]);
        assert_eq!(bytes[4..8], crc32fast::hash(&covered).to_le_bytes());
    }
}
