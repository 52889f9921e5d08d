//! A TCP proxy that does to connections what networks do, on purpose and repeatably: it delays,
//! throttles, stalls, cuts, half-closes and damages what passes, each direction by itself.
//!
//! It knows no protocol but TCP and is no part of what it tests: a program is pointed at the
//! proxy's address in place of the real one. [`Proxy`] is the running thing, [`Faults`] what it
//! does; they may be changed while connections are open. What is random comes from a seed, by
//! connection and direction, and counts bytes instead of time: the same seed and the same bytes
//! meet the same faults.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use ringmesh_fault_proxy::{Faults, Proxy, Strike};
//!
//! # fn main() -> std::io::Result<()> {
//! let upstream = TcpListener::bind("127.0.0.1:0")?;
//! let mut faults = Faults::default();
//! faults.to_upstream.strikes = vec![Strike::flip(2, 0x20)];
//! let proxy = Proxy::start(upstream.local_addr()?, faults)?;
//! TcpStream::connect(proxy.address())?.write_all(b"abcd")?;
//! let mut text = String::new();
//! upstream.accept()?.0.read_to_string(&mut text)?;
//! assert_eq!(text, "abCd");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod connection;
mod faults;
mod ledger;
mod luck;
mod pipe;
mod proxy;
mod writer;

pub use faults::{Action, Direction, Ending, Faults, Strike, Way};
pub use ledger::Counters;
pub use proxy::{CONNECTIONS_MAX, Proxy};
