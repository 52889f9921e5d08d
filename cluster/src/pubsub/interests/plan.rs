//! Who on one core gets what is published to one topic.

use std::sync::Arc;

use super::rows::Row;
use super::{SubscriberId, SubscriptionId};
use crate::pubsub::key::Meaning;

/// Who gets a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient {
    /// By which subscription.
    pub subscription: SubscriptionId,
    /// Whose it is.
    pub subscriber: SubscriberId,
}

/// The members of a group on this core, one of which gets what is published.
#[derive(Clone, Debug)]
pub(in crate::pubsub) struct Members {
    pub(in crate::pubsub) group: Arc<str>,
    all: Vec<Recipient>,
    next: usize,
}

impl Members {
    /// The one whose turn it is.
    pub(in crate::pubsub) fn take(&mut self) -> Option<Recipient> {
        let taken = self.all.get(self.next % self.all.len().max(1)).copied();
        self.next = self.next.wrapping_add(1);
        taken
    }
}

/// Who on one core gets what is published to one topic.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    recipients: Vec<Recipient>,
    groups: Vec<Members>,
    other_type: u32,
}

impl Plan {
    /// Those in no group: each gets a copy.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// How many subscribe to the topic with another message type.
    pub fn other_type(&self) -> u32 {
        self.other_type
    }

    pub(in crate::pubsub) fn groups(&mut self) -> &mut [Members] {
        &mut self.groups
    }

    /// The member of a group whose turn it is; `None` if it has none here.
    pub(in crate::pubsub) fn take_of(&mut self, group: &str) -> Option<Recipient> {
        let mut groups = self.groups.iter_mut();
        groups.find(|it| *it.group == *group)?.take()
    }

    pub(super) fn add(
        &mut self,
        row: &Row,
        protocol: u64,
        members: impl Iterator<Item = Recipient>,
    ) {
        let Some(meaning) = Meaning::of(&row.key) else {
            return;
        };
        if row.key.protocol() != protocol {
            self.other_type += row.weight();
            return;
        }
        let Some(group) = meaning.group else {
            self.recipients.extend(members);
            return;
        };
        match self.groups.iter_mut().find(|it| *it.group == *group) {
            Some(known) => known.all.extend(members),
            None => self.groups.push(Members {
                group: group.into(),
                all: members.collect(),
                next: 0,
            }),
        }
    }

    /// Whose turn it is does not begin anew because somebody came or went.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        for members in &mut self.groups {
            let known = before.groups.iter().find(|it| it.group == members.group);
            members.next = known.map_or(0, |it| it.next);
        }
    }

    pub(super) fn cost(&self) -> usize {
        let grouped = self.groups.iter().map(|it| 2 + it.all.len());
        1 + self.recipients.len() + grouped.sum::<usize>()
    }
}
