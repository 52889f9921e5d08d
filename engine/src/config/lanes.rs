//! What the lanes take: their caps, windows and memory, in one place for all lanes.

use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{
    FRAME_BYTES_CONTROL, SLAB_BYTES, WINDOW_BYTES_CONTROL, window_bytes_min,
};

use super::Settings;

/// Memory for what leaves on the control lane: a few windows, for it carries little.
const CONTROL_OUTGOING_BYTES: usize = 16 * WINDOW_BYTES_CONTROL as usize;

/// The numbers of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneSettings {
    /// The longest body of a frame.
    pub(crate) body_cap: u32,
    /// The credit of a link.
    pub(crate) window_bytes: u32,
    /// Memory for what is on its way out, per core.
    pub(crate) outgoing_bytes_max: usize,
}

impl Settings {
    /// The numbers of a lane.
    pub(crate) fn of_lane(&self, lane: Lane) -> LaneSettings {
        match lane {
            Lane::Control => LaneSettings {
                body_cap: FRAME_BYTES_CONTROL,
                window_bytes: WINDOW_BYTES_CONTROL,
                outgoing_bytes_max: CONTROL_OUTGOING_BYTES,
            },
            Lane::Ordinary => LaneSettings {
                body_cap: self.frame_bytes_max,
                window_bytes: self.window_bytes,
                outgoing_bytes_max: self.outgoing_bytes_max,
            },
            Lane::Large => LaneSettings {
                body_cap: self.large_frame_bytes_max,
                window_bytes: self.large_window_bytes,
                outgoing_bytes_max: self.large_outgoing_bytes_max,
            },
        }
    }

    /// The longest body that travels within the node, where there are no lanes: that of the large
    /// one, unless the memory for outgoing messages has no room for two of them.
    pub(crate) fn local_body_cap(&self) -> u32 {
        let slab = u64::from(window_bytes_min(self.large_frame_bytes_max)) + u64::from(SLAB_BYTES);
        let has_room = self.outgoing_bytes_max as u64 >= 2 * slab;
        if has_room {
            self.frame_bytes_max.max(self.large_frame_bytes_max)
        } else {
            self.frame_bytes_max
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_credit_for_its_largest_frame_and_memory_for_its_credit() {
        let settings = Settings::new("demo");
        for lane in Lane::ALL {
            let of_lane = settings.of_lane(lane);
            assert!(of_lane.window_bytes >= window_bytes_min(of_lane.body_cap));
            assert!(of_lane.outgoing_bytes_max >= 2 * of_lane.window_bytes as usize);
            assert_eq!(of_lane.body_cap, lane.body_cap_default());
        }
    }

    #[test]
    fn little_memory_leaves_no_room_for_large_messages_within_the_node() {
        let mut settings = Settings::new("demo");
        assert_eq!(settings.local_body_cap(), settings.large_frame_bytes_max);
        settings.outgoing_bytes_max = 4 << 20;
        assert_eq!(settings.local_body_cap(), settings.frame_bytes_max);
    }
}
