//! What befalls hosts and paths.

use std::time::Duration;

use super::wire::{End, Wire};
use super::{Cut, Network};
use crate::agenda::{Agenda, Event};
use crate::fault::FaultId;

/// The longest that a sender waits, behind a block, until it tries again.
const RETRY_MAX: Duration = Duration::from_millis(400);

impl Network {
    /// A process listens on a node. What the kernel was to tell a former one is gone.
    pub(crate) fn listen(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.powered = true;
        host.listening = true;
        host.ready.clear();
        host.backlog = 0;
    }

    /// The process of a node is over. Its kernel says so, unless the host `loses_power` with it.
    pub(crate) fn end_process(&mut self, agenda: &mut Agenda, node: usize, loses_power: bool) {
        let has_end = |(id, wire): (&u64, &Wire)| wire.nodes.contains(&node).then_some(*id);
        let ids: Vec<u64> = self.wires.iter().filter_map(has_end).collect();
        for id in ids {
            let Some(wire) = self.wires.get(&id) else {
                continue;
            };
            let side = usize::from(wire.nodes[0] != node);
            if !loses_power {
                self.close(agenda, super::key_of(id, side));
            } else if let Some(wire) = self.wires.get_mut(&id) {
                wire.ends[side] = End::Vanished;
                self.forget_if_over(id);
            }
        }
        let host = &mut self.hosts[node];
        host.listening = false;
        host.powered = !loses_power;
        host.ready.clear();
        host.backlog = 0;
    }

    /// Nothing passes from a node to another.
    pub(crate) fn block(&mut self, from: usize, to: usize, fault: FaultId) {
        self.path_mut(from, to).block(fault);
    }

    /// A fault that blocks a path is over.
    pub(crate) fn unblock(&mut self, agenda: &mut Agenda, from: usize, to: usize, fault: FaultId) {
        if self.path_mut(from, to).unblock(fault) {
            self.release(agenda, from, to);
        }
    }

    /// What a path held is sent again.
    fn release(&mut self, agenda: &mut Agenda, from: usize, to: usize) {
        for (id, wire) in &mut self.wires {
            for side in 0..2 {
                let is_on_path = wire.nodes[side] == from && wire.nodes[1 - side] == to;
                if is_on_path && wire.pipes[side].held.take().is_some() {
                    let span = self.random.span(Duration::ZERO, RETRY_MAX);
                    let (wire, to) = (*id, 1 - side);
                    agenda.after(span, Event::Arrive { wire, to });
                }
            }
        }
    }

    /// What goes from a node to another takes longer.
    pub(crate) fn delay(&mut self, from: usize, to: usize, fault: FaultId, by: Duration) {
        self.path_mut(from, to).delay(fault, by);
    }

    /// A fault that delays is over.
    pub(crate) fn hurry(&mut self, from: usize, to: usize, fault: FaultId) {
        self.path_mut(from, to).hurry(fault);
    }

    /// The connection on which a node writes to another next breaks.
    pub(crate) fn arm(&mut self, from: usize, to: usize, fault: FaultId, cut: Cut) {
        self.path_mut(from, to).arm(fault, cut);
    }

    /// The connections of a node take next to nothing.
    pub(crate) fn starve(&mut self, node: usize, fault: FaultId) {
        self.hosts[node].starved = Some(fault);
    }

    /// They take as much as ever.
    pub(crate) fn feed(&mut self, node: usize, fault: FaultId) {
        let starved = &mut self.hosts[node].starved;
        starved.take_if(|by| *by == fault);
    }

    /// Nothing is wrong with the network any more.
    pub(crate) fn heal(&mut self, agenda: &mut Agenda) {
        let count = self.hosts.len();
        for from in 0..count {
            for to in 0..count {
                if self.path_mut(from, to).heal() {
                    self.release(agenda, from, to);
                }
            }
        }
        for host in &mut self.hosts {
            host.starved = None;
        }
    }

    /// Whether nothing is wrong between two nodes, as far as the network goes.
    pub(crate) fn is_whole(&self, one: usize, other: usize) -> bool {
        self.path(one, other).is_whole() && self.path(other, one).is_whole()
    }
}
