//! How closely members watch each other.

use std::time::Duration;

use crate::detector::{Judge, Patience};

/// How closely a member watches others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorSettings {
    /// The time between two heartbeats. Less notices the end of a node sooner and costs traffic; it
    /// is also how late a turn may be before a node takes itself for stalled.
    pub interval: Duration,
    /// Who judges a silence. Its interval should be that of the heartbeats.
    pub judge: Judge,
    /// From this suspicion on, on the scale of the detector, others are asked whether they hear the
    /// member. At the threshold of the detector or above nobody is asked in time.
    pub doubt: f64,
    /// How long an accusation waits for what the others say. It never waits for longer.
    pub testimony_wait: Duration,
}

impl Default for MonitorSettings {
    /// A heartbeat a second, phi 8 with a pause of 3 seconds over the last 1,000 answers, and
    /// questions at phi 3, answered within half a second.
    fn default() -> Self {
        let interval = Duration::from_secs(1);
        Self {
            interval,
            judge: Judge::Phi(Patience {
                threshold: 8.0,
                pause: Duration::from_secs(3),
                samples: 1000,
                ..Patience::every(interval)
            }),
            doubt: 3.0,
            testimony_wait: Duration::from_millis(500),
        }
    }
}
