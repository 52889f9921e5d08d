//! How a peer stands, for whoever waits for a link with it.

use ringmesh_proto::address::Uid;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::quarantine::By;

use super::{Core, PeerIndex};

/// What a look-up needs to know of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// A link is up, to this process start.
    Up(Uid),
    /// No link; with the last thing that went wrong.
    Down(Option<String>),
    /// No link, for its host name has no address; with what the look-up said.
    Unknown(String),
    /// It refuses this node, and will go on to.
    Refused(String),
    /// A quarantine parts the two nodes, as the last dial has found.
    Quarantined(By),
    /// This node is stopping.
    Stopping,
}

impl Core {
    /// Whether a peer can be sent to now, and if not, why.
    pub(crate) fn peer_state(&self, node: PeerIndex) -> PeerState {
        if self.is_closing() {
            return PeerState::Stopping;
        }
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(node);
        let link = peer.link.as_ref().filter(|link| !link.forming.get());
        if let (None, Some(why)) = (link, &peer.places.unknown) {
            return PeerState::Unknown(why.clone());
        }
        match (link, &peer.problem) {
            (Some(link), _) => PeerState::Up(link.uid),
            (None, Some(CloseReason::Quarantined(by))) => PeerState::Quarantined(*by),
            (None, Some(CloseReason::Refused(RefuseReason::Quarantined))) => {
                PeerState::Quarantined(By::Peer)
            }
            (None, Some(CloseReason::Refused(reason))) if reason.is_permanent() => {
                PeerState::Refused(format!("{reason:?}"))
            }
            (None, problem) => PeerState::Down(problem.map(|problem| problem.to_string())),
        }
    }
}
