//! TCP sockets as every connection of Ringmesh uses them.
//!
//! Accepted sockets inherit the listener's options on Linux, so accepting costs no call per option.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::descriptor;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What [`discard_unread`] throws away at most, in steps of one array on the stack.
const DISCARD_STEPS_MAX: usize = 16;
const DISCARD_STEP_BYTES: usize = 16 * 1024;

/// Options of the sockets of one transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The kernel's send buffer of each socket, in bytes. `None` (the default) leaves it to the
    /// kernel, which grows it with the path; a fixed size caps memory and throughput alike.
    pub send_buffer_bytes: Option<usize>,
    /// The kernel's receive buffer of each socket, in bytes. As for `send_buffer_bytes`.
    pub receive_buffer_bytes: Option<usize>,
    /// Idle time after which the kernel probes the peer; a third of it between probes, three of
    /// them. `None` switches probing off. 15 s by default.
    pub keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
    /// `None` means the kernel's own limit of about 15 minutes. 30 s by default.
    pub user_timeout: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            keepalive: Some(Duration::from_secs(15)),
            user_timeout: Some(Duration::from_secs(30)),
        }
    }
}

/// A listening socket at `at`, and where it listens.
///
/// `SO_REUSEADDR` lets a restarted process take over a port whose old connections linger. There is
/// no `SO_REUSEPORT`: a port that another process uses must be an error. IPv6 means IPv6 only, so a
/// node that wants both families says so with two addresses.
pub(crate) fn listener(
    at: SocketAddr,
    options: &SocketOptions,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = tcp(at)?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    apply(&socket, options)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    let address = internet_address(socket.local_addr()?)?;
    Ok((socket.into(), address))
}

/// A socket to dial `to` with, bound to `from` when that is given and can reach `to`.
pub(crate) fn dialler(
    to: SocketAddr,
    from: Option<IpAddr>,
    options: &SocketOptions,
) -> io::Result<OwnedFd> {
    let socket = tcp(to)?;
    apply(&socket, options)?;
    if let Some(from) = from.filter(|from| can_reach(*from, to.ip())) {
        descriptor::choose_port_late(socket.as_fd())?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket.into())
}

/// Whether a connection to `to` can come from `from`: never between two families, and from the
/// loopback to the loopback alone. Else the kernel chooses.
fn can_reach(from: IpAddr, to: IpAddr) -> bool {
    from.is_ipv4() == to.is_ipv4() && (!from.is_loopback() || to.is_loopback())
}

/// Who is at the other end.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet_address(SockRef::from(&socket).peer_addr()?)
}

/// Whether the socket is connected to itself: dialling a free port of the range that the kernel
/// picks local ports from can do that.
pub(crate) fn is_self_connected(socket: BorrowedFd<'_>) -> bool {
    let socket = SockRef::from(&socket);
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local.as_socket() == peer.as_socket(),
        _ => false,
    }
}

/// Whether a socket that has ended was reset. The error of a reset is told once, and a send that
/// was under way may have taken it; but only after a reset does the socket have no peer any more.
pub(crate) fn is_reset(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).peer_addr().is_err()
}

/// Ends both directions. Everything that waits on the socket wakes; a listener frees its port.
pub(crate) fn shutdown(socket: BorrowedFd<'_>) {
    // The one error is `NotConnected`, and then there is nothing to end.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
}

/// Throws away bytes that arrived and were not received, up to a bound: closing with unread bytes
/// sends a reset, which can destroy the last words this side sent.
pub(crate) fn discard_unread(socket: BorrowedFd<'_>) {
    // `MSG_TRUNC` on TCP discards without copying, so the array is never written to.
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    let socket = SockRef::from(&socket);
    let mut untouched = [MaybeUninit::uninit(); DISCARD_STEP_BYTES];
    for _ in 0..DISCARD_STEPS_MAX {
        match socket.recv_with_flags(&mut untouched, FLAGS) {
            Ok(discarded) if discarded > 0 => {}
            _ => break,
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new_raw(Domain::for_address(address), kind, Some(Protocol::TCP))
}

fn apply(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = options.keepalive {
        let interval = (idle / 3).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

fn internet_address(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
