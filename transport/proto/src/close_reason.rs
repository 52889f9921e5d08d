//! Why connections end, as one closed list with names for counters.

use crate::frame::FrameError;
use crate::frame::body::{BodyError, RefuseReason};
use crate::kind::Kind;
use crate::link::Violation;
use crate::preface::PrefaceError;
use crate::quarantine::By;

/// Why a connection ended, or a dial did not become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Its first bytes were not a preface.
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    /// Its bytes were not frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame's body was not what its kind says.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The peer broke the rules of the link.
    #[error(transparent)]
    Link(#[from] Violation),
    /// More of its questions wait for answers than may be outstanding.
    #[error("more questions are outstanding than may be")]
    TooManyAsks,
    /// A payload was not a valid archive of the message it claimed to be.
    #[error("a payload is not a valid archive of its message")]
    Archive,
    /// A frame came when none of its kind may.
    #[error("a frame of kind {0:?} came when none may")]
    UnexpectedFrame(Kind),
    /// The answer to a dial repeats another nonce, or is signed by another node.
    #[error("the answer to the dial is somebody else's")]
    Answer,
    /// The peer refused.
    #[error("the peer refuses: {0:?}")]
    Refused(RefuseReason),
    /// This node refused.
    #[error("refused: {0:?}")]
    Refusing(RefuseReason),
    /// No preface in time.
    #[error("no preface came in time")]
    PrefaceTimeout,
    /// The dial or its handshake took too long.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// A frame began and did not go on.
    #[error("a frame began and did not go on")]
    FrameStall,
    /// The peer took nothing over for too long of what was sent to it.
    #[error("the peer took nothing over for too long")]
    GrantStall,
    /// The link was in doubt and the peer did not answer.
    #[error("the peer did not answer while its link was in doubt")]
    ProbeTimeout,
    /// Nobody answered the dial.
    #[error("nobody answered the dial")]
    DialFailed,
    /// The peer's host says that nobody listens at its address.
    #[error("nobody listens at the dialled address")]
    DialRefused,
    /// Nobody was found for as long as sends wait for their first link.
    #[error("the peer was not found in time")]
    DialTimeout,
    /// The link was without a connection for too long.
    #[error("the link was without a connection for too long")]
    ResumeTimeout,
    /// The peer came back, and had given the link up.
    #[error("the peer has given the link up")]
    Forgotten,
    /// The peer ended its stream.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// The peer said goodbye.
    #[error("the peer said goodbye")]
    Bye,
    /// Nothing went over its link, which rests.
    #[error("nothing went over the link, which rests")]
    Rested,
    /// Another dial between the two nodes goes first.
    #[error("another dial between the two nodes goes first")]
    Superseded,
    /// A later start of the peer's process came in its place.
    #[error("the peer was restarted")]
    Restarted,
    /// This node, or the association, is stopping.
    #[error("this side is stopping")]
    Stopping,
    /// This node holds as many connections as it may.
    #[error("too many connections")]
    Overloaded,
    /// The address it comes from has as many connections as one may.
    #[error("too many connections from one address")]
    SourceFull,
    /// The address it comes from connects too often.
    #[error("too many connects from one address in a short time")]
    Storm,
    /// A dial was asked about, and vouched for.
    #[error("the dial was vouched for")]
    Vouched,
    /// The control link of a node that counts as gone, or that takes no word of the ends of actors.
    #[error("the peer counts as gone, or takes nothing that is said to it")]
    GivenUp,
    /// This node, or the peer, has quarantined the start of the other's process.
    #[error("quarantined by {0}")]
    Quarantined(By),
}

/// Who has to act when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer: it sent what nobody may send, or what was damaged on the way.
    Peer,
    /// Whoever set up the two nodes: they do not fit together.
    Setup,
    /// The network, or a peer that is gone or hangs.
    Network,
    /// This host: it has no more to give.
    Resource,
    /// Nobody: this is how connections end.
    Nobody,
}

