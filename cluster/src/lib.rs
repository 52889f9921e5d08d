//! The pure half of a cluster: decisions without a socket, a clock, a thread or a random source.
//!
//! What it is: the wall behind which membership, failure detection, the registry, pub-sub and
//! routing will live, as values that take a message, a command or the time and answer with effects,
//! so that the engine's cores and a simulator run the same code. What it is not: it does no input
//! or output and never will, and it holds no machine yet; see the status in the README.
#![forbid(unsafe_code)]
