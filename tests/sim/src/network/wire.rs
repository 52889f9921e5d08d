//! One simulated TCP connection: two streams of bytes, with two ends that live apart.

use std::collections::VecDeque;
use std::time::Duration;

use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::time::Instant;

use crate::fault::FaultId;

/// A connection. Side 0 dialled it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) nodes: [usize; 2],
    pub(super) ends: [End; 2],
    /// What goes from each side to the other.
    pub(super) pipes: [Pipe; 2],
    /// The dial was answered.
    pub(super) open: bool,
    /// How long its bytes may be held before it breaks.
    pub(super) patience: Duration,
    /// The fault by which its last bytes come late.
    pub(super) late: Option<FaultId>,
}

/// What an end of a connection is to the process that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is used.
    Live,
    /// It ended, which the process is about to be told.
    Ended,
    /// Nobody has it: it was closed, or is not there yet.
    Over,
    /// Its host lost power, and says nothing about it.
    Vanished,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Under way, in order, each with the time at which it arrives.
    pub(super) parcels: VecDeque<(Instant, Parcel)>,
    /// Arrived, and not read yet.
    pub(super) unread: Vec<u8>,
    /// Bytes under way or unread.
    pub(super) bytes: usize,
    /// Since when the path holds them.
    pub(super) held: Option<Instant>,
    /// The reader has been told that there is something.
    pub(super) told: bool,
    /// The writer waits for room.
    pub(super) wants_room: bool,
    /// Nothing more is written.
    pub(super) sealed: bool,
    /// A reset was sent behind everything.
    pub(super) reset: bool,
}

/// What goes over a connection.
#[derive(Debug)]
pub(super) enum Parcel {
    Syn,
    SynAck,
    Refused,
    Bytes(Vec<u8>),
    /// There is room again.
    Room,
    Fin,
    Reset,
}

impl Parcel {
    pub(super) fn sort(&self) -> u64 {
        match self {
            Self::Syn => 0,
            Self::SynAck => 1,
            Self::Refused => 2,
            Self::Bytes(_) => 3,
            Self::Room => 4,
            Self::Fin => 5,
            Self::Reset => 6,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Wire {
    pub(super) fn new(nodes: [usize; 2], patience: Duration) -> Self {
        Self {
            nodes,
            ends: [End::Live, End::Over],
            pipes: Default::default(),
            open: false,
            patience,
            late: None,
        }
    }

    /// Whether no process has anything to do with it.
    pub(super) fn is_over(&self) -> bool {
        let is_over = |end: &End| matches!(end, End::Over | End::Vanished);
        self.ends.iter().all(is_over)
    }

    /// Whether it carries bytes, both ways.
    pub(super) fn is_whole(&self) -> bool {
        self.open && self.ends == [End::Live; 2]
    }
}

impl Pipe {
    /// What is under way is lost.
    pub(super) fn lose(&mut self) {
        self.parcels.clear();
        self.bytes = self.unread.len();
        self.held = None;
    }
}

/// The key of an end.
pub(super) fn key_of(wire: u64, side: usize) -> ConnKey {
    ConnKey(wire * 2 + side as u64)
}

/// The connection and the side that a key names.
pub(super) fn end_of(key: ConnKey) -> (u64, usize) {
    (key.0 / 2, (key.0 % 2) as usize)
}
