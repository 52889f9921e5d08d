//! What the machines of a cluster want done: the driver does it after each call, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId};

use crate::lease::Ask;
use crate::membership::event::Numbered;
use crate::membership::memory::Memory;
use crate::membership::topology::Topology;
use crate::registry::{Acknowledgement, Publication};

/// How a message to another member may wait for its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The latest one replaces what still waits for that node and begins with the same byte; ahead
    /// of all other classes.
    Heartbeat,
    /// The latest one replaces what still waits for that node, whatever it begins with.
    Gossip,
    /// The latest one replaces what still waits for that node and begins with the same byte; behind
    /// heartbeats and messages. Whoever misses one finds that out by the next, and asks.
    Table,
    /// Passed on for another member, behind all others: they wait in a bounded queue, and are lost
    /// when it is full or the link ends. Whoever misses one asks again.
    Relayed,
    /// Each counts: they wait in a bounded queue, and are lost when it is full or the link ends.
    /// Whoever sends one repeats it as long as it matters.
    Message,
}

/// What the driver has to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send this to that process start, over the control link; dial it if there is none. If
    /// another one is found at the address, it is lost.
    Send {
        /// To whom.
        to: NodeId,
        /// How it may wait.
        class: Class,
        /// What.
        body: Arc<[u8]>,
    },
    /// Send this to whichever process start answers at that address. If nobody does, call
    /// [`Control::handle_contact_failed`](crate::control::Control::handle_contact_failed).
    Contact {
        /// Where to.
        address: Address,
        /// What.
        body: Arc<[u8]>,
    },
    /// Tell those who follow the cluster's events.
    Publish(Numbered),
    /// This is the cluster from now on, for every core.
    Topology(Arc<Topology>),
    /// Quarantine that process start: it was removed, and must not speak to this node again.
    Quarantine {
        /// Who.
        node: NodeId,
    },
    /// Write this down where it outlives the process, instead of what was there, and then call
    /// [`Control::handle_remembered`](crate::control::Control::handle_remembered). Of several that
    /// wait only the last one needs to be written.
    Remember {
        /// To be named when it is done: all up to it are.
        number: u64,
        /// What.
        memory: Memory,
    },
    /// Erase what was written down.
    Forget,
    /// Dial that address anew, and call
    /// [`Control::handle_identified`](crate::control::Control::handle_identified) with what was
    /// found.
    Identify {
        /// Where.
        address: Address,
    },
    /// Nothing has come from that member for a while, and the connection of its link may be dead
    /// though the network is not: dial it beside that, see
    /// [`Association::handle_silence`](ringmesh_proto::association::Association::handle_silence).
    Probe {
        /// The member.
        node: NodeId,
    },
    /// Ask this of whoever gives leases, and call
    /// [`Control::handle_lease`](crate::control::Control::handle_lease) with its number and the
    /// answer. It may take long, and come to nothing: then it is asked again.
    Lease(Ask),
    /// This is what all nodes announce from now on, for every core. When all of them read it, call
    /// [`Registry::handle_applied`](crate::registry::Registry::handle_applied).
    Registry(Publication),
    /// That registration was confirmed by all, or will not be.
    Acknowledged(Acknowledgement),
    /// This node is no member any more, and never will be: shut it down. Last of all effects.
    Stop {
        /// Why.
        why: StopReason,
    },
}

/// Why a node has to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It left, as it was asked to.
    Left,
    /// It was given up, by the others or by itself.
    Downed,
    /// It was removed, and did not know.
    Removed,
    /// Another process answers at its address, as those say whom it asked to let it in.
    AddressInUse,
    /// Its configuration differs from the cluster's where it must not.
    Incompatible {
        /// In what.
        names: Vec<Box<str>>,
    },
}

impl StopReason {
    /// The exit code of a program that is nothing but a node.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Left => 0,
            Self::Downed | Self::Removed => 3,
            Self::AddressInUse | Self::Incompatible { .. } => 4,
        }
    }

    /// The word for it in events and texts.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Downed => "downed",
            Self::Removed => "removed",
            Self::AddressInUse => "address_in_use",
            Self::Incompatible { .. } => "incompatible",
        }
    }
}

/// The most messages that wait in an [`Outbox`]. One call makes far fewer.
pub const OUTBOX_MESSAGES_MAX: usize = 8192;

/// Effects on their way to the driver, which takes them after each call.
///
/// Messages are bounded in count: those above are lost and counted, as any message may be lost. All
/// other effects are few for each call, and never lost.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: VecDeque<Effect>,
    messages: usize,
    dropped: u64,
}

impl Outbox {
    /// Appends an effect.
    pub fn push(&mut self, effect: Effect) {
        if is_message(&effect) {
            if self.messages >= OUTBOX_MESSAGES_MAX {
                self.dropped += 1;
                return;
            }
            self.messages += 1;
        }
        self.effects.push_back(effect);
    }

    /// Takes the first effect.
    pub fn pop(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front()?;
        self.messages -= usize::from(is_message(&effect));
        Some(effect)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Messages that were lost because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn send(&mut self, to: &NodeId, class: Class, body: impl Into<Arc<[u8]>>) {
        let (to, body) = (to.clone(), body.into());
        self.push(Effect::Send { to, class, body });
    }
}

const fn is_message(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { .. } | Effect::Contact { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::node;

    #[test]
    fn one_over_the_outbox_messages_max_is_lost_and_counted_and_nothing_else_is() {
        let mut out = Outbox::default();
        for _ in 0..=OUTBOX_MESSAGES_MAX {
            out.send(&node(1), Class::Message, vec![1]);
        }
        out.push(Effect::Forget);
        assert_eq!((out.len(), out.dropped()), (OUTBOX_MESSAGES_MAX + 1, 1));
        assert!(matches!(out.pop(), Some(Effect::Send { .. })));
        out.send(&node(1), Class::Message, vec![1]);
        assert_eq!(out.dropped(), 1, "there was room again");
        let last = std::iter::from_fn(|| out.pop()).nth(OUTBOX_MESSAGES_MAX - 1);
        assert!(matches!(last, Some(Effect::Forget)));
    }
}
