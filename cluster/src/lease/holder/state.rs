//! What a holder is at, and the ask by which it gets there.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::super::Token;

/// So many asks are remembered that were not answered in time: no more are made in the time for
/// which a lease is held, so an answer to any other is worth nothing.
pub(super) const EARLIER_MAX: usize = 4;

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
    /// Those before that, which nobody has answered yet: the last ones, in their order.
    earlier: Vec<(u64, Instant)>,
}

impl Request {
    pub(super) const fn at(due: Instant) -> Self {
        Self {
            asked: None,
            due,
            failures: 0,
            earlier: Vec::new(),
        }
    }

    /// The number of the last one, if nobody knows what came of it.
    pub(super) fn open(&self) -> Option<u64> {
        let last = self.asked.or_else(|| self.earlier.last().copied());
        last.map(|it| it.0)
    }

    /// When it was made under that number, and was not answered in time.
    pub(super) fn was_asked(&self, number: u64) -> Option<Instant> {
        let earlier = self.earlier.iter().find(|it| it.0 == number);
        earlier.map(|it| it.1)
    }

    /// What was asked behind that number, and may be answered still.
    pub(super) fn asked_after(&self, number: u64) -> Vec<(u64, Instant)> {
        let all = self.earlier.iter().copied().chain(self.asked);
        all.filter(|it| it.0 > number).take(EARLIER_MAX).collect()
    }

    /// The same was asked as this does: an answer to that is one to this.
    pub(super) fn follow(&mut self, earlier: Vec<(u64, Instant)>) {
        self.earlier = earlier;
    }

    /// Nobody knows what came of it: once more after a pause that doubles.
    pub(super) fn fail(&mut self, now: Instant, time_to_live: Duration) {
        let pause = time_to_live / 64 * (1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        if let Some(asked) = self.asked.take() {
            if self.earlier.len() >= EARLIER_MAX {
                self.earlier.remove(0);
            }
            self.earlier.push(asked);
        }
        self.due = now + pause.min(time_to_live / 6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_earlier_max_takes_the_place_of_the_oldest() {
        let now = Instant::ZERO;
        let mut request = Request::at(now);
        for number in 0..=EARLIER_MAX as u64 {
            request.asked = Some((number, now));
            request.fail(now, Duration::from_secs(10));
        }
        assert_eq!(request.earlier.len(), EARLIER_MAX);
        assert_eq!(request.was_asked(0), None);
        assert_eq!(request.was_asked(1), Some(now));
    }
}
