//! The floor's socket: a TCP stream with Ringmesh's options and plain system calls.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use crate::plan::{HYBRID_SPIN, Mode};

/// What to do while the kernel has nothing to give.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Ask again at once.
    Spin,
    /// Ask again, but let the peer run: both sides share one CPU.
    Yield,
    /// Ask again for [`HYBRID_SPIN`], then sleep.
    Hybrid,
    /// Sleep in the system call.
    Park,
}

/// A connected stream and how to wait on it.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    wait: Wait,
}

impl Socket {
    /// Connects to a listening floor.
    pub(crate) fn connect(to: SocketAddr, mode: Mode, cpu_is_shared: bool) -> io::Result<Self> {
        Self::new(TcpStream::connect(to)?, mode, cpu_is_shared)
    }

    /// Prepares an accepted or connected stream.
    pub(crate) fn new(stream: TcpStream, mode: Mode, cpu_is_shared: bool) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let wait = match mode {
            Mode::Spin if cpu_is_shared => Wait::Yield,
            Mode::Spin => Wait::Spin,
            Mode::Hybrid => Wait::Hybrid,
            Mode::Park => Wait::Park,
        };
        stream.set_nonblocking(!matches!(wait, Wait::Park))?;
        Ok(Self { stream, wait })
    }

    /// Reads what there is, waiting for the first byte.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer ended the stream; otherwise the error of the socket.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut idle = Idle::default();
        loop {
            match self.stream.read(into) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    idle.wait(self.wait, &self.stream, PollFlags::IN)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what fits without waiting; everything, however long it takes, when parking.
    ///
    /// # Errors
    /// The error of the socket.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other,
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// The error of the socket.
    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut idle = Idle::default();
        while !bytes.is_empty() {
            match self.write(bytes)? {
                0 => idle.wait(self.wait, &self.stream, PollFlags::OUT)?,
                written => {
                    bytes = &bytes[written..];
                    idle = Idle::default();
                }
            }
        }
        Ok(())
    }
}

/// One wait of unknown length.
#[derive(Default)]
struct Idle {
    since: Option<Instant>,
}

impl Idle {
    fn wait(&mut self, wait: Wait, stream: &TcpStream, ready: PollFlags) -> io::Result<()> {
        match wait {
            Wait::Spin => std::hint::spin_loop(),
            Wait::Yield => std::thread::yield_now(),
            Wait::Hybrid => {
                if self.since.get_or_insert_with(Instant::now).elapsed() < HYBRID_SPIN {
                    std::hint::spin_loop();
                } else {
                    sleep_until_ready(stream, ready)?;
                }
            }
            // A blocking socket says so only when a signal interrupted the call.
            Wait::Park => {}
        }
        Ok(())
    }
}

fn sleep_until_ready(stream: &TcpStream, ready: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(stream, ready)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
