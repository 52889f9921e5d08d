//! The bytes that every message carries behind its number, the same in all processes.

/// Bytes of the largest message there is.
pub(crate) const PATTERN_BYTES: usize = 256 * 1024;

/// Bytes that receivers look at.
const CHECKED_BYTES: usize = 8;

/// The bytes. Static, so a message borrows them and nothing is allocated or counted.
static PATTERN: [u8; PATTERN_BYTES] = {
    let mut pattern = [0; PATTERN_BYTES];
    let mut index = 0;
    while index < PATTERN_BYTES {
        // The multiplier spreads the bytes; 1 + keeps a run of zeros from passing for the pattern.
        pattern[index] = 1 + ((index * 167) % 255) as u8;
        index += 1;
    }
    pattern
};

/// The first `bytes` of the pattern.
///
/// # Panics
/// If `bytes` is more than [`PATTERN_BYTES`].
pub(crate) fn first(bytes: usize) -> &'static [u8] {
    &PATTERN[..bytes]
}

/// The first `N` bytes of the pattern, by value.
///
/// # Panics
/// If `N` is more than [`PATTERN_BYTES`].
#[inline]
pub(crate) fn array<const N: usize>() -> [u8; N] {
    *PATTERN
        .first_chunk()
        .expect("the pattern is longer than any message")
}

/// Whether `body` begins as the pattern does. The frame's checksum covers the rest.
#[inline]
pub(crate) fn begins(body: &[u8]) -> bool {
    match (body.first_chunk::<CHECKED_BYTES>(), PATTERN.first_chunk()) {
        (Some(body), Some(pattern)) => body == pattern,
        _ => PATTERN.starts_with(body),
    }
}

/// Whether `body` is the pattern, every byte of it.
pub(crate) fn is_whole(body: &[u8]) -> bool {
    PATTERN.starts_with(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_recognised_at_any_length() {
        for bytes in [0, 1, 7, 8, 9, 48, PATTERN_BYTES] {
            assert!(
                begins(first(bytes)) && is_whole(first(bytes)),
                "{bytes} bytes"
            );
        }
    }

    #[test]
    fn other_bytes_are_not() {
        assert!(!begins(&[0; 7]) && !begins(&[0; 48]));
        let mut body = first(48).to_vec();
        body[47] ^= 1;
        assert!(begins(&body) && !is_whole(&body));
    }
}
