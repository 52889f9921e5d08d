//! A link at rest: idle, without a connection, and kept.
//!
//! Only whoever accepted a connection gives it up, with a rest frame as the last word; whoever
//! dialled it asks for that with the same frame, and goes on until the answer comes. So when that
//! is lost the dialler has a link that lost its connection, and finds the other side by dialling:
//! there is no link that rests here and waits to be dialled there.
//!
//! Nothing can be lost by it. What crosses the rest frame is retained by its sender, who is not at
//! rest then and dials at once. A link wakes when something is to be sent on it; from then on it is
//! one that lost its connection.

use super::resume::{Lost, has_more};
use super::{Association, State};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::kind::Kind;
use crate::time::Instant;

/// Whether neither side of the link needs anything of the other, as far as is known here.
fn is_quiet(cx: &Context<'_>) -> bool {
    !has_more(cx) && !cx.link.is_some_and(|link| link.awaits)
}

impl Association {
    /// Nothing has gone over the link for as long as links are to stay without: it rests, if both
    /// nodes let theirs, or the peer is asked whether it may.
    pub fn handle_idle(&mut self, cx: &mut Context<'_>) {
        let State::Associated {
            conn, probe: None, ..
        } = self.state
        else {
            return;
        };
        if !self.link.as_ref().is_some_and(|kept| kept.may_rest) || !is_quiet(cx) {
            return;
        }
        cx.out.push(Effect::Rest { conn });
        if !self.has_dialled() {
            self.rest(cx, conn);
        }
    }

    /// The peer has nothing to say: it asks for a rest, or has given the connection up.
    pub(super) fn handle_rest(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
    ) -> Result<(), CloseReason> {
        if !self.link.as_ref().is_some_and(|kept| kept.may_rest) {
            return Err(CloseReason::UnexpectedFrame(Kind::Rest));
        }
        self.trust_link(cx);
        match (self.has_dialled(), is_quiet(cx)) {
            (true, true) => self.rest(cx, conn),
            (true, false) => self.handle_fault(cx, conn, CloseReason::Rested),
            (false, true) => {
                cx.out.push(Effect::Rest { conn });
                self.rest(cx, conn);
            }
            // It will ask again.
            (false, false) => {}
        }
        Ok(())
    }

    /// The peer gave the connection up before it had this side's goodbye. What waits for it leaves
    /// over another one, for which there is as much time as for a goodbye.
    pub(super) fn rest_while_stopping(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        deadline: Instant,
    ) {
        let may_rest = self.link.as_ref().is_some_and(|kept| kept.may_rest);
        if !may_rest || !self.has_dialled() || !has_more(cx) {
            return;
        }
        let reason = CloseReason::Rested;
        cx.out.push(Effect::Close { conn, reason });
        self.part(cx, reason);
        if let Some(lost) = self.link.as_mut().and_then(|kept| kept.lost.as_mut()) {
            lost.until = Some(deadline);
        }
        self.wanted = false;
        self.stop_by = Some(deadline);
        self.dial(cx);
    }

    pub(super) fn is_resting(&self) -> bool {
        self.lost().is_some_and(|lost| lost.until.is_none())
    }

    /// A link that rests becomes one that lost its connection just now. Says whether it rested.
    pub(super) fn wake(&mut self, cx: &Context<'_>) -> bool {
        let rested = self.is_resting();
        if let Some(kept) = self.link.as_mut().filter(|_| rested) {
            kept.lost = Some(Lost {
                since: cx.now,
                until: Some(cx.now + cx.local.resume_timeout),
                wanted: true,
            });
        }
        rested
    }

    fn has_dialled(&self) -> bool {
        self.link.as_ref().is_some_and(|kept| kept.dialled)
    }

    fn rest(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        let reason = CloseReason::Rested;
        cx.out.push(Effect::Close { conn, reason });
        self.end_beside(cx, reason);
        let Some(kept) = &mut self.link else {
            return;
        };
        kept.lost = Some(Lost {
            since: cx.now,
            until: None,
            wanted: false,
        });
        let uid = kept.uid;
        let peer = self.node(uid);
        self.attempt = 0;
        self.state = State::Idle;
        cx.out.push(Effect::LinkRested { conn, peer });
    }
}
