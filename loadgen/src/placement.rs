//! Which CPU each process runs on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of one run: the sender on the first allowed one, the receiver on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Where the sender runs.
    pub(crate) sender: usize,
    /// Where the receiver runs; the same CPU when there is only one.
    pub(crate) receiver: usize,
}

impl Placement {
    /// Places both processes on the CPUs this process may use.
    ///
    /// # Errors
    /// When the kernel does not say which those are.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        Self::on(&allowed_cpus()?).ok_or_else(|| io::Error::other("no CPU is allowed"))
    }

    fn on(allowed: &[usize]) -> Option<Self> {
        let &sender = allowed.first()?;
        let receiver = allowed.get(1).copied().unwrap_or(sender);
        Some(Self { sender, receiver })
    }

    /// Both processes share one CPU, so neither may spin without yielding.
    pub(crate) fn is_shared(self) -> bool {
        self.sender == self.receiver
    }
}

/// The CPUs this process may run on, in ascending order.
///
/// # Errors
/// When the kernel does not say.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect())
}

/// Binds the calling thread, and threads it starts later, to `cpu`.
///
/// # Errors
/// When the CPU does not exist or is not allowed.
pub(crate) fn pin_this_thread(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cpus_take_one_process_each() {
        let placement = Placement::on(&[3, 5, 8]).unwrap();
        assert_eq!(
            placement,
            Placement {
                sender: 3,
                receiver: 5
            }
        );
        assert!(!placement.is_shared());
    }

    #[test]
    fn one_cpu_takes_both() {
        let placement = Placement::on(&[4]).unwrap();
        assert_eq!(
            placement,
            Placement {
                sender: 4,
                receiver: 4
            }
        );
        assert!(placement.is_shared());
    }

    #[test]
    fn a_pinned_thread_may_use_one_cpu_only() {
        let cpu = *allowed_cpus().unwrap().last().unwrap();
        // In a thread of its own: a test thread may be reused.
        let seen = std::thread::spawn(move || {
            pin_this_thread(cpu).unwrap();
            allowed_cpus().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [cpu]);
    }
}
