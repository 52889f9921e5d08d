//! The operations, and the holders of the memory they name.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::{BUFFER_GROUP, Completion, Ring};
use crate::buffer::BulkBuffer;
use crate::contract::{PREFACE_BYTES, Piece};

/// Most pieces of one `sendmsg`, the kernel's `UIO_MAXIOV`.
const PIECES_PER_SEND_MAX: usize = 1024;

/// Most bytes of one receive into a bulk buffer: about 50 us of copying in one enter.
const BULK_RECEIVE_BYTES_MAX: usize = 256 * 1024;

/// The memory of a preface.
pub(crate) type Preface = [u8; PREFACE_BYTES];

/// The memory of a connect.
pub(crate) struct SocketAddress(SockAddr);

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.into())
    }
}

/// A span of time as the kernel reads it.
#[repr(C)]
pub(crate) struct Timespec {
    seconds: i64,
    nanos: i64,
}

impl From<Duration> for Timespec {
    fn from(span: Duration) -> Self {
        let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Self {
            seconds,
            nanos: i64::from(span.subsec_nanos()),
        }
    }
}

/// Memory at a fixed address that an operation may use. While it does, nobody can reach it, and
/// dropping the holder leaks it.
pub(crate) struct Lent<T> {
    memory: NonNull<T>,
    lent_for: Option<u64>,
}

impl<T> Lent<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            memory: NonNull::from(Box::leak(Box::new(value))),
            lent_for: None,
        }
    }

    /// The memory, unless an operation uses it.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        if self.lent_for.is_some() {
            return None;
        }
        // SAFETY: `new` leaked a box, which nobody else points at: the kernel's pointer is dead
        // since `take_back` saw the last completion of the operation that had it.
        Some(unsafe { self.memory.as_mut() })
    }

    /// Gives the memory back to its holder.
    ///
    /// # Panics
    /// If `completion` is not the last one of the operation that has it.
    pub(crate) fn take_back(&mut self, completion: &Completion) {
        assert_eq!(
            self.lent_for,
            Some(completion.user_data()),
            "completion of another operation"
        );
        assert!(!completion.more(), "the operation goes on");
        self.lent_for = None;
    }

    fn lend(&mut self, user_data: u64) -> *mut T {
        assert!(
            self.lent_for.is_none(),
            "memory is lent to one operation at a time"
        );
        self.lent_for = Some(user_data);
        self.memory.as_ptr()
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.lent_for.is_none() {
            // SAFETY: `new` leaked exactly this box, and no operation uses it.
            drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
        }
    }
}

/// A gathered send: its pieces stay here until the kernel took all of them.
pub(crate) struct SendOperation {
    memory: Lent<SendMemory>,
}

struct SendMemory {
    pieces: Vec<Piece>,
    /// Pieces before this one are sent.
    first: usize,
    iovecs: Vec<libc::iovec>,
    header: libc::msghdr,
    /// Bytes of one step at most.
    step_bytes_max: usize,
}

/// How far a send came.
pub(crate) enum SendProgress {
    /// Everything was taken.
    Done {
        /// By the last step.
        bytes: usize,
    },
    /// Something is left, to be sent again.
    Short {
        /// Taken by this step.
        bytes: usize,
    },
}

impl SendOperation {
    pub(crate) fn new() -> Self {
        // SAFETY: all-zero is a valid `msghdr`: null pointers with zero lengths.
        let header = unsafe { std::mem::zeroed() };
        let memory = SendMemory {
            pieces: Vec::new(),
            first: 0,
            iovecs: Vec::new(),
            header,
            // The kernel caps one transfer just below 2 GiB; the rest is a short completion.
            step_bytes_max: i32::MAX as usize,
        };
        Self {
            memory: Lent::new(memory),
        }
    }

