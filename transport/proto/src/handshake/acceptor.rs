//! The dialled side of a handshake, until it knows by whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Introduction, refusal};
use crate::address::NodeId;
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect, Outbox};
use crate::frame::Frame;
use crate::frame::body::{Hello, RefuseReason};
use crate::kind::Kind;
use crate::limits::{
    HANDSHAKE_TIMEOUT, PREFACE_BYTES, PREFACE_TIMEOUT, REFUSALS_BURST, REFUSALS_PER_SECOND,
};
use crate::preface::Preface;
use crate::time::Instant;
use crate::token_bucket::TokenBucket;

/// Holds the connections that have not shown who they are, bounded in number and time.
///
/// Inputs: an accepted connection, its preface, its first frame, its end, time. Output: effects,
/// and an [`Introduction`] for each dialler that passed.
#[derive(Debug)]
pub struct Acceptor {
    strangers: BTreeMap<ConnKey, Stranger>,
    deadlines: BTreeSet<(Instant, ConnKey)>,
    strangers_max: usize,
    refusals: TokenBucket,
    silent: u64,
}

#[derive(Debug)]
struct Stranger {
    deadline: Instant,
    /// `None` until it came.
    preface: Option<Preface>,
}

impl Acceptor {
    /// An acceptor for at most `strangers_max` connections at a time.
    pub fn new(strangers_max: usize) -> Self {
        Self {
            strangers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            strangers_max,
            refusals: TokenBucket::new(REFUSALS_BURST, REFUSALS_PER_SECOND),
            silent: 0,
        }
    }

    /// A connection was accepted. One over the bound is closed at once.
    pub fn handle_accepted(&mut self, cx: &mut Context<'_>, conn: ConnKey) {
        if self.strangers.len() >= self.strangers_max {
            let reason = CloseReason::Overloaded;
            return cx.out.push(Effect::Close { conn, reason });
        }
        self.admit(conn, cx.now + PREFACE_TIMEOUT, None);
    }

    /// The first 64 bytes of a connection came.
    pub fn handle_preface(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        bytes: &[u8; PREFACE_BYTES],
    ) {
        let Some(stranger) = self.forget(conn) else {
            return;
        };
        if stranger.preface.is_some() {
            let reason = CloseReason::Refusing(RefuseReason::Preface);
            return cx.out.push(Effect::Close { conn, reason });
        }
        let preface = match Preface::parse(bytes) {
            Ok(preface) => preface,
            Err(error) => {
                return self.turn_away(cx, conn, error.into(), error.refusal());
            }
        };
        match cx.local.check_preface(&preface) {
            Ok(()) => self.admit(conn, cx.now + HANDSHAKE_TIMEOUT, Some(preface)),
            Err(reason) => self.refuse(cx, conn, reason),
        }
    }

    /// The first frame of a connection came. Returns who it is from, if it is a good hello; the
    /// association with that node accepts or refuses it.
    #[must_use = "an introduction that nobody judges holds its connection for ever"]
    pub fn handle_frame(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        frame: &Frame<'_>,
    ) -> Option<Introduction> {
        let preface = self.forget(conn)?.preface;
        let Some(preface) = preface.filter(|_| frame.header.kind == Kind::Hello) else {
            let reason = CloseReason::UnexpectedFrame(frame.header.kind);
            cx.out.push(Effect::Close { conn, reason });
            return None;
        };
        let hello = match Hello::parse(frame) {
            Ok(hello) => hello,
            Err(error) => {
                self.turn_away(cx, conn, error.into(), Some(RefuseReason::Hello));
                return None;
            }
        };
        if let Err(reason) = cx.local.check_hello(&hello, preface.sending_core) {
            self.refuse(cx, conn, reason);
            return None;
        }
        Some(Introduction {
            conn,
            peer: NodeId {
                address: hello.from,
                uid: preface.uid,
            },
            sending_core: preface.sending_core,
            wanted_core: preface.wanted_core,
            lane: preface.lane,
            offer: hello.offer,
            nonce: preface.nonce,
            role: preface.role,
        })
    }

    /// Says to an inquirer that the dial it asks about is this node's own.
    pub fn vouch(&mut self, cx: &mut Context<'_>, inquiry: &Introduction) {
        let (conn, offer) = (inquiry.conn, cx.local.offer(inquiry.nonce));
        let bytes = cx.local.accept(inquiry, offer);
        cx.out.push(Effect::Write { conn, bytes });
        let reason = CloseReason::Vouched;
        cx.out.push(Effect::Close { conn, reason });
    }

    /// Refuses a connection and closes it. When too many were refused lately, it is only closed.
    pub fn refuse(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: RefuseReason) {
        self.forget(conn);
        self.turn_away(cx, conn, CloseReason::Refusing(reason), Some(reason));
    }

    /// A connection brought what is not a frame, or did not go on with one.
    pub fn handle_fault(&mut self, cx: &mut Context<'_>, conn: ConnKey, reason: CloseReason) {
        if self.forget(conn).is_some() {
            cx.out.push(Effect::Close { conn, reason });
        }
    }

    /// A connection ended.
    pub fn handle_closed(&mut self, conn: ConnKey) {
        self.forget(conn);
    }

    /// Closes connections whose time is up, as many as an outbox takes: the driver calls again
    /// while [`poll_timeout`](Self::poll_timeout) is due.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        while cx.out.len() < Outbox::EFFECTS_PER_CALL_MAX
            && let Some(&(deadline, conn)) = self.deadlines.first()
            && deadline <= cx.now
        {
            let reason = match self.forget(conn).and_then(|stranger| stranger.preface) {
                Some(_) => CloseReason::HandshakeTimeout,
                None => CloseReason::PrefaceTimeout,
            };
            cx.out.push(Effect::Close { conn, reason });
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How many connections have not shown who they are.
    pub fn strangers(&self) -> usize {
        self.strangers.len()
    }

    /// How many connections were closed without the refusal they were due.
    pub fn silent_refusals(&self) -> u64 {
        self.silent
    }

    fn admit(&mut self, conn: ConnKey, deadline: Instant, preface: Option<Preface>) {
        self.strangers.insert(conn, Stranger { deadline, preface });
        self.deadlines.insert((deadline, conn));
    }

    fn forget(&mut self, conn: ConnKey) -> Option<Stranger> {
        let stranger = self.strangers.remove(&conn)?;
        self.deadlines.remove(&(stranger.deadline, conn));
        Some(stranger)
    }

    fn turn_away(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnKey,
        reason: CloseReason,
        told: Option<RefuseReason>,
    ) {
        if let Some(told) = told {
            if self.refusals.take(cx.now) {
                let bytes = refusal(told);
                cx.out.push(Effect::Write { conn, bytes });
            } else {
                self.silent += 1;
            }
        }
        cx.out.push(Effect::Close { conn, reason });
    }
}
