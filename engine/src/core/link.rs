//! Links and the connections that carry them, as one core holds them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use ringmesh_proto::address::{CoreId, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::frame::{Parse, parse};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::link::{self, Inbound};
use ringmesh_proto::time::Instant;
use ringmesh_transport::buffer::{Assembly, Chunk};
use ringmesh_transport::contract::{ConnectionId, Piece};
use ringmesh_transport::timer::TimerKey;
use rustc_hash::{FxHashMap, FxHashSet};

use super::PeerIndex;
use super::door::Guest;
use super::ping::Pings;
use super::rest::Stillness;
use super::routes::Routes;
use super::send::FLUSH_BYTES;
use super::stall::Progress;
use super::tunnel::Passage;
use super::vitals::Vitals;

/// Bytes of a link to another core behind which they are shown to it in the middle of a turn: that
/// costs no system call, and what both cores have at hand at one time is to fit their caches.
const SHOW_BYTES: u64 = 128 << 10;

/// The sending half of a link, which may send on what was received.
pub(crate) type Outbound = link::Outbound<Chunk>;

/// A link of this process, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// A two-way byte stream between this core and one of another node, or of this core with itself.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: PeerIndex,
    /// The node at the other end, by the address it gave itself: known as long as the link is.
    pub(crate) node: NodeId,
    /// The process start at the other end, that of `node`.
    pub(crate) uid: Uid,
    /// What it runs over. `None`: a link within the process, or one that waits for a connection, be
    /// it its first.
    pub(crate) connection: Cell<Option<ConnectionId>>,
    /// It leads to a core of the same node, itself included.
    pub(crate) within_process: bool,
    /// The core at the other end.
    pub(crate) to_core: CoreId,
    pub(crate) lane: Lane,
    /// The longest body that is taken on it.
    pub(crate) body_cap: u32,
    /// Of a link that is a tunnel.
    pub(crate) passage: Option<Passage>,
    pub(crate) outbound: RefCell<Outbound>,
    pub(crate) inbound: RefCell<Inbound>,
    pub(crate) routes: RefCell<Routes>,
    /// On the list of links that have something to send.
    pub(crate) queued: Cell<bool>,
    /// A send is in flight.
    pub(crate) sending: Cell<bool>,
    /// Questions sent and not answered.
    pub(crate) asks: Cell<usize>,
    /// Those of them that nobody waits for, by correlation. Never more than `asks`.
    pub(crate) abandoned: RefCell<FxHashSet<u64>>,
    /// Questions of the peer whose answers somebody here promised to give later.
    pub(crate) owed: Cell<usize>,
    /// Recipients here that the peer was told are busy: their numbers, and the generations of the
    /// actors.
    pub(crate) told_busy: RefCell<FxHashMap<u32, u64>>,
    /// Those of them that are ready again, while there is no room to say so.
    pub(crate) ready_owed: RefCell<Vec<u32>>,
    /// Something was received and not granted yet, since then.
    pub(crate) owes_grant: Cell<bool>,
    pub(crate) owes_since: Cell<Instant>,
    /// From this position on a turn sends without waiting for its end, or takes note of what is
    /// large.
    pub(crate) flush_at: Cell<u64>,
    /// What was last seen of the peer taking over what was sent.
    pub(crate) progress: Cell<Progress>,
    /// What was last seen of nothing going over it.
    pub(crate) stillness: Cell<Stillness>,
    /// It rests, since then, and nobody has anything to send.
    pub(crate) rests_since: Cell<Option<Instant>>,
    /// Somebody found no room on it while it had no connection.
    pub(crate) stirred: Cell<bool>,
    /// What it shows to whoever looks.
    pub(crate) vitals: Vitals,
    /// Of the control lane.
    pub(crate) pings: Pings,
    /// Its peer is a client, for the life of the link.
    pub(crate) of_client: Cell<bool>,
    /// Of such a link: as of which edition of what clients reach its routes are.
    pub(crate) routes_as_of: Cell<u64>,
    /// It had no connection yet.
    pub(crate) forming: Cell<bool>,
    /// While it has no connection: its association knows that something is to be sent.
    pub(crate) resume_wanted: Cell<bool>,
    /// Set once; a message whose link ended cannot be sent on it.
    pub(crate) ended: Cell<bool>,
}

/// What a link runs between, and what may come on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkAt {
    /// `None` within the process.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) to_core: CoreId,
    pub(crate) lane: Lane,
    pub(crate) body_cap: u32,
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        peer: PeerIndex,
        node: NodeId,
        at: LinkAt,
        outbound: Outbound,
        inbound: Inbound,
    ) -> Self {
        Self {
            id,
            peer,
            uid: node.uid,
            node,
            connection: Cell::new(at.connection),
            within_process: at.connection.is_none(),
            to_core: at.to_core,
            lane: at.lane,
            body_cap: at.body_cap,
            passage: None,
            outbound: RefCell::new(outbound),
            inbound: RefCell::new(inbound),
            routes: RefCell::default(),
            queued: Cell::new(false),
            sending: Cell::new(false),
            asks: Cell::new(0),
            abandoned: RefCell::default(),
            owed: Cell::new(0),
            told_busy: RefCell::default(),
            ready_owed: RefCell::default(),
            flush_at: Cell::new(if at.lane == Lane::Large {
                0
            } else {
                FLUSH_BYTES
            }),
            owes_grant: Cell::new(false),
            owes_since: Cell::new(Instant::ZERO),
            progress: Cell::default(),
            stillness: Cell::default(),
            rests_since: Cell::default(),
            stirred: Cell::default(),
            vitals: Vitals::default(),
            pings: Pings::default(),
            of_client: Cell::default(),
            routes_as_of: Cell::default(),
            forming: Cell::new(false),
            resume_wanted: Cell::new(false),
            ended: Cell::new(false),
        }
    }
}