    /// Hands the kernel at most so many bytes in one step from the next send on.
    ///
    /// # Panics
    /// If a send is in flight.
    pub(crate) fn pace(&mut self, step_bytes_max: usize) {
        self.memory
            .get_mut()
            .expect("a send is in flight on this connection")
            .step_bytes_max = step_bytes_max;
    }

    /// Takes `pieces` over and leaves the vector empty; says whether there is anything to send.
    ///
    /// # Panics
    /// If a send is in flight.
    pub(crate) fn load(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let memory = self
            .memory
            .get_mut()
            .expect("a send is in flight on this connection");
        assert!(
            memory.pieces.is_empty(),
            "a send is in flight on this connection"
        );
        memory.pieces.append(pieces);
        memory.skip_sent(0);
        !memory.pieces.is_empty()
    }

    /// Counts what the kernel took.
    ///
    /// # Errors
    /// The error of the send; its pieces are released.
    pub(crate) fn completed(&mut self, completion: &Completion) -> io::Result<SendProgress> {
        self.memory.take_back(completion);
        let memory = self
            .memory
            .get_mut()
            .expect("the memory was just taken back");
        let outcome = match completion.outcome() {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            outcome => outcome,
        };
        let bytes = outcome.inspect_err(|_| memory.clear())?;
        memory.skip_sent(bytes);
        let progress = if memory.pieces.is_empty() {
            SendProgress::Done { bytes }
        } else {
            SendProgress::Short { bytes }
        };
        Ok(progress)
    }
}

