//! What may befall a world: faults, each of a class, and what undoes it.

use std::time::Duration;

use crate::fault::{Class, FaultId};
use crate::machine::Machine;
use crate::network::Cut;
use crate::world::World;

/// A fault that begins at some time, and may end at another. Nodes are named by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes over these paths, each from a node to another.
    Blocked {
        /// Which fault of the network it is.
        class: Class,
        /// The paths.
        paths: Vec<(usize, usize)>,
    },
    /// What goes over these paths takes longer.
    Delayed {
        /// The paths.
        paths: Vec<(usize, usize)>,
        /// By how much.
        by: Duration,
    },
    /// The connection on which a node writes to another next is reset, and what it writes is lost
    /// from any point on.
    Reset {
        /// Who writes.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// That connection breaks for the writer alone; what it wrote comes late.
    Late {
        /// Who writes.
        from: usize,
        /// To whom.
        to: usize,
        /// By how much.
        by: Duration,
    },
    /// The process is killed. When the fault is over another one is started at its address.
    Crash {
        /// Where.
        node: usize,
        /// Its host goes with it, and does not even refuse dials.
        loses_power: bool,
    },
    /// The process stands still.
    Pause {
        /// Where.
        node: usize,
    },
    /// The clock of a node jumps ahead, for good.
    ClockJump {
        /// Which.
        node: usize,
        /// By how much.
        by: Duration,
    },
    /// The clock of a node runs too fast, or too slow.
    Drift {
        /// Which.
        node: usize,
        /// By how many millionths too fast.
        millionths: i32,
    },
    /// A core takes each of its turns late.
    SlowCore {
        /// Of which node.
        node: usize,
        /// Which.
        core: usize,
        /// By how much.
        by: Duration,
    },
    /// The queues of all cores of a node are full of work of its users, and its connections take a
    /// few bytes at a time.
    FullQueue {
        /// Which.
        node: usize,
    },
    /// Processes that begin there lack the optional features of the protocol.
    MixedVersions {
        /// Where.
        node: usize,
    },
}

impl Fault {
    /// The nodes on one side are cut off from those on the other.
    pub fn partition(one: &[usize], other: &[usize]) -> Self {
        let there = one.iter().flat_map(|a| other.iter().map(|b| (*a, *b)));
        let paths = there.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        let class = Class::Partition;
        Self::Blocked { class, paths }
    }

    /// Some nodes are not heard by others, and hear them.
    pub fn one_way(from: &[usize], to: &[usize]) -> Self {
        let pairs = from.iter().flat_map(|a| to.iter().map(|b| (*a, *b)));
        let class = Class::OneWay;
        let paths = pairs.collect();
        Self::Blocked { class, paths }
    }

    /// Whether it is about a node itself, whoever it speaks with.
    pub fn is_of(&self, place: usize) -> bool {
        match *self {
            Self::Crash { node, .. }
            | Self::Pause { node }
            | Self::ClockJump { node, .. }
            | Self::Drift { node, .. }
            | Self::SlowCore { node, .. }
            | Self::FullQueue { node } => node == place,
            _ => false,
        }
    }

    /// Whether it is about what goes between two nodes, either way.
    pub fn is_between(&self, one: usize, other: usize) -> bool {
        let pairs = [(one, other), (other, one)];
        match self {
            Self::Blocked { paths, .. } | Self::Delayed { paths, .. } => {
                pairs.iter().any(|pair| paths.contains(pair))
            }
            Self::Reset { from, to } | Self::Late { from, to, .. } => pairs.contains(&(*from, *to)),
            _ => false,
        }
    }

    /// Whether nothing passes that path, from a node to another, as long as it is not over.
    pub fn blocks(&self, path: (usize, usize)) -> bool {
        matches!(self, Self::Blocked { paths, .. } if paths.contains(&path))
    }

    /// Whether one node hears nothing of another by it, as long as it is not over.
    pub fn silences(&self, place: usize, to: usize) -> bool {
        match *self {
            Self::Blocked { .. } => self.is_between(place, to),
            Self::Crash { node, .. } | Self::Pause { node } => node == place,
            _ => false,
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Self::Blocked { class, .. } => *class,
            Self::Delayed { .. } => Class::Delay,
            Self::Reset { .. } => Class::Reset,
            Self::Late { .. } => Class::Late,
            Self::Crash { .. } => Class::Crash,
            Self::Pause { .. } => Class::Pause,
            Self::ClockJump { .. } => Class::ClockJump,
            Self::Drift { .. } => Class::Drift,
            Self::SlowCore { .. } => Class::SlowCore,
            Self::FullQueue { .. } => Class::FullQueue,
            Self::MixedVersions { .. } => Class::MixedVersions,
        }
    }
}

