//! The end of what there is with a process start that is quarantined, by this node or by the peer.
//!
//! Whose hellos and answers are not to be taken for that the driver knows, from a
//! [table](crate::quarantine::Quarantines) that outlives this machine. Whoever is quarantined is
//! told, with the last word on its link, or when it dials next. Nobody dials then until somebody
//! asks again, and so finds out whether another start runs there.

use super::{Association, State};
use crate::address::Uid;
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::body::{Bye, ByeReason, RefuseReason};
use crate::quarantine::By;

impl Association {
    /// A process start is quarantined from now on: whatever there is with it ends, be it a link,
    /// one without a connection, or a dialler that waits.
    pub fn handle_quarantined(&mut self, cx: &mut Context<'_>, uid: Uid, by: By) {
        if by == By::Us && self.newcomer_uid() == Some(uid) {
            self.refuse_newcomer(cx, RefuseReason::Quarantined);
        }
        let reason = CloseReason::Quarantined(by);
        if self.forming_uid() == Some(uid) {
            return self.give_way(cx, reason);
        }
        if self.link.is_none() && self.forming.is_none() && self.uid == Some(uid) {
            return self.want_no_more();
        }
        if self.link.as_ref().is_none_or(|kept| kept.uid != uid) {
            return;
        }
        if let State::Associated { conn, .. } = self.state
            && by == By::Us
        {
            let reason = ByeReason::Quarantined;
            cx.out.push(Effect::Bye { conn, reason });
        }
        self.part_for_good(cx, reason);
    }

    /// Whoever was wanted is quarantined, and its link was over before: nobody dials until somebody
    /// asks again.
    fn want_no_more(&mut self) {
        self.wanted = false;
        if matches!(self.state, State::BackOff { .. }) {
            self.state = State::Idle;
        }
    }

    /// The driver found that this side's dial was answered by a process start that this node has
    /// quarantined: that is told so, and nothing else.
    pub fn handle_quarantined_answer(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if !matches!(self.state, State::Handshaking { conn: current, .. } if current == conn) {
            return;
        }
        // The peer has accepted: for it this comes on a link.
        let reason = ByeReason::Quarantined;
        let mut bytes = vec![0; Bye::FRAME_BYTES];
        Bye { reason }.encode(&mut bytes);
        cx.out.push(Effect::Write { conn, bytes });
        let reason = CloseReason::Quarantined(By::Us);
        cx.out.push(Effect::Close { conn, reason });
        self.wanted = false;
        self.fail(cx, reason);
    }

    /// The peer's last word on the link: it has quarantined this node.
    pub(super) fn handle_quarantine_bye(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if let State::Associated {
            conn: current, uid, ..
        } = self.state
            && current == conn
        {
            let peer = self.node(uid);
            cx.out.push(Effect::QuarantinedByPeer { peer });
            self.part_for_good(cx, CloseReason::Quarantined(By::Peer));
        }
    }

    /// The peer refused a dial because it has quarantined this node. Which start of it, is known if
    /// one was asked for.
    pub(super) fn quarantined_by_peer(&mut self, cx: &mut Context<'_>, expected_uid: Option<Uid>) {
        if let Some(uid) = expected_uid {
            let peer = self.node(uid);
            cx.out.push(Effect::QuarantinedByPeer { peer });
        }
        let reason = CloseReason::Quarantined(By::Peer);
        self.link_down(cx, reason);
        self.unform(cx, reason);
        self.wanted = false;
    }

    /// Ends the link, and does not dial for another one. A dialler of another start that waits gets
    /// its place.
    fn part_for_good(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.wanted = false;
        self.attempt = 0;
        if let Some(conn) = self.conn() {
            cx.out.push(Effect::Close { conn, reason });
        }
        self.link_down(cx, reason);
        if self.is_stopping() {
            self.finish(cx);
        } else if !self.succeed(cx) {
            self.state = State::Idle;
        }
    }
}
