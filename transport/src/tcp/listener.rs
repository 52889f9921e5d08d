//! The listener: a multishot accept that pauses when the process runs out of descriptors.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::tag::{Operation, Tag};
use crate::ring::{Completion, Lent, Ring, Timespec};
use crate::socket::{self, SocketOptions};

/// How long a paused listener waits when no descriptor of this core comes free before.
const PAUSE: Duration = Duration::from_millis(100);

/// The one listener of a transport, or none.
pub(super) struct Listener {
    socket: Option<OwnedFd>,
    /// Completions of an earlier listener carry another one.
    generation: u32,
    armed: bool,
    paused: bool,
    pause: Lent<Timespec>,
}

/// What a completion of the accept means.
pub(super) enum Accepted {
    /// A connection.
    Connection(OwnedFd),
    /// A connection that came after `close`, or nothing.
    Nothing,
    /// Accepting stopped for want of something.
    Paused(io::Error),
}

impl Listener {
    pub(super) fn new() -> Self {
        let pause = Lent::new(Timespec::from(PAUSE));
        Self {
            socket: None,
            generation: 0,
            armed: false,
            paused: false,
            pause,
        }
    }

    pub(super) fn open(
        &mut self,
        at: SocketAddr,
        options: &SocketOptions,
        ring: &mut Ring,
    ) -> io::Result<SocketAddr> {
        if self.socket.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "already listening",
            ));
        }
        let (socket, address) = socket::listener(at, options)?;
        self.socket = Some(socket);
        self.arm(ring);
        Ok(address)
    }

    /// Frees the port now; the accept ends by itself.
    pub(super) fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket::shutdown(socket.as_fd());
        }
        self.generation = self.generation.wrapping_add(1);
        self.armed = false;
        self.paused = false;
    }

    /// Accepts again after a pause, because something was given back.
    pub(super) fn resume(&mut self, ring: &mut Ring) {
        if self.paused {
            self.paused = false;
            self.arm(ring);
        }
    }

    pub(super) fn accepted(
        &mut self,
        tag: Tag,
        completion: Completion,
        ring: &mut Ring,
    ) -> Accepted {
        let more = completion.more();
        // Taken first: a connection of an earlier listener is closed by dropping it.
        let socket = completion.accepted();
        if tag.connection.generation != self.generation {
            return Accepted::Nothing;
        }
        self.armed &= more;
        let error = match socket {
            Ok(socket) => {
                self.arm(ring);
                return Accepted::Connection(socket);
            }
            Err(error) => error,
        };
        if is_of_the_peer(&error) {
            self.arm(ring);
            return Accepted::Nothing;
        }
        self.paused = true;
        if let Some(pause) = self.pause.get_mut() {
            *pause = Timespec::from(PAUSE);
            let tag = Tag::of_core(Operation::AcceptPause, self.generation);
            ring.timeout(&mut self.pause, tag.pack());
        }
        Accepted::Paused(error)
    }

    pub(super) fn pause_ended(&mut self, completion: &Completion, ring: &mut Ring) {
        self.pause.take_back(completion);
        self.resume(ring);
    }

    fn arm(&mut self, ring: &mut Ring) {
        if self.armed {
            return;
        }
        if let Some(socket) = &self.socket {
            let tag = Tag::of_core(Operation::Accept, self.generation);
            ring.accept_multishot(socket.as_fd(), tag.pack());
            self.armed = true;
        }
    }
}

/// Errors of one connection that broke before it was accepted (accept(2)), and of a signal: the
/// next one may well succeed.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EAGAIN
                | libc::EPERM
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}
