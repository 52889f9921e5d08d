//! Why a connection is closed for what its peer did.

use ringmesh_proto::archive::AccessError;
use ringmesh_proto::frame::FrameError;
use ringmesh_proto::frame::body::BodyError;
use ringmesh_proto::link::Violation;

/// What a peer did that ends its connection. Nobody else is disturbed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame breaks the rules of the link.
    #[error(transparent)]
    Link(#[from] Violation),
    /// A message's bytes are not an archive of its type.
    #[error("a message is not valid: {0}")]
    Archive(AccessError),
    /// The body of a service frame is not what its kind says.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// More questions wait for answers than may be outstanding on a link.
    #[error("more questions are outstanding than may be")]
    TooManyAsks,
    /// A frame came that has no place in this state of the connection.
    #[error("a frame of kind {0:?} has no place here")]
    OutOfPlace(ringmesh_proto::kind::Kind),
    /// The preface or the handshake was not complete in time.
    #[error("no complete preface or handshake in time")]
    TooSlow,
    /// A frame began and did not go on.
    #[error("a frame began and did not go on")]
    FrameStalled,
}
