//! A dial beside a link that has a connection, over which nothing comes any more.
//!
//! A network that lost what was sent is tried again by the kernel after pauses that double, so a
//! connection may stay mute long after its network was mended; a new one gets through at once. It
//! is dialled while the old one stays, and offers to go on with the link. When the peer accepts,
//! the link moves over; until then nothing has changed. So a peer that is only slow, or stopped,
//! costs a connection that waits, and its link goes on where it was when it wakes.
//!
//! What comes over the old connection meanwhile counts. If the link has received more than was
//! offered, the new connection is given up, whatever the peer says: it has given up the old one
//! then, and both sides find a third.

use std::time::Duration;

use super::resume::standing;
use super::{Association, State};
use crate::address::Uid;
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::Frame;
use crate::frame::body::{Accept, Grant, Offer, Refuse, RefuseReason};
use crate::kind::Kind;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::time::Instant;

/// How long such a dial waits for a connection until the next one takes its place: a network that
/// was mended in the meantime answers a new one sooner.
const PAUSE: Duration = Duration::from_millis(500);

/// A dial beside the link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    /// `None` until the driver told.
    pub(super) conn: Option<ConnKey>,
    since: Instant,
    /// What was said on it.
    hello: Option<Hello>,
}

#[derive(Clone, Copy, Debug)]
struct Hello {
    nonce: u64,
    /// Up to where the link had received.
    received_to: u64,
}

/// What an answer to such a dial means.
enum Verdict {
    /// The link goes on over it.
    Moves(Grant),
    /// The link is as good as it was.
    Stays,
    /// Whoever answers does not know the link.
    IsOver,
    /// The peer has given the link up, and made another one with this answer.
    IsNew(Uid, Offer),
    /// The peer has quarantined this node.
    Quarantined,
}

impl Beside {
    pub(super) fn deadline(&self) -> Instant {
        self.since + HANDSHAKE_TIMEOUT
    }

    pub(super) fn vouches_for(&self, nonce: u64) -> bool {
        self.hello.is_some_and(|hello| hello.nonce == nonce)
    }
}

impl Association {
    /// Nothing has come over the link for a while, though it should have. Dials beside it, or for
    /// the next connection at once if it has none; not while a dial may still be answered. Says
    /// whether it did.
    pub fn handle_silence(&mut self, cx: &mut Context<'_>) -> bool {
        match self.state {
            State::Idle | State::BackOff { .. } => return self.dial_for_lost(cx),
            State::Associated { newcomer: None, .. } if self.link.is_some() => {}
            _ => return false,
        }
        if let Some(beside) = &self.beside {
            if beside.hello.is_some() || cx.now - beside.since < PAUSE {
                return false;
            }
            self.end_beside(cx, CloseReason::HandshakeTimeout);
        }
        self.beside = Some(Beside {
            conn: None,
            since: cx.now,
            hello: None,
        });
        let address = self.remote.clone();
        cx.out.push(Effect::Dial { address });
        true
    }

    /// Dials for a link that has lost its connection, whoever is to dial first.
    fn dial_for_lost(&mut self, cx: &mut Context<'_>) -> bool {
        let lost = self.link.as_mut().and_then(|kept| kept.lost.as_mut());
        let Some(lost) = lost.filter(|lost| lost.until.is_some()) else {
            return false;
        };
        lost.wanted = true;
        self.dial(cx);
        true
    }

    /// Whether the driver is to dial, now or when it knows where.
    pub fn is_to_dial(&self) -> bool {
        let beside = self.beside.is_some_and(|beside| beside.conn.is_none());
        beside || matches!(self.state, State::Dialling { conn: None, .. })
    }

    pub(super) fn is_beside(&self, conn: ConnKey) -> bool {
        self.beside.is_some_and(|beside| beside.conn == Some(conn))
    }

    /// It is connected: offers to go on with the link.
    pub(super) fn greet_beside(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        let expected = self.link.as_ref().map(|kept| kept.uid);
        let nonce = cx.random;
        let offer = self.offer(cx);
        let bytes = cx
            .local
            .introduce((&self.remote, self.core), expected, nonce, offer);
        cx.out.push(Effect::Write { conn, bytes });
        let received_to = standing(cx).0;
        if let Some(beside) = &mut self.beside {
            beside.hello = Some(Hello { nonce, received_to });
        }
    }

