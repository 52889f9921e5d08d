//! The association: what this node knows of another one, and the life of the link between them.
//!
//! ```text
//!           dial wanted                connected              accept
//!   idle ---------------> dialling ---------------> handshaking ------> associated
//!    ^                        |                          |                |    |
//!    | bye, or                +--- failed, refused, -----+                |    | stop
//!    | nobody wants it        v    too late                               |    v
//!    +------------------- back-off <------- connection lost --------------+  stopping -> stopped
//! ```
//! A good hello of the peer leads to associated from idle and back-off at once. From dialling and
//! handshaking it does so when the peer has the lower uid: of two simultaneous dials the one of the
//! lower uid survives, and both sides know which. While associated a second hello of the same
//! process start is refused, and the link is probed: if it is dead on the other side only, the probe
//! finds out, and the peer's next dial succeeds. A hello of another process start ends the link,
//! since a process that was restarted has forgotten it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::address::{Address, NodeId, Uid};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect, LinkUp};
use crate::frame::Frame;
use crate::frame::body::{
    Accept, BodyError, Bye, ByeReason, Offer, Ping, Pong, Refuse, RefuseReason,
};
use crate::handshake::Introduction;
use crate::kind::Kind;
use crate::limits::{
    BACK_OFF_MAX, BACK_OFF_MIN, FORMER_UIDS_MAX, HANDSHAKE_TIMEOUT, PROBE_TIMEOUT, STEADY_LINK,
    STOP_TIMEOUT,
};
use crate::time::Instant;

/// The state machine of one remote address.
///
/// Inputs: a wish to dial, the fate of its connections and the frames of their handshakes, an
/// introduction by the peer, time, stop. Outputs: [`Effect`]s. It keeps at most one link, and at
/// most one dial under way.
#[derive(Debug)]
pub struct Association {
    remote: Address,
    state: State,
    /// Somebody here wants a link: after a loss it is dialled again.
    wanted: bool,
    /// The process start that was last associated.
    uid: Option<Uid>,
    /// Process starts that are over, latest last.
    former: VecDeque<Uid>,
    /// Dials that failed, or links that did not last, one after the other.
    attempt: u32,
}

/// Where an association stands; for observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// No link, and none is wanted.
    Idle,
    /// A dial or its handshake is under way.
    Dialling,
    /// There is a link with this start of the peer's process.
    Associated(Uid),
    /// The next dial waits.
    BackOff,
    /// The link is being ended.
    Stopping,
    /// Nothing happens any more.
    Stopped,
}

#[derive(Debug)]
enum State {
    Idle,
    Dialling {
        /// `None` until the driver told.
        conn: Option<ConnKey>,
        deadline: Instant,
    },
    Handshaking {
        conn: ConnKey,
        nonce: u64,
        expected_uid: Option<Uid>,
        deadline: Instant,
    },
    Associated {
        conn: ConnKey,
        uid: Uid,
        since: Instant,
        probe: Option<Probe>,
    },
    BackOff {
        until: Instant,
    },
    Stopping {
        conn: ConnKey,
        uid: Uid,
        deadline: Instant,
    },
    Stopped,
}

/// A ping on a link in doubt.
#[derive(Clone, Copy, Debug)]
struct Probe {
    nonce: u64,
    deadline: Instant,
}

impl Association {
    /// The association with the node at `remote`, idle.
    pub fn new(remote: Address) -> Self {
        Self {
            remote,
            state: State::Idle,
            wanted: false,
            uid: None,
            former: VecDeque::new(),
            attempt: 0,
        }
    }

    /// The peer's address.
    pub fn remote(&self) -> &Address {
        &self.remote
    }

    /// The start of the peer's process that was last associated, whether or not it still is.
    pub fn uid(&self) -> Option<Uid> {
        self.uid
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match self.state {
            State::Idle => Status::Idle,
            State::Dialling { .. } | State::Handshaking { .. } => Status::Dialling,
            State::Associated { uid, .. } => Status::Associated(uid),
            State::BackOff { .. } => Status::BackOff,
            State::Stopping { .. } => Status::Stopping,
            State::Stopped => Status::Stopped,
        }
    }

