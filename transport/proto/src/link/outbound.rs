//! The sending half of a link.

mod ending;
mod forming;
mod here;
mod push;
mod resume;
mod retained;
mod shared;
mod write;

use std::collections::VecDeque;

use bytes::Bytes;

pub use self::here::NotHere;
pub use self::push::{Answered, PushError, SendHead};
use self::retained::Written;
use self::write::Draft;
use super::control::Control;
use super::deferred::{Content, Deferred};
use super::numbers::{TargetNumbers, TypeNumbers};
use super::{Payload, Violation};
use crate::frame::body::{ErrorCode, Grant, Notice};
use crate::frame::{Checksums, Extension};
use crate::kind::Kind;
use crate::limits::{DEFERRED_WINDOWS, window_bytes_min};
use crate::message::MessageType;
use crate::piece::{Piece, SharedBytes};
use crate::slab_pool::{Reader, SlabPool};

/// What one core sends on a link: frames written in place into slabs, kept until the peer took them
/// over.
///
/// A frame lies whole in one slab, behind the definitions it needs. [`gather`](Self::gather) hands
/// out what is not sent yet, up to the end of a slab, so each send ends where a frame ends and
/// control frames can go in front of the next. What is handed out stays until
/// [`handle_grant`](Self::handle_grant) says it arrived, and is handed out again after
/// [`resume`](Self::resume). A link with nothing to send or to wait for holds no slab.
///
/// A payload that is archived already need not be written: [`push_shared`](Self::push_shared) has
/// it leave from where it lies, as a piece of its own between those of its slab.
///
/// Credit is checked before anything is written: a refused push leaves no trace.
#[derive(Debug)]
pub struct Outbound<B = Bytes> {
    /// The slab that is written to; its last byte is at `tail`.
    current: Option<Written<B>>,
    /// Slabs that are written, oldest first.
    full: VecDeque<Written<B>>,
    /// Where the next frame goes.
    tail: u64,
    /// Everything before this was handed out to be sent, over this connection or before it.
    sent: u64,
    /// Everything before this ever was: a connection that ends with nothing done takes back only
    /// what is to be sent next.
    reached: u64,
    /// Everything before this is the peer's.
    received_to: u64,
    /// The limit of the peer's last grant.
    granted: u64,
    /// The smaller of `granted` and what this side is willing to retain.
    credit_to: u64,
    window: u32,
    body_cap: u32,
    /// The longest body that has to find credit for all of itself; a longer one needs some.
    covered_cap: u32,
    checksums: Checksums,
    reader: Reader,
    sending: bool,
    /// Nothing more may be pushed.
    closed: bool,
    gone: bool,
    types: TypeNumbers,
    targets: TargetNumbers,
    control: Control,
    deferred: Deferred,
}

/// What a grant freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes of the stream that are now the peer's.
    pub bytes: u64,
    /// Messages (tells, asks and answers) of the slabs that are now the peer's as a whole. Those of
    /// a slab that is the peer's in part are counted later.
    pub messages: u64,
}

/// A frame of an ended link that its peer did not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacknowledged<'a> {
    /// Tell, ask, reply, error, cancel or system.
    pub kind: Kind,
    /// Its extension, where the kind has one.
    pub extension: Option<Extension>,
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether it was handed out to be sent, so that the peer may have it.
    pub sent: bool,
}

/// Where the halves of a stream stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Everything before this is the peer's.
    pub received_to: u64,
    /// Everything before this was handed out to be sent, over this connection or before it.
    pub sent: u64,
    /// Everything before this ever was, so that the peer may have it: at least what was sent, and
    /// more on a link that goes on where the peer stands.
    pub reached: u64,
    /// Where the next frame goes.
    pub tail: u64,
    /// Up to where frames may go now.
    pub limit: u64,
}

