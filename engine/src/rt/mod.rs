//! The executor of a core: the one room that names glommio.
//!
//! glommio gives a core its pinned thread and its pool for blocking calls, and nothing else: no
//! byte of traffic, no timer and no user code runs through it. What its version 0.9 gets wrong is
//! kept out like this:
//!
//! - it can park with runnable tasks, and re-arms two timers on every pass: the driver future does
//!   not yield to it at all unless [`Runtime::outstanding`] work needs it, and then waits with a
//!   guard timer of [`GUARD`];
//! - a task's waker count is 16 bits and overflows under repeated polls in one await: every await
//!   here ends with the first event, and nothing is re-polled in a select loop;
//! - a task that the executor leaves behind is never dropped: nothing of a core is moved into one,
//!   and [`Runtime::settle`] ends the one that holds a descriptor;
//! - a task that ends does not give back its share of the executor's own eventfd, so each executor
//!   leaves one open: a process that starts nodes over and over loses a descriptor with each;
//! - a panic in a task kills the executor's thread: no user code runs in its tasks;
//! - its default buffer memory pins 10 MiB three times over: [`IO_MEMORY_BYTES`] is its minimum.

#[allow(unsafe_code)]
mod eventfd;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

/// The least buffer memory glommio accepts; it is charged against RLIMIT_MEMLOCK three times.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Depth of glommio's own rings, which carry no traffic.
const RING_DEPTH: usize = 16;

/// The longest the executor sleeps while it has work outstanding: bounds its lost wake-ups.
const GUARD: Duration = Duration::from_millis(10);

/// How often a stopping core sleeps until the read of its eventfd has ended.
const SETTLE_WAITS: usize = 4;

/// The thread of a core, running.
pub(crate) struct CoreThread<T: Send + 'static>(glommio::ExecutorJoinHandle<T>);

impl<T: Send + 'static> CoreThread<T> {
    /// Waits for the core's future to end.
    ///
    /// # Errors
    /// When the thread panicked.
    pub(crate) fn join(self) -> io::Result<T> {
        self.0
            .join()
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Starts the thread of a core, on `cpu` or wherever the scheduler puts it, and runs there the
/// future that `main` makes.
///
/// # Errors
/// When the thread or glommio's rings cannot be made.
pub(crate) fn start<F, Fut, T>(name: &str, cpu: Option<usize>, main: F) -> io::Result<CoreThread<T>>
where
    F: FnOnce(Runtime) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .spawn(|| async move { main(Runtime::default()).await })
        .map(CoreThread)
        .map_err(|error| io::Error::other(error.to_string()))
}

/// A core's handle on its executor. Stays on the core's thread.
#[derive(Clone, Default)]
pub(crate) struct Runtime {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    outstanding: Cell<usize>,
    /// The driver, while it waits in [`Runtime::wait`].
    waiting: RefCell<Option<Waker>>,
    /// Whether a read of the ring's eventfd is in flight; there is never more than one.
    watching: Cell<bool>,
    /// Whether a guard timer runs; there is never more than one.
    guarding: Cell<bool>,
}

impl Shared {
    fn wake_driver(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Runtime {
    /// Pieces of work that only the executor can finish. While there are none the driver may sleep
    /// in its own ring.
    pub(crate) fn outstanding(&self) -> usize {
        self.shared.outstanding.get()
    }

    /// Runs `work` on the executor's blocking thread, then `done` with its result on this core.
    pub(crate) fn run_blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        done: impl FnOnce(R) + 'static,
    ) {
        self.shared
            .outstanding
            .set(self.shared.outstanding.get() + 1);
        let shared = Rc::clone(&self.shared);
        glommio::spawn_local(async move {
            let result = glommio::executor().spawn_blocking(work).await;
            shared.outstanding.set(shared.outstanding.get() - 1);
            done(result);
            shared.wake_driver();
        })
        .detach();
    }

    /// Sleeps in the executor until its outstanding work progressed, the ring's registered
    /// `eventfd` was written, or the guard time passed. The caller enabled the eventfd and then
    /// checked that nothing is ready.
    pub(crate) async fn wait(&self, eventfd: OwnedFd) {
        if !self.shared.watching.replace(true) {
            self.watch(eventfd);
        }
        self.woken().await;
    }

    /// Sleeps until something woke the driver, for the guard time at most.
    async fn woken(&self) {
        if !self.shared.guarding.replace(true) {
            self.guard();
        }
        let mut armed = false;
        poll_fn(|context| {
            if armed && self.shared.waiting.borrow().is_none() {
                return Poll::Ready(());
            }
            armed = true;
            *self.shared.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets the executor run what it has.
    pub(crate) async fn pass(&self) {
        glommio::executor().yield_task_queue_now().await;
    }

    /// Whether a read of the eventfd is in flight.
    pub(crate) fn is_watching(&self) -> bool {
        self.shared.watching.get()
    }

    /// Ends the read of the eventfd when the core stops: with the executor it would neither end nor
    /// be dropped. Work on the blocking thread is left to itself.
    pub(crate) async fn settle(&self, eventfd: io::Result<OwnedFd>) {
        if let Ok(eventfd) = eventfd {
            // Without it the read ends with the guard time or not at all, and a descriptor is lost.
            let _ = File::from(eventfd).write_all(&1_u64.to_ne_bytes());
        }
        // It wakes the driver when it ends; so do others.
        for _ in 0..SETTLE_WAITS {
            if self.shared.watching.get() {
                self.woken().await;
            }
        }
    }

    fn watch(&self, eventfd: OwnedFd) {
        let file = eventfd::watchable(eventfd);
        let shared = Rc::clone(&self.shared);
        glommio::spawn_local(async move {
            // A failed read or close only means that this wait ends at the guard time.
            let _ = file.read_at(0, eventfd::COUNTER_BYTES).await;
            let _ = file.close().await;
            shared.watching.set(false);
            shared.wake_driver();
        })
        .detach();
    }

    fn guard(&self) {
        let shared = Rc::clone(&self.shared);
        glommio::spawn_local(async move {
            glommio::timer::sleep(GUARD).await;
            shared.guarding.set(false);
            shared.wake_driver();
        })
        .detach();
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
