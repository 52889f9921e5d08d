//! A link without a connection: it is kept, its peer is dialled, and both sides say where they
//! stand, so that it goes on at exactly that byte.
//!
//! A link has a random number, which its two nodes alone know. Whoever names the number of a link
//! that is up, and dialled its connection, has given that connection up: the new one takes over at
//! once. Who names it without having dialled may have crossed this side's dial, and waits for the
//! probe as others do.
//!
//! The link after a link has the next number. So a hello that offers a new link tells whether its
//! sender knew of the one that waits here, and ended it; one that does not was sent before, and is
//! refused. Where two dials crossed and one answer was lost, each side may have a link of its own:
//! then the one that was never used takes the number of the other.

use std::time::Duration;

use super::transition::back_off;
use super::{Association, State};
use crate::address::Uid;
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::body::{Accept, Grant, Offer, RefuseReason};
use crate::handshake::Introduction;
use crate::limits::{REFUSED_PATIENCE, RESUME_GRACE, RESUME_PAUSE, STEADY_LINK};
use crate::link::Violation;
use crate::time::Instant;

/// A link from the handshake that made it until it is given up.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) uid: Uid,
    /// The connection that carries it, or did so last.
    pub(super) conn: ConnKey,
    /// This side dialled that.
    pub(super) dialled: bool,
    /// Where the halves stood when that began.
    pub(super) began_at: (u64, u64),
    pub(super) lost: Option<Lost>,
    /// Both nodes let it rest.
    pub(super) may_rest: bool,
}

/// A link that has no connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) since: Instant,
    /// When it is given up: never, as long as it rests.
    pub(super) until: Option<Instant>,
    /// This side dials too.
    pub(super) wanted: bool,
}

impl Kept {
    /// What this side offers for the link to go on.
    fn offer(&self, cx: &Context<'_>) -> Offer {
        let (limit, received_to) = match cx.link {
            Some(link) => (link.inbound.limit(), link.inbound.received_to()),
            None => (u64::from(cx.local.window_bytes), 0),
        };
        Offer {
            limit,
            received_to: Some(received_to),
            ..cx.local.offer(self.number)
        }
    }
}

/// Where the halves stand: what was received, and what the peer acknowledged.
pub(super) fn standing(cx: &Context<'_>) -> (u64, u64) {
    let of = |link: crate::effect::Standing<'_>| {
        let acknowledged = link.outbound.positions().received_to;
        (link.inbound.received_to(), acknowledged)
    };
    cx.link.map(of).unwrap_or_default()
}

/// Whether the stream can go on where the peer says.
fn check(cx: &Context<'_>, position: u64) -> Result<(), Violation> {
    match cx.link {
        Some(link) => link.outbound.check_resume(position),
        None if position == 0 => Ok(()),
        None => Err(Violation::Position {
            received_to: position,
            first: 0,
            last: 0,
        }),
    }
}

/// Whether something waits for the peer.
pub(super) fn has_more(cx: &Context<'_>) -> bool {
    cx.link.is_some_and(|link| link.outbound.is_owed())
}

impl Association {
    /// Something is to be sent on a link that has no connection: this side dials too.
    pub fn handle_resume_wanted(&mut self, cx: &mut Context<'_>) {
        if let Some(lost) = self.link.as_mut().and_then(|kept| kept.lost.as_mut()) {
            lost.wanted = true;
            self.dial_when_due(cx);
        }
    }

    /// The peer broke the rules of a link, whether or not that has a connection.
    pub fn handle_link_fault(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        match self.state {
            State::Associated { conn, .. } | State::Stopping { conn, .. } => {
                self.handle_fault(cx, conn, reason);
            }
            _ if self.link.is_some() => {
                // Whoever takes its place needs it for longer than until the next dial.
                self.wanted &= reason != CloseReason::Overloaded;
                self.give_up(cx, reason);
            }
            _ if self.forming.is_some() => self.give_way(cx, reason),
            _ => {}
        }
    }

    /// Checks that the link can go on where the peer says.
    pub(super) fn check_grant(&self, cx: &Context<'_>, position: u64) -> Result<(), Violation> {
        check(cx, position)
    }

    pub(super) fn lost(&self) -> Option<&Lost> {
        self.link.as_ref()?.lost.as_ref()
    }

