//! The handshake: who may have a link with this node.
//!
//! The dialler sends a [`Preface`] and a [`Hello`]; the other side answers with an [`Accept`] or a
//! [`Refuse`]. Nothing that takes a position is sent before, so a dial that fails loses nothing.
//!
//! [`Acceptor`] is the side that is dialled, until it knows by whom; the [`Association`] with that
//! node decides the rest, since only it knows of links and dials that exist already. What the
//! dialler sends and checks is here too, so both sides of each rule stand together.
//!
//! The preface says what the dialler is. A client is let in as one, for the lanes of messages; it
//! lets nobody in itself but who goes on with a link that it made.
//!
//! Addresses and uids are claims. A [`Verifier`] has the claimed address asked whether the dial is
//! its own before anybody acts on them; without transport security that is as good as routing is.
//!
//! [`Association`]: crate::association::Association

mod acceptor;
mod search;
mod verifier;

pub use acceptor::Acceptor;
pub use search::Sought;
pub use verifier::{Answer, Begin, Company, Unvouched, Verifier};

use std::time::Duration;

use crate::address::{Address, ClusterHash, CoreId, NodeId, Uid};
use crate::close_reason::CloseReason;
use crate::effect::ConnKey;
use crate::frame::body::{Accept, Hello, Offer, Refuse, RefuseReason};
use crate::lane::Lane;
use crate::limits::{CORES_MAX, FRAME_BYTES_CEILING, FRAME_BYTES_MIN, window_bytes_min};
use crate::matrix::LinkMatrix;
use crate::preface::{PROTOCOL_VERSION, Preface, Role};

/// Feature bit: links rest when nothing goes over them, see
/// [`Association::handle_idle`](crate::association::Association::handle_idle).
pub const RESTS: u64 = 1 << 0;

/// What this node says of itself in every handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Its canonical address and its uid.
    pub id: NodeId,
    /// The core whose links these are.
    pub core: CoreId,
    /// The lane whose links these are.
    pub lane: Lane,
    /// What it dials as. A client makes links, and lets nobody make any with it.
    pub role: Role,
    /// How many cores the node has; their numbers begin at 0.
    pub cores: u16,
    /// What its archives look like, see
    /// [`FORMAT_FINGERPRINT`](crate::fingerprint::FORMAT_FINGERPRINT).
    pub format_fingerprint: u64,
    /// The longest body it takes on that lane, in bytes.
    pub body_cap: u32,
    /// How much it lets a peer send ahead on a link, in bytes.
    pub window_bytes: u32,
    /// How many links it has with the cores of one peer at most.
    pub links_max: u32,
    /// What it can do besides the base version, one bit each.
    pub features: u64,
    /// How long a stopping association waits for its last bytes and its connections to end.
    pub stop_timeout: Duration,
    /// How long a link waits for its first connection before it is given up.
    pub dial_timeout: Duration,
    /// How long a link waits for another connection before it is given up.
    pub resume_timeout: Duration,
}

/// A dialler that introduced itself as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its connection.
    pub conn: ConnKey,
    /// The node it claims to be.
    pub peer: NodeId,
    /// The core that dialled.
    pub sending_core: CoreId,
    /// The core it wants to reach; `None`: any.
    pub wanted_core: Option<CoreId>,
    /// The lane it wants a link for.
    pub lane: Lane,
    /// What it offers.
    pub offer: Offer,
    /// To be repeated in the answer.
    pub nonce: u64,
    /// What it dials as.
    pub role: Role,
}

impl Introduction {
    /// Whether it wants no link, but to know whether a dial with this nonce is this node's.
    pub fn is_inquiry(&self) -> bool {
        self.role == Role::Inquirer
    }

    /// Whether it is of a client.
    pub fn is_of_client(&self) -> bool {
        self.role == Role::Client
    }
}

impl LocalNode {
    /// The hash of the cluster's name.
    pub fn cluster(&self) -> ClusterHash {
        ClusterHash::of(self.id.address.system())
    }

    /// The offer of a link with a number that is new.
    pub(crate) fn offer(&self, link: u64) -> Offer {
        Offer {
            body_cap: self.body_cap,
            limit: u64::from(self.window_bytes),
            features: self.features,
            link,
            received_to: None,
            cores: self.cores,
            links_max: self.links_max,
        }
    }

    /// What a dial from this core to a core of `to` begins with.
    pub(crate) fn introduce(
        &self,
        (to, wanted_core): (&Address, CoreId),
        expected_uid: Option<Uid>,
        nonce: u64,
        offer: Offer,
    ) -> Vec<u8> {
        let preface = Preface {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            role: self.role,
            lane: self.lane,
            sending_core: self.core,
            wanted_core: Some(wanted_core),
            cluster: self.cluster(),
            format_fingerprint: self.format_fingerprint,
            uid: self.id.uid,
            expected_uid,
            nonce,
        };
        let hello = Hello {
            from: self.id.address.clone(),
            to: to.clone(),
            offer,
        };
        let mut bytes = preface.encode().to_vec();
        hello.encode(&mut bytes);
        bytes
    }

    /// The answer to an introduction that was found good.
    pub(crate) fn accept(&self, introduction: &Introduction, offer: Offer) -> Vec<u8> {
        let accept = Accept {
            from: self.id.address.clone(),
            to: introduction.peer.address.clone(),
            offer,
            uid: self.id.uid,
            nonce: introduction.nonce,
        };
        let mut bytes = Vec::new();
        accept.encode(&mut bytes);
        bytes
    }

    /// Whether a preface is of a node that belongs here, and its handshake may go on.
    pub fn admits(&self, preface: &Preface) -> bool {
        self.check_preface(preface).is_ok()
    }