    /// Somebody wants a link. It is dialled now, unless there is one or a back-off runs, and again
    /// whenever it is lost, until the peer says goodbye.
    pub fn handle_dial_wanted(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Stopping { .. } | State::Stopped) {
            return;
        }
        self.wanted = true;
        if matches!(self.state, State::Idle) {
            self.dial(cx);
        }
    }

    /// The driver started the dial that [`Effect::Dial`] asked for.
    pub fn handle_dialling(&mut self, cx: &mut Context<'_>, started: ConnKey) {
        match &mut self.state {
            State::Dialling { conn, .. } if conn.is_none() => *conn = Some(started),
            _ => cx.out.push(Effect::Close {
                conn: started,
                reason: CloseReason::Superseded,
            }),
        }
    }

    /// The driver could not start the dial that [`Effect::Dial`] asked for.
    pub fn handle_dial_failed(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Dialling { conn: None, .. }) {
            self.fail(cx, CloseReason::DialFailed);
        }
    }

    /// A dial succeeded: introduces this node.
    pub fn handle_connected(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        let State::Dialling {
            conn: Some(dialled),
            deadline,
        } = self.state
        else {
            return;
        };
        if dialled != conn {
            return;
        }
        let nonce = cx.random;
        let expected_uid = self.uid.filter(|uid| !self.former.contains(uid));
        let bytes = cx.local.introduce(&self.remote, expected_uid, nonce);
        cx.out.push(Effect::Write { conn, bytes });
        self.state = State::Handshaking {
            conn,
            nonce,
            expected_uid,
            deadline,
        };
    }

    /// The peer introduced itself on a connection of its own.
    ///
    /// # Errors
    /// The reason with which [`Acceptor::refuse`](crate::handshake::Acceptor::refuse) is to be
    /// called.
    pub fn handle_incoming(
        &mut self,
        cx: &mut Context<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        let uid = introduction.peer.uid;
        if self.former.contains(&uid) {
            return Err(RefuseReason::Former);
        }
        match self.state {
            State::Stopping { .. } | State::Stopped => return Err(RefuseReason::Stopping),
            State::Dialling { .. } | State::Handshaking { .. } => {
                if cx.local.id.uid < uid {
                    return Err(RefuseReason::Superseded);
                }
            }
            State::Associated { uid: current, .. } if current == uid => {
                self.probe(cx);
                return Err(RefuseReason::Superseded);
            }
            State::Idle | State::BackOff { .. } | State::Associated { .. } => {}
        }
        self.end_connection(cx, uid);
        let bytes = cx.local.accept(introduction);
        let conn = introduction.conn;
        cx.out.push(Effect::Write { conn, bytes });
        self.associate(cx, conn, uid, &introduction.offer, false);
        Ok(())
    }

    /// A frame came: of the handshake, or a ping, pong or goodbye on the link. Frames of kinds that
    /// belong to the link's halves are the driver's.
    pub fn handle_frame(&mut self, cx: &mut Context<'_>, conn: ConnKey, frame: &Frame<'_>) {
        match self.state {
            State::Handshaking {
                conn: current,
                nonce,
                expected_uid,
                ..
            } if current == conn => {
                if let Err(reason) = self.handle_answer(cx, nonce, expected_uid, frame) {
                    cx.out.push(Effect::Close { conn, reason });
                    self.fail(cx, reason);
                }
            }
            State::Associated { conn: current, .. } if current == conn => {
                if let Err(reason) = self.handle_link_frame(cx, conn, frame) {
                    self.handle_fault(cx, conn, reason);
                }
            }
            // A stopping link waits for its end, and what comes on a connection that is not this
            // association's any more does not count.
            _ => {}
        }
    }

    /// A connection ended by itself.
    pub fn handle_closed(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: CloseReason) {
        match self.state {
            State::Dialling {
                conn: Some(current),
                ..
            }
            | State::Handshaking { conn: current, .. }
                if current == conn =>
            {
                self.fail(cx, reason);
            }
            State::Associated {
                conn: current, uid, ..
            } if current == conn => {
                self.link_down(cx, conn, uid, reason);
                self.lose(cx);
            }
            State::Stopping {
                conn: current, uid, ..
            } if current == conn => {
                self.link_down(cx, conn, uid, CloseReason::Stopping);
                self.finish(cx);
            }
            _ => {}
        }
    }

    /// The driver found the peer at fault on a connection: it is closed.
    pub fn handle_fault(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: CloseReason) {
        if self.conn() == Some(conn) {
            cx.out.push(Effect::Close { conn, reason });
            self.handle_closed(cx, conn, reason);
        }
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.poll_timeout().is_none_or(|deadline| deadline > cx.now) {
            return;
        }
        match self.state {
            State::Dialling { conn: None, .. } => self.fail(cx, CloseReason::HandshakeTimeout),
            State::Dialling {
                conn: Some(conn), ..
            }
            | State::Handshaking { conn, .. } => {
                self.handle_fault(cx, conn, CloseReason::HandshakeTimeout);
            }
            State::Associated { conn, .. } => {
                self.handle_fault(cx, conn, CloseReason::ProbeTimeout);
            }
            State::Stopping { conn, .. } => self.handle_fault(cx, conn, CloseReason::Stopping),
            State::BackOff { .. } => self.dial(cx),
            State::Idle | State::Stopped => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Dialling { deadline, .. }
            | State::Handshaking { deadline, .. }
            | State::Stopping { deadline, .. } => Some(deadline),
            State::Associated { probe, .. } => probe.map(|probe| probe.deadline),
            State::BackOff { until } => Some(until),
            State::Idle | State::Stopped => None,
        }
    }

    /// Ends the association: says goodbye on a link, gives up a dial. Ends in [`Effect::Stopped`].
    pub fn handle_stop(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Associated { conn, uid, .. } => {
                let reason = ByeReason::Stopping;
                cx.out.push(Effect::Bye { conn, reason });
                let deadline = cx.now + STOP_TIMEOUT;
                self.state = State::Stopping {
                    conn,
                    uid,
                    deadline,
                };
            }
            State::Stopping { .. } | State::Stopped => {}
            State::Idle
            | State::BackOff { .. }
            | State::Dialling { .. }
            | State::Handshaking { .. } => {
                if let Some(conn) = self.conn() {
                    let reason = CloseReason::Stopping;
                    cx.out.push(Effect::Close { conn, reason });
                }
                self.finish(cx);
            }
        }
    }

    /// The answer to this side's hello.
    fn handle_answer(
        &mut self,
        cx: &mut Context<'_>,
        nonce: u64,
        expected_uid: Option<Uid>,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        match frame.header.kind {
            Kind::Accept => {
                let accept = Accept::parse(frame)?;
                cx.local.check_accept(&accept, &self.remote, nonce)?;
                if self.former.contains(&accept.uid)
                    || expected_uid.is_some_and(|uid| uid != accept.uid)
                {
                    return Err(CloseReason::Answer);
                }
                self.accepted(cx, &accept);
                Ok(())
            }
            Kind::Refuse => {
                let refuse = Refuse::parse(frame)?;
                self.refused(cx, expected_uid, refuse.reason);
                Ok(())
            }
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }

    fn accepted(&mut self, cx: &mut Context<'_>, accept: &Accept) {
        if let Some(conn) = self.conn() {
            self.associate(cx, conn, accept.uid, &accept.offer, true);
        }
    }

    fn refused(&mut self, cx: &mut Context<'_>, expected_uid: Option<Uid>, reason: RefuseReason) {
        if let Some(conn) = self.conn() {
            let reason = CloseReason::Refused(reason);
            cx.out.push(Effect::Close { conn, reason });
        }
        match (reason, expected_uid) {
            // The peer's own dial goes first and is on its way, or its link is being probed.
            (RefuseReason::Superseded, _) => self.back_off(cx, BACK_OFF_MIN),
            // The process that was wanted is gone: whichever runs now will do.
            (RefuseReason::Incarnation, Some(old)) => {
                self.bury(old);
                self.dial(cx);
            }
            _ => self.fail(cx, CloseReason::Refused(reason)),
        }
    }

    /// What an association, and not the halves of its link, hears on the link.
    fn handle_link_frame(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        match frame.header.kind {
            Kind::Ping => {
                let Ping { nonce } = Ping::parse(frame)?;
                cx.out.push(Effect::Pong { conn, nonce });
                Ok(())
            }
            Kind::Pong => self.handle_pong(frame).map_err(CloseReason::from),
            Kind::Bye => {
                Bye::parse(frame)?;
                self.handle_bye(cx, conn);
                Ok(())
            }
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }

    fn handle_pong(&mut self, frame: &Frame<'_>) -> Result<(), BodyError> {
        let pong = Pong::parse(frame)?;
        if let State::Associated { probe, .. } = &mut self.state {
            probe.take_if(|probe| probe.nonce == pong.nonce);
        }
        Ok(())
    }

    /// The peer's node stops: no dial until somebody asks again.
    fn handle_bye(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if let State::Associated { uid, .. } = self.state {
            let reason = CloseReason::Bye;
            cx.out.push(Effect::Close { conn, reason });
            self.link_down(cx, conn, uid, reason);
            self.wanted = false;
            self.attempt = 0;
            self.state = State::Idle;
        }
    }

    fn dial(&mut self, cx: &mut Context<'_>) {
        let address = self.remote.clone();
        cx.out.push(Effect::Dial { address });
        self.state = State::Dialling {
            conn: None,
            deadline: cx.now + HANDSHAKE_TIMEOUT,
        };
    }

    /// A dial came to nothing.
    fn fail(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.attempt = self.attempt.saturating_add(1);
        let retry_after = back_off(self.attempt, cx.random);
        cx.out.push(Effect::Unreachable {
            attempt: self.attempt,
            reason,
            retry_after,
        });
        self.back_off(cx, retry_after);
    }

    /// A link is gone. One that did not last counts as a failed dial, else a peer that accepts and
    /// hangs up would be dialled without pause.
    fn lose(&mut self, cx: &mut Context<'_>) {
        let State::Associated { since, .. } = self.state else {
            return;
        };
        let lasted = cx.now - since >= STEADY_LINK;
        self.attempt = if lasted {
            1
        } else {
            self.attempt.saturating_add(1)
        };
        self.back_off(cx, back_off(self.attempt, cx.random));
    }

    fn back_off(&mut self, cx: &mut Context<'_>, span: Duration) {
        self.state = if self.wanted {
            State::BackOff {
                until: cx.now + span,
            }
        } else {
            State::Idle
        };
    }

    /// Makes way for a link with the process start `uid`: ends the dial under way, or the link with
    /// another start.
    fn end_connection(&mut self, cx: &mut Context<'_>, uid: Uid) {
        let Some(conn) = self.conn() else {
            return;
        };
        let reason = match self.state {
            State::Associated { uid: current, .. } => {
                debug_assert_ne!(current, uid, "a link with the same start is kept");
                self.link_down(cx, conn, current, CloseReason::Restarted);
                CloseReason::Restarted
            }
            _ => CloseReason::Superseded,
        };
        cx.out.push(Effect::Close { conn, reason });
    }

    fn associate(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        uid: Uid,
        offer: &Offer,
        dialled: bool,
    ) {
        if let Some(old) = self.uid.replace(uid)
            && old != uid
        {
            self.bury(old);
            cx.out.push(Effect::PeerRestarted { old, new: uid });
        }
        self.uid = Some(uid);
        cx.out.push(Effect::LinkUp(LinkUp {
            conn,
            peer: self.node(uid),
            dialled,
            body_cap: cx.local.common_body_cap(offer),
            limit: offer.limit,
            features: cx.local.features & offer.features,
        }));
        self.state = State::Associated {
            conn,
            uid,
            since: cx.now,
            probe: None,
        };
    }

    /// Remembers that a process start is over. Its uid stays the last associated one, so that the
    /// restart is reported when the next start is met.
    fn bury(&mut self, uid: Uid) {
        if self.former.contains(&uid) {
            return;
        }
        if self.former.len() == FORMER_UIDS_MAX {
            self.former.pop_front();
        }
        self.former.push_back(uid);
    }

    /// Asks the peer whether its side of the link is alive.
    fn probe(&mut self, cx: &mut Context<'_>) {
        if let State::Associated { conn, probe, .. } = &mut self.state
            && probe.is_none()
        {
            let (conn, nonce) = (*conn, cx.random);
            *probe = Some(Probe {
                nonce,
                deadline: cx.now + PROBE_TIMEOUT,
            });
            cx.out.push(Effect::Ping { conn, nonce });
        }
    }

    fn link_down(&self, cx: &mut Context<'_>, conn: ConnKey, uid: Uid, reason: CloseReason) {
        let peer = self.node(uid);
        cx.out.push(Effect::LinkDown { conn, peer, reason });
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.wanted = false;
        self.state = State::Stopped;
        cx.out.push(Effect::Stopped);
    }

    fn node(&self, uid: Uid) -> NodeId {
        NodeId {
            address: self.remote.clone(),
            uid,
        }
    }

    /// The connection of the dial under way, or of the link.
    fn conn(&self) -> Option<ConnKey> {
        match self.state {
            State::Dialling { conn, .. } => conn,
            State::Handshaking { conn, .. }
            | State::Associated { conn, .. }
            | State::Stopping { conn, .. } => Some(conn),
            State::Idle | State::BackOff { .. } | State::Stopped => None,
        }
    }
}

/// The pause before dial number `attempt + 1`: doubles from 100 ms to 10 s, and of that a random
/// part between a half and the whole, so that nodes which lost each other together do not dial
/// together.
fn back_off(attempt: u32, random: u64) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let whole = doubled.min(BACK_OFF_MAX);
    let half = whole / 2;
    let micros = half.as_micros() as u64;
    half + Duration::from_micros(random % (micros + 1))
}

#[cfg(test)]
mod tests;
