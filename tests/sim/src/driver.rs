//! The links of a process: the same machines that the engine drives, over a simulated network.
//!
//! An [`Association`] per peer decides when to dial and which connection carries the link; the
//! [`Acceptor`] holds incoming connections until they have shown who they are, and the [`Verifier`]
//! asks whether they are who they claim to be. This room feeds them what the network brings, and
//! carries out what they want. All links are of the control lane, from control core to control
//! core.

mod connection;
mod effects;
mod introduction;
mod link;
mod post;
mod search;
mod stall;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::post::Post;
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::association::{Association, Status};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::door::{Door, DoorLimits};
use ringmesh_proto::effect::{ConnKey, Context, Outbox, Standing};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::handshake::{Acceptor, LocalNode, RESTS, Verifier};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{
    DIAL_TIMEOUT, FRAME_BYTES_CONTROL, HALF_OPEN_MAX, RESUME_TIMEOUT, STOP_TIMEOUT,
    WINDOW_BYTES_CONTROL,
};
use ringmesh_proto::piece::Piece;
use ringmesh_proto::preface::Role;
use ringmesh_proto::quarantine::{By, Entered, Quarantines};
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_proto::time::Instant;

use self::connection::Connection;
use self::link::Link;
use self::search::Searches;
use crate::agenda::Agenda;
use crate::canary::Canary;
use crate::happening::{HalfId, Happening};
use crate::machine::{LinkNews, Recipient, Sent};
use crate::network::{Network, Ready};
use crate::random::Random;
use crate::trace::What;

/// The slabs of a process, in bytes.
pub(crate) const SLAB_BUDGET: usize = 16 << 20;

/// Looks at a link within the time that it may lie idle.
const LOOKS: u32 = 4;

/// What a driver works with besides its own.
pub(crate) struct Surroundings<'a> {
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) network: &'a mut Network,
    pub(crate) random: &'a mut Random,
    pub(crate) happenings: &'a mut Vec<Happening>,
    pub(crate) halves: &'a mut u64,
    pub(crate) node: usize,
    /// The time, by the clock of the node.
    pub(crate) now: Instant,
}

/// How the links of a process are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) cores: u16,
    /// What it says it can do besides the base version.
    pub(crate) features: u64,
    /// How long a link lies idle before it rests.
    pub(crate) idle: Duration,
    pub(crate) canary: Option<Canary>,
}

/// What goes up to the machine of the node.
#[derive(Debug)]
pub(crate) enum Upward {
    Message { from: Rc<NodeId>, body: Vec<u8> },
    News(LinkNews),
}

/// All links of a process.
#[derive(Debug)]
pub(crate) struct Driver {
    /// What it says of itself where the lane does not matter, and on its links.
    local: LocalNode,
    control: LocalNode,
    acceptor: Acceptor,
    door: Door,
    verifier: Verifier,
    searches: Searches,
    quarantines: Quarantines,
    peers: Vec<Peer>,
    by_address: BTreeMap<Address, usize>,
    connections: BTreeMap<ConnKey, Connection>,
    slabs: SlabPool,
    upward: VecDeque<Upward>,
    /// What waits for links, or for room on them.
    posts: BTreeMap<Uid, (NodeId, Post)>,
    /// Peers whose links may have something to send.
    touched: Vec<usize>,
    look_at: Option<Instant>,
    /// When links are looked at that may stand still.
    stalls_at: Option<Instant>,
    stopping: bool,
    manner: Manner,
    scratch: Vec<u8>,
    pieces: Vec<Piece>,
    /// A link came up with fewer features than there are.
    pub(crate) lacked_features: bool,
    /// Messages that the links did not take.
    pub(crate) not_sent: u64,
}

/// What is known of another node.
#[derive(Debug)]
struct Peer {
    address: Address,
    association: Association,
    link: Option<Link>,
    /// The process start that vouched for a dial, and where it was found.
    proven: Option<(Uid, std::net::IpAddr)>,
    touched: bool,
}

impl Driver {
    pub(crate) fn new(id: NodeId, manner: Manner) -> Self {
        let local = LocalNode {
            id,
            core: CoreId(0),
            lane: Lane::Ordinary,
            role: Role::Node,
            cores: manner.cores,
            format_fingerprint: FORMAT_FINGERPRINT,
            body_cap: FRAME_BYTES_CONTROL,
            window_bytes: WINDOW_BYTES_CONTROL,
            links_max: 64,
            features: manner.features,
            stop_timeout: STOP_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
            resume_timeout: RESUME_TIMEOUT,
        };
        let control = LocalNode {
            lane: Lane::Control,
            ..local.clone()
        };
        Self {
            local,
            control,
            acceptor: Acceptor::new(HALF_OPEN_MAX),
            door: Door::new(DoorLimits {
                half_open_max: HALF_OPEN_MAX,
                per_source_max: 1024,
                connects_per_second: 1000,
            }),
            verifier: Verifier::default(),
            searches: Searches::default(),
            quarantines: Quarantines::default(),
            peers: Vec::new(),
            by_address: BTreeMap::new(),
            connections: BTreeMap::new(),
            slabs: SlabPool::new(SLAB_BUDGET, FRAME_BYTES_CONTROL),
            upward: VecDeque::new(),
            posts: BTreeMap::new(),
            touched: Vec::new(),
            look_at: None,
            stalls_at: None,
            stopping: false,
            manner,
            scratch: Vec::new(),
            pieces: Vec::new(),
            lacked_features: false,
            not_sent: 0,
        }
    }

