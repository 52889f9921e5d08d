//! Who published what one core of a node gives another: in front of the head, within a node alone.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0: this node; 1: another |
//! | 8, 1, n, 2 | of another: its uid, its host behind the length of that, and its port |
//!
//! Numbers are little-endian. The name goes along because a core may hear of a node first by what
//! that publishes, and last when it has left: so each can always say who it was. What comes from
//! another node never has this: there the link says who sent it.

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::reader::Reader;

use super::frame::FrameError;
use crate::codec::{self, Writer};

const OWN: u8 = 0;
const ANOTHER: u8 = 1;

/// The origin of what this node publishes.
pub const OWN_ORIGIN: &[u8] = &[OWN];

/// Another node, as an origin names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Which start of its process.
    pub uid: Uid,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    /// The origin of what another node publishes, as bytes.
    pub fn write(node: &NodeId) -> Vec<u8> {
        let mut bytes = Writer::default();
        bytes.u8(ANOTHER).uid(node.uid).address(&node.address);
        bytes.finish()
    }

    /// Reads an origin, `None` of this node, and what follows it: a head.
    ///
    /// # Errors
    /// [`FrameError`] if there is none.
    pub fn parse(bytes: &'a [u8]) -> Result<(Option<Self>, &'a [u8]), FrameError> {
        let mut reader = Reader::new(bytes);
        let origin = match reader.u8()? {
            OWN => None,
            ANOTHER => Some(Self {
                uid: Uid::new(reader.u64()?).ok_or(FrameError::Number)?,
                host: reader.text()?.ok_or(FrameError::Name)?,
                port: reader.u16()?,
            }),
            _ => return Err(FrameError::Number),
        };
        Ok((origin, reader.rest()))
    }

    /// The node, whose system is that one.
    ///
    /// # Errors
    /// [`FrameError::Name`] if it has no address.
    pub fn node(&self, system: &str) -> Result<NodeId, FrameError> {
        let address = codec::address_of(system, self.host, self.port);
        Ok(NodeId {
            address: address.map_err(|_| FrameError::Name)?,
            uid: self.uid,
        })
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::address::Address;
    use ringmesh_proto::limits::HOST_BYTES_MAX;

    use super::*;
    use crate::pubsub::limits::ORIGIN_BYTES_MAX;

    fn node(host: &str) -> NodeId {
        NodeId {
            address: Address::new("demo", host, 0x0203).expect("an address"),
            uid: Uid::new(0x0102_0304_0506_0708).expect("not zero"),
        }
    }

    #[test]
    fn an_origin_has_these_bytes() {
        let bytes = Origin::write(&node("a.b"));
        let uid = [8, 7, 6, 5, 4, 3, 2, 1];
        assert_eq!(bytes, [&[1][..], &uid, b"\x03a.b\x03\x02"].concat());
        assert_eq!(OWN_ORIGIN, [0]);
    }

    #[test]
    fn an_origin_comes_back_as_it_was_and_leaves_what_follows() {
        for host in ["127.0.0.1", "::1", "node-1.example.org"] {
            let node = node(host);
            let bytes = [&Origin::write(&node)[..], b"head"].concat();
            let (origin, rest) = Origin::parse(&bytes).expect("an origin");
            assert_eq!(rest, b"head");
            let origin = origin.expect("another node");
            assert_eq!((origin.uid, origin.node("demo")), (node.uid, Ok(node)));
        }
        assert_eq!(Origin::parse(b"\x00head"), Ok((None, &b"head"[..])));
    }

    #[test]
    fn whatever_is_cut_off_or_is_none_is_refused() {
        let bytes = Origin::write(&node("a.b"));
        for length in 0..bytes.len() {
            assert_eq!(Origin::parse(&bytes[..length]), Err(FrameError::Length));
        }
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let node = Origin::parse(&bytes).map(|it| it.0.map(|it| it.node("demo")));
            node.map(|it| it.expect("another node"))
        };
        assert_eq!(changed(0, 2), Err(FrameError::Number));
        assert_eq!(changed(10, 0xFF), Err(FrameError::Name), "no text");
        assert_eq!(changed(11, b'/'), Ok(Err(FrameError::Name)));
        // One node has one name.
        assert_eq!(changed(10, b'A'), Ok(Err(FrameError::Name)));
        let mut no_uid = bytes.clone();
        no_uid[1..9].fill(0);
        assert_eq!(Origin::parse(&no_uid), Err(FrameError::Number));
    }

    #[test]
    fn an_origin_takes_no_more_than_origin_bytes_max() {
        let longest = "h".repeat(HOST_BYTES_MAX);
        assert_eq!(Origin::write(&node(&longest)).len(), ORIGIN_BYTES_MAX);
    }
}
