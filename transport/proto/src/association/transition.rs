//! The transitions of an association.

use std::time::Duration;

use super::resume::Kept;
use super::{Association, State};
use crate::address::{NodeId, Uid};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect, LinkUp};
use crate::frame::Frame;
use crate::frame::body::{
    Accept, BodyError, Bye, ByeReason, Grant, Offer, Ping, Pong, Refuse, RefuseReason, Rest,
};
use crate::handshake::{Introduction, RESTS};
use crate::kind::Kind;
use crate::limits::{
    BACK_OFF_MAX, BACK_OFF_MIN, FORMER_UIDS_MAX, FORMING_PAUSE_MAX, HANDSHAKE_TIMEOUT, STEADY_LINK,
};

impl Association {
    /// The answer to this side's hello.
    pub(super) fn handle_answer(
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
                self.accepted(cx, nonce, &accept)
            }
            Kind::Refuse => {
                let refuse = Refuse::parse(frame)?;
                self.refused(cx, expected_uid, refuse.reason);
                Ok(())
            }
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }

    fn refused(&mut self, cx: &mut Context<'_>, expected_uid: Option<Uid>, reason: RefuseReason) {
        if let Some(conn) = self.conn() {
            let reason = CloseReason::Refused(reason);
            cx.out.push(Effect::Close { conn, reason });
        }
        match (reason, expected_uid) {
            // The peer's own dial goes first and is on its way, or its link is being probed.
            (RefuseReason::Superseded, _) => self.pause(cx, BACK_OFF_MIN),
            // The process that was wanted is gone: whichever runs now will do.
            (RefuseReason::Incarnation, Some(old)) => {
                self.bury(old);
                self.link_down(cx, CloseReason::Restarted);
                self.unform(cx, CloseReason::Restarted);
                self.dial(cx);
            }
            (RefuseReason::Quarantined, expected_uid) => {
                self.quarantined_by_peer(cx, expected_uid);
                self.fail(cx, CloseReason::Refused(reason));
            }
            (RefuseReason::Position | RefuseReason::Role, _) => {
                let reason = CloseReason::Refused(reason);
                self.link_down(cx, reason);
                self.fail(cx, reason);
            }
            _ => self.fail(cx, CloseReason::Refused(reason)),
        }
    }

    /// What an association, and not the halves of its link, hears on the link.
    pub(super) fn handle_link_frame(
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
            Kind::Pong => self.handle_pong(cx, frame).map_err(CloseReason::from),
            Kind::Rest => {
                Rest::parse(frame)?;
                self.handle_rest(cx, conn)
            }
            Kind::Bye => {
                match Bye::parse(frame)?.reason {
                    ByeReason::Quarantined => self.handle_quarantine_bye(cx, conn),
                    _ => self.handle_bye(cx, conn),
                }
                Ok(())
            }
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }

    fn handle_pong(&mut self, cx: &mut Context<'_>, frame: &Frame<'_>) -> Result<(), BodyError> {
        let pong = Pong::parse(frame)?;
        self.answer_probe(cx, pong.nonce);
        Ok(())
    }

    /// The peer's node stops: that start of its process is over, and nobody dials until somebody
    /// asks again.
    fn handle_bye(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if let State::Associated { uid, .. } = self.state {
            let reason = CloseReason::Bye;
            cx.out.push(Effect::Close { conn, reason });
            self.link_down(cx, reason);
            self.bury(uid);
            self.wanted = false;
            self.attempt = 0;
            if !self.succeed(cx) {
                self.state = State::Idle;
            }
        }
    }

    pub(super) fn dial(&mut self, cx: &mut Context<'_>) {
        if self.has_stopped() {
            return self.finish(cx);
        }
        let address = self.remote.clone();
        cx.out.push(Effect::Dial { address });
        self.state = State::Dialling {
            conn: None,
            deadline: cx.now + HANDSHAKE_TIMEOUT,
        };
    }

    /// A dial came to nothing.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.attempt = self.attempt.saturating_add(1);
        let retry_after = back_off(self.attempt, cx.random);
        cx.out.push(Effect::Unreachable {
            attempt: self.attempt,
            reason,
            retry_after,
        });
        self.judge_refusal(cx, reason);
        self.judge_forming(cx, reason);
        self.pause(cx, retry_after);
    }

    /// A link is gone. One that did not last counts as a failed dial, else a peer that accepts and
    /// hangs up would be dialled without pause.
    pub(super) fn lose(&mut self, cx: &mut Context<'_>) {
        let State::Associated { since, .. } = self.state else {
            return;
        };
        if self.link.is_some() {
            return self.dial_for_link(cx, since);
        }
        let lasted = cx.now - since >= STEADY_LINK;
        self.attempt = if lasted {
            1
        } else {
            self.attempt.saturating_add(1)
        };
        self.pause(cx, back_off(self.attempt, cx.random));
    }

    /// Dials after a pause, if this side wants to.
    pub(super) fn pause(&mut self, cx: &mut Context<'_>, span: Duration) {
        let is_forming = self.forming.is_some();
        let wanted = self.wanted || is_forming || self.lost().is_some_and(|lost| lost.wanted);
        if self.has_stopped() {
            self.finish(cx);
        } else if !wanted {
            self.state = State::Idle;
        } else if span.is_zero() {
            self.dial(cx);
        } else {
            let longest = if is_forming { FORMING_PAUSE_MAX } else { span };
            let until = cx.now + span.min(longest);
            self.state = State::BackOff { until };
        }
    }

    /// Whether it stops, and no link is left whose bytes it waits for.
    fn has_stopped(&self) -> bool {
        self.stop_by.is_some() && self.link.is_none() && self.forming.is_none()
    }

    /// Lets a dialler in, to go on with the link or to begin a new one.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>, introduction: &Introduction) {
        let conn = introduction.conn;
        let uid = introduction.peer.uid;
        let Offer {
            limit, received_to, ..
        } = introduction.offer;
        let goes_on = self.resumes(cx, introduction);
        let offer = self.counter_offer(cx, introduction);
        let bytes = cx.local.accept(introduction, offer);
        if goes_on {
            cx.out.push(Effect::Write { conn, bytes });
            let received_to = received_to.unwrap_or(0);
            if let Some(kept) = &mut self.link {
                kept.number = offer.link;
            }
            return self.resume(cx, conn, Grant { received_to, limit }, false);
        }
        let is_same = self.link.as_ref().is_some_and(|kept| kept.uid == uid);
        let reason = if is_same {
            CloseReason::Forgotten
        } else {
            CloseReason::Restarted
        };
        self.link_down(cx, reason);
        cx.out.push(Effect::Write { conn, bytes });
        let link = offer.link;
        let theirs = Offer {
            link,
            ..introduction.offer
        };
        self.associate(cx, conn, uid, &theirs, false);
    }

    pub(super) fn associate(
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
            self.last_number = None;
            cx.out.push(Effect::PeerRestarted { old, new: uid });
        }
        if self.forming.take_if(|forming| forming.uid == uid).is_none() {
            self.unform(cx, CloseReason::Restarted);
        }
        self.out_of_reach = false;
        let unanswered = self.proposal.take().filter(|_| !dialled);
        self.unanswered = unanswered.filter(|number| *number != offer.link);
        self.link = Some(Kept {
            number: offer.link,
            uid,
            conn,
            dialled,
            began_at: (0, 0),
            lost: None,
            may_rest: cx.local.features & offer.features & RESTS != 0,
        });
        cx.out.push(Effect::LinkUp(LinkUp {
            conn,
            peer: self.node(uid),
            dialled,
            body_cap: cx.local.common_body_cap(offer),
            limit: offer.limit,
            features: cx.local.features & offer.features,
            matrix: cx.local.matrix(offer),
        }));
        self.begin(cx, conn, uid);
    }

    /// The link has a connection: it is used, or says its last words.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, conn: ConnKey, uid: Uid) {
        self.state = match self.stop_by {
            Some(deadline) => {
                let reason = ByeReason::Stopping;
                cx.out.push(Effect::Bye { conn, reason });
                State::Stopping { conn, deadline }
            }
            None => State::Associated {
                conn,
                uid,
                since: cx.now,
                probe: None,
                newcomer: None,
            },
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

    /// The link is over, if there is one.
    pub(super) fn link_down(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.end_beside(cx, CloseReason::Superseded);
        if let Some(Kept {
            conn, uid, number, ..
        }) = self.link.take()
        {
            self.last_number = Some(number);
            let peer = self.node(uid);
            cx.out.push(Effect::LinkDown { conn, peer, reason });
        }
    }

    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        self.wanted = false;
        self.state = State::Stopped;
        cx.out.push(Effect::Stopped);
    }

    pub(super) fn node(&self, uid: Uid) -> NodeId {
        NodeId {
            address: self.remote.clone(),
            uid,
        }
    }
}

/// The pause before dial number `attempt + 1`: doubles from 100 ms to 10 s, and of that a random
/// part between a half and the whole, so that nodes which lost each other together do not dial
/// together.
pub(super) fn back_off(attempt: u32, random: u64) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let whole = doubled.min(BACK_OFF_MAX);
    let half = whole / 2;
    let micros = half.as_micros() as u64;
    half + Duration::from_micros(random % (micros + 1))
}
