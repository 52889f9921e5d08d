//! Peers that say nothing more in the middle of a frame, or take nothing over: how long that goes
//! on, as long as with the engine.

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::limits::GRANT_STALL_TIMEOUT;

use super::{Driver, Surroundings};

/// Looks within the time that a link may stand still.
const LOOKS: u32 = 6;

/// What was seen of a link's progress.
#[derive(Debug, Default)]
pub(super) struct Progress {
    received_to: u64,
    /// Looks in a row that saw nothing move.
    looks: u32,
}

impl Progress {
    /// Says whether nothing moved for as long as a link may stand still, with this look.
    fn stands_still(&mut self, received_to: u64) -> bool {
        let is_same = received_to == self.received_to;
        self.looks = if is_same { self.looks + 1 } else { 0 };
        self.received_to = received_to;
        self.looks > LOOKS
    }
}

impl Driver {
    /// Something is in flight that a peer has to take over.
    pub(super) fn expect_progress(&mut self, env: &Surroundings<'_>) {
        let next = env.now + GRANT_STALL_TIMEOUT / LOOKS;
        self.stalls_at.get_or_insert(next);
    }

    /// Ends the connections of links that stand still, and of those within a frame.
    pub(super) fn end_stalled(&mut self, env: &mut Surroundings<'_>) {
        let now = env.now;
        let connections = self.connections.iter();
        let overdue = connections.filter(|(_, it)| it.stalls_at().is_some_and(|at| at <= now));
        let overdue: Vec<ConnKey> = overdue.map(|(key, _)| *key).collect();
        for key in overdue {
            self.fault(env, key, CloseReason::FrameStall);
        }
        if self.stalls_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let mut still = Vec::new();
        for link in self.peers.iter_mut().filter_map(|it| it.link.as_mut()) {
            if link.outbound.in_flight_bytes() == 0 {
                link.progress = Progress::default();
                continue;
            }
            self.stalls_at = Some(now + GRANT_STALL_TIMEOUT / LOOKS);
            // One without a connection has a time limit of its own.
            let Some(key) = link.connection else {
                continue;
            };
            let received_to = link.outbound.positions().received_to;
            if link.progress.stands_still(received_to) {
                still.push(key);
            }
        }
        for key in still {
            self.fault(env, key, CloseReason::GrantStall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_looks_without_progress_is_a_standstill() {
        let mut progress = Progress::default();
        assert!((0..LOOKS).all(|_| !progress.stands_still(0)));
        assert!(!progress.stands_still(7), "it moved");
        assert!((0..LOOKS).all(|_| !progress.stands_still(7)));
        assert!(progress.stands_still(7));
    }
}
