//! The pure half of a cluster: decisions without a socket, a clock, a thread or a random source.
//!
//! What it is: the wall behind which failure detection, death watch between nodes, membership,
//! leases, the registry and pub-sub live, and later routing, as values that take a message, a
//! command or the time and answer with effects, so that the engine's cores and a simulator run the
//! same code.
//! What it is not: it does no input or output and never will.
//!
//! - [`detector`]: whether a node that answers heartbeats still lives.
//! - [`watch`]: who watches whom over nodes, and what follows from the end of an actor or a node.
//! - [`control`]: what runs on the control core of a node, put together.
//! - [`membership`]: who is in the cluster.
//! - [`context`] and [`effect`]: what a machine is given with each call, and what it wants done.
//! - [`post`]: what waits to be sent to a node.
//! - [`evidence`]: whether a node has crashed, as far as its connections tell.
//! - [`monitor`]: which members still live.
//! - [`lease`]: what may be held by one at a time, for a while.
//! - [`pubsub`]: who gets what is published. No core has it yet.
//! - [`registry`]: what nodes announce.
//! - [`resolver`]: which side goes on when a cluster falls apart.
#![forbid(unsafe_code)]

pub mod codec;
pub mod context;
pub mod control;
pub mod detector;
pub mod effect;
pub mod evidence;
pub mod lease;
pub mod membership;
pub mod monitor;
pub mod post;
pub mod pubsub;
pub mod registry;
pub mod resolver;
pub mod watch;
