//! Termination signals, read on a core's ring instead of in a handler.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::descriptor;
use crate::doorbell::Doorbell;

/// `sizeof(struct signalfd_siginfo)`: what one read returns per signal.
const SIGNAL_RECORD_BYTES: usize = 128;

/// Blocks SIGTERM and SIGINT for this thread and every thread it starts afterwards, so that only
/// [`TcpTransport::watch_signals`](crate::TcpTransport::watch_signals) sees them.
///
/// To be called on the main thread before any other thread starts: a thread that was started
/// earlier still takes the signal, and its default action ends the process.
///
/// # Errors
/// The error of `pthread_sigmask`.
pub fn block_termination_signals() -> io::Result<()> {
    descriptor::block_termination()
}

/// Has the next SIGTERM or SIGINT end the process at once, by the default action of the signal:
/// for after the first was heard, when a program may have become deaf.
///
/// # Errors
/// The error of `pthread_sigmask`.
pub fn unblock_termination_signals() -> io::Result<()> {
    descriptor::unblock_termination()
}

/// A source of termination signals.
///
/// A signal is pending for the process, and whoever reads it first takes it from all others. So
/// whoever reads it tells them: a process with several nodes stops all of them.
pub(crate) struct SignalSource {
    signals: File,
    watcher: Arc<Watcher>,
}

/// One source, as the others of the process see it.
struct Watcher {
    told: AtomicBool,
    doorbell: Doorbell,
}

/// The sources of this process: signals are its own, whatever a library would like.
static WATCHERS: Mutex<Vec<Weak<Watcher>>> = Mutex::new(Vec::new());

impl SignalSource {
    /// A source that rings `doorbell` when another one took a signal.
    pub(crate) fn new(doorbell: Doorbell) -> io::Result<Self> {
        let signals = descriptor::termination_signalfd()?;
        let watcher = Arc::new(Watcher {
            told: AtomicBool::new(false),
            doorbell,
        });
        let mut watchers = watchers();
        watchers.retain(|known| known.strong_count() > 0);
        watchers.push(Arc::downgrade(&watcher));
        Ok(Self { signals, watcher })
    }

    /// Takes all pending signals; says whether there was one.
    pub(crate) fn take(&mut self) -> bool {
        let mut record = [0; SIGNAL_RECORD_BYTES];
        let mut any = false;
        while matches!(self.signals.read(&mut record), Ok(SIGNAL_RECORD_BYTES)) {
            any = true;
        }
        if any {
            self.tell_others();
        }
        any
    }

    /// Whether another source took a signal since the last call.
    pub(crate) fn was_told(&self) -> bool {
        self.watcher.told.swap(false, Ordering::Acquire)
    }

    fn tell_others(&self) {
        for other in watchers().iter().filter_map(Weak::upgrade) {
            if !Arc::ptr_eq(&other, &self.watcher) {
                other.told.store(true, Ordering::Release);
                other.doorbell.ring();
            }
        }
    }
}

fn watchers() -> MutexGuard<'static, Vec<Weak<Watcher>>> {
    WATCHERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