    /// Takes what goes up next.
    pub(crate) fn next_upward(&mut self) -> Option<Upward> {
        self.upward.pop_front()
    }

    fn tell(&mut self, news: LinkNews) {
        self.upward.push_back(Upward::News(news));
    }

    /// The kernel told something.
    pub(crate) fn handle_ready(&mut self, env: &mut Surroundings<'_>, ready: Ready) {
        match ready {
            Ready::Accepted { conn, from } => self.handle_accepted(env, conn, from),
            Ready::Connected(conn) => self.handle_connected(env, conn),
            Ready::Readable(conn) => self.handle_readable(env, conn),
            Ready::Writable(conn) => self.handle_writable(env, conn),
            Ready::Closed(conn, reason) => self.handle_closed(env, conn, reason),
        }
    }

    /// The peer at an address, new or known.
    fn peer(&mut self, address: &Address) -> usize {
        if let Some(peer) = self.by_address.get(address) {
            return *peer;
        }
        let peer = self.peers.len();
        self.by_address.insert(address.clone(), peer);
        self.peers.push(Peer {
            address: address.clone(),
            association: Association::new(address.clone()),
            link: None,
            proven: None,
            touched: false,
        });
        peer
    }

    /// Has a node dialled, now and whenever its link is lost.
    pub(crate) fn dial(&mut self, env: &mut Surroundings<'_>, address: &Address) {
        if *address != self.local.id.address {
            let peer = self.peer(address);
            self.associate(env, peer, |association, cx| {
                association.handle_dial_wanted(cx)
            });
        }
    }

    /// Has a node dialled once, for whoever is there: as the engine does for members of clusters.
    pub(crate) fn dial_once(&mut self, env: &mut Surroundings<'_>, address: &Address) {
        if *address != self.local.id.address {
            let peer = self.peer(address);
            self.associate(env, peer, |association, cx| {
                association.handle_resume_wanted(cx);
                association.handle_dial_once(cx);
            });
        }
    }

    /// Dials a node beside the link with it, over which nothing comes.
    pub(crate) fn probe(&mut self, env: &mut Surroundings<'_>, node: &NodeId) {
        if let Some(&peer) = self
            .by_address
            .get(&node.address)
            .filter(|_| !self.stopping)
        {
            self.associate(env, peer, |it, cx| it.handle_silence(cx));
        }
    }

    /// Sends bytes to a node, if there is a link with it.
    pub(crate) fn send(&mut self, env: &mut Surroundings<'_>, to: &Recipient, body: &[u8]) -> Sent {
        let sent = self.try_send(env, to, body);
        if sent != Sent::Taken {
            self.not_sent += 1;
            let numbers = [env.node as u64, sent as u64, body.len() as u64];
            env.agenda.note(What::NotSent, numbers);
            env.happenings.push(Happening::NotSent { node: env.node });
        }
        sent
    }

    fn try_send(&mut self, env: &mut Surroundings<'_>, to: &Recipient, body: &[u8]) -> Sent {
        if to
            .uid()
            .is_some_and(|uid| self.quarantines.parted(uid).is_some())
        {
            return Sent::Quarantined;
        }
        let peer = self.peer(to.address());
        let wanted = |link: &&mut Link| to.uid().is_none_or(|uid| uid == link.peer.uid);
        let Some(link) = self.peers[peer].link.as_mut().filter(wanted) else {
            self.dial_once(env, to.address());
            return Sent::NoLink;
        };
        let sent = link.push(env, &mut self.slabs, body);
        self.touch(peer);
        sent
    }

    /// Will have nothing to do with a process start any more.
    pub(crate) fn quarantine(&mut self, env: &mut Surroundings<'_>, node: &NodeId) {
        let is_new = self.quarantines.quarantine(node) != Entered::Known;
        if let Some(&peer) = self.by_address.get(&node.address).filter(|_| is_new) {
            let uid = node.uid;
            self.associate(env, peer, |it, cx| it.handle_quarantined(cx, uid, By::Us));
        }
    }

    /// Says goodbye to every peer.
    pub(crate) fn stop(&mut self, env: &mut Surroundings<'_>) {
        self.stopping = true;
        for peer in 0..self.peers.len() {
            self.associate(env, peer, |association, cx| association.handle_stop(cx));
        }
    }

