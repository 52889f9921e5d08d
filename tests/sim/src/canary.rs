//! Faults planted on purpose, none of them in the code that is tested: invariants that find nothing
//! wrong with them would find nothing wrong with anything.

use std::str::FromStr;

/// What is done wrong: by the driver of a node, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// It brings a message twice.
    Repeat,
    /// It does not bring a message.
    Lose,
    /// Nothing: members of clusters decide by a strategy that lets each side go on.
    KeepYourself,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Repeat, Self::Lose, Self::KeepYourself];

    /// In how many of a thousand messages.
    pub(crate) const SHARE: u64 = 2;

    /// Its name on command lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::Lose => "lose",
            Self::KeepYourself => "keep-yourself",
        }
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
