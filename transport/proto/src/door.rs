//! Who may come in at all, before a byte of theirs is read: how many connections are half open, how
//! many come from one address, and how often.
//!
//! An address counts for itself, of IPv6 its first half: the other half is a host's to choose.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::limits::{INQUIRIES_BURST, INQUIRIES_PER_SECOND, SOURCES_MAX};
use crate::time::Instant;
use crate::token_bucket::TokenBucket;

/// How often addresses without connections are looked for at most, when the table is full.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What a door lets in.
#[derive(Clone, Copy, Debug)]
pub struct DoorLimits {
    /// Connections that have no link yet, at one time; of one source half as many, rounded up, so
    /// that nobody keeps all others out.
    pub half_open_max: usize,
    /// Connections from one address, at one time.
    pub per_source_max: usize,
    /// Connects from one address in the long run, and twice as many at once; at least 1.
    pub connects_per_second: u32,
}

/// The door of one node.
///
/// Inputs: a connect, its connection's link and end, the time. Output: whether it may stay.
#[derive(Debug)]
pub struct Door {
    limits: DoorLimits,
    half_open: usize,
    sources: BTreeMap<Source, Guests>,
    swept: Option<Instant>,
}

/// Where connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(SourceBits);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SourceBits {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => SourceBits::V4(ip.to_bits()),
            IpAddr::V6(ip) => SourceBits::V6((ip.to_bits() >> 64) as u64),
        })
    }
}

/// What is known of one source.
#[derive(Debug)]
struct Guests {
    connections: usize,
    half_open: usize,
    connects: TokenBucket,
    inquiries: TokenBucket,
}

impl Door {
    /// A door that nobody has come through.
    ///
    /// # Panics
    /// If no connects are allowed.
    pub fn new(limits: DoorLimits) -> Self {
        assert!(limits.connects_per_second > 0, "a door opens now and then");
        Self {
            limits,
            half_open: 0,
            sources: BTreeMap::new(),
            swept: None,
        }
    }

    /// A connection came. It counts as half open until [`settle`](Self::settle), and for its source
    /// until [`leave`](Self::leave).
    ///
    /// # Errors
    /// Why it may not stay; then it does not count.
    pub fn enter(&mut self, now: Instant, source: Source) -> Result<(), CloseReason> {
        let limits = self.limits;
        let half_open = self.half_open;
        let guests = self.guests(now, source).ok_or(CloseReason::Overloaded)?;
        // Whoever is turned away has spent a token as well.
        if !guests.connects.take(now) {
            return Err(CloseReason::Storm);
        }
        if guests.connections >= limits.per_source_max {
            return Err(CloseReason::SourceFull);
        }
        let share = limits.half_open_max.div_ceil(2);
        if half_open >= limits.half_open_max || guests.half_open >= share {
            return Err(CloseReason::Overloaded);
        }
        guests.connections += 1;
        guests.half_open += 1;
        self.half_open += 1;
        Ok(())
    }

    /// A connection got its link.
    pub fn settle(&mut self, source: Source) {
        self.half_open -= 1;
        if let Some(guests) = self.sources.get_mut(&source) {
            guests.half_open -= 1;
        }
    }

    /// A connection ended; `half_open` says whether it never got a link.
    pub fn leave(&mut self, source: Source, half_open: bool) {
        if half_open {
            self.settle(source);
        }
        if let Some(guests) = self.sources.get_mut(&source) {
            guests.connections -= 1;
        }
    }

    /// Whether a hello from that source may have an address dialled. Each has a cost, wherever it
    /// leads, and it is the source's claim that leads there.
    pub fn may_inquire(&mut self, now: Instant, source: Source) -> bool {
        self.guests(now, source)
            .is_some_and(|guests| guests.inquiries.take(now))
    }

