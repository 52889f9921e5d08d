//! Death watch between nodes.
//!
//! Each node has one [`RemoteWatch`]. It keeps what actors of this node watch on others, and what
//! others watch here, and says what is to be said to whom. What one node says to another travels in
//! the stream of their control link, which loses and repeats nothing; so the machine numbers and
//! keeps nothing of it. When that link ends, what was in it is given up, and with it all that the
//! other side declared: over the next link each side declares anew what it still wants. So nothing
//! hangs, and nobody is banned. Whoever watches is told of an end once, because its entry is taken
//! with the first word of it.
//!
//! A node that is watched is sent heartbeats, one stream for all watches. It counts as gone when
//! its answers stay out for too long ([`detector`](crate::detector)), when another process start
//! was met at its address, when it said goodbye, when it is quarantined, or when the driver has
//! evidence of its crash. [Members of the cluster](RemoteWatch::set_members) are judged by the
//! membership instead: they get no heartbeats from here, and are gone when they are removed.
//!
//! ```text
//!   watch ──▶ declared ──▶ terminated          a word of the peer, or the end of its node
//!     │           │
//!     └──────────▶└──▶ unwatch                 the entry of the peer goes too
//! ```

mod members;
mod node;
mod pulse;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::frame::body::{System, Watch, WatchEnd};
use ringmesh_proto::time::Instant;

use self::members::Members;
use self::node::Node;
pub use self::node::Watching;
use crate::detector::Judge;

/// Process starts that are remembered as over.
const FORMER_MAX: usize = 256;

/// What bounds a [`RemoteWatch`], and how patient it is.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Watches that one other node may have here, and this one there.
    pub watches_of_node_max: usize,
    /// Watches of all nodes together, each way.
    pub watches_max: usize,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Judges whether their answers stay out for too long.
    pub judge: Judge,
}

impl Default for Rules {
    fn default() -> Self {
        let heartbeat_interval = Duration::from_secs(1);
        Self {
            watches_of_node_max: 1 << 17,
            watches_max: 1 << 18,
            heartbeat_interval,
            judge: Judge::Phi(crate::detector::Patience::every(heartbeat_interval)),
        }
    }
}

/// Why an actor is not watched. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} actors of other nodes are watched already")]
pub struct TooManyWatches {
    /// The limit, of that node or of all.
    pub limit: usize,
}

/// Why all watches of a node are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeEnd {
    /// Its answers stay out. It may live on.
    Silent,
    /// Nobody is there any more.
    Crashed,
    /// Another process start was met at its address.
    Restarted,
    /// It said goodbye.
    Stopped,
    /// A quarantine parts it from this node, by whichever of the two.
    Quarantined,
    /// It was removed from the cluster.
    Removed,
}

impl NodeEnd {
    /// Whether nothing will ever come of that process start again.
    const fn is_final(self) -> bool {
        !matches!(self, Self::Silent)
    }

    /// Whether it is what this side made of it: if the node lives on, both have to begin anew.
    const fn is_judged(self) -> bool {
        matches!(self, Self::Silent | Self::Crashed)
    }
}

/// What the driver has to do. In order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell an actor of this node that one it watches has ended.
    Ended {
        /// The node of the watched actor.
        uid: Uid,
        /// Who watches whom.
        watch: Watch,
        /// Where the watcher is.
        watching: Watching,
        /// Why.
        reason: WatchEnd,
    },
    /// Tell all actors of this node that watch one of that node.
    NodeEnded {
        /// The node.
        uid: Uid,
        /// Its address.
        address: Address,
        /// Why.
        end: NodeEnd,
        /// What was watched.
        watches: BTreeMap<Watch, Watching>,
    },
    /// Have a core tell, with [`RemoteWatch::handle_ended`], when an actor of it has ended and all
    /// that the core had sent to a core of a node has arrived there or was given up. At once if
    /// there is no such actor.
    Follow {
        /// The node that watches.
        uid: Uid,
        /// Who watches whom.
        watch: Watch,
        /// The core of the watched actor.
        core: CoreId,
        /// Its slot.
        slot: u32,
        /// The core there that the watcher lives on.
        watcher_core: CoreId,
    },
    /// Have the core tell no more.
    Unfollow {
        /// The node that watched.
        uid: Uid,
        /// Who watched whom.
        watch: Watch,
        /// The core of the watched actor.
        core: CoreId,
    },
    /// Have all cores tell no more of what that node watched.
    UnfollowNode {
        /// The node.
        uid: Uid,
    },
    /// Something is to be said to a node: call [`RemoteWatch::say`].
    Say {
        /// The node.
        uid: Uid,
    },
    /// A control link to that address is needed.
    Dial {
        /// Where to.
        address: Address,
    },
    /// Send a heartbeat over the control link. [`RemoteWatch::handle_heard`] takes its answer.
    Heartbeat {
        /// The node.
        uid: Uid,
    },
    /// End the control link: more waits to be said than may, or its node counts as gone.
    EndLink {
        /// The node.
        uid: Uid,
    },
}

