//! A link before its first connection: somebody sends to a process start that there is no link
//! with, and what is sent waits while the peer is dialled.
//!
//! Nothing has left, so there is nothing to agree on: the handshake is that of any new link. If the
//! process start that answers is the wanted one, the link begins with what waits; otherwise, and
//! when nobody answered in time or the peer refuses for good, it is over before it began.

use super::{Association, State};
use crate::address::Uid;
use crate::close_reason::CloseReason;
use crate::effect::{Context, Effect};
use crate::frame::body::RefuseReason;
use crate::limits::FORMING_PAUSE_MAX;
use crate::time::Instant;

/// A link that waits for its first connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forming {
    pub(super) uid: Uid,
    pub(super) until: Instant,
}

impl Association {
    /// Whether sends to a process start may wait for a link with it: nothing is known that speaks
    /// against it, and the peer was not out of reach for too long already.
    pub fn may_form(&self, uid: Uid) -> bool {
        self.link.is_none()
            && self.forming.is_none()
            && !self.is_stopping()
            && !self.out_of_reach
            && !self.is_over(uid)
            && self.uid.is_none_or(|known| known == uid)
    }

    /// Whether the peer was not found, or refused this node, for as long as links wait for that; no
    /// connection came since.
    pub fn is_out_of_reach(&self) -> bool {
        self.out_of_reach
    }

    /// Something waits for a link with a process start that there [may](Self::may_form) be one
    /// with. The peer is dialled at once, and again until it answers or the time is up; then
    /// [`Effect::FormingOver`] comes, unless the link does.
    pub fn handle_form_wanted(&mut self, cx: &mut Context<'_>, uid: Uid) {
        if !self.may_form(uid) {
            return;
        }
        let until = cx.now + cx.local.dial_timeout;
        self.forming = Some(Forming { uid, until });
        self.wanted = true;
        if let State::BackOff { until } = &mut self.state {
            *until = (*until).min(cx.now + FORMING_PAUSE_MAX);
        }
        self.dial_when_due(cx);
    }

    /// The process start that sends wait for.
    pub(super) fn forming_uid(&self) -> Option<Uid> {
        self.forming.map(|forming| forming.uid)
    }

    /// What waits for a link waits in vain.
    pub(super) fn unform(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if let Some(Forming { uid, .. }) = self.forming.take() {
            let peer = self.node(uid);
            cx.out.push(Effect::FormingOver { peer, reason });
        }
    }

    /// Nobody answered in time.
    pub(super) fn end_forming(&mut self, cx: &mut Context<'_>) {
        if self.stop_by.is_some() {
            let reason = CloseReason::Stopping;
            self.unform(cx, reason);
            if let Some(conn) = self.conn() {
                cx.out.push(Effect::Close { conn, reason });
            }
            return self.finish(cx);
        }
        self.out_of_reach = true;
        self.unform(cx, CloseReason::DialTimeout);
    }

    /// A refusal may be for good.
    pub(super) fn judge_forming(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if let CloseReason::Refused(refusal) = reason
            && (refusal.is_permanent() || refusal == RefuseReason::Stopping)
        {
            self.out_of_reach |= refusal.is_permanent();
            self.unform(cx, reason);
        }
    }

    /// A process start is over, as another lane knows: what waits for a link with it waits in vain.
    pub fn handle_start_over(&mut self, cx: &mut Context<'_>, uid: Uid, reason: CloseReason) {
        if self.forming_uid() == Some(uid) {
            self.give_way(cx, reason);
        }
    }

    /// What waits for a link that has no connection yet waits no longer: its place is wanted for
    /// another peer, or there will be none.
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.unform(cx, reason);
        self.wanted = false;
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        if self.stop_by.is_some() {
            self.finish(cx);
        } else {
            self.state = State::Idle;
        }
    }

    /// Stops with a link that has no connection yet: what waits may still leave, for a while. Says
    /// whether anything does.
    pub(super) fn stop_forming(&mut self, cx: &mut Context<'_>) -> bool {
        let more = super::resume::has_more(cx);
        let by = cx.now + cx.local.stop_timeout;
        match &mut self.forming {
            Some(forming) if more => forming.until = forming.until.min(by),
            _ => return false,
        }
        self.stop_by = Some(by);
        self.wanted = false;
        if matches!(self.state, State::Idle | State::BackOff { .. }) {
            self.dial(cx);
        }
        true
    }
}
