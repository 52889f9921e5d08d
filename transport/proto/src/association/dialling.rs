//! What becomes of a dial until its hello is out: of the one under way, and of the one beside a
//! link.

use super::beside::Beside;
use super::{Association, State};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};

impl Association {
    /// The driver started the dial that [`Effect::Dial`] asked for.
    pub fn handle_dialling(&mut self, cx: &mut Context<'_>, started: ConnKey) {
        match &mut self.state {
            State::Dialling { conn, .. } if conn.is_none() => *conn = Some(started),
            State::Associated { .. }
                if let Some(Beside { conn, .. }) = &mut self.beside
                    && conn.is_none() =>
            {
                *conn = Some(started);
            }
            _ => cx.out.push(Effect::Close {
                conn: started,
                reason: CloseReason::Superseded,
            }),
        }
    }

    /// A dial found nobody, and the driver has another place to dial. It tells the new key with
    /// [`handle_dialling`](Self::handle_dialling), or that the dial failed. The deadline stays.
    /// Says whether it was this association's dial.
    pub fn handle_redial(&mut self, failed: ConnKey) -> bool {
        match &mut self.state {
            State::Dialling { conn, .. } if *conn == Some(failed) => {
                *conn = None;
                true
            }
            _ => match &mut self.beside {
                Some(beside) if beside.conn == Some(failed) => {
                    beside.conn = None;
                    true
                }
                _ => false,
            },
        }
    }

    /// The driver could not start the dial that [`Effect::Dial`] asked for.
    pub fn handle_dial_failed(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Dialling { conn: None, .. }) {
            self.fail(cx, CloseReason::DialFailed);
        } else if self.is_to_dial() {
            self.beside = None;
        }
    }

    /// A dial succeeded: introduces this node.
    pub fn handle_connected(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if self.is_beside(conn) {
            return self.greet_beside(cx, conn);
        }
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
        let last = self.uid.filter(|uid| !self.former.contains(uid));
        let expected_uid = self.forming_uid().or(last);
        let offer = self.offer(cx);
        let bytes = cx
            .local
            .introduce((&self.remote, self.core), expected_uid, nonce, offer);
        cx.out.push(Effect::Write { conn, bytes });
        self.state = State::Handshaking {
            conn,
            nonce,
            expected_uid,
            deadline,
        };
    }
}
