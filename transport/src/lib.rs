//! The transport of one core: bytes in and out over io_uring, buffers, sockets, timers.
//!
//! What it is: byte streams behind one contract, [`Transport`], as commands in and [`Event`]s out.
//! Received bytes come as [`Chunk`]s in the buffer the kernel wrote them to; sent bytes go out of
//! the slabs they were encoded into. What it is not: it knows no frame, peer, retry or message,
//! owns no policy, and leaves its thread to the driver, which polls, submits and parks it.
//!
//! The two types that matter are [`TcpTransport`] (io_uring, one ring per core) and [`Chunk`].
//! [`MemoryTransport`] keeps the same contract without sockets, between nodes of one process and
//! for tests that drive both ends. [`Transports`] are those of one core together: whoever adds one
//! finds what it must keep in [`contract`], and implements [`Transport`] and [`Network`].
//!
//! ```text
//!   driver:  poll(&mut events) -> handle them -> listen / dial / send / close -> submit or park
//!                 |                                                                   |
//!                 v  no system call                                                   v  one
//!            completion queue  <---------------------- kernel <------------ submission queue
//! ```
//!
//! # Invariants
//! * A transport lives on the thread that made it; only its [`Doorbell`] crosses threads.
//! * Memory that an operation of the kernel may touch is freed after its last completion, or never.
//! * [`Event::Closed`] is the last event of a connection; its id is never valid again.
//! * In steady state no receive, send or event allocates.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod buffer;
pub mod contract;
#[allow(unsafe_code)]
mod descriptor;
pub mod doorbell;
pub mod memory;
pub mod probe;
#[allow(unsafe_code)]
mod ring;
pub mod signal;
pub mod socket;
mod table;
pub mod tcp;
pub mod timer;
pub mod transports;

pub use buffer::{Assembly, Chunk};
pub use contract::{
    CloseReason, ConnectionId, Counters, Detached, Event, Network, Station, Transport,
};
pub use doorbell::Doorbell;
pub use memory::{MemoryNetwork, MemoryTransport};
pub use tcp::TcpTransport;
pub use timer::TimerWheel;
pub use transports::Transports;