/// What actors of this node watch on others, and others here.
///
/// Bounded: entries by the [`Rules`], words that wait for a node by twice its watches, nodes by
/// links and watches. Effects wait for the driver, which takes them after each call.
#[derive(Debug)]
pub struct RemoteWatch {
    rules: Rules,
    /// Nodes with a control link, or that are watched.
    nodes: BTreeMap<Uid, Node>,
    /// Process starts that are over for good, latest last.
    former: VecDeque<Uid>,
    /// Whom the membership judges, and has.
    members: Members,
    outgoing: usize,
    incoming: usize,
    /// When the next heartbeats are due.
    tick: Option<Instant>,
    /// Nobody is accused before.
    lenient_until: Instant,
    out: VecDeque<Effect>,
}

impl RemoteWatch {
    /// A machine that watches nothing.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            nodes: BTreeMap::new(),
            former: VecDeque::new(),
            members: Members::default(),
            outgoing: 0,
            incoming: 0,
            tick: None,
            lenient_until: Instant::ZERO,
            out: VecDeque::new(),
        }
    }

    /// An actor of this node watches one of another from now on. What is watched already stays so.
    ///
    /// # Errors
    /// [`TooManyWatches`]; nothing changed.
    pub fn watch(
        &mut self,
        now: Instant,
        node: &NodeId,
        watch: Watch,
        watching: Watching,
    ) -> Result<(), TooManyWatches> {
        let uid = node.uid;
        if self.members.is_removed(uid) {
            self.lost_at_once(node, watch, watching);
            return Ok(());
        }
        let is_member = self.members.contains(uid);
        if !is_member && (self.former.contains(&uid) || self.is_replaced(node)) {
            let reason = WatchEnd::NotRunning;
            self.out.push_back(Effect::Ended {
                uid,
                watch,
                watching,
                reason,
            });
            return Ok(());
        }
        let of_node = self.nodes.get(&uid).map_or(0, Node::outgoing);
        if of_node >= self.rules.watches_of_node_max {
            let limit = self.rules.watches_of_node_max;
            return Err(TooManyWatches { limit });
        }
        if self.outgoing >= self.rules.watches_max {
            let limit = self.rules.watches_max;
            return Err(TooManyWatches { limit });
        }
        let address = &node.address;
        let node = self.nodes.entry(uid);
        let node = node.or_insert_with(|| Node::new(address.clone()));
        self.outgoing += usize::from(node.watch(watch, watching));
        if !node.is_linked() {
            let address = address.clone();
            self.out.push_back(Effect::Dial { address });
        }
        if !is_member {
            node.begin_pulse(now, &self.rules.judge);
        }
        self.tick = self.tick.or(Some(now + self.rules.heartbeat_interval));
        self.after(uid);
        Ok(())
    }

    /// An actor of this node does not watch any more. Says whether it did.
    pub fn unwatch(&mut self, uid: Uid, watch: Watch) -> bool {
        let Some(node) = self.nodes.get_mut(&uid) else {
            return false;
        };
        let was_there = node.unwatch(watch);
        self.outgoing -= usize::from(was_there);
        self.after(uid);
        was_there
    }

    /// A control link with a node has begun: both sides declare what they want.
    pub fn handle_link_up(&mut self, node: &NodeId) {
        let others = self.nodes.iter();
        let others = others.filter(|(uid, it)| **uid != node.uid && *it.address() == node.address);
        let former: Vec<Uid> = others.map(|(uid, _)| *uid).collect();
        for uid in former {
            self.handle_node_end(uid, NodeEnd::Restarted);
        }
        self.former.retain(|uid| *uid != node.uid);
        // A link of it that was not known to be over.
        self.forget_incoming(node.uid);
        let known = self.nodes.entry(node.uid);
        let known = known.or_insert_with(|| Node::new(node.address.clone()));
        known.link_up();
        self.after(node.uid);
    }

    /// The control link with a node is over, not only its connection: what was said over it counts
    /// no more.
    pub fn handle_link_down(&mut self, uid: Uid) {
        self.forget_incoming(uid);
        if let Some(node) = self.nodes.get_mut(&uid) {
            node.link_down();
        }
        self.after(uid);
    }

    /// A node said something over its control link.
    pub fn handle_system(&mut self, uid: Uid, system: &System) {
        match *system {
            System::Watch {
                watch,
                watcher_core,
                core,
                slot,
            } => self.handle_watch(uid, watch, (core, slot), watcher_core),
            System::Unwatch { watch } => {
                let node = self.nodes.get_mut(&uid);
                if let Some(core) = node.and_then(|node| node.take_incoming(watch)) {
                    self.incoming -= 1;
                    self.out.push_back(Effect::Unfollow { uid, watch, core });
                }
            }
            System::Terminated { watch, reason } => {
                let node = self.nodes.get_mut(&uid);
                if let Some(watching) = node.and_then(|node| node.take_outgoing(watch)) {
                    self.outgoing -= 1;
                    self.out.push_back(Effect::Ended {
                        uid,
                        watch,
                        watching,
                        reason,
                    });
                }
            }
        }
        self.after(uid);
    }

    /// Whether another start of a node's process is there.
    fn is_replaced(&self, node: &NodeId) -> bool {
        let is_rival = |(uid, other): (&Uid, &Node)| {
            *uid != node.uid && other.is_linked() && *other.address() == node.address
        };
        let is_linked = self.nodes.get(&node.uid).is_some_and(Node::is_linked);
        !is_linked && self.nodes.iter().any(is_rival)
    }

    fn handle_watch(
        &mut self,
        uid: Uid,
        watch: Watch,
        (core, slot): (CoreId, u32),
        watcher_core: CoreId,
    ) {
        let Some(node) = self.nodes.get_mut(&uid).filter(|node| node.is_linked()) else {
            return;
        };
        let is_full = node.incoming() >= self.rules.watches_of_node_max
            || self.incoming >= self.rules.watches_max;
        if is_full && !node.has_incoming(watch) {
            node.terminated(watch, WatchEnd::NoRoom);
            return;
        }
        self.incoming += usize::from(node.add_incoming(watch, core));
        self.out.push_back(Effect::Follow {
            uid,
            watch,
            core,
            slot,
            watcher_core,
        });
    }

    /// An actor of this node has ended that [`Effect::Follow`] named.
    pub fn handle_ended(&mut self, uid: Uid, watch: Watch, reason: WatchEnd) {
        let Some(node) = self.nodes.get_mut(&uid) else {
            return;
        };
        if node.take_incoming(watch).is_some() {
            self.incoming -= 1;
            node.terminated(watch, reason);
        }
        self.after(uid);
    }

    /// A node is gone, or counts as gone.
    pub fn handle_node_end(&mut self, uid: Uid, end: NodeEnd) {
        if self.is_left_to_membership(uid, end) {
            return;
        }
        if end.is_final() && !self.former.contains(&uid) {
            if self.former.len() >= FORMER_MAX {
                self.former.pop_front();
            }
            self.former.push_back(uid);
        }
        let Some(node) = self.nodes.get_mut(&uid) else {
            return;
        };
        if node.is_linked() && end.is_judged() {
            self.out.push_back(Effect::EndLink { uid });
        }
        let watches = node.take_all_outgoing();
        self.outgoing -= watches.len();
        if !watches.is_empty() {
            let address = node.address().clone();
            self.out.push_back(Effect::NodeEnded {
                uid,
                address,
                end,
                watches,
            });
        }
        self.handle_link_down(uid);
    }

    /// Shows what is to be said to a node to `send`, as long as that takes it.
    pub fn say(&mut self, uid: Uid, send: impl FnMut(&System) -> bool) {
        if let Some(node) = self.nodes.get_mut(&uid) {
            node.say(send);
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// Watches of actors of this node.
    pub fn outgoing(&self) -> usize {
        self.outgoing
    }

    /// Watches of actors of other nodes.
    pub fn incoming(&self) -> usize {
        self.incoming
    }

    /// Whether anything of a node is watched from here.
    pub fn is_watched(&self, uid: Uid) -> bool {
        self.nodes.get(&uid).is_some_and(|node| node.outgoing() > 0)
    }

    /// Whether anything of a node is watched from here, or from there.
    pub fn is_concerned(&self, uid: Uid) -> bool {
        let is_concerned = |node: &Node| node.outgoing() + node.incoming() > 0;
        self.nodes.get(&uid).is_some_and(is_concerned)
    }

    fn forget_incoming(&mut self, uid: Uid) {
        let Some(node) = self.nodes.get_mut(&uid) else {
            return;
        };
        let forgotten = node.forget_incoming();
        self.incoming -= forgotten;
        if forgotten > 0 {
            self.out.push_back(Effect::UnfollowNode { uid });
        }
    }

    /// What follows each change of a node.
    fn after(&mut self, uid: Uid) {
        let Some(node) = self.nodes.get_mut(&uid) else {
            return;
        };
        if node.outgoing() == 0 {
            node.end_pulse();
        }
        if node.is_overflowing(2 * self.rules.watches_of_node_max) {
            self.out.push_back(Effect::EndLink { uid });
            return self.handle_link_down(uid);
        }
        if node.has_news() {
            self.out.push_back(Effect::Say { uid });
        }
        if !node.is_linked() && node.outgoing() == 0 {
            self.nodes.remove(&uid);
        }
    }
}

#[cfg(test)]
mod tests;