impl<M: Machine> World<M> {
    /// A fault begins. If it `lasts`, it is over after that; else when the world is healed.
    pub fn befall(&mut self, fault: Fault, lasts: Option<Duration>) {
        let id = self.shared.agenda.faults.begin(fault.class());
        self.begin_fault(id, &fault);
        let now = self.now();
        self.active.insert(id, (fault, now));
        if let Some(span) = lasts {
            self.end_later(id, span);
        }
    }

    fn begin_fault(&mut self, id: FaultId, fault: &Fault) {
        let (agenda, network) = (&mut self.shared.agenda, &mut self.shared.network);
        match *fault {
            Fault::Blocked { ref paths, .. } => {
                for (from, to) in paths {
                    network.block(*from, *to, id);
                }
            }
            Fault::Delayed { ref paths, by } => {
                for (from, to) in paths {
                    network.delay(*from, *to, id, by);
                }
            }
            Fault::Reset { from, to } => network.arm(from, to, id, Cut::Reset),
            Fault::Late { from, to, by } => network.arm(from, to, id, Cut::Late(by)),
            Fault::Crash { node, loses_power } => {
                if self.nodes[node].process.is_some() {
                    agenda.took_effect(id);
                    self.nodes[node].end(&mut self.shared, loses_power);
                }
            }
            Fault::Pause { node } => {
                let node = &mut self.nodes[node];
                if node.process.is_some() && node.paused == 0 {
                    agenda.took_effect(id);
                }
                node.paused += 1;
            }
            Fault::ClockJump { node, by } => {
                let now = agenda.now();
                let node = &mut self.nodes[node];
                // It takes effect where something was to wait longer than that.
                if node.due().is_some_and(|due| due > now && due <= now + by) {
                    agenda.took_effect(id);
                }
                node.clock.jump(now, by);
                node.arm(agenda);
            }
            Fault::Drift { node, millionths } => {
                let node = &mut self.nodes[node];
                node.clock.drift(agenda.now(), millionths);
                node.wrong_clock.push(id);
                node.arm(agenda);
            }
            Fault::SlowCore { node, core, by } => self.nodes[node].slow_down(core, id, by),
            Fault::FullQueue { node } => {
                network.starve(node, id);
                self.nodes[node].fill_queues(agenda, id);
            }
            Fault::MixedVersions { node } => self.nodes[node].lacks_features.push(id),
        }
    }

    /// A fault is over, if it was not before.
    pub(crate) fn end_fault(&mut self, id: FaultId) {
        let Some((fault, began)) = self.active.remove(&id) else {
            return;
        };
        self.past.push((fault.clone(), self.now()));
        let (agenda, network) = (&mut self.shared.agenda, &mut self.shared.network);
        match fault {
            Fault::Blocked { paths, .. } => {
                let lasted = agenda.now() - began;
                let took_effect = agenda.faults.end_partition(id, lasted);
                for (from, to) in &paths {
                    network.unblock(agenda, *from, *to, id);
                }
                if took_effect {
                    self.cuts.push((paths, lasted));
                }
            }
            Fault::Delayed { paths, .. } => {
                for (from, to) in paths {
                    network.hurry(from, to, id);
                }
            }
            Fault::Crash { node, .. } => {
                self.start(node);
            }
            Fault::Pause { node } => {
                let node = &mut self.nodes[node];
                node.paused = node.paused.saturating_sub(1);
                node.wake_all(agenda);
                node.arm(agenda);
            }
            Fault::Drift { node, .. } => {
                let node = &mut self.nodes[node];
                node.wrong_clock.retain(|other| *other != id);
                node.clock.drift(agenda.now(), 0);
                node.arm(agenda);
            }
            Fault::SlowCore { node, .. } => self.nodes[node].relieve(id),
            Fault::FullQueue { node } => {
                network.feed(node, id);
                self.nodes[node].relieve(id);
            }
            Fault::MixedVersions { node } => {
                self.nodes[node].lacks_features.retain(|other| *other != id);
            }
            Fault::Reset { .. } | Fault::Late { .. } | Fault::ClockJump { .. } => {}
        }
    }

    /// All faults are over: paths are open, what stood still goes on, and a supervisor starts every
    /// process that was killed.
    pub fn heal(&mut self) {
        let active: Vec<FaultId> = self.active.keys().copied().collect();
        for id in active {
            self.end_fault(id);
        }
        let Self { shared, .. } = self;
        shared.network.heal(&mut shared.agenda);
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }
}