    /// Why a preface is not of a node that belongs here.
    fn check_preface(&self, preface: &Preface) -> Result<(), RefuseReason> {
        if preface.cluster != self.cluster() {
            return Err(RefuseReason::Cluster);
        }
        if preface.format_fingerprint != self.format_fingerprint {
            return Err(RefuseReason::Format);
        }
        // Each of the two would have to be the one that lets the other in.
        if (self.role, preface.role) == (Role::Client, Role::Client) {
            return Err(RefuseReason::Role);
        }
        if !serves_lane(preface) {
            return Err(RefuseReason::Lane);
        }
        let no_core = preface.wanted_core.is_some_and(|core| core.0 >= self.cores);
        if no_core || preface.sending_core.0 >= CORES_MAX {
            return Err(RefuseReason::Core);
        }
        if preface.uid == self.id.uid {
            return Err(RefuseReason::Itself);
        }
        if preface.expected_uid.is_some_and(|uid| uid != self.id.uid) {
            return Err(RefuseReason::Incarnation);
        }
        Ok(())
    }

    /// Whether a hello is meant for this node and offers what a link needs.
    fn check_hello(&self, hello: &Hello, sending_core: CoreId) -> Result<(), RefuseReason> {
        if hello.to != self.id.address {
            return Err(RefuseReason::Destination);
        }
        if hello.from == self.id.address {
            return Err(RefuseReason::Itself);
        }
        // The preface has only the hash of this name.
        if hello.from.system() != self.id.address.system() {
            return Err(RefuseReason::Cluster);
        }
        if is_usable(&hello.offer) && sending_core.0 < hello.offer.cores {
            Ok(())
        } else {
            Err(RefuseReason::Hello)
        }
    }

    /// Whether an accept answers the dial of `to` with `nonce`.
    pub(crate) fn check_accept(
        &self,
        accept: &Accept,
        to: &Address,
        nonce: u64,
    ) -> Result<(), CloseReason> {
        let is_answer = accept.nonce == nonce
            && accept.from == *to
            && accept.to == self.id.address
            && accept.uid != self.id.uid;
        if is_answer && is_usable(&accept.offer) {
            Ok(())
        } else {
            Err(CloseReason::Answer)
        }
    }

    /// The longest body that fits this node's cap and the offer's.
    pub(crate) fn common_body_cap(&self, offer: &Offer) -> u32 {
        self.body_cap.min(offer.body_cap)
    }

    /// Whether the core of a dialler is one that this core may have a link with.
    pub fn may_link(&self, introduction: &Introduction) -> bool {
        let matrix = self.matrix(&introduction.offer);
        matrix.may_link(self.core, introduction.sending_core)
    }

    /// The links that this node and the one with that offer may have.
    pub(crate) fn matrix(&self, offer: &Offer) -> LinkMatrix {
        LinkMatrix::new(self.cores, offer.cores, self.links_max.min(offer.links_max))
    }
}

/// Whether the lane is served to that role, and between those cores: control from control core to
/// control core of nodes alone, and inquiries on the ordinary one.
fn serves_lane(preface: &Preface) -> bool {
    const CONTROL_CORE: CoreId = CoreId(0);
    match preface.lane {
        Lane::Ordinary => true,
        Lane::Large => preface.role != Role::Inquirer,
        Lane::Control => {
            preface.role == Role::Node
                && preface.sending_core == CONTROL_CORE
                && preface.wanted_core.is_none_or(|core| core == CONTROL_CORE)
        }
    }
}

/// Whether a link can live on an offer: a cap within the bounds, credit for the largest frame, and
/// a node of a size that there can be. Where it stands is for its association to judge.
fn is_usable(offer: &Offer) -> bool {
    (FRAME_BYTES_MIN..=FRAME_BYTES_CEILING).contains(&offer.body_cap)
        && offer.limit >= u64::from(window_bytes_min(offer.body_cap))
        && (1..=CORES_MAX).contains(&offer.cores)
        && offer.links_max > 0
}

/// The frame that refuses a connection.
pub(crate) fn refusal(reason: RefuseReason) -> Vec<u8> {
    let text = match reason {
        RefuseReason::Other => "refused",
        RefuseReason::Version => "no protocol version in common",
        RefuseReason::Preface => "the preface has a value that is not known here",
        RefuseReason::Core => "the wanted core does not exist",
        RefuseReason::Cluster => "this node belongs to another cluster",
        RefuseReason::Format => "the archives of the two programs differ",
        RefuseReason::Destination => "the dialled address is not this node's canonical one",
        RefuseReason::Incarnation => "another start of the process runs here",
        RefuseReason::Former => "a later start of the dialling process was seen",
        RefuseReason::Superseded => "another link or dial goes first",
        RefuseReason::Stopping => "this node is stopping",
        RefuseReason::Overloaded => "this node holds as many peers as it may",
        RefuseReason::Hello => "the hello is not valid",
        RefuseReason::Itself => "a node cannot dial itself",
        RefuseReason::Lane => "the lane is not served",
        RefuseReason::Unproven => "nobody at that address vouches for the dial",
        RefuseReason::Collision => "another node has that uid",
        RefuseReason::Position => "the link cannot go on where the hello says",
        RefuseReason::Quarantined => "this start of the dialling process is quarantined",
        RefuseReason::Role => "the dialling process has no such link in that role",
        RefuseReason::AddressInUse => "another process answers at that address",
    };
    let mut bytes = Vec::new();
    let text = text.to_owned();
    Refuse { reason, text }.encode(&mut bytes);
    bytes
}