impl<B: SharedBytes> Outbound<B> {
    /// The sending half of a new link. The peer takes bodies of up to `body_cap` bytes and granted
    /// the positions before `limit`; this side retains at most `window_bytes`.
    ///
    /// # Panics
    /// If the window is too small for the largest frame, see
    /// [`window_bytes_min`](crate::limits::window_bytes_min).
    pub fn new(body_cap: u32, limit: u64, window_bytes: u32) -> Self {
        assert!(
            window_bytes >= window_bytes_min(body_cap),
            "the window is too small for the lane"
        );
        Self {
            current: None,
            full: VecDeque::new(),
            tail: 0,
            sent: 0,
            reached: 0,
            received_to: 0,
            granted: limit,
            credit_to: limit.min(u64::from(window_bytes)),
            window: window_bytes,
            body_cap,
            covered_cap: body_cap,
            checksums: Checksums::Verified,
            reader: Reader::SameCore,
            sending: false,
            closed: false,
            gone: false,
            types: TypeNumbers::new(),
            targets: TargetNumbers::new(),
            control: Control::default(),
            deferred: Deferred::new(DEFERRED_WINDOWS as usize * window_bytes as usize),
        }
    }

    /// The sending half of a link within this process, to `reader`: its frames have no checksums.
    /// A body above `covered_cap` leaves as soon as there is any credit, one at a time: see
    /// [`Inbound::within_process`](super::Inbound::within_process).
    ///
    /// # Panics
    /// If the window is too small for a frame of `covered_cap`.
    pub fn within_process(
        (body_cap, covered_cap): (u32, u32),
        limit: u64,
        window_bytes: u32,
        reader: Reader,
    ) -> Self {
        Self {
            body_cap,
            checksums: Checksums::Absent,
            reader,
            ..Self::new(covered_cap, limit, window_bytes)
        }
    }

    /// The longest body that the peer takes, in bytes.
    pub fn body_cap(&self) -> u32 {
        self.body_cap
    }

    /// Writes a message behind everything pushed before, and returns the position of its frame.
    ///
    /// # Errors
    /// [`PushError`]; nothing changed.
    #[inline]
    pub fn push<P: Payload + ?Sized>(
        &mut self,
        slabs: &mut SlabPool,
        head: SendHead<'_>,
        payload: &P,
    ) -> Result<u64, PushError> {
        if let Ok(position) = self.push_here(head, payload) {
            return Ok(position);
        }
        if !self.deferred.is_empty() && !self.drain_deferred(slabs) {
            return Err(PushError::NoCredit);
        }
        self.write(slabs, Draft::of(head), payload)
    }

    /// Writes that an ask's answer is no longer wanted, and returns the position of the frame. The
    /// ask stays outstanding until its answer, or the error in its place, has come all the same.
    ///
    /// # Errors
    /// [`PushError`]; nothing changed.
    pub fn push_cancel(
        &mut self,
        slabs: &mut SlabPool,
        extension: Extension,
    ) -> Result<u64, PushError> {
        if !self.deferred.is_empty() && !self.drain_deferred(slabs) {
            return Err(PushError::NoCredit);
        }
        self.write(slabs, Draft::bare(Kind::Cancel, extension), NOTHING)
    }

    /// Writes the answer to an ask, or keeps it until there is room: an answer is not refused for
    /// want of credit or memory.
    ///
    /// # Errors
    /// [`PushError::TooLarge`], [`PushError::Encode`], [`PushError::TypesExhausted`]: answer with
    /// an error instead. [`PushError::TooManyAnswers`]: end the link. Nothing changed.
    #[inline]
    pub fn push_reply<P: Payload + ?Sized>(
        &mut self,
        slabs: &mut SlabPool,
        message: &MessageType,
        extension: Extension,
        payload: &P,
    ) -> Result<Answered, PushError> {
        if self.deferred.is_empty() || self.drain_deferred(slabs) {
            match self.write(slabs, Draft::reply(message, extension), payload) {
                Ok(_) => return Ok(Answered::Written),
                Err(PushError::NoCredit | PushError::NoMemory) => {}
                Err(error) => return Err(error),
            }
        }
        self.defer_reply(message, extension, payload)
    }

