//! Termination signals, read on a core's ring instead of in a handler.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::descriptor::{self, SignalMask};
use crate::doorbell::Doorbell;

/// `sizeof(struct signalfd_siginfo)`: what one read returns per signal.
const SIGNAL_RECORD_BYTES: usize = 128;

/// The termination signals are blocked for this thread, until this drops: then those are again that
/// were before.
#[must_use = "the signals are blocked until it drops"]
pub struct BlockedSignals {
    before: SignalMask,
    /// A mask is one thread's.
    here: PhantomData<*const ()>,
}

impl fmt::Debug for BlockedSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockedSignals").finish_non_exhaustive()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // The mask was one before: there is nothing wrong with it.
        let _ = descriptor::restore_mask(&self.before);
    }
}

/// Blocks SIGTERM and SIGINT for this thread, until what is returned drops, and for every thread
/// it starts meanwhile, so that only
/// [`TcpTransport::watch_signals`](crate::TcpTransport::watch_signals) sees them. One that came,
/// and that nobody saw, ends the process when they are not blocked any more.
///
/// To be called on the main thread before any other thread starts: a thread that was started
/// earlier still takes the signal, and its default action ends the process.
///
/// # Errors
/// The error of `pthread_sigmask`.
pub fn block_termination_signals() -> io::Result<BlockedSignals> {
    let before = descriptor::block_termination()?;
    let here = PhantomData;
    Ok(BlockedSignals { before, here })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The signals that this thread blocks, as the kernel says.
    fn blocked() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("there is one");
        let line = status.lines().find(|it| it.starts_with("SigBlk:"));
        line.expect("it says so").to_owned()
    }

    #[test]
    fn what_was_blocked_before_is_behind_it_again() {
        let before = blocked();
        let outer = block_termination_signals().expect("it can be");
        let inside = blocked();
        assert_ne!(inside, before);
        let inner = block_termination_signals().expect("it can be");
        drop(inner);
        assert_eq!(blocked(), inside, "the other one blocks them still");
        drop(outer);
        assert_eq!(blocked(), before);
    }
}
