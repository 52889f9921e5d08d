//! What a holder is at, and the ask by which it gets there.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::super::Token;

#[derive(Debug)]
pub(super) enum State {
    Idle,
    /// It wants to know the last token, which is to be no smaller than that one.
    Looking {
        floor: Token,
        request: Request,
    },
    Acquiring(Request),
    Holding {
        token: Token,
        until: Instant,
        request: Request,
    },
    Releasing {
        token: Token,
        request: Request,
        /// What is wanted behind that.
        next: Wish,
    },
}

/// What is wanted of whoever gives leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Lease,
    /// The last token, which is to be no smaller than that one.
    Last(Token),
}

impl State {
    /// It has to be asked for that, if anything, from now on.
    pub(super) fn of(wish: Wish, now: Instant) -> Self {
        let request = Request::at(now);
        match wish {
            Wish::Nothing => Self::Idle,
            Wish::Lease => Self::Acquiring(request),
            Wish::Last(floor) => Self::Looking { floor, request },
        }
    }

    /// What is wanted and not there yet.
    pub(super) const fn wish(&self) -> Wish {
        match self {
            Self::Idle | Self::Holding { .. } => Wish::Nothing,
            Self::Looking { floor, .. } => Wish::Last(*floor),
            Self::Acquiring(_) => Wish::Lease,
            Self::Releasing { next, .. } => *next,
        }
    }

    pub(super) const fn request(&self) -> Option<&Request> {
        match self {
            Self::Idle => None,
            Self::Acquiring(request)
            | Self::Looking { request, .. }
            | Self::Holding { request, .. }
            | Self::Releasing { request, .. } => Some(request),
        }
    }

    pub(super) const fn request_mut(&mut self) -> Option<&mut Request> {
        match self {
            Self::Idle => None,
            Self::Acquiring(request)
            | Self::Looking { request, .. }
            | Self::Holding { request, .. }
            | Self::Releasing { request, .. } => Some(request),
        }
    }
}

/// An ask that is made until it is answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Its number and when it was made, while it waits for an answer.
    pub(super) asked: Option<(u64, Instant)>,
    /// When it is made, or waits no more.
    pub(super) due: Instant,
    pub(super) failures: u32,
}

impl Request {
    pub(super) const fn at(due: Instant) -> Self {
        Self {
            asked: None,
            due,
            failures: 0,
        }
    }

    /// Nobody knows what came of it: once more after a pause that doubles.
    pub(super) fn fail(&mut self, now: Instant, time_to_live: Duration) {
        let pause = time_to_live / 64 * (1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        self.asked = None;
        self.due = now + pause.min(time_to_live / 6);
    }
}
