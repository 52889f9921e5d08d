//! The association: what this node knows of another one, and the life of the link between them.
//!
//! Which [`Status`] may follow which stands in section 4 of ARCHITECTURE.md, and is held by a test.
//!
//! A link outlives its connection: from its loss on it is kept, while idle, dialling and in
//! back-off, until either side's dial goes on with it, or it is given up: after `resume_timeout`,
//! when the peer was restarted or has given it up, or when nobody listens any more where it was
//! dialled. Who dialled the lost connection dials at once, and the other side a little later, if it
//! has something to send. A node that stops waits for such a link as for its last bytes.
//!
//! A link that is idle rests: it gives its connection up and is kept for as long as it takes, until
//! either side has something to send, or to ask.
//!
//! A good hello of the peer leads to associated from idle and back-off at once. From dialling and
//! handshaking it does so when the peer has the lower uid: of two simultaneous dials the one of the
//! lower uid survives, and both sides know which.
//!
//! A hello proves nothing, so it never ends a link that lives; but one that names the link's secret
//! number goes on with it. While associated every other hello makes the link be probed. One of the
//! same process start is refused: if the link is dead on the other side only, the probe finds out,
//! and the peer's next dial succeeds. One of another start waits: if the link ends, or stays silent
//! through the probe, the peer was restarted and the newcomer takes over; if the link shows life,
//! the newcomer is refused and nothing has changed.

mod beside;
mod dialling;
mod doubt;
mod forming;
mod quarantined;
mod rest;
mod resume;
mod transition;

use std::collections::VecDeque;

use self::beside::Beside;
use self::doubt::Probe;
use self::forming::Forming;
use self::resume::Kept;
use crate::address::{Address, CoreId, Uid};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::Frame;
use crate::frame::body::{ByeReason, RefuseReason};
use crate::handshake::Introduction;
use crate::kind::Kind;
use crate::preface::Role;
use crate::time::Instant;

/// The state machine of one remote address.
///
/// Inputs: a wish to dial, the fate of its connections and the frames of their handshakes, an
/// introduction by the peer, that nothing comes any more, time, stop. Outputs: [`Effect`]s. It
/// keeps at most one link, and at most one dial under way.
#[derive(Debug)]
pub struct Association {
    remote: Address,
    /// The core of the peer that it dials.
    core: CoreId,
    state: State,
    /// Somebody here wants a link: after a loss it is dialled again.
    wanted: bool,
    /// The process start that was last associated.
    uid: Option<Uid>,
    /// Process starts that are over, latest last.
    former: VecDeque<Uid>,
    /// Dials that failed, or links that did not last, one after the other.
    attempt: u32,
    /// The link, as long as it is not over; without a connection in all states but two.
    link: Option<Kept>,
    /// A link that waits for its first connection; only without one.
    forming: Option<Forming>,
    /// A dial beside a connection that seems dead; only while associated.
    beside: Option<Beside>,
    /// Nobody was found for so long that links were given up, or this node is refused for good.
    out_of_reach: bool,
    /// The number of the link that this side offers.
    proposal: Option<u64>,
    /// Such a number that the peer may have accepted, although the link has another.
    unanswered: Option<u64>,
    /// The number of the last link, with the start of the process that was last associated.
    last_number: Option<u64>,
    /// It stops when its link has said what it had to say, and by then at the latest.
    stop_by: Option<Instant>,
}

/// Where an association stands; for observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// No link, and none is wanted.
    Idle,
    /// The link has no connection, and the peer is to dial.
    Lost(Uid),
    /// The link is idle, and has no connection until either side needs one.
    Resting(Uid),
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
        /// Claims to be a later start, and waits for what the probe finds. Only with a probe.
        newcomer: Option<Box<Introduction>>,
    },
    BackOff {
        until: Instant,
    },
    Stopping {
        conn: ConnKey,
        deadline: Instant,
    },
    Stopped,
}

impl Association {
    /// The association with the control core of the node at `remote`, idle.
    pub fn new(remote: Address) -> Self {
        Self::with_core(remote, CoreId(0))
    }

