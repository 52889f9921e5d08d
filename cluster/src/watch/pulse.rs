//! Heartbeats.

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::node::Node;
use super::{Effect, NodeEnd, RemoteWatch};
use crate::detector::{FailureDetector, Judge};

/// Whether a watched node still answers.
pub(super) type Pulse = Box<dyn FailureDetector>;

impl Node {
    /// Something is watched there. Its first answer is due as if one had just come.
    pub(super) fn begin_pulse(&mut self, now: Instant, judge: &Judge) {
        self.pulse.get_or_insert_with(|| {
            let mut pulse = judge.detector();
            pulse.heard(now);
            pulse
        });
    }

    /// Nothing is watched there any more.
    pub(super) fn end_pulse(&mut self) {
        self.pulse = None;
    }
}

impl RemoteWatch {
    /// A node answered a heartbeat.
    pub fn handle_heard(&mut self, now: Instant, uid: Uid) {
        let node = self.nodes.get_mut(&uid);
        if let Some(pulse) = node.and_then(|node| node.pulse.as_mut()) {
            pulse.heard(now);
        }
    }

    /// Heartbeats may be due, and dials of those without a link.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(due) = self.tick.filter(|due| *due <= now) else {
            return;
        };
        let interval = self.rules.heartbeat_interval;
        let late = now - due;
        if late > interval {
            // This node was away itself. What the others answered is still on its way in here.
            let pulses = self.nodes.values_mut().filter_map(|it| it.pulse.as_mut());
            pulses.for_each(|pulse| pulse.excuse(late));
            self.lenient_until = now + interval;
        } else if self.outgoing == 0 {
            self.tick = None;
            return;
        }
        // Only from here on, so that after a time away there are not several at once.
        self.tick = Some(now + interval);
        let mut silent = Vec::new();
        for (uid, node) in &self.nodes {
            if node.outgoing() == 0 {
                continue;
            }
            let pulse = node.pulse.as_ref();
            let is_available = pulse.is_none_or(|pulse| pulse.is_available(now));
            if now >= self.lenient_until && !is_available {
                silent.push(*uid);
            } else if !node.is_linked() {
                let address = node.address().clone();
                self.out.push_back(Effect::Dial { address });
            } else if pulse.is_some() {
                self.out.push_back(Effect::Heartbeat { uid: *uid });
            }
        }
        for uid in silent {
            self.handle_node_end(uid, NodeEnd::Silent);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tick
    }

    /// How sure it is that a watched node is gone, on the scale of its detector.
    pub fn suspicion(&self, now: Instant, uid: Uid) -> Option<f64> {
        let pulse = self.nodes.get(&uid)?.pulse.as_ref()?;
        Some(pulse.suspicion(now))
    }
}
