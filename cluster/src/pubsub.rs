//! Who gets what is published: topics, groups and paths, decided by each core on its own.
#![allow(dead_code)]

mod announcer;
mod cache;
mod interests;
mod key;
pub mod limits;
mod name;
mod shape;

pub use self::announcer::{Announcer, Answer, Level, Refused, WaiterId};
pub use self::interests::{
    Announce, AnnouncementId, InterestCounters, InterestSettings, Interests, Plan, Recipient,
    SUBSCRIPTION_BYTES, Subscribe, SubscribeError, Subscribed, SubscriberId, SubscriptionId,
};
pub use self::name::{GroupName, NameError, Path, Pattern, Topic, TopicName};
