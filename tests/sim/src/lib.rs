//! A deterministic simulator of Ringmesh nodes.
//!
//! What it is: a world of nodes in virtual time, each with its cores, its clock and its links, in
//! one thread. The links are production code: every message passes the encoder, the handshake, the
//! association and the decoder over simulated byte streams, and nothing is handed over as a value.
//! What it is not: it starts no process, opens no socket and waits for nothing.
//!
//! - [`World`] runs a [`Machine`] on every node; a [`Script`] says what happens, and when.
//! - [`Fault`] is what may befall it, and [`Invariant`] what has to hold all the same.
#![forbid(unsafe_code)]

mod agenda;
mod canary;
pub mod chatter;
mod clock;
mod driver;
mod fault;
mod happening;
mod invariant;
mod machine;
pub mod members;
mod misfortune;
mod network;
mod node;
mod random;
mod run;
mod script;
mod swarm;
mod tally;
mod timeline;
mod trace;
mod world;

pub use self::canary::{Canary, UnknownCanary};
pub use self::clock::Clock;
pub use self::fault::{Class, Faults, UnknownClass};
pub use self::happening::{HalfId, Happening, Place};
pub use self::invariant::{
    Awake, Bounds, Checks, Invariant, Ledger, Progress, Topologies, Violation,
};
pub use self::machine::{ACTS_MAX, Act, Context, LinkNews, Machine, Outbox, Recipient, Sent};
pub use self::misfortune::Fault;
pub use self::network::Weather;
pub use self::random::Random;
pub use self::run::{Report, Subject, run};
pub use self::script::{Check, Deed, Script, Step};
pub use self::swarm::{Plan, Swarm};
pub use self::tally::{CLASS_SHARE, COVERED_FROM, ClassTally, FAULTS_MIN, LARGE_SHARE, Tally};
pub use self::trace::Trace;
pub use self::world::{Birth, Maker, Settings, World};

#[cfg(test)]
mod tests;
