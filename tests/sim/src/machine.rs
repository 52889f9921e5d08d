//! What runs on the nodes of a world: a pure machine, and what it is told and asks for.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::effect::Class;
use ringmesh_cluster::lease::{Answer, Ask, LeaseName};
use ringmesh_cluster::membership::machine::Identity;
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::time::Instant;

use crate::outcome::Outcome;
use crate::random::Random;

/// A machine on the control core of a node. It has no clock, no socket and no random source of its
/// own: whatever it knows it was told, and whatever it wants it asks for with an [`Act`].
///
/// It lives as long as its process: a new start has a new one.
pub trait Machine: 'static {
    /// What a script, or the user of a node, may ask of it.
    type Command: Clone + fmt::Debug;
    /// What it tells the users of its node.
    type Event: fmt::Debug;

    /// Bytes came from another node. Who sent them is known from their link alone.
    fn handle_message(&mut self, cx: &mut Context<'_, Self::Event>, from: &NodeId, body: &[u8]);

    /// Something happened to a link, or to a dial.
    fn handle_link(&mut self, cx: &mut Context<'_, Self::Event>, news: &LinkNews);

    /// The store answered an ask for a lease, which its number names.
    fn handle_lease(
        &mut self,
        cx: &mut Context<'_, Self::Event>,
        name: &LeaseName,
        number: u64,
        answer: Answer,
    ) {
        let _ = (cx, name, number, answer);
    }

    /// The user of the node wants something.
    fn handle_command(&mut self, cx: &mut Context<'_, Self::Event>, command: &Self::Command);

    /// A deadline may have passed.
    fn handle_timeout(&mut self, cx: &mut Context<'_, Self::Event>);

    /// A core takes its turn, behind what links and deadlines brought the control core.
    fn handle_turn(&mut self, cx: &mut Context<'_, Self::Event>, core: usize) {
        let _ = (cx, core);
    }

    /// Whether a core has something to do in its next turn. Whoever gives it something to do
    /// asks for an [`Act::Ring`].
    fn wants_turn(&self, core: usize) -> bool {
        let _ = core;
        false
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, by the clock of the node.
    fn poll_timeout(&self) -> Option<Instant>;

    /// What an event says of which side of a split cluster goes on, if it does.
    fn outcome(event: &Self::Event) -> Option<Outcome> {
        let _ = event;
        None
    }
}

/// What a machine is told with each call, besides what happened.
#[derive(Debug)]
pub struct Context<'a, E> {
    /// The time, by the clock of the node.
    pub now: Instant,
    /// The random numbers of the process.
    pub random: &'a mut Random,
    /// Where it says what it wants.
    pub out: &'a mut Outbox<E>,
}

/// What a machine wants done, in order. The world carries it out behind each call.
#[derive(Debug)]
pub struct Outbox<E> {
    acts: Vec<Act<E>>,
}

/// The most acts of one call of a machine; an invariant holds it to that.
pub const ACTS_MAX: usize = 4096;

/// Something that a machine wants done.
#[derive(Debug)]
pub enum Act<E> {
    /// Send bytes to a node, if there is a link with it; else one is dialled, and the bytes are
    /// not sent.
    Send {
        /// To whom.
        to: Recipient,
        /// What.
        body: Vec<u8>,
    },
    /// Send bytes to a process start as soon as there is a link with it, and room.
    Post {
        /// To whom.
        to: NodeId,
        /// How they may wait.
        class: Class,
        /// What.
        body: Arc<[u8]>,
    },
    /// Have a link dialled, now and whenever it is lost.
    Dial(Address),
    /// Have a link dialled once, if there is none.
    DialOnce(Address),
    /// Find out by a fresh dial which process start answers at an address, which
    /// [`LinkNews::Identified`] tells: the one that a link is with, or this one.
    Identify(Address, Option<Uid>),
    /// Have nothing wait any more for process starts that are neither these nor linked.
    ForgetPosts(BTreeSet<Uid>),
    /// Dial a node beside the link with it, over which nothing comes.
    Probe(NodeId),
    /// Ask the store for a lease.
    Lease(Ask),
    /// Tell the users of the node.
    Publish(E),
    /// Have all cores of the node know that version of the topology.
    Topology(u64),
    /// Wake a core of the node, for which there is something to do.
    Ring(usize),
    /// Have nothing to do with that process start any more.
    Quarantine(NodeId),
    /// Say goodbye on all links, and end the process.
    Stop,
    /// End the process, without a word.
    Abort,
}

/// To whom something is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// That process start, and no other.
    Node(NodeId),
    /// Whoever runs at the address.
    Address(Address),
}

impl Recipient {
    /// Where it is.
    pub fn address(&self) -> &Address {
        match self {
            Self::Node(node) => &node.address,
            Self::Address(address) => address,
        }
    }

    /// The process start that it has to be.
    pub fn uid(&self) -> Option<Uid> {
        match self {
            Self::Node(node) => Some(node.uid),
            Self::Address(_) => None,
        }
    }
}

impl From<NodeId> for Recipient {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { acts: Vec::new() }
    }
}

impl<E> Outbox<E> {
    /// Asks for something.
    pub fn push(&mut self, act: Act<E>) {
        self.acts.push(act);
    }

    /// Has bytes sent.
    pub fn send(&mut self, to: impl Into<Recipient>, body: Vec<u8>) {
        let to = to.into();
        self.push(Act::Send { to, body });
    }

    /// How much waits to be carried out.
    pub fn len(&self) -> usize {
        self.acts.len()
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Act<E>> {
        self.acts.drain(..)
    }
}

/// What became of bytes that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// They are in the stream of a link.
    Taken,
    /// The link has no room for them now.
    NoRoom,
    /// There is no link with that process start. It is being dialled.
    NoLink,
    /// They are longer than a link takes.
    TooLong,
    /// That process start is quarantined, or has quarantined this one.
    Quarantined,
}

/// News of the links of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// There is a new link.
    Up(Rc<NodeId>),
    /// A link that had lost its connection, or rested, has another.
    Resumed(Rc<NodeId>),
    /// A link lost its connection, and waits for another.
    Lost {
        /// With whom.
        peer: Rc<NodeId>,
        /// Why.
        reason: CloseReason,
    },
    /// A link gave its connection up, for nothing goes over it.
    Rested(Rc<NodeId>),
    /// A link is over.
    Down {
        /// With whom.
        peer: Rc<NodeId>,
        /// Why.
        reason: CloseReason,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Whither.
        address: Address,
        /// Why: [`CloseReason::DialRefused`] says that nobody listens there.
        reason: CloseReason,
    },
    /// What a dial found that was to say who answers at an address.
    Identified {
        /// Where.
        address: Address,
        /// Who.
        identity: Identity,
    },
    /// Another process start answers at an address than was known there.
    Restarted {
        /// Where.
        address: Address,
        /// The one that was known.
        old: Uid,
        /// The one that answers.
        new: Uid,
    },
    /// A peer will have nothing to do with this process any more.
    QuarantinedBy(NodeId),
}
