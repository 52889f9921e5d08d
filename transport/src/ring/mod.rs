//! A safe layer over one io_uring instance: set-up, entering the kernel, completions.
//!
//! Two rules carry the safety of everything above:
//! * memory that an operation names is owned by a holder that leaks it when dropped too early
//!   ([`Lent`], [`SendOperation`], `BulkBuffer`, `ReceivePool`);
//! * the holder gives the memory back only against a [`Completion`], and only this module can make
//!   one, from an entry the kernel posted.

mod operation;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, squeue};

use crate::buffer::ReceivePool;
use crate::descriptor;
pub(crate) use operation::{Lent, Preface, SendOperation, SendProgress, SocketAddress, Timespec};

/// The one group of provided buffers of a ring.
const BUFFER_GROUP: u16 = 0;

/// Completion entries per submission entry: a multishot request posts many.
const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// An io_uring instance of this thread. It may only be used on the thread that made it.
pub(crate) struct Ring {
    uring: IoUring,
    /// What `io_uring_enter` is called with: an index of this thread's table, or the descriptor.
    enter_handle: RawFd,
    enter_flags: EnterFlags,
    wait_flags: EnterFlags,
    /// Entries that found the submission queue full.
    waiting: VecDeque<squeue::Entry>,
    in_flight: u32,
    enters: u64,
    /// `SINGLE_ISSUER` binds the ring to its thread.
    _not_send: PhantomData<Rc<()>>,
}

/// The proof that an operation made progress, as the kernel posted it. Cannot be copied, so what it
/// gives back is given back once.
#[derive(Debug)]
pub(crate) struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

impl Completion {
    /// A completion that no kernel posted, for tests of what holds memory.
    #[cfg(test)]
    pub(crate) const fn made_up(user_data: u64, result: i32, buffer: Option<u16>) -> Self {
        let flags = match buffer {
            // `IORING_CQE_F_BUFFER`, and the index above `IORING_CQE_BUFFER_SHIFT`.
            Some(index) => 1 | (index as u32) << 16,
            None => 0,
        };
        Self {
            user_data,
            result,
            flags,
        }
    }

    pub(crate) const fn user_data(&self) -> u64 {
        self.user_data
    }

    /// The result as the kernel gave it: a count, or a negated error number.
    pub(crate) const fn result(&self) -> i32 {
        self.result
    }

    /// The result as a count or an error.
    pub(crate) fn outcome(&self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }

    /// Whether the operation goes on and will post another completion.
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The socket that an accept made. To be asked only of completions of an accept.
    pub(crate) fn accepted(self) -> io::Result<OwnedFd> {
        self.outcome()?;
        descriptor::owned(self.result)
    }

    /// The provided buffer that was filled.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

impl Ring {
    /// Makes a ring with room for `entries` submissions at a time.
    ///
    /// # Errors
    /// The error of the set-up call; `probe` explains what it means.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let uring = set_up(entries)?;
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if uring.params().is_feature_no_iowait() {
            // Without it an idle core counts as waiting for a disk in the host's load figures.
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        let mut ring = Self {
            enter_handle: uring.as_raw_fd(),
            enter_flags: EnterFlags::empty(),
            wait_flags,
            uring,
            waiting: VecDeque::new(),
            in_flight: 0,
            enters: 0,
            _not_send: PhantomData,
        };
        ring.register_own_descriptor();
        Ok(ring)
    }

    /// Calls of `io_uring_enter` so far.
    pub(crate) const fn enters(&self) -> u64 {
        self.enters
    }

    /// Operations whose last completion was not yet reaped.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The next completion that is already there. No system call.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let completion = Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        };
        if !completion.more() {
            self.in_flight -= 1;
        }
        Some(completion)
    }

    /// Whether operations wait to be handed to the kernel.
    pub(crate) fn has_submissions(&mut self) -> bool {
        !self.waiting.is_empty() || !self.uring.submission().is_empty()
    }

