//! Whether a link lives, found out by asking over it.

use ringmesh_proto::frame::body::{Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::HEADER_BYTES;

use super::RawPeer;

impl RawPeer {
    /// Has the node answer a ping over this link, with nothing in front of the answer.
    ///
    /// # Panics
    /// If the link has ended, or something else was sent on it.
    pub fn is_answered(&mut self) {
        let nonce = 0x5eed;
        let mut ping = [0; 2 * HEADER_BYTES];
        let ping_bytes = Ping { nonce }.encode(&mut ping);
        self.send(&ping[..ping_bytes]);
        let frame = self.frame().expect("the link lives");
        assert_eq!(frame.header.kind, Kind::Pong, "{frame:?}");
        assert_eq!(frame.body(Pong::parse).nonce, nonce);
    }
}
