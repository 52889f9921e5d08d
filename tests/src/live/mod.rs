//! Live nodes, in this process and in others, and what the tests do to them.
//!
//! [`LiveNode`](node::LiveNode) runs a node on a thread and jobs on its core;
//! [`Process`](process::Process) runs one in a process of its own that can be killed, traced and
//! measured; [`RawPeer`](raw::RawPeer) speaks the wire by hand, as well or as badly as a test
//! wants. A [`Bystander`](bystander::Bystander) watches that nobody else notices, and
//! [`Between`](between::Between) puts a proxy with faults between two nodes.

use std::time::Duration;

pub mod between;
pub mod books;
pub mod bystander;
pub mod cores;
pub mod cutter;
pub mod hoard;
pub mod inspector;
pub mod log;
pub mod messages;
pub mod node;
pub mod process;
pub mod procfs;
pub mod pupil;
pub mod raw;
pub mod seed;
pub mod serving;
pub mod watched;

/// The cluster of every live node.
pub const SYSTEM: &str = "tests";

/// The longest a test waits for anything that has no bound of its own. It only has to be finite:
/// many tests share two noisy cores.
pub const WAIT: Duration = Duration::from_secs(30);