    /// Writes the error that takes the place of an answer, or keeps it until there is room.
    ///
    /// # Errors
    /// [`PushError::TooManyAnswers`]: end the link. Nothing changed.
    pub fn push_error(
        &mut self,
        slabs: &mut SlabPool,
        correlation: u64,
        code: ErrorCode,
    ) -> Result<Answered, PushError> {
        let extension = Extension {
            correlation,
            remaining_us: 0,
            code: code.to_wire(),
        };
        if self.deferred.is_empty() || self.drain_deferred(slabs) {
            match self.write(slabs, Draft::bare(Kind::Error, extension), NOTHING) {
                Ok(_) => return Ok(Answered::Written),
                Err(PushError::NoCredit | PushError::NoMemory) => {}
                Err(error) => return Err(error),
            }
        }
        let kept = self.deferred.push_error(extension, code);
        kept.map_err(|_| PushError::TooManyAnswers)?;
        Ok(Answered::Deferred)
    }

    /// The peer cancelled an ask: a reply to it that still waits gives its bytes back, and the
    /// error [`ErrorCode::Cancelled`] leaves in its place. Says whether one waited; if none did,
    /// the answer has left, and there is nothing to do.
    pub fn withdraw(&mut self, correlation: u64) -> bool {
        self.deferred.withdraw(correlation, ErrorCode::Cancelled)
    }

    /// Writes the answers that wait, as far as there is room now, and says whether none is left.
    /// Grants and pushes do it by themselves; call it when the pool may have slabs again.
    pub fn drain_deferred(&mut self, slabs: &mut SlabPool) -> bool {
        while let Some(answer) = self.deferred.pop() {
            if !self.write_deferred(slabs, answer) {
                return false;
            }
        }
        self.deferred.shrink();
        true
    }

    /// Queues a grant for the peer, in place of one that did not leave yet.
    pub fn queue_grant(&mut self, grant: Grant) {
        self.control.set_grant(grant);
    }

    /// Queues a ping. Beyond three that did not leave yet the oldest goes.
    pub fn queue_ping(&mut self, nonce: u64) {
        self.control.set_ping(nonce);
    }

    /// Queues the answer to a ping of the peer. Beyond three that did not leave yet the oldest
    /// goes.
    pub fn queue_pong(&mut self, nonce: u64) {
        self.control.set_pong(nonce);
    }

    /// Queues that a recipient is busy or ready. Says whether there was room for it.
    #[must_use = "a notice that was not queued has to be tried again"]
    pub fn queue_notice(&mut self, notice: Notice) -> bool {
        self.control.push_notice(notice)
    }

    /// Appends what is to be sent next to `into`: control frames, then the stream up to about
    /// `max_bytes`, in whole slabs and at least one. Returns the bytes appended; 0 while the last
    /// send is under way.
    pub fn gather(&mut self, max_bytes: usize, into: &mut Vec<Piece<B>>) -> usize {
        if self.sending || !self.has_unsent() {
            return 0;
        }
        let mut bytes = 0;
        if self.control.is_pending() {
            let slice = self.control.take();
            bytes += slice.len();
            into.push(slice.into());
        }
        let sent = self.sent;
        let first = self.full.partition_point(|written| written.end() <= sent);
        for written in self.full.range_mut(first..).chain(&mut self.current) {
            let unsent = written.end() - self.sent.max(written.start());
            if unsent == 0 || (self.sent > sent && bytes + unsent as usize > max_bytes) {
                break;
            }
            written.hand_out(unsent, self.checksums, into);
            bytes += unsent as usize;
            self.sent = written.end();
        }
        self.reached = self.reached.max(self.sent);
        if self.sent == self.tail
            && let Some(bye) = self.control.take_bye()
        {
            self.gone = true;
            bytes += bye.len();
            into.push(bye.into());
        }
        self.sending = true;
        bytes
    }

    /// The last send is complete; the next may be gathered.
    pub fn handle_sent(&mut self) {
        self.sending = false;
        if let (Reader::OtherCore, Some(current)) = (self.reader, &mut self.current) {
            current.warm();
        }
    }

    /// Takes a grant of the peer: frees what is now the peer's, and writes answers that waited.
    ///
    /// # Errors
    /// [`Violation::AckBeyondSent`] when the peer claims what was not sent. Nothing changed.
    pub fn handle_grant(&mut self, grant: Grant, slabs: &mut SlabPool) -> Result<Freed, Violation> {
        let Grant { received_to, limit } = grant;
        if received_to > self.reached {
            let sent = self.reached;
            return Err(Violation::AckBeyondSent { received_to, sent });
        }
        // A grant of an earlier connection may come late.
        self.sent = self.sent.max(received_to);
        let mut freed = Freed::default();
        if received_to > self.received_to {
            freed.bytes = received_to - self.received_to;
            self.received_to = received_to;
            freed.messages = self.release(slabs);
        }
        self.granted = self.granted.max(limit);
        self.update_credit();
        if !self.deferred.is_empty() {
            self.drain_deferred(slabs);
        }
        Ok(freed)
    }