impl Link {
    /// Everything before this position is being sent. Of the large lane each message is looked at.
    pub(super) fn flush_behind(&self, position: u64) {
        let bytes = if self.lane == Lane::Large {
            0
        } else if self.within_process {
            SHOW_BYTES
        } else {
            FLUSH_BYTES
        };
        self.flush_at.set(position + bytes);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.id)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

/// The link to a core of the same node, and where what comes from there is parsed.
pub(crate) struct End {
    pub(crate) link: Rc<Link>,
    pub(crate) connection: Rc<Connection>,
}

impl End {
    /// The link number `core`, to the core of that number in the node itself.
    pub(crate) fn new(core: CoreId, node: NodeId, outbound: Outbound, inbound: Inbound) -> Self {
        let peer = PeerIndex::of_core(core);
        let id = LinkId(u64::from(core.0));
        let at = LinkAt {
            connection: None,
            to_core: core,
            lane: Lane::Ordinary,
            // What it sends to itself, or another core of it to it.
            body_cap: outbound.body_cap(),
        };
        let link = Link::new(id, peer, node, at, outbound, inbound);
        let link = Rc::new(link);
        let connection = Connection::within_process(Rc::clone(&link), u32::from(core.0));
        let connection = Rc::new(connection);
        Self { link, connection }
    }
}

/// One TCP connection, or what stands for one between the cores of a node.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The same, as the pure machines name it.
    pub(crate) key: ConnKey,
    /// The peer; `None` while nobody knows.
    pub(crate) node: Cell<Option<PeerIndex>>,
    pub(crate) stage: RefCell<Stage>,
    pub(crate) intake: RefCell<Intake>,
    /// On a list of connections with bytes to parse.
    pub(crate) readable: Cell<bool>,
    /// It carries the control lane.
    pub(crate) urgent: Cell<bool>,
    /// Whoever dialled it said that it is a client.
    pub(crate) of_client: Cell<bool>,
    /// Nothing it brings counts any more.
    pub(crate) closing: Cell<bool>,
    /// Bytes of a handshake are on their way out.
    pub(crate) sending: Cell<bool>,
    /// To be sent when that is through, before it is closed.
    pub(crate) last_words: RefCell<Vec<Piece>>,
    /// Why the transport ended it, while what it brought is still being parsed.
    pub(crate) over: Cell<Option<CloseReason>>,
    /// Its link is probed: the next bytes are to be reported.
    pub(crate) doubted: Cell<bool>,
    /// When bytes last came.
    pub(crate) last_byte: Cell<Instant>,
    /// Of a connection that came in: its place at the door.
    pub(crate) guest: RefCell<Option<Guest>>,
    /// Of one that was dialled: where.
    pub(crate) place: Cell<Option<IpAddr>>,
    /// Bounds the time of a frame that does not go on, or of last bytes that do not leave.
    pub(crate) deadline: Cell<Option<TimerKey>>,
}

/// The name of a connection in the pure machines. Slots are reused with another generation, so it
/// is never reused.
fn key_of(id: ConnectionId) -> ConnKey {
    ConnKey(u64::from(id.generation) << 32 | u64::from(id.slot))
}

/// The connection that the pure machines mean.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken by itself"
)]
pub(crate) fn id_of(key: ConnKey) -> ConnectionId {
    ConnectionId {
        slot: key.0 as u32,
        generation: (key.0 >> 32) as u32,
    }
}

/// How far a connection got.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Preface and handshake.
    Opening,
    /// Carries a link.
    Linked(Rc<Link>),
    /// Carried a link that goes on elsewhere: what it still holds comes again there.
    Parted,
}

impl Connection {
    /// Where what comes on a link of this process is parsed.
    pub(crate) fn within_process(link: Rc<Link>, number: u32) -> Self {
        let nowhere = ConnectionId {
            slot: u32::MAX,
            generation: number,
        };
        Self::new(nowhere, None, Stage::Linked(link))
    }

    pub(crate) fn new(id: ConnectionId, node: Option<PeerIndex>, stage: Stage) -> Self {
        Self {
            id,
            key: key_of(id),
            node: Cell::new(node),
            stage: RefCell::new(stage),
            intake: RefCell::default(),
            readable: Cell::new(false),
            urgent: Cell::new(false),
            of_client: Cell::default(),
            closing: Cell::new(false),
            sending: Cell::new(false),
            last_words: RefCell::default(),
            over: Cell::new(None),
            doubted: Cell::new(false),
            last_byte: Cell::new(Instant::ZERO),
            guest: RefCell::default(),
            place: Cell::default(),
            deadline: Cell::new(None),
        }
    }

