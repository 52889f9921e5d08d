//! The executor of a core: the one room that names glommio.
//!
//! glommio gives a core its pinned thread, and nothing else: no byte of traffic, no timer, no
//! blocking call and no user code runs through it. The driver of a core is the executor's one
//! future, and never yields to it. What its version 0.9 gets wrong is kept out like this:
//!
//! - it can park with runnable tasks, re-arms two timers on every pass, counts a task's wakers in
//!   16 bits, and never drops a task that it leaves behind: no task but the driver is ever made;
//! - a panic in a task kills the executor's thread: the driver contains those of user code;
//! - an executor leaves its own eventfd open when it ends: a process that starts nodes over and
//!   over loses a descriptor with each core;
//! - its default buffer memory pins 10 MiB three times over: [`IO_MEMORY_BYTES`] is its minimum.

use std::io;

use glommio::{LocalExecutorBuilder, Placement};

/// The least buffer memory glommio accepts; it is charged against RLIMIT_MEMLOCK three times.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Depth of glommio's own rings, which carry no traffic.
const RING_DEPTH: usize = 16;

/// The thread of a core, running.
pub(crate) struct CoreThread<T: Send + 'static>(glommio::ExecutorJoinHandle<T>);

impl<T: Send + 'static> CoreThread<T> {
    /// Waits for the core to end.
    ///
    /// # Errors
    /// When the thread panicked.
    pub(crate) fn join(self) -> io::Result<T> {
        self.0
            .join()
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Starts the thread of a core, on `cpu` or wherever the scheduler puts it, and runs `main` there.
///
/// # Errors
/// When the thread or glommio's rings cannot be made.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    cpu: Option<usize>,
    main: impl FnOnce() -> T + Send + 'static,
) -> io::Result<CoreThread<T>> {
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .spawn(|| async move { main() })
        .map(CoreThread)
        .map_err(|error| io::Error::other(error.to_string()))
}
