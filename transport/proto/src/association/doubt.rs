//! A link in doubt: a hello came while it was up, so it is probed, and a dialler that claims to be
//! a later start of the peer's process waits for what the probe finds.

use super::{Association, State};
use crate::address::Uid;
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::body::RefuseReason;
use crate::handshake::Introduction;
use crate::limits::{PROBE_LATENESS, PROBE_TIMEOUT};
use crate::time::Instant;

/// A ping on a link in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) nonce: u64,
    pub(super) deadline: Instant,
    /// This side was late to judge it, and gave it a second chance.
    again: bool,
}

impl Association {
    /// Bytes of the peer came on a connection. Only of use to a link that is probed, and enough to
    /// call once after each [`Effect::Ping`].
    pub fn handle_heard(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if self.conn() == Some(conn) {
            self.trust_link(cx);
        }
    }

    /// Another link met a later start of the peer's process, or one that claims to be: this one is
    /// probed.
    pub fn handle_doubt(&mut self, cx: &mut Context<'_>) {
        self.probe(cx);
    }

    /// The peer introduced itself although there is a link. Only one newcomer waits at a time.
    pub(super) fn doubt_link(
        &mut self,
        cx: &mut Context<'_>,
        introduction: &Introduction,
    ) -> Result<(), RefuseReason> {
        if self.take_over(cx, introduction) {
            return Ok(());
        }
        let resumes = self.resumes(cx, introduction);
        self.probe(cx);
        match &mut self.state {
            State::Associated { uid, newcomer, .. }
                if newcomer.is_none() && (resumes || *uid != introduction.peer.uid) =>
            {
                *newcomer = Some(Box::new(introduction.clone()));
                Ok(())
            }
            _ => Err(RefuseReason::Superseded),
        }
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
                again: false,
            });
            cx.out.push(Effect::Ping { conn, nonce });
        }
    }

    /// A pong came.
    pub(super) fn answer_probe(&mut self, cx: &mut Context<'_>, nonce: u64) {
        if let State::Associated {
            probe: Some(probe), ..
        } = &self.state
            && probe.nonce == nonce
        {
            self.trust_link(cx);
        }
    }

    /// The link lives: whoever wanted its place is turned away.
    pub(super) fn trust_link(&mut self, cx: &mut Context<'_>) {
        if let State::Associated { probe, .. } = &mut self.state
            && probe.take().is_some()
        {
            self.refuse_newcomer(cx, RefuseReason::Superseded);
        }
    }

    /// The time of a probe is up.
    pub(super) fn end_probe(&mut self, cx: &mut Context<'_>) {
        let State::Associated {
            conn,
            uid,
            probe,
            newcomer,
            ..
        } = &mut self.state
        else {
            return;
        };
        // Who was away itself has not looked for the answer yet.
        if let Some(probe) = probe
            && !probe.again
            && cx.now - probe.deadline > PROBE_LATENESS
        {
            probe.again = true;
            probe.deadline = cx.now + PROBE_TIMEOUT;
            return;
        }
        let reason = match newcomer {
            Some(newcomer) if newcomer.peer.uid != *uid => CloseReason::Restarted,
            _ => CloseReason::ProbeTimeout,
        };
        let conn = *conn;
        self.handle_fault(cx, conn, reason);
    }

    /// The link is over: whoever waits for its place gets it. Says whether somebody did.
    pub(super) fn succeed(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(introduction) = self.take_newcomer() else {
            return false;
        };
        // What its link acknowledged meanwhile may be more than it had to say.
        if let Err(reason) = self.check_position(cx, &introduction) {
            let conn = introduction.conn;
            cx.out.push(Effect::Refuse { conn, reason });
            return false;
        }
        self.accept(cx, &introduction);
        true
    }

    /// Who waits for the place of the link.
    pub(super) fn newcomer_uid(&self) -> Option<Uid> {
        match &self.state {
            State::Associated { newcomer, .. } => newcomer.as_ref().map(|it| it.peer.uid),
            _ => None,
        }
    }

    /// Whether `conn` is the connection of a dialler that waits.
    pub(super) fn is_newcomer(&self, conn: ConnKey) -> bool {
        matches!(
            &self.state,
            State::Associated { newcomer: Some(newcomer), .. } if newcomer.conn == conn
        )
    }

    /// The connection of a dialler that waits is gone.
    pub(super) fn forget_newcomer(&mut self, conn: ConnKey) {
        if self.is_newcomer(conn) {
            self.take_newcomer();
        }
    }

    pub(super) fn refuse_newcomer(&mut self, cx: &mut Context<'_>, reason: RefuseReason) {
        if let Some(Introduction { conn, .. }) = self.take_newcomer().as_deref() {
            let conn = *conn;
            cx.out.push(Effect::Refuse { conn, reason });
        }
    }

    fn take_newcomer(&mut self) -> Option<Box<Introduction>> {
        match &mut self.state {
            State::Associated { newcomer, .. } => newcomer.take(),
            _ => None,
        }
    }
}
