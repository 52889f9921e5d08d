//! Whether a dialler is who its hello claims: the claimed address is asked whether the dial is its
//! own.
//!
//! ```text
//!   A  --- preface (nonce), hello "A to B" --------------------------->  B
//!   A  <-- preface (inquirer, the same nonce, A's uid), hello "B to A" -  B   on a dial of its own
//!   A  --- accept (the same nonce), the connection ends -------------->  B
//!   A  <-- accept or refuse, on the first connection -----------------  B
//! ```
//! A vouches while a dial of that nonce from that core of it to B is under way, and for nothing
//! else: whoever forges a hello does not know such a nonce, and does not sit at A's address. Until
//! then B keeps nothing of the hello but its connection, so a forged one changes nothing at all.
//! When another start of a process is at that address, it answers that the wanted one does not run
//! there, and the dialler is told so.
//!
//! Of several hellos of one process start from one place the first is asked about, and the others
//! wait behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Introduction, LocalNode};
use crate::address::{Address, CoreId, NodeId};
use crate::close_reason::CloseReason;
use crate::effect::{ConnKey, Context, Effect};
use crate::frame::Frame;
use crate::frame::body::{Accept, Hello, Refuse, RefuseReason};
use crate::kind::Kind;
use crate::lane::Lane;
use crate::limits::{INQUIRIES_MAX, VERIFY_TIMEOUT};
use crate::preface::{PROTOCOL_VERSION, Preface, Role};
use crate::time::Instant;

/// Holds the diallers whose claims are being asked about, bounded in number and time.
///
/// Inputs: an introduction, the fate of the dial that asks and the answer on it, time. Outputs:
/// effects, and the introduction again, vouched for or not.
#[derive(Debug, Default)]
pub struct Verifier {
    /// By the dialler's connection.
    inquiries: BTreeMap<ConnKey, Inquiry>,
    /// The dialler's connection, by that of the inquiry.
    dials: BTreeMap<ConnKey, ConnKey>,
}

#[derive(Debug)]
struct Inquiry {
    introduction: Introduction,
    /// Where the dialler's connection comes from.
    source: IpAddr,
    deadline: Instant,
    /// It waits for the verdict on another one.
    behind: bool,
    /// The connection that asks, once it was started.
    dial: Option<ConnKey>,
    /// With what it is to be refused, as far as is known.
    reason: RefuseReason,
}

/// A dialler that nobody vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unvouched {
    /// What it said of itself.
    pub introduction: Introduction,
    /// With what it is to be refused: [`RefuseReason::AddressInUse`] if another start of a process
    /// answered at one of the places of its address, else [`RefuseReason::Unproven`].
    pub reason: RefuseReason,
}

/// Whether an introduction may wait for the verdict on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// It may: one inquiry will do for a peer that dials from many cores.
    Allowed,
    /// It may not: that verdict was bad, and may have been about a forger.
    Avoided,
}

/// What is to be done about a new introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Dial the address that it claims, and tell the key with [`Verifier::handle_dialling`].
    Dial,
    /// Nothing: the same is being asked about another one.
    Wait,
}

/// What came of an inquiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The dialler is who it claims to be.
    Vouched(Introduction),
    /// Whoever was asked does not vouch for the dialler on this connection. Another place of the
    /// claimed address may; else [`Verifier::give_up`].
    Denied(ConnKey),
}

impl Verifier {
    /// A dialler is to be asked about.
    ///
    /// # Errors
    /// The reason to refuse it with, when too many are being asked about.
    pub fn begin(
        &mut self,
        now: Instant,
        introduction: Introduction,
        source: IpAddr,
        company: Company,
    ) -> Result<Begin, RefuseReason> {
        if self.inquiries.len() >= INQUIRIES_MAX {
            return Err(RefuseReason::Overloaded);
        }
        let is_same = |other: &Inquiry| {
            !other.behind && other.source == source && other.introduction.peer == introduction.peer
        };
        let behind = company == Company::Allowed && self.inquiries.values().any(is_same);
        let inquiry = Inquiry {
            deadline: now + VERIFY_TIMEOUT,
            source,
            behind,
            dial: None,
            reason: RefuseReason::Unproven,
            introduction,
        };
        self.inquiries.insert(inquiry.introduction.conn, inquiry);
        Ok(if behind { Begin::Wait } else { Begin::Dial })
    }

    /// The driver dials the address that the dialler on `conn` claims. Says whether anybody still
    /// wants that.
    #[must_use = "a dial that nobody wants is to be closed"]
    pub fn handle_dialling(&mut self, conn: ConnKey, dial: ConnKey) -> bool {
        let Some(inquiry) = self.inquiries.get_mut(&conn) else {
            return false;
        };
        inquiry.dial = Some(dial);
        self.dials.insert(dial, conn);
        true
    }

    /// A dial of [`handle_dialling`](Self::handle_dialling) succeeded: asks.
    pub fn handle_connected(&mut self, cx: &mut Context<'_>, dial: ConnKey) {
        let conn = self.dials.get(&dial);
        if let Some(inquiry) = conn.and_then(|conn| self.inquiries.get(conn)) {
            let bytes = cx.local.inquire(&inquiry.introduction);
            cx.out.push(Effect::Write { conn: dial, bytes });
        }
    }