    /// Shared receive buffers held by what is not parsed yet; none while it is being parsed.
    pub(crate) fn unparsed_buffers(&self) -> usize {
        self.intake.try_borrow().map_or(0, |intake| intake.pooled())
    }

    /// The other end's address of the network.
    pub(crate) fn from(&self) -> Option<IpAddr> {
        let guest = self.guest.borrow();
        guest
            .as_ref()
            .map(|guest| guest.from)
            .or_else(|| self.place.get())
    }

    /// It has its link, and is no stranger any more.
    pub(crate) fn settle(&self) {
        if let Some(guest) = &mut *self.guest.borrow_mut() {
            guest.settle();
        }
    }

    pub(crate) fn link(&self) -> Option<Rc<Link>> {
        match &*self.stage.borrow() {
            Stage::Linked(link) => Some(Rc::clone(link)),
            Stage::Opening | Stage::Parted => None,
        }
    }
}

/// Received bytes that are not parsed yet.
#[derive(Default)]
pub(crate) struct Intake {
    /// The beginning of a frame whose rest is not in the same buffer; goes before `chunks`.
    partial: Assembly,
    /// What `partial` must grow to before it is looked at again.
    needed: usize,
    chunks: VecDeque<Chunk>,
}

impl Intake {
    /// Appends what was received; bytes that follow in the same buffer are joined.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        let rest = match self.chunks.back_mut() {
            Some(last) => last.try_join(chunk),
            None => Err(chunk),
        };
        if let Err(chunk) = rest {
            self.chunks.push_back(chunk);
        }
    }

    /// The bytes to parse next, as far as they lie together.
    pub(crate) fn front(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// Takes the bytes to parse next out; [`put_back`](Self::put_back) returns the rest.
    pub(crate) fn take_front(&mut self) -> Option<Chunk> {
        self.chunks.pop_front()
    }

    /// Returns what is left of a front chunk behind the bytes that were parsed, or gives the chunk
    /// back when nothing is.
    pub(crate) fn put_back(&mut self, mut front: Chunk, parsed: usize) -> Option<Chunk> {
        if parsed == front.len() {
            return Some(front);
        }
        front.advance(parsed);
        self.chunks.push_front(front);
        None
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_within_frame(&self) -> bool {
        !self.partial.is_empty() || !self.chunks.is_empty()
    }

    /// Drops the first `count` bytes of the front chunk: they were parsed.
    pub(crate) fn consume(&mut self, count: usize) {
        if let Some(front) = self.chunks.front_mut() {
            if count < front.len() {
                front.advance(count);
            } else {
                self.chunks.pop_front();
            }
        }
    }

    /// Whether the frame at the front waits in pieces; [`assemble`](Self::assemble) goes on.
    pub(crate) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Brings a frame that straddles buffers into one piece, as far as its bytes are here. Says
    /// whether it is whole now (or known to be bad) and at the front.
    ///
    /// An unfinished frame does not stay in the shared receive buffers: a peer that sends a byte at
    /// a time would pin one with each. In a buffer that its connection fills alone it stays,
    /// because its rest will follow right behind it.
    pub(crate) fn assemble(&mut self, needed: usize, body_cap: u32) -> bool {
        if self.partial.is_empty() {
            let alone = self.chunks.len() == 1 && self.chunks[0].is_bulk();
            if alone {
                return false;
            }
            self.needed = needed;
        }
        loop {
            while self.partial.len() < self.needed {
                let Some(front) = self.chunks.front() else {
                    return false;
                };
                let take = front.len().min(self.needed - self.partial.len());
                self.partial.push(&front[..take]);
                self.consume(take);
            }
            match parse(self.partial.bytes(), body_cap) {
                Ok(Parse::Incomplete { needed }) => self.needed = needed,
                Ok(Parse::Complete(_)) | Err(_) => break,
            }
        }
        let whole = self.partial.finish();
        self.chunks.push_front(whole);
        true
    }

    /// Shared receive buffers held by bytes that are not parsed yet.
    pub(crate) fn pooled(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.is_pooled()).count()
    }

    /// Parses what is here and says how many whole messages it was. What is not a frame ends it.
    pub(crate) fn count_messages(&mut self, body_cap: u32) -> u64 {
        let mut messages = 0;
        loop {
            if self.is_partial() && !self.assemble(0, body_cap) {
                return messages;
            }
            let Some(front) = self.chunks.front() else {
                return messages;
            };
            match parse(front, body_cap) {
                Ok(Parse::Complete(frame)) => {
                    messages += u64::from(frame.header.kind.is_message());
                    let wire_bytes = frame.wire_bytes;
                    self.consume(wire_bytes);
                }
                Ok(Parse::Incomplete { needed }) => {
                    if !self.assemble(needed, body_cap) {
                        return messages;
                    }
                }
                Err(_) => return messages,
            }
        }
    }

    /// Gives all memory back.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.partial.release();
    }
}