    /// Whether completions are there, or would be after entering the kernel.
    pub(crate) fn has_completions(&mut self) -> bool {
        if !self.uring.completion().is_empty() {
            return true;
        }
        let submission = self.uring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// Hands everything pushed to the kernel and runs the work it deferred. No system call when
    /// there is neither.
    ///
    /// # Errors
    /// An error of the ring itself.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        loop {
            self.fill_submission_queue();
            let submission = self.uring.submission();
            let deferred = submission.taskrun() || submission.cq_overflow();
            let queued = submission.len() as u32;
            drop(submission);
            if queued == 0 && !deferred {
                return Ok(());
            }
            let flags = if deferred {
                EnterFlags::GETEVENTS
            } else {
                EnterFlags::empty()
            };
            match self.enter(queued, 0, flags, None) {
                Ok(_) => {}
                Err(error) => return settle(error),
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    /// The same, and sleeps in the same call until there is a completion or `timeout` has passed.
    /// May wake early.
    ///
    /// # Errors
    /// An error of the ring itself.
    pub(crate) fn submit_and_wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.fill_submission_queue();
        if !self.waiting.is_empty() {
            // More than one queue full: the caller comes back at once.
            return self.submit();
        }
        let queued = self.uring.submission().len() as u32;
        let timespec = timeout.map(Timespec::from);
        self.enter(queued, 1, self.wait_flags, timespec.as_ref())
            .map_or_else(settle, |_| Ok(()))
    }

    /// Makes the kernel fill the buffers of `pool` from now on.
    ///
    /// # Errors
    /// The error of the registration.
    pub(crate) fn register_pool(&self, pool: &ReceivePool) -> io::Result<()> {
        let (address, count) = (pool.entries_address(), pool.count());
        // SAFETY: the pool mapped `count` entries at this address, and keeps or leaks them until
        // `unregister_pool` made the kernel forget them.
        unsafe {
            self.uring
                .submitter()
                .register_buf_ring_with_flags(address, count, BUFFER_GROUP, 0)
        }
    }

    /// Makes the kernel forget the pool, so that its memory may go. Does nothing while an operation
    /// that might write to it is in flight.
    pub(crate) fn unregister_pool(&self, pool: &mut ReceivePool) {
        if self.in_flight == 0
            && self
                .uring
                .submitter()
                .unregister_buf_ring(BUFFER_GROUP)
                .is_ok()
        {
            pool.unregistered();
        }
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// Memory that `entry` names stays valid, and is left alone as its opcode asks, until the last
    /// completion with its user data.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        if !self.waiting.is_empty() {
            self.waiting.push_back(entry);
            return;
        }
        // SAFETY: the caller's promise, handed on.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            self.waiting.push_back(entry);
        }
    }

    fn fill_submission_queue(&mut self) {
        let mut submission = self.uring.submission();
        while let Some(entry) = self.waiting.front() {
            // SAFETY: whoever called `Ring::push` with this entry promised what is asked for here.
            if unsafe { submission.push(entry) }.is_err() {
                break;
            }
            self.waiting.pop_front();
        }
    }

    /// One `io_uring_enter`. The crate's own call cannot use a registered descriptor without
    /// borrowing the ring for as long.
    fn enter(
        &mut self,
        to_submit: u32,
        wait_for: u32,
        flags: EnterFlags,
        timeout: Option<&Timespec>,
    ) -> io::Result<()> {
        let argument = WaitArgument {
            signal_mask: 0,
            signal_mask_size: 0,
            min_wait_us: 0,
            timespec: timeout.map_or(0, |timespec| std::ptr::from_ref(timespec) as u64),
        };
        let extended = flags.contains(EnterFlags::EXT_ARG);
        let (pointer, size) = if extended {
            (std::ptr::from_ref(&argument), size_of::<WaitArgument>())
        } else {
            (std::ptr::null(), 0)
        };
        let flags = (flags | self.enter_flags).bits();
        self.enters += 1;
        // SAFETY: the arguments have the types io_uring_enter(2) asks for; `argument` and the
        // timespec it names outlive the call, and submitted entries were vouched for in `push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_handle,
                to_submit,
                wait_for,
                flags,
                pointer,
                size,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Puts the ring's descriptor into this thread's table, which spares a look-up per enter. A
    /// refusal (the table is full) costs only that.
    fn register_own_descriptor(&mut self) {
        let mut update = OwnDescriptor {
            offset: u32::MAX,
            reserved: 0,
            data: self.uring.as_raw_fd() as u64,
        };
        if self.register(REGISTER_RING_FDS, &mut update) == 1 {
            self.enter_handle = update.offset as RawFd;
            self.enter_flags = EnterFlags::REGISTERED_RING;
        }
    }

    fn register(&self, operation: libc::c_uint, argument: &mut OwnDescriptor) -> libc::c_long {
        let ring = self.uring.as_raw_fd();
        let argument = std::ptr::from_mut(argument);
        // SAFETY: both operations take an array of `io_uring_rsrc_update`, here of one, which
        // `OwnDescriptor` mirrors.
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, argument, 1) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.enter_flags.contains(EnterFlags::REGISTERED_RING) {
            // The thread's table holds the ring open until the entry is taken out.
            let offset = self.enter_handle as u32;
            let mut update = OwnDescriptor {
                offset,
                reserved: 0,
                data: 0,
            };
            self.register(UNREGISTER_RING_FDS, &mut update);
        }
    }
}

/// Makes an io_uring instance with the flags every core uses.
///
/// # Errors
/// The error of the set-up call.
pub(crate) fn set_up(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(entries * COMPLETIONS_PER_SUBMISSION)
        .build(entries)
}

/// Errors of entering that say "come back": a signal, a timeout, or completions to be reaped first.
fn settle(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
        _ => Err(error),
    }
}

const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// `struct io_uring_getevents_arg` of the kernel.
#[repr(C)]
struct WaitArgument {
    signal_mask: u64,
    signal_mask_size: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct io_uring_rsrc_update` of the kernel.
#[repr(C)]
struct OwnDescriptor {
    offset: u32,
    reserved: u32,
    data: u64,
}