    /// Connections that have no link yet.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    fn guests(&mut self, now: Instant, source: Source) -> Option<&mut Guests> {
        let is_full = self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source);
        if is_full && !self.sweep(now) {
            return None;
        }
        let per_second = self.limits.connects_per_second;
        Some(self.sources.entry(source).or_insert_with(|| Guests {
            connections: 0,
            half_open: 0,
            connects: TokenBucket::new(per_second.saturating_mul(2), per_second),
            inquiries: TokenBucket::new(INQUIRIES_BURST, INQUIRIES_PER_SECOND),
        }))
    }

    /// Forgets the sources without connections, now and then. Says whether there is room.
    fn sweep(&mut self, now: Instant) -> bool {
        let is_due = |swept: Instant| now - swept >= SWEEP_EVERY;
        if self.swept.is_none_or(is_due) {
            self.swept = Some(now);
            self.sources.retain(|_, guests| guests.connections > 0);
        }
        self.sources.len() < SOURCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const LIMITS: DoorLimits = DoorLimits {
        half_open_max: 3,
        per_source_max: 4,
        connects_per_second: 100,
    };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn source(number: u32) -> Source {
        IpAddr::V4(Ipv4Addr::from_bits(number)).into()
    }

    #[test]
    fn one_over_the_half_open_is_turned_away_whoever_it_is() {
        let mut door = Door::new(LIMITS);
        for number in 0..3 {
            assert_eq!(door.enter(at(0), source(number)), Ok(()));
        }
        assert_eq!(door.enter(at(0), source(9)), Err(CloseReason::Overloaded));
        door.settle(source(0));
        assert_eq!(door.enter(at(0), source(9)), Ok(()));
        door.leave(source(9), true);
        assert_eq!(door.half_open(), 2);
        // One that has its link does not count as half open when it ends.
        door.leave(source(0), false);
        assert_eq!(door.half_open(), 2);
    }

    #[test]
    fn one_over_half_of_the_half_open_is_turned_away_if_they_are_of_one_source() {
        let mut door = Door::new(LIMITS);
        for _ in 0..2 {
            assert_eq!(door.enter(at(0), source(1)), Ok(()));
        }
        assert_eq!(door.enter(at(0), source(1)), Err(CloseReason::Overloaded));
        assert_eq!(door.enter(at(0), source(2)), Ok(()));
        door.settle(source(1));
        assert_eq!(door.enter(at(0), source(1)), Ok(()));
    }

    #[test]
    fn one_over_the_connections_of_a_source_is_turned_away_and_others_are_not() {
        let mut door = Door::new(LIMITS);
        for _ in 0..4 {
            assert_eq!(door.enter(at(0), source(1)), Ok(()));
            door.settle(source(1));
        }
        assert_eq!(door.enter(at(0), source(1)), Err(CloseReason::SourceFull));
        assert_eq!(door.enter(at(0), source(2)), Ok(()));
        door.leave(source(1), false);
        assert_eq!(door.enter(at(0), source(1)), Ok(()));
    }

    #[test]
    fn one_over_the_rate_of_a_source_is_a_storm_and_others_are_heard() {
        let mut door = Door::new(LIMITS);
        for _ in 0..200 {
            assert_eq!(door.enter(at(0), source(1)), Ok(()));
            door.leave(source(1), true);
        }
        assert_eq!(door.enter(at(0), source(1)), Err(CloseReason::Storm));
        assert_eq!(door.enter(at(0), source(2)), Ok(()));
        assert_eq!(door.enter(at(10), source(1)), Ok(()));
        assert_eq!(door.enter(at(10), source(1)), Err(CloseReason::Storm));
    }

    #[test]
    fn one_over_the_inquiries_burst_waits_for_inquiries_per_second() {
        assert_eq!((INQUIRIES_BURST, INQUIRIES_PER_SECOND), (128, 16));
        let mut door = Door::new(LIMITS);
        for _ in 0..INQUIRIES_BURST {
            assert!(door.may_inquire(at(0), source(1)));
        }
        assert!(!door.may_inquire(at(0), source(1)));
        assert!(door.may_inquire(at(0), source(2)));
        let mut more = 0;
        for millis in 1..=1000 {
            more += u32::from(door.may_inquire(at(millis), source(1)));
        }
        assert_eq!(more, INQUIRIES_PER_SECOND);
    }

    #[test]
    fn one_over_the_sources_max_finds_room_when_others_have_gone() {
        let mut door = Door::new(DoorLimits {
            half_open_max: usize::MAX,
            ..LIMITS
        });
        let count = u32::try_from(SOURCES_MAX).unwrap();
        for number in 0..count {
            assert_eq!(door.enter(at(0), source(number)), Ok(()));
        }
        assert_eq!(
            door.enter(at(0), source(count)),
            Err(CloseReason::Overloaded)
        );
        door.leave(source(5), true);
        // It is looked for once a second: a flood of addresses must not cost more.
        assert_eq!(
            door.enter(at(999), source(count)),
            Err(CloseReason::Overloaded)
        );
        assert_eq!(door.enter(at(1000), source(count)), Ok(()));
        assert_eq!(door.sources.len(), SOURCES_MAX);
    }

    #[test]
    fn a_host_of_ipv6_is_one_source_and_a_mapped_address_is_that_of_ipv4() {
        let [one, other, elsewhere] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
            .map(|ip| Source::from(IpAddr::V6(ip.parse::<Ipv6Addr>().unwrap())));
        assert_eq!(one, other);
        assert_ne!(one, elsewhere);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(
            Source::from(mapped),
            "10.0.0.1".parse::<IpAddr>().unwrap().into()
        );
    }
}