    /// Whether all was said.
    pub(crate) fn has_stopped(&self) -> bool {
        let over = |peer: &Peer| peer.association.status() == Status::Stopped;
        self.stopping && self.peers.iter().all(over)
    }

    /// Whether there is a link with a node that has a connection, and with which process start.
    pub(crate) fn linked(&self, address: &Address) -> Option<Uid> {
        let peer = &self.peers[*self.by_address.get(address)?];
        let link = peer.link.as_ref()?;
        link.connection.map(|_| link.peer.uid)
    }

    /// Deadlines may have passed.
    pub(crate) fn handle_timeout(&mut self, env: &mut Surroundings<'_>) {
        let now = env.now;
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        // What is still due then is due again at once: time does not pass, which an invariant sees.
        for _ in 0..HALF_OPEN_MAX {
            if is_due(self.acceptor.poll_timeout()) {
                self.accept(env, |acceptor, cx| acceptor.handle_timeout(cx));
            }
            if is_due(self.verifier.poll_timeout()) {
                self.end_overdue_inquiry(env);
            }
        }
        for peer in 0..self.peers.len() {
            if is_due(self.peers[peer].association.poll_timeout()) {
                self.associate(env, peer, |association, cx| association.handle_timeout(cx));
            }
        }
        if is_due(self.look_at) {
            self.look_for_idle(env);
        }
        self.end_lingering(env);
        self.end_stalled(env);
        self.end_searches(env);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.iter();
        let associations = peers.filter_map(|peer| peer.association.poll_timeout());
        let own = [
            self.acceptor.poll_timeout(),
            self.verifier.poll_timeout(),
            self.searches.poll_timeout(),
            self.look_at,
            self.stalls_at,
            self.next_lingering(),
        ];
        own.into_iter().flatten().chain(associations).min()
    }

    /// Calls the association with a peer and carries out what it says.
    fn associate<R>(
        &mut self,
        env: &mut Surroundings<'_>,
        peer: usize,
        call: impl FnOnce(&mut Association, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let Peer {
            association, link, ..
        } = &mut self.peers[peer];
        let standing = link.as_ref().map(|link| Standing {
            outbound: &link.outbound,
            inbound: &link.inbound,
            awaits: false,
        });
        let mut cx = Context {
            now: env.now,
            random: env.random.number(),
            local: &self.control,
            link: standing,
            out: &mut out,
        };
        let result = call(association, &mut cx);
        self.carry_out(env, Some(peer), out);
        result
    }

    /// Calls the acceptor and carries out what it says.
    fn accept<R>(
        &mut self,
        env: &mut Surroundings<'_>,
        call: impl FnOnce(&mut Acceptor, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let mut cx = unlinked(env, &self.local, &mut out);
        let result = call(&mut self.acceptor, &mut cx);
        self.carry_out(env, None, out);
        result
    }

    /// Calls the verifier and carries out what it says.
    fn verify<R>(
        &mut self,
        env: &mut Surroundings<'_>,
        call: impl FnOnce(&mut Verifier, &mut Context<'_>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let mut cx = unlinked(env, &self.local, &mut out);
        let result = call(&mut self.verifier, &mut cx);
        self.carry_out(env, None, out);
        result
    }

    fn touch(&mut self, peer: usize) {
        if !std::mem::replace(&mut self.peers[peer].touched, true) {
            self.touched.push(peer);
        }
    }

    fn next_half(env: &mut Surroundings<'_>) -> HalfId {
        *env.halves += 1;
        HalfId(*env.halves)
    }
}

/// What a process says it can do besides the base version.
pub(crate) const FEATURES: u64 = RESTS;

/// The reason for which a driver closes a connection that it has no use for.
const UNWANTED: CloseReason = CloseReason::Superseded;

/// The state of the links, for those who check it.
impl Driver {
    /// The most that any link retains, and the most it may.
    pub(crate) fn most_retained(&self) -> (u64, u64) {
        let links = self.peers.iter().filter_map(|peer| peer.link.as_ref());
        let retained = links.map(|link| link.outbound.in_flight_bytes());
        (retained.max().unwrap_or(0), u64::from(WINDOW_BYTES_CONTROL))
    }

    /// Up to where the peer of a link acknowledged, and where its stream ends.
    pub(crate) fn positions(&self, half: HalfId) -> Option<(u64, u64)> {
        let mut links = self.peers.iter().filter_map(|peer| peer.link.as_ref());
        let link = links.find(|link| link.half == half)?;
        let positions = link.outbound.positions();
        Some((positions.received_to, positions.tail))
    }
}

/// What a machine without a link is told with each call.
fn unlinked<'a>(
    env: &mut Surroundings<'_>,
    local: &'a LocalNode,
    out: &'a mut Outbox,
) -> Context<'a> {
    Context {
        now: env.now,
        random: env.random.number(),
        local,
        link: None,
        out,
    }
}