impl CloseReason {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Preface(error) => error.label(),
            Self::Frame(error) => error.label(),
            Self::Body(error) => error.label(),
            Self::Link(violation) => violation.label(),
            Self::TooManyAsks => "too_many_asks",
            Self::Archive => "archive",
            Self::UnexpectedFrame(_) => "unexpected_frame",
            Self::Answer => "answer",
            // The two sides of one refusal happen on different nodes and share its name.
            Self::Refused(reason) | Self::Refusing(reason) => reason.label(),
            Self::PrefaceTimeout => "preface_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::FrameStall => "frame_stall",
            Self::GrantStall => "grant_stall",
            Self::ProbeTimeout => "probe_timeout",
            Self::DialFailed => "dial_failed",
            Self::DialRefused => "dial_refused",
            Self::DialTimeout => "dial_timeout",
            Self::ResumeTimeout => "resume_timeout",
            Self::Forgotten => "forgotten",
            Self::PeerClosed => "peer_closed",
            Self::Broken => "broken",
            Self::Bye => "bye",
            Self::Rested => "rested",
            Self::Superseded => "superseded",
            Self::Restarted => "restarted",
            Self::Stopping => "stopping",
            Self::Overloaded => "overloaded",
            Self::SourceFull => "source_full",
            Self::Storm => "storm",
            Self::Vouched => "vouched",
            Self::GivenUp => "given_up",
            Self::Quarantined(By::Us) => "quarantined",
            Self::Quarantined(By::Peer) => "quarantined_by_peer",
        }
    }

    /// Whether a link goes on over another connection when this ended its last: its bytes are lost
    /// or damaged on the way, if any were, and not wrong.
    pub const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::Frame(_)
                | Self::FrameStall
                | Self::ProbeTimeout
                | Self::PeerClosed
                | Self::Broken
                | Self::Superseded
                | Self::Rested
        )
    }

    /// Which side has quarantined the other, if it is for that.
    pub const fn quarantined_by(&self) -> Option<By> {
        match self {
            Self::Quarantined(by) => Some(*by),
            Self::Refusing(RefuseReason::Quarantined) => Some(By::Us),
            Self::Refused(RefuseReason::Quarantined) => Some(By::Peer),
            _ => None,
        }
    }

    /// Who has to act.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Preface(PrefaceError::Version { .. }) => Fault::Setup,
            Self::Preface(_)
            | Self::Frame(_)
            | Self::Body(_)
            | Self::Link(_)
            | Self::TooManyAsks
            | Self::Archive
            | Self::UnexpectedFrame(_)
            | Self::Answer => Fault::Peer,
            Self::Refused(reason) | Self::Refusing(reason) => fault_of_refusal(*reason),
            Self::PrefaceTimeout
            | Self::HandshakeTimeout
            | Self::FrameStall
            | Self::GrantStall
            | Self::ProbeTimeout
            | Self::DialFailed
            | Self::DialRefused
            | Self::DialTimeout
            | Self::ResumeTimeout
            | Self::Forgotten
            | Self::PeerClosed
            | Self::Broken
            | Self::GivenUp => Fault::Network,
            Self::Overloaded | Self::SourceFull | Self::Storm => Fault::Resource,
            Self::Bye
            | Self::Rested
            | Self::Superseded
            | Self::Restarted
            | Self::Stopping
            | Self::Vouched
            | Self::Quarantined(_) => Fault::Nobody,
        }
    }
}

const fn fault_of_refusal(reason: RefuseReason) -> Fault {
    match reason {
        RefuseReason::Superseded | RefuseReason::Stopping | RefuseReason::Incarnation => {
            Fault::Nobody
        }
        RefuseReason::Overloaded => Fault::Resource,
        RefuseReason::Preface | RefuseReason::Hello | RefuseReason::Position => Fault::Peer,
        RefuseReason::Other
        | RefuseReason::Version
        | RefuseReason::Core
        | RefuseReason::Cluster
        | RefuseReason::Format
        | RefuseReason::Destination
        | RefuseReason::Former
        | RefuseReason::Itself
        | RefuseReason::Lane
        | RefuseReason::Unproven
        | RefuseReason::AddressInUse
        | RefuseReason::Collision
        | RefuseReason::Quarantined
        | RefuseReason::Role => Fault::Setup,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_distinct_and_fit_a_counter() {
        let refusals = (0..=20)
            .map(RefuseReason::from_wire)
            .map(CloseReason::Refused);
        let others = [
            PrefaceError::Magic.into(),
            PrefaceError::Checksum.into(),
            PrefaceError::Uid.into(),
            FrameError::Checksum.into(),
            FrameError::UnknownKind(0).into(),
            BodyError::Length.into(),
            BodyError::Address.into(),
            Violation::UndefinedType(0).into(),
            Violation::UndefinedTarget(0).into(),
            CloseReason::Archive,
            CloseReason::UnexpectedFrame(Kind::Tell),
            CloseReason::Answer,
            CloseReason::PrefaceTimeout,
            CloseReason::HandshakeTimeout,
            CloseReason::FrameStall,
            CloseReason::GrantStall,
            CloseReason::ProbeTimeout,
            CloseReason::DialFailed,
            CloseReason::DialRefused,
            CloseReason::DialTimeout,
            CloseReason::ResumeTimeout,
            CloseReason::Forgotten,
            CloseReason::PeerClosed,
            CloseReason::Broken,
            CloseReason::Bye,
            CloseReason::Rested,
            CloseReason::Superseded,
            CloseReason::Restarted,
            CloseReason::Stopping,
            CloseReason::Overloaded,
            CloseReason::SourceFull,
            CloseReason::Storm,
            CloseReason::Vouched,
            CloseReason::GivenUp,
            CloseReason::Quarantined(By::Us),
            CloseReason::Quarantined(By::Peer),
        ];
        let mut seen = BTreeSet::new();
        for reason in refusals.chain(others) {
            let label = reason.label();
            assert!(
                label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{label}"
            );
            assert!(seen.insert(label), "{label} is used twice");
        }
    }

    #[test]
    fn the_fault_says_who_has_to_act() {
        let fault = |reason: CloseReason| reason.fault();
        assert_eq!(fault(FrameError::Checksum.into()), Fault::Peer);
        assert_eq!(
            fault(PrefaceError::Version { min: 2, max: 2 }.into()),
            Fault::Setup
        );
        assert_eq!(
            fault(CloseReason::Refused(RefuseReason::Cluster)),
            Fault::Setup
        );
        assert_eq!(
            fault(CloseReason::Refused(RefuseReason::Superseded)),
            Fault::Nobody
        );
        assert_eq!(fault(CloseReason::Broken), Fault::Network);
        assert_eq!(fault(CloseReason::Overloaded), Fault::Resource);
    }
}