    /// From idle: dials, unless the peer is to dial first. A link that rests wakes.
    pub(super) fn dial_when_due(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        if self.wake(cx) {
            return self.dial(cx);
        }
        let first = self.lost().map(|lost| lost.since + RESUME_GRACE);
        match first {
            Some(until) if until > cx.now => self.state = State::BackOff { until },
            _ => self.dial(cx),
        }
    }

    /// What a dial offers: to go on with the link, or a new one. As long as nobody answered, the
    /// new one has the same number: the peer may have accepted, and the answer be lost.
    pub(super) fn offer(&mut self, cx: &Context<'_>) -> Offer {
        match &self.link {
            Some(kept) => kept.offer(cx),
            None => {
                let next = self.last_number.map(|number| number.wrapping_add(1));
                let fresh = next.unwrap_or(cx.random);
                let number = *self.proposal.get_or_insert(fresh);
                cx.local.offer(number)
            }
        }
    }

    /// The connection of the link is gone. The link is kept if that was no fault of the peer, and
    /// nobody waits for its place.
    pub(super) fn part(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.end_beside(cx, CloseReason::Superseded);
        let rival = self.newcomer_uid();
        let more = has_more(cx);
        let Some(kept) = &mut self.link else {
            return;
        };
        if !reason.is_of_connection() || rival.is_some_and(|uid| uid != kept.uid) {
            return self.link_down(cx, reason);
        }
        kept.lost = Some(Lost {
            since: cx.now,
            until: Some(cx.now + cx.local.resume_timeout),
            wanted: self.wanted || kept.dialled || more,
        });
        let (conn, uid) = (kept.conn, kept.uid);
        let peer = self.node(uid);
        cx.out.push(Effect::LinkLost { conn, peer, reason });
    }

    /// Dials for a link that was lost: at once, unless its connection brought nothing, and behind
    /// the peer if that dialled last.
    pub(super) fn dial_for_link(&mut self, cx: &mut Context<'_>, since: Instant) {
        let stood = cx.now - since;
        let moved = standing(cx) != self.link.as_ref().map_or((0, 0), |kept| kept.began_at);
        let pause = if moved || stood >= STEADY_LINK {
            self.attempt = 0;
            RESUME_PAUSE.saturating_sub(stood)
        } else {
            self.attempt = self.attempt.saturating_add(1);
            back_off(self.attempt, cx.random)
        };
        let waits = self.link.as_ref().is_some_and(|kept| !kept.dialled);
        let grace = if waits { RESUME_GRACE } else { Duration::ZERO };
        self.pause(cx, pause.max(grace));
    }

    /// Nobody listens at the address where this side dialled the link before: its process is gone.
    pub(super) fn judge_refusal(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if reason == CloseReason::DialRefused
            && self.link.as_ref().is_some_and(|kept| kept.dialled)
            && self
                .lost()
                .is_some_and(|lost| cx.now - lost.since >= REFUSED_PATIENCE)
        {
            self.out_of_reach = true;
            self.link_down(cx, reason);
        }
    }

