//! The first 64 bytes of a connection.

use ringmesh_proto::address::{ClusterHash, CoreId, Uid};
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::PREFACE_BYTES;
use ringmesh_proto::preface::{PROTOCOL_VERSION, Preface, PrefaceError, Role};

/// Bit of the first byte: the checksum is made right, so that what is behind it is reached.
const REPAIR: u8 = 1;

/// The first byte holds options, the next 64 are a preface; missing ones are 0.
///
/// # Panics
/// When bytes that are accepted are not the one way to write what they say, or when a stranger is
/// answered.
pub fn preface(bytes: &[u8]) {
    let Some((options, given)) = bytes.split_first() else {
        return;
    };
    let mut bytes = [0; PREFACE_BYTES];
    let given = &given[..given.len().min(PREFACE_BYTES)];
    bytes[..given.len()].copy_from_slice(given);
    if options & REPAIR != 0 {
        repair(&mut bytes);
    }
    match Preface::parse(&bytes) {
        Ok(preface) => {
            assert_eq!(preface.encode(), bytes, "{preface:?}");
            assert!((preface.version_min..=preface.version_max).contains(&PROTOCOL_VERSION));
        }
        Err(PrefaceError::Magic) => assert_ne!(bytes[..8], *b"RINGMSH\0"),
        Err(error) => {
            assert_eq!(bytes[..8], *b"RINGMSH\0", "{error:?}");
            // Only whoever speaks this protocol undamaged is told anything.
            let told = error.refusal().is_some();
            assert_eq!(told, is_undamaged(&bytes), "{error:?}");
            if let PrefaceError::Version { .. } = error {
                assert_eq!(error.refusal(), Some(RefuseReason::Version));
            }
        }
    }
}

fn is_undamaged(bytes: &[u8; PREFACE_BYTES]) -> bool {
    let (covered, crc) = bytes.split_at(PREFACE_BYTES - 4);
    crc32fast::hash(covered).to_le_bytes() == *crc
}

fn repair(bytes: &mut [u8; PREFACE_BYTES]) {
    let (covered, crc) = bytes.split_at_mut(PREFACE_BYTES - 4);
    crc.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
}

/// Prefaces of each role and lane, and what other protocols say first.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for role in [Role::Node, Role::Client] {
        for lane in [Lane::Control, Lane::Ordinary, Lane::Large] {
            let name = format!("{role:?}-{lane:?}").to_lowercase();
            let bytes = Preface {
                role,
                lane,
                ..sample()
            }
            .encode();
            seeds.push((name, with_options(0, &bytes)));
        }
    }
    let any = Preface {
        wanted_core: None,
        expected_uid: None,
        ..sample()
    };
    seeds.push((
        "any-core-any-uid".to_owned(),
        with_options(REPAIR, &any.encode()),
    ));
    let inquiry = Preface {
        role: Role::Inquirer,
        ..sample()
    };
    seeds.push(("inquiry".to_owned(), with_options(0, &inquiry.encode())));
    let later = Preface {
        version_min: 2,
        version_max: 3,
        ..sample()
    };
    seeds.push(("later-version".to_owned(), with_options(0, &later.encode())));
    let mut flagged = sample().encode();
    flagged[56] = 1;
    seeds.push(("unknown-flag".to_owned(), with_options(REPAIR, &flagged)));
    seeds.push((
        "http".to_owned(),
        with_options(0, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ));
    seeds.push((
        "tls".to_owned(),
        with_options(0, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ));
    seeds
}

fn sample() -> Preface {
    Preface {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        role: Role::Node,
        lane: Lane::Ordinary,
        sending_core: CoreId(1),
        wanted_core: Some(CoreId(2)),
        cluster: ClusterHash::of("demo"),
        format_fingerprint: 0x0123_4567_89AB_CDEF,
        uid: Uid::new(3).expect("3 is a uid"),
        expected_uid: Uid::new(4),
        nonce: 5,
    }
}

fn with_options(options: u8, preface: &[u8]) -> Vec<u8> {
    [&[options], preface].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repaired_preface_gets_past_its_checksum() {
        let mut bytes = sample().encode();
        bytes[48] ^= 1;
        assert_eq!(Preface::parse(&bytes), Err(PrefaceError::Checksum));
        repair(&mut bytes);
        assert_eq!(
            Preface::parse(&bytes),
            Ok(Preface {
                nonce: 4,
                ..sample()
            })
        );
    }
}
