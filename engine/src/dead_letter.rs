//! Messages that reach nobody, as a user sees them: one letter for each, or for all that were given
//! up with their link.

use std::fmt;

use ringmesh_proto::address::{CoreId, NodeId};
use ringmesh_proto::message::MessageId;

use crate::subscription::Reader;

/// Why a message reached nobody. Each reason has a counter of the same name in
/// [`Counters`](crate::Counters), with `dead_` in front; [local messages](crate::LocalMessage) are
/// counted in `local_dead`, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// It was given up with its link and never left this node.
    Unsent,
    /// It was given up with its link, and may or may not have been handled at the peer.
    Maybe,
    /// It arrived, and its recipient does not run, or not any more.
    NoRecipient,
    /// It arrived, and the recipient's protocol has no such message.
    UnknownMessage,
    /// It arrived, and is known here in another version or with other fields.
    SchemaMismatch,
    /// It arrived, and is a question whose deadline had passed when its turn came.
    Expired,
    /// It arrived, and is not a valid archive of the message or answer.
    Invalid,
    /// It answers a question that is no longer asked.
    LateAnswer,
    /// It came in an older version, and making the current one of it panicked or made it too long.
    NotUpgraded,
    /// Its actor had [laid it aside](crate::Cx::stash), and ended, or its deadline had passed when
    /// it came back. It was delivered once; whoever asked is told that it was not executed.
    Stashed,
    /// It arrived from a client, and no actor there is
    /// [registered](crate::Node::register_for_clients) for those, whether or not one runs.
    NotForClients,
}

impl DeadLetterReason {
    /// All reasons there are.
    pub const ALL: [Self; 11] = [
        Self::Unsent,
        Self::Maybe,
        Self::NoRecipient,
        Self::UnknownMessage,
        Self::SchemaMismatch,
        Self::Expired,
        Self::Invalid,
        Self::LateAnswer,
        Self::NotUpgraded,
        Self::Stashed,
        Self::NotForClients,
    ];

    /// A stable name for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Maybe => "maybe",
            Self::NoRecipient => "no_recipient",
            Self::UnknownMessage => "unknown_message",
            Self::SchemaMismatch => "schema_mismatch",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::LateAnswer => "late_answer",
            Self::NotUpgraded => "not_upgraded",
            Self::Stashed => "stashed",
            Self::NotForClients => "not_for_clients",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A message that reached nobody, or several that were given up together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Why.
    pub reason: DeadLetterReason,
    /// How many messages it stands for: 1, but for those that were given up with their link.
    pub count: u64,
    /// The core of this node that counted it.
    pub core: CoreId,
    /// The node that sent it or, of a message given up with its link, was to get it; this node
    /// itself between its cores.
    pub peer: NodeId,
    /// Which message. `None` of local ones, of those given up with their link, and of answers that
    /// are errors.
    pub message: Option<MessageId>,
    /// The name of the message, where this node knows it: from the protocol of its recipient.
    pub message_name: Option<&'static str>,
    /// The actor of this node that was to get it. `None` of answers, and of messages given up with
    /// their link.
    pub recipient: Option<DeadRecipient>,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x ", self.count)?;
        match (self.message_name, self.message) {
            (Some(name), _) => f.write_str(name)?,
            (None, Some(id)) => write!(f, "{id:?}")?,
            (None, None) => f.write_str("messages")?,
        }
        if let Some(recipient) = &self.recipient {
            write!(f, " for {recipient}")?;
        }
        let is_ours = matches!(
            self.reason,
            DeadLetterReason::Unsent | DeadLetterReason::Maybe
        );
        let way = if is_ours { "to" } else { "from" };
        write!(f, " {way} {}", self.peer)
    }
}

/// An actor that a message did not reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeadRecipient {
    /// Its name, if it has one and is still known here.
    pub name: Option<Box<str>>,
    /// Its slot on its core.
    pub slot: u32,
    /// Which owner of the slot it is.
    pub generation: u64,
}

impl fmt::Display for DeadRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "slot {}#{}", self.slot, self.generation),
        }
    }
}

/// A subscription to the dead letters of all cores of a node, from its making on. See
/// [`Node::dead_letters`](crate::Node::dead_letters).
///
/// It may be read on any thread. The node keeps the last `dead_letters_kept` of its
/// [`Settings`](crate::Settings) for all subscriptions together; one that is slower misses the
/// oldest, and [`missed`](Self::missed) counts them.
#[derive(Debug)]
pub struct DeadLetters(pub(crate) Reader<DeadLetter>);

impl DeadLetters {
    /// The next letter; waits for it. `None` once the node has ended and all its letters are read.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<DeadLetter> {
        self.0.next().await
    }

    /// The next letter, if there is one now.
    pub fn try_next(&mut self) -> Option<DeadLetter> {
        self.0.try_next()
    }

    /// How many letters were dropped before this subscription read them.
    pub fn missed(&self) -> u64 {
        self.0.missed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_order_and_named_once_each() {
        for (place, reason) in DeadLetterReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "the log keeps a pace at that place");
            let others = DeadLetterReason::ALL.into_iter().filter(|it| *it != reason);
            assert!(others.into_iter().all(|it| it.label() != reason.label()));
        }
    }
}
