//! What a TCP transport can be told.

use std::net::IpAddr;

use crate::socket::SocketOptions;

/// Settings of a [`TcpTransport`](super::TcpTransport).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Operations handed to the kernel in one call; more take further calls. A power of two. 1,024
    /// by default; the ring's memory counts against the memlock limit, about 100 KiB for 1,024.
    pub submission_entries: u32,
    /// Receive buffers of the core, shared by its connections. A power of two up to 32,768. 64 by
    /// default. Too few, and receives pause while messages are held; the pages of a buffer cost
    /// memory from its first use.
    pub receive_buffers: u16,
    /// Bytes of each receive buffer, 64 KiB by default. A frame that straddles two buffers is
    /// copied, so larger buffers mean fewer copies and a colder cache.
    pub receive_buffer_bytes: u32,
    /// Whether a connection that streams may switch to plain receives into a large buffer.
    pub bulk: BulkMode,
    /// Large buffers of the core, 4 by default; a connection needs one, and another each time it
    /// has filled one whose chunks are still held.
    pub bulk_buffers: usize,
    /// Bytes of each large buffer, 512 KiB by default.
    pub bulk_buffer_bytes: u32,
    /// Connections the transport holds at most, 65,536 by default. Above it a dial is an error and
    /// an accepted connection is closed at once.
    pub connections_max: u32,
    /// Options of every socket.
    pub socket: SocketOptions,
    /// The local address dialled connections come from; `None` (the default) leaves it to the
    /// kernel, and so does one that cannot reach what is dialled: of another family, or of the
    /// loopback when that is not dialled.
    pub dial_from: Option<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            submission_entries: 1024,
            receive_buffers: 64,
            receive_buffer_bytes: 64 * 1024,
            bulk: BulkMode::Adaptive,
            bulk_buffers: 4,
            bulk_buffer_bytes: 512 * 1024,
            connections_max: 65_536,
            socket: SocketOptions::default(),
            dial_from: None,
        }
    }
}

/// Whether connections that stream may use large buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// Every connection receives by multishot into the shared buffers.
    Off,
    /// A connection whose receives keep being large switches to plain receives into one large
    /// buffer, and back when they get small or no large buffer is free.
    Adaptive,
}