    /// The association with one core of the node at `remote`, idle.
    pub fn with_core(remote: Address, core: CoreId) -> Self {
        Self {
            remote,
            core,
            state: State::Idle,
            wanted: false,
            uid: None,
            former: VecDeque::new(),
            attempt: 0,
            link: None,
            forming: None,
            beside: None,
            out_of_reach: false,
            proposal: None,
            unanswered: None,
            last_number: None,
            stop_by: None,
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

    /// Whether this start of the peer's process is known to be over: it said goodbye, or a later
    /// one was met. Nothing reaches it any more.
    pub fn is_over(&self, uid: Uid) -> bool {
        self.former.contains(&uid)
    }

    /// Whether a dial with this nonce is under way.
    pub fn vouches_for(&self, dial: u64) -> bool {
        let is_dial = matches!(self.state, State::Handshaking { nonce, .. } if nonce == dial);
        is_dial || self.beside.is_some_and(|beside| beside.vouches_for(dial))
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        if self.stop_by.is_some() && !matches!(self.state, State::Stopped) {
            return Status::Stopping;
        }
        match self.state {
            State::Idle => match &self.link {
                Some(kept) if self.is_resting() => Status::Resting(kept.uid),
                Some(kept) => Status::Lost(kept.uid),
                None => Status::Idle,
            },
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
        if self.is_stopping() {
            return;
        }
        self.wanted = true;
        self.dial_when_due(cx);
    }

    /// Somebody has something for whoever is there: dials once, if nothing is under way or waits.
    pub fn handle_dial_once(&mut self, cx: &mut Context<'_>) {
        if !self.is_stopping() {
            self.dial_when_due(cx);
        }
    }

    /// The peer introduced itself on a connection of its own. The connection belongs to this
    /// association from now on: it is accepted, or waits for a verdict, which follows as effects
    /// of a later call.
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
        if self.is_stopping() {
            return Err(RefuseReason::Stopping);
        }
        // Nobody makes links with a client: it is dialled for those that it made.
        if cx.local.role == Role::Client && !self.resumes(cx, introduction) {
            return Err(RefuseReason::Role);
        }
        self.check_position(cx, introduction)?;
        self.check_succession(cx, introduction)?;
        match self.state {
            // Nothing was said on this side's dial, so the peer's goes on with their link.
            State::Dialling { .. } if self.resumes(cx, introduction) => {}
            State::Dialling { .. } | State::Handshaking { .. } => {
                if cx.local.id.uid < uid {
                    return Err(RefuseReason::Superseded);
                }
            }
            State::Associated { .. } => return self.doubt_link(cx, introduction),
            State::Idle | State::BackOff { .. } | State::Stopping { .. } | State::Stopped => {}
        }
        if let Some(conn) = self.conn() {
            let reason = CloseReason::Superseded;
            cx.out.push(Effect::Close { conn, reason });
        }
        self.accept(cx, introduction);
        Ok(())
    }

    /// A frame came: of the handshake, or a ping, pong or goodbye on the link. Frames of kinds that
    /// belong to the link's halves are the driver's.
    pub fn handle_frame(&mut self, cx: &mut Context<'_>, conn: ConnKey, frame: &Frame<'_>) {
        if self.is_beside(conn) {
            return self.handle_beside_frame(cx, conn, frame);
        }
        match self.state {
            State::Handshaking {
                conn: current,
                nonce,
                expected_uid,
                ..
            } if current == conn => {
                if let Err(reason) = self.handle_answer(cx, nonce, expected_uid, frame) {
                    cx.out.push(Effect::Close { conn, reason });
                    if matches!(reason, CloseReason::Link(_)) {
                        self.link_down(cx, reason);
                    }
                    self.fail(cx, reason);
                }
            }
            State::Associated { conn: current, .. } if current == conn => {
                if let Err(reason) = self.handle_link_frame(cx, conn, frame) {
                    self.handle_fault(cx, conn, reason);
                }
            }
            // It was not accepted yet, and has nothing to say before.
            State::Associated { .. } if self.is_newcomer(conn) => {
                let reason = CloseReason::UnexpectedFrame(frame.header.kind);
                self.handle_fault(cx, conn, reason);
            }
            State::Stopping {
                conn: current,
                deadline,
            } if current == conn && frame.header.kind == Kind::Rest => {
                self.rest_while_stopping(cx, conn, deadline);
            }
            // A stopping link waits for its end, and what comes on a connection that is not this
            // association's any more does not count.
            _ => {}
        }
    }

    /// A connection ended by itself.
    pub fn handle_closed(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: CloseReason) {
        if self.is_beside(conn) {
            self.beside = None;
            return;
        }
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
            State::Associated { conn: current, .. } if current == conn => {
                self.part(cx, reason);
                if !self.succeed(cx) {
                    self.lose(cx);
                }
            }
            State::Associated { .. } => self.forget_newcomer(conn),
            State::Stopping { conn: current, .. } if current == conn => {
                self.link_down(cx, CloseReason::Stopping);
                self.finish(cx);
            }
            _ => {}
        }
    }

    /// The driver found the peer at fault on a connection: it is closed.
    pub fn handle_fault(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: CloseReason) {
        if self.conn() == Some(conn) || self.is_newcomer(conn) || self.is_beside(conn) {
            cx.out.push(Effect::Close { conn, reason });
            self.handle_closed(cx, conn, reason);
        }
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let given_up = self.lost().and_then(|lost| lost.until);
        if given_up.is_some_and(|until| until <= cx.now) {
            let reason = match self.stop_by {
                Some(_) => CloseReason::Stopping,
                None => CloseReason::ResumeTimeout,
            };
            self.give_up(cx, reason);
        }
        if self.forming.is_some_and(|forming| forming.until <= cx.now) {
            self.end_forming(cx);
        }
        if self
            .beside
            .is_some_and(|beside| beside.deadline() <= cx.now)
        {
            self.end_beside(cx, CloseReason::HandshakeTimeout);
        }
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
            State::Associated { .. } => self.end_probe(cx),
            State::Stopping { conn, .. } => self.handle_fault(cx, conn, CloseReason::Stopping),
            State::BackOff { .. } => self.dial(cx),
            State::Idle | State::Stopped => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = match self.state {
            State::Dialling { deadline, .. }
            | State::Handshaking { deadline, .. }
            | State::Stopping { deadline, .. } => Some(deadline),
            State::Associated { probe, .. } => probe.map(|probe| probe.deadline),
            State::BackOff { until } => Some(until),
            State::Idle | State::Stopped => None,
        };
        let given_up = self.lost().and_then(|lost| lost.until);
        let forming = self.forming.map(|forming| forming.until);
        let beside = self.beside.map(|beside| beside.deadline());
        let others = given_up.into_iter().chain(forming).chain(beside);
        due.into_iter().chain(others).min()
    }

    /// Ends the association: says goodbye on a link, gives up a dial. Ends in [`Effect::Stopped`].
    pub fn handle_stop(&mut self, cx: &mut Context<'_>) {
        if self.is_stopping() || self.stop_lost(cx) || self.stop_forming(cx) {
            return;
        }
        match self.state {
            State::Associated { conn, .. } => {
                self.refuse_newcomer(cx, RefuseReason::Stopping);
                self.end_beside(cx, CloseReason::Stopping);
                let reason = ByeReason::Stopping;
                cx.out.push(Effect::Bye { conn, reason });
                let deadline = cx.now + cx.local.stop_timeout;
                self.state = State::Stopping { conn, deadline };
            }
            State::Stopping { .. } | State::Stopped => {}
            State::Idle
            | State::BackOff { .. }
            | State::Dialling { .. }
            | State::Handshaking { .. } => {
                let reason = CloseReason::Stopping;
                if let Some(conn) = self.conn() {
                    cx.out.push(Effect::Close { conn, reason });
                }
                self.link_down(cx, reason);
                self.unform(cx, reason);
                self.finish(cx);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop_by.is_some() || matches!(self.state, State::Stopping { .. } | State::Stopped)
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

#[cfg(test)]
mod tests;
