//! A deterministic simulator of Ringmesh nodes.
//!
//! What it is: a world of nodes in virtual time, each with its cores, its clock and its links, in
//! one thread. The links are production code: every message passes the encoder, the handshake, the
//! association and the decoder over simulated byte streams, and nothing is handed over as a value.
//! What it is not: it starts no process, opens no socket and waits for nothing.
//!
//! - [`World`] runs a [`Machine`] on every node; a [`Script`] says what happens, and when.
//! - [`Fault`] is what may befall it, and [`Invariant`] what has to hold all the same.
//! - [`chatter`] and [`members`] are machines to run: nodes that only talk, and those of a cluster.
//! - [`run()`] puts a [`Subject`] through a random course of events, and [`Tally`] adds many up.
//!
//! Scripts, faults and invariants of one's own:
//!
//! ```
//! use std::time::Duration;
//!
//! use ringmesh_sim::members::{Disks, Participant};
//! use ringmesh_sim::{Fault, Invariant, Script, Settings, Step, Trace, World};
//!
//! /// Nobody who runs is ever alone for long.
//! struct Company;
//!
//! impl Invariant<Participant> for Company {
//!     fn name(&self) -> &'static str {
//!         "company"
//!     }
//!
//!     fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
//!         let is_early = world.now().as_nanos() < 10_000_000_000;
//!         let members = |node| Some(world.machine(node)?.control().topology().members().len());
//!         let alone = world.running().find(|node| members(*node) < Some(2));
//!         match alone.filter(|_| !is_early) {
//!             Some(node) => Err(format!("node {node} is alone")),
//!             None => Ok(1),
//!         }
//!     }
//! }
//!
//! // A fault of one's own: the next five connections from node 0 to node 2 are reset.
//! let hiccups = |world: &mut World<Participant>| {
//!     (0..5).for_each(|_| world.befall(Fault::Reset { from: 0, to: 2 }, None));
//! };
//! let script = Script::new()
//!     .start([0, 1, 2])
//!     .at(Duration::from_secs(5))
//!     .befall_for(Duration::from_secs(2), Fault::partition(&[0], &[1, 2]))
//!     .after(Duration::from_secs(5))
//!     .step(Step::Do(Box::new(hiccups)))
//!     .after(Duration::from_secs(10))
//!     .expect("all are linked", |world| match world.is_linked(0, 2) {
//!         true => Ok(()),
//!         false => Err("nodes 0 and 2 are not".to_owned()),
//!     });
//!
//! let disks = Disks::default();
//! let mut world = World::new(Settings::new(7, 3), Trace::hashed(), move |birth| {
//!     Participant::new(birth, Default::default(), 3, disks.clone())
//! });
//! world.hold_to(Box::new(Company));
//! world.follow(script);
//! world.run(Duration::from_secs(30))?;
//! world.finish()?;
//! # Ok::<(), ringmesh_sim::Violation>(())
//! ```
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
mod outcome;
mod random;
mod run;
mod script;
mod store;
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
pub use self::outcome::{Fate, Outcome, Outcomes};
pub use self::random::Random;
pub use self::run::{Report, Subject, run};
pub use self::script::{Check, Deed, Script, Step};
pub use self::store::{Fall, Grant, Outage, Store, Troubles};
pub use self::swarm::{Plan, Swarm};
pub use self::tally::{
    BORDER_SHARE, CLASS_SHARE, COVERED_FROM, ClassTally, EXERCISE_SHARE, FAULTS_MIN, LARGE_SHARE,
    SEVERAL_SHARE, Tally,
};
pub use self::trace::Trace;
pub use self::world::{Birth, Maker, Settings, World};

#[cfg(test)]
mod tests;
