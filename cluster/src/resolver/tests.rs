use std::time::Duration;

use super::*;

mod model;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}
