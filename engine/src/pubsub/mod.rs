//! Pub-sub: what is published to a topic reaches all who subscribe to it, on every core of every
//! member of the cluster.
//!
//! A [`Topic`] is a name and a message type. [`Node::subscribe`](crate::Node::subscribe) begins a
//! [`Subscription`], which reads as if it had a queue of its own: those of a core that are alike
//! share what waits for them. [`Node::publisher`](crate::Node::publisher) gives a [`Publisher`]. A
//! message is archived once, and travels once to each node that has subscribers; there the cores
//! share it, and each subscriber reads the same bytes.
//!
//! - Delivery is at most once, in order from one publishing core to one subscription: but messages
//!   that take the large lane, and those that do not, have no order between each other. Whatever
//!   is lost is counted; what the queue of a subscriber lost, that is told.
//! - Names have segments between dots: subscriptions may be to patterns, in which `*` stands for
//!   one segment and `**`, at the end, for any number of them.
//! - Of a group one member gets each message, in turn with the others.
//! - A subscriber that is slow loses what its [`OnFull`] says, and slows nobody; but for
//!   [`OnFull::Wait`]. One that wants the newest alone has [`Subscribe::conflate`].
//! - An actor subscribes in its [context](crate::Cx::subscribe), and gets messages into its
//!   mailbox.
//! - Each subscriber is told which node published: by [`Received::sender`], and an actor by its
//!   [context](crate::Cx::sender). That is the node at the other end of the link that the message
//!   came on, whatever is in the message; only of what a member sends on, because the group that
//!   it was sent to has none left there, it is that member's word.
//! - [`Publisher::publish_acknowledged`] says how many subscribers on how many nodes have a
//!   message.
//!
//! One message for one of several, or for each of them, is sent to a [`Path`], under which actors
//! are [put](crate::Node::put) on whatever nodes: by a [`PathSender`].
//!
//! It stores nothing: who subscribes later does not get what was published before.

mod error;
mod inbox;
pub(crate) mod mediator;
mod on_actor;
mod on_node;
mod path;
mod path_sender;
mod publisher;
mod shared;
mod subscribe;
mod subscription;
mod topic;

pub use ringmesh_cluster::pubsub::{
    Audience, GroupName, Level, NameError, Outcome, Pattern, Policy, TopicName,
};

pub use self::error::{PathError, PublishError, PutError, RecvError, SubscribeError, WaitError};
pub use self::path::Path;
pub use self::path_sender::{PathSender, SentToAll};
pub use self::publisher::{Publisher, Reached};
pub use self::subscribe::{OnFull, Subscribe};
pub use self::subscription::{Received, Recv, Subscription};
pub use self::topic::Topic;
