//! Who gets what is published: topics, groups and paths, decided by each core on its own.
#![allow(dead_code)]

mod announcer;
mod cache;
mod choice;
mod cores;
mod frame;
mod interests;
mod key;
pub mod limits;
mod mediator;
mod name;
mod publishing;
mod queue;
mod route;
mod shape;
mod topics;

pub use self::announcer::{Announcer, Answer, Level, Refused, WaiterId};
pub use self::choice::{AllNodes, Candidate, Nodes, Policy};
pub use self::cores::Cores;
pub use self::frame::{
    ANSWER_BYTES, AnswerTo, FrameError, FrameTopic, Groups, Head, NoRoom, Reached,
};
pub use self::interests::{
    Announce, AnnouncementId, InterestCounters, InterestSettings, Interests, Plan, Recipient,
    SUBSCRIPTION_BYTES, Subscribe, SubscribeError, Subscribed, SubscriberId, SubscriptionId,
};
pub use self::mediator::{
    Arrival, Audience, Destination, Fanout, Forward, Full, Hop, Mediator, MediatorCounters,
    Pressure, Publish, SendError, UnknownEntry, Whom,
};
pub use self::name::{GroupName, NameError, Path, Pattern, Topic, TopicName};
pub use self::publishing::{Outcome, Publishing, TooMany};
pub use self::queue::{Offered, OnFull, Queue, QueueCounters, QueueFull, QueueSettings, Taken};
pub use self::route::{Stop, Unreached};
pub use self::topics::Topics;

#[cfg(test)]
mod tests;
