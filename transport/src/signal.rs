//! Termination signals, read on a core's ring instead of in a handler.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use crate::descriptor;

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

/// A source of termination signals.
pub(crate) struct SignalSource(File);

impl SignalSource {
    pub(crate) fn new() -> io::Result<Self> {
        descriptor::termination_signalfd().map(Self)
    }

    /// Takes all pending signals; says whether there was one.
    pub(crate) fn take(&mut self) -> bool {
        let mut record = [0; SIGNAL_RECORD_BYTES];
        let mut any = false;
        while matches!(self.0.read(&mut record), Ok(SIGNAL_RECORD_BYTES)) {
            any = true;
        }
        any
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
