//! How many subscriptions there may be.

use crate::pubsub::limits::SHAPES_OF_CORE_MAX;

/// How much of this core's memory subscriptions may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterestSettings {
    /// The most subscriptions of one subscriber. With too many one alone can take all there are.
    pub of_subscriber_max: u32,
    /// The most bytes of those: their names, and [`SUBSCRIPTION_BYTES`] for each.
    pub bytes_of_subscriber_max: usize,
    /// The most subscriptions of all.
    pub subscriptions_max: u32,
    /// The most bytes of those.
    pub bytes_max: usize,
}

/// What a subscription is counted as, besides its name.
pub const SUBSCRIPTION_BYTES: usize = 128;

impl Default for InterestSettings {
    /// 4,096 and 1 MiB for each, 131,072 and 32 MiB for all.
    fn default() -> Self {
        Self {
            of_subscriber_max: 4096,
            bytes_of_subscriber_max: 1 << 20,
            subscriptions_max: 131_072,
            bytes_max: 32 << 20,
        }
    }
}

/// Why somebody cannot subscribe. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// This core has as many subscriptions as one may have.
    #[error("this core has as many subscriptions as one core may have")]
    Core,
    /// There are as many different places of wildcards on this core as may be.
    #[error("the patterns of this core have wildcards at {SHAPES_OF_CORE_MAX} different places")]
    Shapes,
    /// This subscriber has as many as one may have: others can still subscribe.
    #[error("this subscriber has as many subscriptions as one subscriber may have")]
    Subscriber,
}
