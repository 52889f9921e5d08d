//! The checksum of frames, prefaces and files: CRC-32 (IEEE 802.3).
//!
//! It finds damage, it authenticates nothing.

use std::sync::LazyLock;

use crc32fast::Hasher;

use crate::limits::HEADER_BYTES;

/// A hasher that has seen nothing. Making one asks what the processor can: once is enough.
static FRESH: LazyLock<Hasher> = LazyLock::new(Hasher::new);

/// The checksum of a frame: over its header without the checksum's own four bytes, and its body.
///
/// The two parts of the header go in as one: the checksum works in blocks, and two short odd pieces
/// cost 2.4 ns more per frame than one of twelve bytes.
#[inline]
pub(crate) fn of_frame(header: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    let mut hasher = of_header(header);
    hasher.update(body);
    hasher.finalize()
}

/// The same of a frame whose body lies in two pieces.
pub(crate) fn of_split_frame(header: &[u8; HEADER_BYTES], body: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = of_header(header);
    hasher.update(body);
    hasher.update(rest);
    hasher.finalize()
}

#[inline(always)]
fn of_header(header: &[u8; HEADER_BYTES]) -> Hasher {
    let mut covered = [0; 12];
    covered[..4].copy_from_slice(&header[..4]);
    covered[4..].copy_from_slice(&header[8..]);
    let mut hasher = FRESH.clone();
    hasher.update(&covered);
    hasher
}

/// The checksum of plain bytes.
pub fn of_bytes(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial() {
        assert_eq!(of_bytes(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_frame_covers_all_but_its_own_field() {
        let header: [u8; 16] = std::array::from_fn(|index| index as u8);
        let mut plain = Vec::new();
        plain.extend_from_slice(&header[..4]);
        plain.extend_from_slice(&header[8..]);
        plain.extend_from_slice(b"body");
        assert_eq!(of_frame(&header, b"body"), of_bytes(&plain));
        for split in 0..=4 {
            let (body, rest) = b"body".split_at(split);
            assert_eq!(of_split_frame(&header, body, rest), of_bytes(&plain));
        }
    }
}
