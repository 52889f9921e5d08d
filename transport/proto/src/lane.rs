//! Lanes: the classes of traffic that never wait for each other.

use crate::limits;

/// A class of traffic with links of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Membership and heartbeats: one link per association, served first.
    Control = 1,
    /// Messages of ordinary size.
    Ordinary = 2,
    /// Messages above the ordinary cap, apart from the others.
    Large = 3,
}

impl Lane {
    /// Every lane, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Control, Self::Ordinary, Self::Large];

    /// The place of the lane in tables of all lanes, such as [`ALL`](Self::ALL).
    #[inline]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// A stable name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Ordinary => "ordinary",
            Self::Large => "large",
        }
    }

    /// The lane with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Control),
            2 => Some(Self::Ordinary),
            3 => Some(Self::Large),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// The default body cap of the lane, in bytes.
    pub const fn body_cap_default(self) -> u32 {
        match self {
            Self::Control => limits::FRAME_BYTES_CONTROL,
            Self::Ordinary => limits::FRAME_BYTES_ORDINARY,
            Self::Large => limits::FRAME_BYTES_LARGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameError, parse};
    use crate::link::{Inbound, Violation};

    #[test]
    fn the_numbers_are_fixed() {
        assert_eq!(Lane::ALL.map(Lane::to_wire), [1, 2, 3]);
        assert_eq!(Lane::ALL.map(Lane::index), [0, 1, 2]);
        for number in 0..=u8::MAX {
            match Lane::from_wire(number) {
                Some(lane) => assert_eq!(lane.to_wire(), number),
                None => assert!(!(1..=3).contains(&number)),
            }
        }
    }

    #[test]
    fn one_over_the_window_of_each_lane_is_a_violation() {
        let windows = [
            limits::WINDOW_BYTES_CONTROL,
            limits::WINDOW_BYTES,
            limits::WINDOW_BYTES_LARGE,
        ];
        for window in windows {
            let bytes = window as usize;
            assert_eq!(Inbound::new(window).accept(bytes), Ok(()));
            let (end, limit) = (u64::from(window) + 1, u64::from(window));
            let refused = Violation::BeyondLimit { end, limit };
            assert_eq!(Inbound::new(window).accept(bytes + 1), Err(refused));
        }
    }

    #[test]
    fn one_over_the_cap_of_each_lane_is_refused_from_its_length() {
        let caps = [
            (Lane::Control, limits::FRAME_BYTES_CONTROL),
            (Lane::Ordinary, limits::FRAME_BYTES_ORDINARY),
            (Lane::Large, limits::FRAME_BYTES_LARGE),
        ];
        for (lane, limit) in caps {
            let cap = lane.body_cap_default();
            assert_eq!(cap, limit);
            assert!(parse(&limit.to_le_bytes(), cap).is_ok(), "{lane:?}");
            let declared = limit + 1;
            let length = declared.to_le_bytes();
            let refused = FrameError::TooLong { declared, cap };
            assert_eq!(parse(&length, cap), Err(refused));
        }
    }
}
