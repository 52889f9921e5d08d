//! One connection: what is in flight on it, and when it may receive how.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::buffer::BulkBuffer;
use crate::contract::CloseReason;
use crate::ring::{Lent, Preface, SendOperation, SocketAddress};

/// A receive of at least this many bytes counts for bulk, a smaller one against it.
const BULK_BYTES_MIN: usize = 16 * 1024;

/// So many receives in a row of the other kind make a connection switch.
const SWITCH_AFTER: u8 = 8;

/// Below this room a large buffer is exchanged: receives would get small.
pub(super) const BULK_ROOM_MIN: usize = 64 * 1024;

/// A connection of the table, from its socket's making to its socket's close.
pub(super) struct Connection {
    /// Gone once the close is under way.
    pub(super) socket: Option<OwnedFd>,
    pub(super) stage: Stage,
    /// Why it is being closed; once set, nothing but `Closed` is reported.
    pub(super) closing: Option<CloseReason>,
    /// A send failed because the peer is gone. What the peer said before is still received.
    pub(super) send_failed: Option<std::io::Error>,
    /// Operations whose last completion has not come.
    pub(super) in_flight: u32,
    pub(super) send: SendOperation,
    pub(super) sending: bool,
    pub(super) receive: Receive,
    pub(super) trend: Trend,
    /// One operation moves no more than `PACED_BYTES_MAX`, in each direction.
    pub(super) paced: bool,
}

/// How far a connection has come.
pub(super) enum Stage {
    /// Dialling.
    Dialling(Lent<SocketAddress>),
    /// Accepted, its preface is being received.
    Preface(Lent<Preface>),
    /// It said `Preface` or was adopted.
    Accepted,
    /// It said `Connected`.
    Dialled,
}

/// How a connection receives.
pub(super) enum Receive {
    /// Not yet.
    Off,
    /// A multishot receive is armed; on a paced connection, one receive.
    Multishot,
    /// The multishot receive ended for want of a buffer; armed again when one comes back.
    Starved,
    /// The multishot receive is being cancelled, to go on with this buffer.
    Switching(BulkBuffer),
    /// A plain receive into this buffer is in flight.
    Bulk(BulkBuffer),
}

/// Which kind of receive the last completions spoke for.
#[derive(Default)]
pub(super) struct Trend {
    large: u8,
    small: u8,
}

impl Trend {
    /// Counts a receive of `bytes`.
    pub(super) const fn observe(&mut self, bytes: usize) {
        if bytes >= BULK_BYTES_MIN {
            self.large = self.large.saturating_add(1);
            self.small = 0;
        } else {
            self.small = self.small.saturating_add(1);
            self.large = 0;
        }
    }

    pub(super) const fn is_bulk(&self) -> bool {
        self.large >= SWITCH_AFTER
    }

    pub(super) const fn is_small(&self) -> bool {
        self.small >= SWITCH_AFTER
    }

    /// Starts counting anew, after a switch or when a switch was impossible.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, stage: Stage) -> Self {
        Self {
            socket: Some(socket),
            stage,
            closing: None,
            send_failed: None,
            in_flight: 0,
            send: SendOperation::new(),
            sending: false,
            receive: Receive::Off,
            trend: Trend::default(),
            paced: false,
        }
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    pub(super) const fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// Whether the peer is there and this side does not close.
    pub(super) const fn is_open(&self) -> bool {
        self.closing.is_none() && matches!(self.stage, Stage::Accepted | Stage::Dialled)
    }

    pub(super) const fn is_receiving(&self) -> bool {
        !matches!(self.receive, Receive::Off)
    }
}