    /// A frame came on a connection. `None` when it is not one that asks.
    pub fn handle_frame(
        &mut self,
        cx: &mut Context<'_>,
        dial: ConnKey,
        frame: &Frame<'_>,
    ) -> Option<Answer> {
        let conn = self.handle_dial_over(dial)?;
        let inquiry = self.inquiries.get_mut(&conn)?;
        let reason = cx.local.check_vouch(&inquiry.introduction, frame);
        cx.out.push(Effect::Close { conn: dial, reason });
        if reason == CloseReason::Refused(RefuseReason::Incarnation) {
            inquiry.reason = RefuseReason::AddressInUse;
        }
        if reason != CloseReason::Vouched {
            return Some(Answer::Denied(conn));
        }
        self.take(conn).map(Answer::Vouched)
    }

    /// A connection that asks has ended, or is to be. Says about which dialler it was.
    pub fn handle_dial_over(&mut self, dial: ConnKey) -> Option<ConnKey> {
        let conn = self.dials.remove(&dial)?;
        self.inquiries.get_mut(&conn)?.dial = None;
        Some(conn)
    }

    /// The connection of a dialler ended, or brought what it may not. The connection that asks
    /// about it is closed. Returns its introduction if it was waiting here: those behind it
    /// are to begin anew.
    pub fn handle_closed(&mut self, cx: &mut Context<'_>, conn: ConnKey) -> Option<Introduction> {
        let inquiry = self.inquiries.remove(&conn)?;
        self.end_dial(cx, inquiry.dial, CloseReason::Superseded);
        Some(inquiry.introduction)
    }

    /// No place of the claimed address vouched for the dialler.
    pub fn give_up(&mut self, conn: ConnKey) -> Option<Unvouched> {
        let Inquiry {
            introduction,
            reason,
            ..
        } = self.inquiries.remove(&conn)?;
        Some(Unvouched {
            introduction,
            reason,
        })
    }

    fn take(&mut self, conn: ConnKey) -> Option<Introduction> {
        Some(self.inquiries.remove(&conn)?.introduction)
    }

    /// Takes out those that waited behind an inquiry of the same process start.
    pub fn take_followers(&mut self, peer: &NodeId) -> Vec<Introduction> {
        let is_follower = |inquiry: &Inquiry| inquiry.behind && inquiry.introduction.peer == *peer;
        let followers = self.inquiries.values().filter(|one| is_follower(one));
        let conns: Vec<ConnKey> = followers.map(|one| one.introduction.conn).collect();
        let take = |conn| self.take(conn);
        conns.into_iter().filter_map(take).collect()
    }

    /// Takes out one whose time is up, and closes the connection that asks about it. The driver
    /// calls again while [`poll_timeout`](Self::poll_timeout) is due.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) -> Option<Unvouched> {
        let mut all = self.inquiries.values();
        let overdue = all.find(|inquiry| inquiry.deadline <= cx.now)?;
        let (conn, dial) = (overdue.introduction.conn, overdue.dial);
        self.end_dial(cx, dial, CloseReason::HandshakeTimeout);
        self.give_up(conn)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.inquiries.values().map(|one| one.deadline).min()
    }

    /// Whether a connection is one that asks.
    pub fn is_dial(&self, conn: ConnKey) -> bool {
        self.dials.contains_key(&conn)
    }

    /// Whether the dialler on a connection is being asked about.
    pub fn is_waiting(&self, conn: ConnKey) -> bool {
        self.inquiries.contains_key(&conn)
    }

    /// The address that the dialler on a connection claims, while it is being asked about.
    pub fn claimed(&self, conn: ConnKey) -> Option<&Address> {
        Some(&self.inquiries.get(&conn)?.introduction.peer.address)
    }

    fn end_dial(&mut self, cx: &mut Context<'_>, dial: Option<ConnKey>, reason: CloseReason) {
        if let Some(conn) = dial {
            self.dials.remove(&conn);
            cx.out.push(Effect::Close { conn, reason });
        }
    }
}

impl LocalNode {
    /// What a connection that asks about an introduction begins with.
    fn inquire(&self, about: &Introduction) -> Vec<u8> {
        self.ask_at(&about.peer, about.sending_core, about.nonce)
    }

    /// What a connection begins with that asks a core of a process start about a dial.
    pub(super) fn ask_at(&self, start: &NodeId, core: CoreId, nonce: u64) -> Vec<u8> {
        let preface = Preface {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            role: Role::Inquirer,
            lane: Lane::Ordinary,
            sending_core: self.core,
            wanted_core: Some(core),
            cluster: self.cluster(),
            format_fingerprint: self.format_fingerprint,
            uid: self.id.uid,
            expected_uid: Some(start.uid),
            nonce,
        };
        let hello = Hello {
            from: self.id.address.clone(),
            to: start.address.clone(),
            offer: self.offer(nonce),
        };
        let mut bytes = preface.encode().to_vec();
        hello.encode(&mut bytes);
        bytes
    }

    /// [`CloseReason::Vouched`] if a frame vouches for an introduction, else what it is instead.
    fn check_vouch(&self, about: &Introduction, frame: &Frame<'_>) -> CloseReason {
        match frame.header.kind {
            Kind::Accept => {}
            Kind::Refuse => {
                return CloseReason::Refused(match Refuse::parse(frame) {
                    Ok(refuse) if refuse.reason == RefuseReason::Incarnation => refuse.reason,
                    _ => RefuseReason::Unproven,
                });
            }
            kind => return CloseReason::UnexpectedFrame(kind),
        }
        let accept = match Accept::parse(frame) {
            Ok(accept) => accept,
            Err(error) => return error.into(),
        };
        match self.check_accept(&accept, &about.peer.address, about.nonce) {
            Ok(()) if accept.uid == about.peer.uid => CloseReason::Vouched,
            Ok(()) => CloseReason::Answer,
            Err(reason) => reason,
        }
    }
}
