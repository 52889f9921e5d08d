//! What a link shows of itself besides its positions: its age, its messages, and the time a round
//! trip takes.
//!
//! Nothing here is touched per message: messages are counted with each grant and each batch. Round
//! trips are measured only while somebody looks at the links: each look sends one ping on every
//! link that waits for none, and the next one shows what came of it.

use std::cell::Cell;
use std::time::Duration;

use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::Ping;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::time::Instant;

/// A ping that is not answered for so long is sent again: it may have gone with a connection.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// When the link came up.
    pub(super) since: Cell<Instant>,
    /// Messages sent that the peer has taken over, as far as its grants were counted.
    pub(super) acknowledged: Cell<u64>,
    /// Messages received.
    pub(super) received: Cell<u64>,
    /// Somebody was told of a message that is too long for the link.
    pub(super) told_oversize: Cell<bool>,
    trip: Cell<Trip>,
}

/// Round trips of a link, smoothed as RFC 6298 (2.2 and 2.3) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trip {
    smoothed: Option<Duration>,
    variation: Duration,
    /// The ping under way: its number, and when it was queued.
    ping: Option<(u64, Instant)>,
}

impl Vitals {
    pub(super) fn count_acknowledged(&self, messages: u64) {
        self.acknowledged.set(self.acknowledged.get() + messages);
    }

    pub(super) fn count_received(&self, messages: u64) {
        self.received.set(self.received.get() + messages);
    }

    /// The smoothed round trip and its variation, once one was measured.
    pub(super) fn round_trip(&self) -> Option<(Duration, Duration)> {
        let Trip {
            smoothed,
            variation,
            ..
        } = self.trip.get();
        Some((smoothed?, variation))
    }

    /// Notes that a ping of this number leaves. Says whether it may: one at a time.
    pub(super) fn begin_trip(&self, number: u64, now: Instant) -> bool {
        let mut trip = self.trip.get();
        let waits = |(_, since)| now.saturating_since(since) < PING_TIME_MAX;
        if trip.ping.is_some_and(waits) {
            return false;
        }
        trip.ping = Some((number, now));
        self.trip.set(trip);
        true
    }

    /// Takes the time if a frame answers the ping under way.
    pub(super) fn note_pong(&self, frame: &Frame<'_>, now: impl FnOnce() -> Instant) {
        let mut trip = self.trip.get();
        // A pong has the body of a ping.
        let number = || Ping::parse(frame).ok().map(|pong| pong.nonce);
        if frame.header.kind != Kind::Pong {
            return;
        }
        if let Some((_, since)) = trip.ping.take_if(|ping| Some(ping.0) == number()) {
            trip.take(now().saturating_since(since));
            self.trip.set(trip);
        }
    }
}

impl Trip {
    fn take(&mut self, measured: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(measured);
            self.variation = measured / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(measured)) / 4;
        self.smoothed = Some((smoothed * 7 + measured) / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn round_trips_are_smoothed_as_the_rfc_has_it() {
        let mut trip = Trip::default();
        trip.take(8 * MS);
        assert_eq!((trip.smoothed, trip.variation), (Some(8 * MS), 4 * MS));
        trip.take(16 * MS);
        // 7/8 of 8 and 1/8 of 16; 3/4 of 4 and 1/4 of their distance.
        assert_eq!((trip.smoothed, trip.variation), (Some(9 * MS), 5 * MS));
    }

    #[test]
    fn one_ping_is_under_way_until_it_is_answered_or_given_up() {
        let vitals = Vitals::default();
        let at = |span: Duration| Instant::ZERO + span;
        assert!(vitals.begin_trip(1, at(MS)));
        assert!(!vitals.begin_trip(2, at(2 * MS)));
        assert!(vitals.begin_trip(3, at(MS + PING_TIME_MAX)));
        assert_eq!(vitals.round_trip(), None);
    }
}