    /// The answer to that.
    pub(super) fn handle_beside_frame(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        frame: &Frame<'_>,
    ) {
        match self.judge_answer(cx, frame) {
            Ok(Verdict::Moves(grant)) => self.move_over(cx, conn, grant),
            Ok(Verdict::Stays) => self.end_beside(cx, CloseReason::Superseded),
            Ok(Verdict::IsOver) => {
                self.end_beside(cx, CloseReason::Superseded);
                // The dial that follows finds out who is there.
                if let Some(hung) = self.conn() {
                    self.handle_fault(cx, hung, CloseReason::ProbeTimeout);
                }
            }
            Ok(Verdict::IsNew(uid, offer)) => self.begin_anew(cx, conn, (uid, &offer)),
            Ok(Verdict::Quarantined) => {
                self.end_beside(cx, CloseReason::Refused(RefuseReason::Quarantined));
                // As if it had come over the old connection, on which it may be stuck.
                if let Some(hung) = self.conn() {
                    self.handle_quarantine_bye(cx, hung);
                }
            }
            Err(reason) => self.end_beside(cx, reason),
        }
    }

    fn judge_answer(&self, cx: &Context<'_>, frame: &Frame<'_>) -> Result<Verdict, CloseReason> {
        let hello = self.beside.and_then(|beside| beside.hello);
        let (Some(hello), Some(kept)) = (hello, &self.link) else {
            return Err(CloseReason::UnexpectedFrame(frame.header.kind));
        };
        match frame.header.kind {
            Kind::Accept => {
                let accept = Accept::parse(frame)?;
                cx.local.check_accept(&accept, &self.remote, hello.nonce)?;
                let Accept { uid, offer, .. } = &accept;
                if (kept.uid, kept.number) != (*uid, offer.link) {
                    let is_new = offer.link == hello.nonce && offer.received_to.is_none();
                    return Ok(match is_new && kept.uid == *uid {
                        true => Verdict::IsNew(*uid, *offer),
                        false => Verdict::IsOver,
                    });
                }
                let received_to = offer.received_to.ok_or(CloseReason::Answer)?;
                if standing(cx).0 != hello.received_to {
                    return Ok(Verdict::Stays);
                }
                self.check_grant(cx, received_to)?;
                let limit = offer.limit;
                Ok(Verdict::Moves(Grant { received_to, limit }))
            }
            Kind::Refuse => Ok(match Refuse::parse(frame)?.reason {
                RefuseReason::Incarnation | RefuseReason::Former | RefuseReason::Position => {
                    Verdict::IsOver
                }
                RefuseReason::Quarantined => Verdict::Quarantined,
                _ => Verdict::Stays,
            }),
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }

    /// The link leaves its old connection for the new one.
    fn move_over(&mut self, cx: &mut Context<'_>, conn: ConnKey, grant: Grant) {
        self.beside = None;
        self.refuse_newcomer(cx, RefuseReason::Superseded);
        let reason = CloseReason::Superseded;
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        self.part(cx, reason);
        self.resume(cx, conn, grant, true);
    }

    /// The link is over, and the one that the peer has made in its place begins. If this side let
    /// it be lost, each would keep a link that the other does not know, and refuse the other's.
    fn begin_anew(&mut self, cx: &mut Context<'_>, conn: ConnKey, (uid, offer): (Uid, &Offer)) {
        self.beside = None;
        self.refuse_newcomer(cx, RefuseReason::Superseded);
        let reason = CloseReason::Forgotten;
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        self.link_down(cx, reason);
        self.associate(cx, conn, uid, offer, true);
    }

    /// Gives such a dial up, if there is one.
    pub(super) fn end_beside(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let beside = self.beside.take();
        if let Some(conn) = beside.and_then(|beside| beside.conn) {
            cx.out.push(Effect::Close { conn, reason });
        }
    }
}
