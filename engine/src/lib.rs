//! A thread-per-core, zero-copy messaging engine on io_uring.
//!
//! Actors live on one core and handle one message at a time; messages are typed, archived with
//! rkyv, and read in place in the buffer they were received into. A [`Ref`] sends to an actor
//! wherever it lives. Every queue is bounded, and a send that finds no room says so.
//!
//! Actors spawn children, which end before they do; one that panics ends, or is made anew as its
//! [`Props`] say; and one that [watches](Cx::watch) another is told of its end. The page
//! `guarantees.md` beside the crate says what holds, and which test shows it.
//!
//! It is not a broker and stores nothing; a message lost with its link or its process is counted,
//! and not sent again.
//!
//! The two types that matter: [`Node`], the running node, and [`Ref`], the typed name of an actor.
//!
//! A handler runs on its core's thread. One that blocks stalls everything on that core: links,
//! timers and other actors.

#![deny(unsafe_code)]

/// The example of the README, kept compiling.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

// The macros name the facade from outside, and this crate uses them too.
extern crate self as ringmesh;

mod actor;
mod ask;
mod client;
pub mod cluster;
mod config;
mod control;
mod core;
mod counters;
mod dead_letter;
mod deploy;
mod directory;
mod ending;
mod engine;
mod error;
mod error_code;
mod event;
pub mod lease;
mod link_report;
mod look_up;
mod mesh;
#[allow(unsafe_code)]
pub mod message;
mod metrics;
mod node;
mod pattern;
mod ping_error;
pub mod prelude;
mod props;
pub mod pubsub;
mod quarantine;
mod random;
mod reference;
mod refusal;
pub mod registry;
mod resolve;
mod rt;
mod selection;
pub mod shutdown;
mod subscription;
mod supervision;
mod tell;
pub mod testkit;
pub mod transport;
mod watch;
mod wire_ref;

pub use actor::{
    Accepts, AcceptsLocal, Actor, AsyncHandler, Cx, ForwardError, Handler, LaterHandler,
    LocalHandler, LocalMessage, Protocol, ReplyTo, StashFull, StashLimit,
};
pub use ask::Ask;
pub use client::ClientAccessError;
pub use config::{
    ConfigurationError, CoreMemory, IdleMode, LinkMemory, MemoryBudget, NodeRole, SettingSource,
    Settings, SocketBuffers, memory_budget,
};
pub use core::TimerId;
pub use counters::Counters;
pub use dead_letter::{DeadLetter, DeadLetterReason, DeadLetters, DeadRecipient};
pub use deploy::{Deploy, Placement, SpawnAtError, Spawnable};
pub use ending::{Ending, StopError, Stopped};
pub use engine::{Engine, NodeBuilder};
pub use error::{
    AskError, AskPhase, EngineError, Executed, ResolveError, SendError, SpawnError, TimerError,
};
pub use event::{Events, LinkEnds, NodeEvent, NodeLoss};
pub use link_report::{LinkReport, LinkState};
pub use look_up::LookUp;
pub use message::{Message, Msg, Upgrade};
pub use metrics::{Metrics, MetricsReader};
pub use node::Node;
pub use ping_error::PingError;
pub use props::{Props, StartError};
pub use quarantine::{QuarantineError, Remedy};
pub use reference::Ref;
pub use ringmesh_macros::{async_handler, later_handler, message, protocol, wire};
pub use ringmesh_proto::address::{ActorPath, Address, CoreId, NodeId, Uid};
pub use ringmesh_proto::lane::Lane;
pub use ringmesh_proto::message::MessageId;
pub use selection::{FanOut, SelectError, Selection};
pub use supervision::{Restarts, Supervision};
pub use tell::{Tell, TellLocal};
pub use watch::{ActorId, Ended, Terminated, WatchError};
pub use wire_ref::{ArchivedWireRef, WireRef};

/// What the macros' code and the tests of the wire name. Not a part of the API: anything here may
/// change at any time.
#[doc(hidden)]
pub mod __private {
    pub use ringmesh_proto as proto;
    pub use ringmesh_proto::archive::rkyv;

    pub use crate::actor::{
        Check, Delivery, Dispatch, LocalInfo, LocalValue, Look, Origin, Outcome, Owed, Seat,
        Served, Serves, Source, deliver, deliver_local, next_poll, no_such_message, reply_to,
    };
    pub use crate::deploy::{
        Finish, Finished, Made, Place, Spawn, SpawnVerdict, Spawned, Strategy, StrategyKind,
    };
    pub use crate::directory::{Finding, Resolve, Resolved, Select, Selected, Spot, Verdict};
    pub use crate::message::lock::{assert_messages_locked, check_messages_lock};
    pub use crate::pubsub::mediator::{Answered, Published, Shared};
    // For the bench of the ring alone: its cost is compared with that of another crate's ring.
    pub use crate::mesh::{Consumer, Producer, ring};
}
