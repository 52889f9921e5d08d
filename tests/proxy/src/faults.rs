//! What the proxy does to the bytes that pass.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From who connected to the proxy to whom the proxy connects.
    ToUpstream,
    /// Back.
    ToClient,
}

/// How a cut connection ends, on both sides of the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// With a reset. What the proxy wrote just before may be lost with it.
    #[default]
    Reset,
    /// In order: each side reads what was forwarded before, and then the end. What it still sends
    /// is read and dropped.
    Fin,
}

/// What is done at one byte of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Both sides lose the connection; the byte is the first that is not forwarded.
    Cut(Ending),
    /// The direction ends in order before the byte, and what follows is dropped. The other
    /// direction goes on.
    HalfClose,
    /// The bits of this mask are flipped in the byte.
    Flip(u8),
}

/// An [`Action`] and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Strike {
    /// How many bytes of the direction are forwarded before it.
    pub position: u64,
    /// What is done.
    pub action: Action,
}

impl Strike {
    /// Cuts the connection behind `position` bytes.
    pub fn cut(position: u64, ending: Ending) -> Self {
        let action = Action::Cut(ending);
        Self { position, action }
    }

    /// Ends the direction behind `position` bytes.
    pub fn half_close(position: u64) -> Self {
        let action = Action::HalfClose;
        Self { position, action }
    }

    /// Flips the bits of `mask` in the byte behind `position` others.
    pub fn flip(position: u64, mask: u8) -> Self {
        let action = Action::Flip(mask);
        Self { position, action }
    }
}

/// The faults of one direction. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// Each byte arrives this much later. What is under way is bounded by 1 MiB; behind it the
    /// sender is slowed down.
    pub delay: Duration,
    /// The delay is up to this much longer, at random. Bytes stay in order.
    pub jitter: Duration,
    /// No more than this is forwarded per second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Nothing is forwarded, and nothing lost: it goes on when this is taken back.
    pub stalled: bool,
    /// What comes is taken and dropped, ends included, and the other side hears nothing of it. When
    /// this is taken back a piece of the stream is missing.
    pub dead: bool,
    /// What is done to each connection, at these bytes of it. Of several at one byte the first
    /// counts; those behind which a connection is already do nothing to it.
    pub strikes: Vec<Strike>,
    /// A bit is flipped, again and again, at random distances of so many bytes.
    pub flip_every: Option<RangeInclusive<u64>>,
    /// Each connection is cut at a random distance of so many bytes.
    pub cut_every: Option<RangeInclusive<u64>>,
    /// How those random cuts end their connections.
    pub cut_with: Ending,
}

/// What the proxy does to all connections, until it is told otherwise. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Where everything random comes from. A connection takes the seed in force when it begins.
    pub seed: u64,
    /// The way to the upstream.
    pub to_upstream: Way,
    /// The way back.
    pub to_client: Way,
}

impl Faults {
    /// No faults yet, with this seed.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// The faults of one direction.
    pub fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        }
    }

    /// The same, to change them.
    pub fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToUpstream => &mut self.to_upstream,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
