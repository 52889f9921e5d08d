//! Who gets what is published: topics, groups and paths, decided by each core on its own.
//!
//! ```text
//!  each core                        control core                       other nodes
//!  Interests ──► Announce ────────► Announcer ──► Registry ──────────► registries
//!  Mediator  ◄── Topics, shared ◄── Topics    ◄── Publication ◄─────── theirs
//!  Mediator  ──► Fanout ──► frames, one a node ──────────────────────► Mediator ──► Arrival
//! ```
//!
//! - **Interests** are who subscribes on one core. Only how many do is announced: one entry of the
//!   [`registry`](crate::registry) for each core, pattern, message type and group.
//! - **Topics** are all of these, of all nodes, found by a topic: one value for all cores of a
//!   node. Each core remembers the routes of the topics that it publishes to, and nothing else.
//! - **A publish** goes to all subscribers without a group and to one member of each group: one
//!   frame to one core of each node, which gives the same bytes to its other cores. Groups that
//!   match by several patterns are one group if they have one name.
//! - **Order:** what one core publishes to a topic comes to a subscription in that order, as long
//!   as the core that takes it there keeps subscribers of the topic.
//! - **Loss:** nothing is lost without being counted: dead letters, groups that have emptied, nodes
//!   that cannot be reached or have no room, other message types, and queues of subscribers.
//! - **Waiting:** each subscriber has a [`Queue`]; those of one pattern who lose the oldest share a
//!   [`Feed`], in which an item waits once.
//! - **Limits:** those of [`limits`], [`InterestSettings`] and [`QueueSettings`].

mod announcer;
mod cache;
mod choice;
mod cores;
mod feed;
mod frame;
mod interests;
mod key;
pub mod limits;
mod mediator;
mod name;
mod origin;
mod publishing;
mod queue;
mod route;
mod shape;
mod topics;

pub use self::announcer::{Announcer, Level, Refused};
pub use self::choice::{AllNodes, Candidate, Nodes, Policy};
pub use self::cores::Cores;
pub use self::feed::{Cursor, Fed, Feed, FeedCounters};
pub use self::frame::{
    ANSWER_BYTES, AnswerTo, Came, FrameError, FrameTopic, Groups, Head, NoRoom, Reached,
};
pub use self::interests::{
    Announce, AnnouncementId, InterestCounters, InterestSettings, Interests, Plan, Recipient,
    SUBSCRIPTION_BYTES, Subscribe, SubscribeError, Subscribed, SubscriberId, SubscriptionId,
};
pub use self::mediator::{
    Arrival, Audience, Destination, Fanout, Forward, Full, Hop, Mediator, MediatorCounters, Moment,
    Pressure, Publish, SendError, UnknownEntry, Whom,
};
pub use self::name::{GroupName, NameError, Path, Pattern, Topic, TopicName};
pub use self::origin::{OWN_ORIGIN, Origin};
pub use self::publishing::{Outcome, Publishing, TooMany};
pub use self::queue::{Offered, OnFull, Queue, QueueCounters, QueueFull, QueueSettings, Taken};
pub use self::route::{Stop, Unreached};
pub use self::topics::Topics;

#[cfg(test)]
mod tests;
