//! Descriptors and limits of the process that no crate in use wraps: eventfd, signalfd, the signal
//! mask, resource limits, one socket option. Named here so that `unsafe` stays out of the modules
//! that use them.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that ask a process to end.
const TERMINATION: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// A counter that becomes readable when it is written to.
pub(crate) fn eventfd() -> io::Result<File> {
    // Blocking on purpose: a read through a ring then waits for the counter on every kernel, and a
    // write blocks only at 2^64 - 2.
    // SAFETY: eventfd(2) takes two integers.
    let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    owned(raw).map(File::from)
}

/// A descriptor that becomes readable when a termination signal is pending. Reading never blocks.
pub(crate) fn termination_signalfd() -> io::Result<File> {
    let signals = termination_set();
    // SAFETY: signalfd(2) reads the set, which outlives the call.
    let raw = unsafe { libc::signalfd(-1, &signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    owned(raw).map(File::from)
}

/// The signals that a thread blocks.
pub(crate) struct SignalMask(libc::sigset_t);

/// Blocks the termination signals for this thread and the threads it starts later. Returns what it
/// blocked before.
pub(crate) fn block_termination() -> io::Result<SignalMask> {
    change_mask(libc::SIG_BLOCK, &termination_set()).map(SignalMask)
}

/// Has this thread take them again, as the process does where none does.
pub(crate) fn unblock_termination() -> io::Result<()> {
    change_mask(libc::SIG_UNBLOCK, &termination_set()).map(drop)
}

/// Has this thread block those signals, and no others.
pub(crate) fn restore_mask(mask: &SignalMask) -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, &mask.0).map(drop)
}

/// Changes which signals this thread blocks. Returns those it blocked before.
fn change_mask(how: libc::c_int, signals: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = *signals;
    // SAFETY: reads one set and writes the other one, which both outlive the call.
    let error = unsafe { libc::pthread_sigmask(how, signals, &mut before) };
    if error == 0 {
        Ok(before)
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// The soft limit of memory this process may lock, in bytes; `None` when there is none.
pub(crate) fn locked_memory_limit() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit(2) writes one `rlimit`, which outlives the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

/// Leaves the choice of the local port to the connect, where the kernel knows the other end: only
/// then may connections to different places share a port, and there are more of them than ports.
pub(crate) fn choose_port_late(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let bytes = size_of_val(&on) as libc::socklen_t;
    // SAFETY: setsockopt(2) reads one integer of the size it is told, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            bytes,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A descriptor that the kernel just returned.
pub(crate) fn owned(raw: libc::c_int) -> io::Result<OwnedFd> {
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every caller passes what a call of this process just returned as a new descriptor,
    // and keeps no copy of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn termination_set() -> libc::sigset_t {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) initialises the set it is given.
    unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
    // SAFETY: it was just initialised.
    let mut signals = unsafe { signals.assume_init() };
    for signal in TERMINATION {
        // SAFETY: the set is initialised and the signal numbers are valid.
        unsafe { libc::sigaddset(&mut signals, signal) };
    }
    signals
}
