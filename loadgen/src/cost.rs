//! What an interval cost this process: CPU time and allocations.

use std::alloc::System;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what goes through the allocator; costs nothing where nothing is allocated.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// CPU time and allocations of an interval, over all threads of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu_ns: u64,
    /// Calls that took memory from the allocator, reallocations included.
    pub(crate) allocations: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            allocations: self.allocations + other.allocations,
        }
    }
}

/// The start of an interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    start: Cost,
}

impl Meter {
    /// Starts an interval.
    pub(crate) fn start() -> Self {
        Self { start: total() }
    }

    /// What the process spent since the start.
    pub(crate) fn cost(&self) -> Cost {
        let now = total();
        Cost {
            cpu_ns: now.cpu_ns - self.start.cpu_ns,
            allocations: now.allocations - self.start.allocations,
        }
    }
}

fn total() -> Cost {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let memory = ALLOCATOR.stats();
    Cost {
        cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
        allocations: (memory.allocations + memory.reallocations) as u64,
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn an_allocation_is_counted() {
        let meter = Meter::start();
        let held = black_box(vec![0_u8; 4096]);
        assert!(meter.cost().allocations >= 1);
        drop(held);
    }

    #[test]
    fn work_costs_cpu_time() {
        let meter = Meter::start();
        let mut sum = 0_u64;
        while meter.cost().cpu_ns == 0 {
            sum = black_box(sum.wrapping_add(1));
        }
        assert!(meter.cost().cpu_ns > 0);
    }
}
