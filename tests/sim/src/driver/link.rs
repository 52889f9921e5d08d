//! One link: its two halves, and the connection that carries it.

use std::rc::Rc;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::effect::{ConnKey, LinkUp};
use ringmesh_proto::limits::WINDOW_BYTES_CONTROL;
use ringmesh_proto::link::{Inbound, Outbound, PushError};
use ringmesh_proto::slab_pool::SlabPool;

use super::stall::Progress;
use super::{Driver, LOOKS, Surroundings};
use crate::happening::{HalfId, Happening, Place};
use crate::machine::Sent;
use crate::trace::{What, digest};

/// The most bytes that are gathered at once.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// A link from its handshake until it is given up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) half: HalfId,
    pub(super) peer: Rc<NodeId>,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) connection: Option<ConnKey>,
    pub(super) rests: bool,
    /// Where the halves stood at the last look, and for how many looks.
    stood: ((u64, u64), u32),
    pub(super) progress: Progress,
}

impl Link {
    pub(super) fn new(env: &mut Surroundings<'_>, up: &LinkUp) -> Self {
        Self {
            half: Driver::next_half(env),
            peer: Rc::new(up.peer.clone()),
            outbound: Outbound::new(up.body_cap, up.limit, WINDOW_BYTES_CONTROL),
            inbound: Inbound::new(WINDOW_BYTES_CONTROL),
            connection: Some(up.conn),
            rests: false,
            stood: ((0, 0), 0),
            progress: Progress::default(),
        }
    }

    /// Writes a message into the stream.
    pub(super) fn push(
        &mut self,
        env: &mut Surroundings<'_>,
        slabs: &mut SlabPool,
        body: &[u8],
    ) -> Sent {
        match self.outbound.push_cluster(slabs, body) {
            Ok(start) => {
                let digest = digest(body);
                env.agenda
                    .note(What::Sent, [env.node as u64, start, digest]);
                env.happenings.push(Happening::Sent(Place {
                    half: self.half,
                    start,
                    end: self.outbound.positions().tail,
                    digest,
                }));
                Sent::Taken
            }
            Err(PushError::TooLarge { .. }) => Sent::TooLong,
            Err(_) => Sent::NoRoom,
        }
    }

    /// Whether something is to be sent for which it needs a connection.
    fn wants_connection(&self) -> bool {
        if self.connection.is_some() {
            return false;
        }
        let has_more = self.outbound.in_flight_bytes() > 0 || self.outbound.deferred() > 0;
        has_more || (!self.rests && self.outbound.has_unsent())
    }

    /// Says whether nothing has gone over it for as long as links are to stay without.
    fn look(&mut self) -> bool {
        let stands = (self.inbound.received_to(), self.outbound.positions().tail);
        let (stood, looks) = self.stood;
        let looks = if stood == stands { looks + 1 } else { 0 };
        self.stood = (stands, looks);
        let is_quiet = self.outbound.is_idle() && !self.outbound.has_said_bye();
        looks >= LOOKS && is_quiet && self.connection.is_some()
    }
}

impl Driver {
    /// Sends what the links have to say, grants included. Called at the end of each turn.
    pub(crate) fn flush(&mut self, env: &mut Surroundings<'_>) {
        while let Some(peer) = self.touched.pop() {
            self.peers[peer].touched = false;
            let Some(link) = &mut self.peers[peer].link else {
                continue;
            };
            if link.wants_connection() {
                self.associate(env, peer, |it, cx| it.handle_resume_wanted(cx));
                continue;
            }
            if link.connection.is_some()
                && let Some(grant) = link.inbound.poll_grant(true)
            {
                link.outbound.queue_grant(grant);
            }
            self.send_on(env, peer);
        }
    }

    /// Hands out what a link has to send, as far as its connection takes it.
    pub(super) fn send_on(&mut self, env: &mut Surroundings<'_>, peer: usize) {
        while let Some(link) = &mut self.peers[peer].link
            && let Some(key) = link.connection
            && let Some(connection) = self.connections.get_mut(&key)
            && connection.is_drained()
        {
            // The last send is complete: nothing of it waits.
            link.outbound.handle_sent();
            let mut pieces = std::mem::take(&mut self.pieces);
            let gathered = link.outbound.gather(GATHERED_BYTES_MAX, &mut pieces);
            for piece in pieces.drain(..) {
                connection.queue(&piece);
            }
            self.pieces = pieces;
            let is_owed = link.outbound.in_flight_bytes() > 0;
            if gathered == 0 {
                return;
            }
            connection.write(env, key);
            if is_owed {
                self.expect_progress(env);
            }
        }
    }

    /// Looks for links on which nothing goes, now and then.
    pub(super) fn look_for_idle(&mut self, env: &mut Surroundings<'_>) {
        let mut any = false;
        for peer in 0..self.peers.len() {
            let Some(link) = &mut self.peers[peer].link else {
                continue;
            };
            any |= link.connection.is_some();
            if link.look() {
                self.associate(env, peer, |association, cx| association.handle_idle(cx));
            }
        }
        self.look_at = any.then(|| env.now + self.manner.idle / LOOKS);
    }

    /// A link has a connection: it is looked at from now on.
    pub(super) fn watch_for_idle(&mut self, env: &Surroundings<'_>) {
        let next = env.now + self.manner.idle / LOOKS;
        self.look_at.get_or_insert(next);
    }
}
