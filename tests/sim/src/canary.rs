//! Faults planted on purpose, none of them in the code that is tested: invariants that find nothing
//! wrong with them would find nothing wrong with anything.

use std::str::FromStr;

/// What is done wrong: by the driver of links or of pub-sub at a node, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// It brings a message twice.
    Repeat,
    /// It does not bring a message.
    Lose,
    /// Nothing: members of clusters decide by a strategy that lets each side go on.
    KeepYourself,
    /// It gives a subscription what was published twice.
    DeliverTwice,
    /// It gives another member of a group what one has.
    DeliverToBoth,
    /// It does not give a subscription what was published.
    LoseCopy,
    /// It sends what was published to a node in two frames.
    SendTwice,
    /// It forgets a frame that has come.
    LoseFrame,
    /// It says that one subscriber more than have it has what was published.
    AnswerMore,
    /// It says that one alone of those who share what waits for them has what was published.
    CountOnce,
    /// It has those who share what waits for them miss what is next, and does not tell them.
    SkipOne,
    /// It tells another actor under a path what is for one alone.
    TellTwo,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Repeat,
        Self::Lose,
        Self::KeepYourself,
        Self::DeliverTwice,
        Self::DeliverToBoth,
        Self::LoseCopy,
        Self::SendTwice,
        Self::LoseFrame,
        Self::AnswerMore,
        Self::CountOnce,
        Self::SkipOne,
        Self::TellTwo,
    ];

    /// In how many of a thousand messages.
    pub(crate) const SHARE: u64 = 2;

    /// Its name on command lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::Lose => "lose",
            Self::KeepYourself => "keep-yourself",
            Self::DeliverTwice => "deliver-twice",
            Self::DeliverToBoth => "deliver-to-both",
            Self::LoseCopy => "lose-copy",
            Self::SendTwice => "send-twice",
            Self::LoseFrame => "lose-frame",
            Self::AnswerMore => "answer-more",
            Self::CountOnce => "count-once",
            Self::SkipOne => "skip-one",
            Self::TellTwo => "tell-two",
        }
    }

    /// The name of the invariant that has to find it.
    pub const fn found_by(self) -> &'static str {
        match self {
            Self::Repeat | Self::Lose => "ledger",
            Self::KeepYourself => "severed",
            Self::DeliverTwice => "once",
            Self::DeliverToBoth => "groups",
            Self::LoseCopy => "reached",
            Self::SendTwice => "frames",
            Self::LoseFrame | Self::SkipOne => "accounted",
            Self::AnswerMore | Self::CountOnce => "answered",
            Self::TellTwo => "paths",
        }
    }

    /// Whether only the members of a cluster do it.
    pub const fn is_of_members(self) -> bool {
        !matches!(self, Self::Repeat | Self::Lose)
    }
}

/// No canary has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no canary is called `{0}`")]
pub struct UnknownCanary(pub String);

impl FromStr for Canary {
    type Err = UnknownCanary;

    fn from_str(name: &str) -> Result<Self, UnknownCanary> {
        let mut all = Self::ALL.into_iter();
        all.find(|canary| canary.label() == name)
            .ok_or_else(|| UnknownCanary(name.to_owned()))
    }
}