    /// The link waited for long enough, or cannot go on.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.out_of_reach |= reason == CloseReason::ResumeTimeout;
        self.link_down(cx, reason);
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        match self.state {
            State::Idle => self.pause(cx, Duration::ZERO),
            State::BackOff { until } => self.pause(cx, until - cx.now),
            _ => {
                let span = back_off(self.attempt.max(1), cx.random);
                self.pause(cx, span);
            }
        }
    }

    /// Whether a dialler means the link that this side keeps.
    pub(super) fn resumes(&self, cx: &Context<'_>, introduction: &Introduction) -> bool {
        let Some(kept) = &self.link else {
            return false;
        };
        let offer = &introduction.offer;
        // It accepted this side's dial, while this side accepted one that it had given up.
        let is_crossed = offer.received_to == Some(0)
            && self.unanswered == Some(offer.link)
            && standing(cx) == (0, 0);
        kept.uid == introduction.peer.uid && (kept.number == offer.link || is_crossed)
    }

    /// Refuses an offer of another link, while one waits, by a peer that has not ended that: it was
    /// made before. This side's own dial finds out.
    pub(super) fn check_succession(
        &mut self,
        cx: &mut Context<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        let Some(kept) = &self.link else {
            return Ok(());
        };
        let offer = &introduction.offer;
        let is_next = offer.link == kept.number.wrapping_add(1) && offer.received_to.is_none();
        if kept.lost.is_none()
            || kept.uid != introduction.peer.uid
            || is_next
            || self.resumes(cx, introduction)
        {
            return Ok(());
        }
        self.handle_resume_wanted(cx);
        Err(RefuseReason::Superseded)
    }

    /// Refuses whoever means the link and cannot go on with it, before anything is changed.
    pub(super) fn check_position(
        &self,
        cx: &Context<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        // Who never heard that the link was made begins at its beginning.
        let position = introduction.offer.received_to.unwrap_or(0);
        if self.resumes(cx, introduction) && check(cx, position).is_err() {
            return Err(RefuseReason::Position);
        }
        Ok(())
    }

    /// Lets the dialler of a connection that is still up take over with another one, if it is the
    /// peer. Says whether it is.
    pub(super) fn take_over(&mut self, cx: &mut Context<'_>, introduction: &Introduction) -> bool {
        let is_peers = self.link.as_ref().is_some_and(|kept| !kept.dialled);
        if !is_peers || !self.resumes(cx, introduction) {
            return false;
        }
        self.refuse_newcomer(cx, RefuseReason::Superseded);
        let reason = CloseReason::Superseded;
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        self.part(cx, reason);
        self.accept(cx, introduction);
        true
    }

    /// What this side answers a dialler: that the link goes on, or a new one.
    pub(super) fn counter_offer(&self, cx: &Context<'_>, introduction: &Introduction) -> Offer {
        let theirs = &introduction.offer;
        match (&self.link, theirs.received_to) {
            (Some(kept), _) if self.resumes(cx, introduction) => Offer {
                link: theirs.link,
                ..kept.offer(cx)
            },
            (_, None) => cx.local.offer(theirs.link),
            // It accepted this side's dial, and the answer was lost.
            (_, Some(0)) if self.proposal == Some(theirs.link) => Offer {
                received_to: Some(0),
                ..cx.local.offer(theirs.link)
            },
            // It has a link that this side gave up.
            (_, Some(_)) => cx.local.offer(introduction.nonce),
        }
    }

    /// The peer accepted this side's dial.
    pub(super) fn accepted(
        &mut self,
        cx: &mut Context<'_>,
        nonce: u64,
        accept: &Accept,
    ) -> Result<(), CloseReason> {
        let Some(conn) = self.conn() else {
            return Ok(());
        };
        let offer = &accept.offer;
        let is_new = offer.link == nonce && offer.received_to.is_none();
        let is_proposal = self.proposal == Some(offer.link) && offer.received_to.unwrap_or(0) == 0;
        match &self.link {
            Some(kept) if (kept.uid, kept.number) == (accept.uid, offer.link) => {
                let received_to = offer.received_to.ok_or(CloseReason::Answer)?;
                check(cx, received_to)?;
                let limit = offer.limit;
                self.resume(cx, conn, Grant { received_to, limit }, true);
            }
            Some(_) if is_new => {
                self.link_down(cx, CloseReason::Forgotten);
                if self.stop_by.is_some() {
                    let reason = CloseReason::Stopping;
                    cx.out.push(Effect::Close { conn, reason });
                    self.finish(cx);
                } else {
                    self.associate(cx, conn, accept.uid, offer, true);
                }
            }
            None if is_new || is_proposal => self.associate(cx, conn, accept.uid, offer, true),
            _ => return Err(CloseReason::Answer),
        }
        Ok(())
    }

    /// The link goes on.
    pub(super) fn resume(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        grant: Grant,
        dialled: bool,
    ) {
        let received = standing(cx).0;
        let Some(kept) = &mut self.link else {
            return;
        };
        kept.conn = conn;
        kept.dialled = dialled;
        kept.began_at = (received, grant.received_to);
        kept.lost = None;
        let uid = kept.uid;
        self.out_of_reach = false;
        let peer = self.node(uid);
        cx.out.push(Effect::LinkResumed { conn, peer, grant });
        self.begin(cx, conn, uid);
    }

    /// Stops with a link that has no connection: what waits on it may still leave, for a while.
    /// Says whether anything does.
    pub(super) fn stop_lost(&mut self, cx: &mut Context<'_>) -> bool {
        let more = has_more(cx);
        let by = cx.now + cx.local.stop_timeout;
        let Some(lost) = self.link.as_mut().and_then(|kept| kept.lost.as_mut()) else {
            return false;
        };
        if !more {
            return false;
        }
        lost.wanted = true;
        lost.until = Some(lost.until.map_or(by, |until| until.min(by)));
        self.stop_by = Some(by);
        self.wanted = false;
        if matches!(self.state, State::Idle | State::BackOff { .. }) {
            self.dial(cx);
        }
        true
    }
}
