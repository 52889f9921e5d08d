//! What the machines of this crate ask of their driver.
//!
//! A machine decides and never acts: each call appends [`Effect`]s to the caller's [`Outbox`], and
//! the driver carries them out in order before the next call.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::address::{Address, NodeId, Uid};
use crate::close_reason::CloseReason;
use crate::frame::body::{ByeReason, Grant, RefuseReason};
use crate::handshake::LocalNode;
use crate::link::{Inbound, Outbound, Positions, Violation};
use crate::matrix::LinkMatrix;
use crate::piece::SharedBytes;
use crate::time::Instant;

/// Names a connection between machine and driver. The driver chooses it and never reuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnKey(pub u64);

/// What a machine is told with each call, besides what happened.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// A fresh random number: a nonce, or the jitter of a back-off.
    pub random: u64,
    /// This node.
    pub local: &'a LocalNode,
    /// The halves of the association's link, as long as it has one.
    pub link: Option<Standing<'a>>,
    /// Where the effects go.
    pub out: &'a mut Outbox,
}

/// What an association asks of the sending half of its link.
pub trait Sending: fmt::Debug {
    /// Where the stream stands.
    fn positions(&self) -> Positions;

    /// Whether the stream can go on at `position`; see
    /// [`Outbound::check_resume`](crate::link::Outbound::check_resume).
    ///
    /// # Errors
    /// [`Violation::Position`] when it cannot.
    fn check_resume(&self, position: u64) -> Result<(), Violation>;

    /// Whether something waits to be acknowledged or answered.
    fn is_owed(&self) -> bool;
}

impl<B: SharedBytes> Sending for Outbound<B> {
    fn positions(&self) -> Positions {
        self.positions()
    }

    fn check_resume(&self, position: u64) -> Result<(), Violation> {
        self.check_resume(position)
    }

    fn is_owed(&self) -> bool {
        self.in_flight_bytes() > 0 || self.deferred() > 0
    }
}

/// Where the halves of a link stand.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The sending half.
    pub outbound: &'a dyn Sending,
    /// The receiving half.
    pub inbound: &'a Inbound,
    /// Somebody here waits for the peer: for an answer, for room, or for a pong.
    pub awaits: bool,
}

/// Something for the driver to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Start a connection to the address and tell its key with [`handle_dialling`]; or, if it could
    /// not even be started, call [`handle_dial_failed`].
    ///
    /// [`handle_dialling`]: crate::association::Association::handle_dialling
    /// [`handle_dial_failed`]: crate::association::Association::handle_dial_failed
    Dial {
        /// Where to.
        address: Address,
    },
    /// Send these bytes. Only on a connection whose link is not up yet.
    Write {
        /// The connection.
        conn: ConnKey,
        /// A preface, or a frame of the handshake.
        bytes: Vec<u8>,
    },
    /// Close the connection, once what was written before is sent. Nothing it brings counts any
    /// more, and it need not be reported as closed.
    Close {
        /// The connection.
        conn: ConnKey,
        /// Why.
        reason: CloseReason,
    },
    /// Call [`Acceptor::refuse`](crate::handshake::Acceptor::refuse): the dialler that waited on
    /// the connection is not let in. The connection is no association's any more.
    Refuse {
        /// The connection.
        conn: ConnKey,
        /// Why.
        reason: RefuseReason,
    },
    /// The handshake is done: the connection carries a new link.
    LinkUp(LinkUp),
    /// The link has no connection any more, and waits for another.
    LinkLost {
        /// The connection that carried it.
        conn: ConnKey,
        /// The node at the other end.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// The link has given its connection up and rests: call
    /// [`Outbound::rest`](crate::link::Outbound::rest). What is pushed from now on, and whoever
    /// waits for room, wakes it: call [`handle_resume_wanted`].
    ///
    /// [`handle_resume_wanted`]: crate::association::Association::handle_resume_wanted
    LinkRested {
        /// The connection that carried it.
        conn: ConnKey,
        /// The node at the other end.
        peer: NodeId,
    },
    /// The link goes on over another connection: call
    /// [`Outbound::resume`](crate::link::Outbound::resume), and say anew what control frames said.
    LinkResumed {
        /// The connection that carries it now.
        conn: ConnKey,
        /// The node at the other end.
        peer: NodeId,
        /// Up to where the peer has received, and up to where it lets this side send.
        grant: Grant,
    },
    /// The link is over, and what its peer did not acknowledge is to be accounted for.
    LinkDown {
        /// The connection that carried it, or did so last.
        conn: ConnKey,
        /// The node at the other end.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// The link that [`handle_form_wanted`] began is over before it had a connection, and what
    /// waited on it is to be accounted for.
    ///
    /// [`handle_form_wanted`]: crate::association::Association::handle_form_wanted
    FormingOver {
        /// The process start that it was for.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// Another start of the peer's process runs at its address: nothing of the old one comes back.
    PeerRestarted {
        /// The start that was known.
        old: Uid,
        /// The start that runs.
        new: Uid,
    },
    /// The peer says that it has quarantined this start of this node's process.
    QuarantinedByPeer {
        /// The start of the peer's process that says so.
        peer: NodeId,
    },
    /// A dial failed.
    Unreachable {
        /// How many have, one after the other.
        attempt: u32,
        /// Why.
        reason: CloseReason,
        /// When the next one follows.
        retry_after: Duration,
    },
    /// Queue a ping on the link.
    Ping {
        /// The connection that carries the link.
        conn: ConnKey,
        /// For the answer.
        nonce: u64,
    },
    /// Queue the answer to a ping on the link.
    Pong {
        /// The connection that carries the link.
        conn: ConnKey,
        /// From the ping.
        nonce: u64,
    },
    /// Queue a rest frame on the link. If [`Close`](Self::Close) follows, it leaves before that.
    Rest {
        /// The connection that carries the link.
        conn: ConnKey,
    },
    /// Queue a goodbye on the link, send all that is unsent, and close the connection. If
    /// [`Close`](Self::Close) follows, it leaves before that, and what is unsent does not.
    Bye {
        /// The connection that carries the link.
        conn: ConnKey,
        /// Why.
        reason: ByeReason,
    },
    /// The association is over for good.
    Stopped,
}

/// What a driver needs to know of a new link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUp {
    /// The connection that carries it.
    pub conn: ConnKey,
    /// The node at the other end.
    pub peer: NodeId,
    /// Whether this side dialled.
    pub dialled: bool,
    /// The longest body that both sides take, in bytes.
    pub body_cap: u32,
    /// The position up to which the peer lets this side send.
    pub limit: u64,
    /// What both sides can do besides the base version.
    pub features: u64,
    /// Which links the two nodes may have.
    pub matrix: LinkMatrix,
}

/// Effects in the order they are to be carried out.
///
/// Bounded by its use: a call appends at most
/// [`EFFECTS_PER_CALL_MAX`](Self::EFFECTS_PER_CALL_MAX), and the driver empties it between calls.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: VecDeque<Effect>,
}

impl Outbox {
    /// The most effects one call appends.
    pub const EFFECTS_PER_CALL_MAX: usize = 8;

    /// Takes the next effect.
    pub fn pop(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        debug_assert!(
            self.effects.len() < Self::EFFECTS_PER_CALL_MAX,
            "the driver empties the outbox between calls"
        );
        self.effects.push_back(effect);
    }
}