impl SendMemory {
    /// Moves past `bytes` that were sent, and past empty ones.
    fn skip_sent(&mut self, mut bytes: usize) {
        while let Some(piece) = self.pieces.get_mut(self.first) {
            if bytes < piece.len() {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.first += 1;
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.first = 0;
    }

    /// Points the header at what is left, as much of it as one call takes.
    fn gather(&mut self) {
        self.iovecs.clear();
        let left = self.pieces[self.first..].iter().take(PIECES_PER_SEND_MAX);
        let mut room = self.step_bytes_max;
        self.iovecs.extend(left.map_while(|piece| {
            let iov_len = piece.len().min(room);
            room -= iov_len;
            (iov_len > 0).then_some(libc::iovec {
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len,
            })
        }));
        self.header.msg_iov = self.iovecs.as_mut_ptr();
        self.header.msg_iovlen = self.iovecs.len();
    }
}

impl Ring {
    /// Sends what is left of `operation`.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        operation: &mut SendOperation,
        user_data: u64,
    ) {
        const FLAGS: libc::c_int = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let target = types::Fd(socket.as_raw_fd());
        let memory = operation
            .memory
            .get_mut()
            .expect("a send is in flight on this connection");
        let entry = if let [piece] = &memory.pieces[memory.first..] {
            let len = piece.len().min(memory.step_bytes_max) as u32;
            opcode::Send::new(target, piece.as_ptr(), len)
                .flags(FLAGS)
                .build()
        } else {
            memory.gather();
            let header = &raw const memory.header;
            opcode::SendMsg::new(target, header)
                .flags(FLAGS as u32)
                .build()
        };
        operation.memory.lend(user_data);
        // SAFETY: pieces, vectors and header live in `operation.memory`, which is now out of reach
        // and at its address until the completion. The bytes of a piece do not move with it and
        // are not written while it lives: those of a slice are frozen, those of a chunk covered.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Receives exactly the bytes of a preface, and not one more.
    pub(crate) fn receive_preface(
        &mut self,
        socket: BorrowedFd<'_>,
        memory: &mut Lent<Preface>,
        user_data: u64,
    ) {
        let bytes = memory.lend(user_data).cast();
        let target = types::Fd(socket.as_raw_fd());
        let entry = opcode::Recv::new(target, bytes, PREFACE_BYTES as u32);
        let entry = entry.flags(libc::MSG_WAITALL).build().user_data(user_data);
        // SAFETY: `lend` makes these `PREFACE_BYTES` bytes unreachable until the completion.
        unsafe { self.push(entry) }
    }

    /// Receives into the provided buffers until an error, the end, or a cancel.
    pub(crate) fn receive_multishot(&mut self, socket: BorrowedFd<'_>, user_data: u64) {
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), BUFFER_GROUP).build();
        // SAFETY: the entry names no memory; the buffers of the group are registered by a pool that
        // leaks them unless this ring was quiet when it forgot them.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Receives once into one of the provided buffers, at most `bytes_max` bytes.
    pub(crate) fn receive_once(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes_max: usize,
        user_data: u64,
    ) {
        let target = types::Fd(socket.as_raw_fd());
        let entry = opcode::Recv::new(target, std::ptr::null_mut(), bytes_max as u32)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: as for `receive_multishot`: the entry names no memory but that of the group.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Receives once, above the mark of `buffer`.
    pub(crate) fn receive_bulk(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut BulkBuffer,
        user_data: u64,
    ) {
        let (first, room) = buffer.lend(user_data);
        let len = room.min(BULK_RECEIVE_BYTES_MAX) as u32;
        let entry = opcode::Recv::new(types::Fd(socket.as_raw_fd()), first, len).build();
        // SAFETY: `lend` reserves the bytes above the mark for this receive until its completion.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Connects `socket` to `address`.
    pub(crate) fn connect(
        &mut self,
        socket: BorrowedFd<'_>,
        address: &mut Lent<SocketAddress>,
        user_data: u64,
    ) {
        let memory = address.get_mut().expect("a connection is dialled once");
        let (pointer, len) = (memory.0.as_ptr().cast(), memory.0.len());
        address.lend(user_data);
        let entry = opcode::Connect::new(types::Fd(socket.as_raw_fd()), pointer, len).build();
        // SAFETY: the address is lent, so it stays as it is until the completion.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Accepts connections, non-blocking and closed on exec, until an error.
    pub(crate) fn accept_multishot(&mut self, listener: BorrowedFd<'_>, user_data: u64) {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .flags(flags)
            .build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Posts a completion each time `descriptor` becomes readable.
    pub(crate) fn poll_multishot(&mut self, descriptor: BorrowedFd<'_>, user_data: u64) {
        let target = types::Fd(descriptor.as_raw_fd());
        let entry = opcode::PollAdd::new(target, libc::POLLIN as u32)
            .multi(true)
            .build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Posts a completion after the span in `memory`.
    pub(crate) fn timeout(&mut self, memory: &mut Lent<Timespec>, user_data: u64) {
        let timespec = memory.lend(user_data).cast_const().cast();
        let entry = opcode::Timeout::new(timespec).build().user_data(user_data);
        // SAFETY: the span is lent until the completion, and `Timespec` has the kernel's layout.
        unsafe { self.push(entry) }
    }

    /// Cancels the operation with the user data `target`.
    pub(crate) fn cancel(&mut self, target: u64, user_data: u64) {
        self.push_cancel(types::CancelBuilder::user_data(target), user_data);
    }

    /// Cancels every operation on `socket`.
    pub(crate) fn cancel_socket(&mut self, socket: BorrowedFd<'_>, user_data: u64) {
        let target = types::Fd(socket.as_raw_fd());
        self.push_cancel(types::CancelBuilder::fd(target).all(), user_data);
    }

    /// Cancels every operation of the ring.
    pub(crate) fn cancel_all(&mut self, user_data: u64) {
        self.push_cancel(types::CancelBuilder::any(), user_data);
    }

    /// Closes `descriptor`.
    pub(crate) fn close(&mut self, descriptor: OwnedFd, user_data: u64) {
        let entry = opcode::Close::new(types::Fd(descriptor.into_raw_fd())).build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    fn push_cancel(&mut self, target: types::CancelBuilder, user_data: u64) {
        let entry = opcode::AsyncCancel2::new(target)
            .build()
            .user_data(user_data);
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry) }
    }
}