    /// The peer says whether one of its recipients has room: while it has none, pushes to it fail.
    /// What a notice says holds until the next for the same number, or until another recipient gets
    /// that.
    ///
    /// # Errors
    /// [`Violation::UndefinedTarget`] when no recipient has the number. Nothing changed.
    pub fn handle_notice(&mut self, notice: Notice) -> Result<(), Violation> {
        let number = notice.target_number;
        let known = self.targets.note(number, notice.busy);
        known
            .then_some(())
            .ok_or(Violation::UndefinedTarget(number))
    }

    /// Ends the link: shows every message frame the peer did not acknowledge, in order, and gives
    /// all memory back. Returns how many messages the peer did acknowledge and no grant counted
    /// yet.
    pub fn drain_unacknowledged(
        &mut self,
        slabs: &mut SlabPool,
        mut visit: impl FnMut(Unacknowledged<'_>),
    ) -> u64 {
        let mut acknowledged = 0;
        let written = self.full.drain(..).chain(self.current.take());
        for mut written in written {
            acknowledged += written.walk((self.received_to, self.reached), &mut visit);
            written.give_back(slabs);
        }
        while let Some(answer) = self.deferred.pop() {
            let (kind, payload) = match &answer.content {
                Content::Reply { payload, .. } => (Kind::Reply, &payload[..]),
                Content::Error => (Kind::Error, &[][..]),
            };
            let extension = Some(answer.extension);
            let sent = false;
            visit(Unacknowledged {
                kind,
                extension,
                payload,
                sent,
            });
        }
        self.deferred.shrink();
        self.control = Control::default();
        self.received_to = self.tail;
        (self.sent, self.reached) = (self.tail, self.tail);
        self.gone = true;
        self.update_credit();
        acknowledged
    }

    /// Whether [`gather`](Self::gather) has something to hand out, once the last send is complete.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        !self.gone
            && (self.sent < self.tail || self.control.is_pending() || self.control.is_leaving())
    }

    /// Whether nothing waits to be sent, acknowledged or answered.
    pub fn is_idle(&self) -> bool {
        self.received_to == self.tail && !self.has_unsent() && self.deferred.is_empty()
    }

    /// Bytes pushed and not acknowledged.
    pub fn in_flight_bytes(&self) -> u64 {
        self.tail - self.received_to
    }

    /// Answers that wait for credit or memory.
    pub fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// Where the stream stands.
    pub fn positions(&self) -> Positions {
        Positions {
            received_to: self.received_to,
            sent: self.sent,
            reached: self.reached,
            tail: self.tail,
            limit: self.credit_to,
        }
    }

    /// Gives back the slabs that are the peer's as a whole; returns the messages in them. Payloads
    /// that do not lie in a slab go home by themselves.
    fn release(&mut self, slabs: &mut SlabPool) -> u64 {
        let mut messages = 0;
        let received_to = self.received_to;
        while self
            .full
            .front()
            .is_some_and(|written| written.end() <= received_to)
            && let Some(written) = self.full.pop_front()
        {
            messages += written.messages();
            written.give_back(slabs);
        }
        if let Some(written) = self.current.take_if(|written| written.end() <= received_to) {
            messages += written.messages();
            written.give_back(slabs);
        }
        let first = self.full.front_mut().or(self.current.as_mut());
        if let Some(written) = first {
            written.let_go(received_to, slabs);
        }
        messages
    }

    fn update_credit(&mut self) {
        let retained_to = self.received_to + u64::from(self.window);
        // Nothing is written behind a goodbye.
        let ending = self.gone || self.closed || self.control.is_leaving();
        self.credit_to = if ending {
            0
        } else {
            self.granted.min(retained_to)
        };
    }
}

/// The payload of a frame that has none.
const NOTHING: &[u8] = &[];
