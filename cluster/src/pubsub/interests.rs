//! Who subscribes on this core, and what of it the cluster is told.
//!
//! What is announced is not each subscription but how many there are: one entry for each pattern,
//! message type and group.
//!
//! - **Inputs:** subscriptions that begin and end, subscribers that end, what was not announced.
//! - **Outputs:** [`Announce`], appended to a list of the caller's; the [`Plan`] of a topic.
//! - **Limits:** [`InterestSettings`], for each subscriber and for the core.
//! - **Invariants:** each subscription is in a plan once, those that share a subscriber once for
//!   each pattern; a plan that rests on nothing that changed since is given again without a search.

mod plan;
mod rows;
mod settings;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::link::Target;
use rustc_hash::{FxHashMap, FxHashSet};

pub use self::plan::{Plan, Recipient};
use self::rows::{Row, Rows};
pub use self::settings::{InterestSettings, SUBSCRIPTION_BYTES, SubscribeError};
use super::cache::Cache;
use super::key;
use super::name::{GroupName, Path, Pattern, Topic};
use super::shape::Shape;
use super::topics::make_room;
use crate::registry::{Key, Place};

/// Who subscribes: the driver's own number, on this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

/// A subscription of this core. Its number comes back only after its place was given to four
/// thousand million others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId {
    slot: u32,
    generation: u32,
}

/// What a core announces, by a number of its own that it gives to no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnouncementId(pub u64);

/// What the registry is to be told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announce {
    /// This core has a subscriber of that, or an actor under that path.
    Put {
        /// Its number.
        id: AnnouncementId,
        /// What it is found by.
        key: Key,
        /// Where it is.
        place: Place,
    },
    /// So many subscribe from now on.
    Weigh {
        /// Its number.
        id: AnnouncementId,
        /// How many.
        weight: u32,
    },
    /// It is over.
    Withdraw {
        /// Its number.
        id: AnnouncementId,
    },
}

/// A subscription that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Of what.
    pub pattern: Pattern,
    /// As a member of which group, if any.
    pub group: Option<GroupName>,
    /// The fingerprint of the message type.
    pub protocol: u64,
    /// Who gets it.
    pub subscriber: SubscriberId,
}

/// A subscription that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Its number.
    pub id: SubscriptionId,
    /// With what it is announced.
    pub announcement: AnnouncementId,
}

/// What was refused or not delivered, by why. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterestCounters {
    /// Subscriptions that were refused.
    pub refused: u64,
    /// Copies that were not delivered because the subscription is to another message type.
    pub other_type: u64,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// The row that it is in; `NONE` if it is free.
    row: u32,
    subscriber: SubscriberId,
    /// Whether the subscriber takes one copy for all that it has in the row.
    is_shared: bool,
    /// The neighbours among the subscriptions of the subscriber.
    next: u32,
    previous: u32,
}

const NONE: u32 = u32::MAX;

/// The target of what its core alone knows the receivers of.
const NOBODY: Target = Target {
    slot: 0,
    generation: 0,
};

/// What one subscriber has.
#[derive(Clone, Copy, Debug)]
struct Holding {
    count: u32,
    bytes: usize,
    first: u32,
}

/// The subscriptions of one core.
#[derive(Debug)]
pub struct Interests {
    core: CoreId,
    settings: InterestSettings,
    rows: Rows,
    slots: Vec<Slot>,
    free: Vec<u32>,
    holdings: FxHashMap<SubscriberId, Holding>,
    bytes: usize,
    last_announcement: u64,
    plans: Cache<Plan>,
    counters: InterestCounters,
}

impl Interests {
    /// Those of a core that has none yet.
    pub fn new(core: CoreId, settings: InterestSettings) -> Self {
        Self {
            core,
            settings,
            rows: Rows::default(),
            slots: Vec::new(),
            free: Vec::new(),
            holdings: FxHashMap::default(),
            bytes: 0,
            last_announcement: 0,
            plans: Cache::default(),
            counters: InterestCounters::default(),
        }
    }

    /// Begins a subscription. It is in the plans of this core at once.
    ///
    /// # Errors
    /// [`SubscribeError`]: there is no room for it.
    pub fn subscribe(
        &mut self,
        subscribe: &Subscribe,
        out: &mut Vec<Announce>,
    ) -> Result<Subscribed, SubscribeError> {
        self.begin(subscribe, false, out)
    }

    /// The same for a subscriber that stands for many, each with a subscription: it gets one copy
    /// for all that are to one pattern, and what one subscriber may have does not bound it.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn share(
        &mut self,
        subscribe: &Subscribe,
        out: &mut Vec<Announce>,
    ) -> Result<Subscribed, SubscribeError> {
        self.begin(subscribe, true, out)
    }

    fn begin(
        &mut self,
        subscribe: &Subscribe,
        is_shared: bool,
        out: &mut Vec<Announce>,
    ) -> Result<Subscribed, SubscribeError> {
        let Subscribe {
            pattern,
            group,
            protocol,
            subscriber,
        } = subscribe;
        let key = key::interest(pattern, group.as_ref(), *protocol);
        let row = self.rows.find(&key);
        if row.is_none() {
            let has_room = self.rows.has_room_for(pattern.shape());
            self.refuse_unless(has_room, SubscribeError::Shapes)?;
        }
        if !is_shared {
            self.check_own(*subscriber, key.name().len())?;
        }
        self.check_room(key.name().len())?;
        let row = match row {
            Some(row) => row,
            None => self.announce(key, pattern.shape(), NOBODY, out),
        };
        Ok(self.enter(row, (*subscriber, is_shared), out))
    }

    /// Puts an actor of this core under a path, so that it can be sent to from anywhere.
    ///
    /// # Errors
    /// [`SubscribeError`]: there is no room for it.
    pub fn put(
        &mut self,
        path: &Path,
        protocol: u64,
        (subscriber, target): (SubscriberId, Target),
        out: &mut Vec<Announce>,
    ) -> Result<Subscribed, SubscribeError> {
        let key = key::path(path, protocol);
        self.check_own(subscriber, key.name().len())?;
        self.check_room(key.name().len())?;
        let row = self.announce(key, None, target, out);
        Ok(self.enter(row, (subscriber, false), out))
    }

    /// Ends a subscription, or takes an actor from its path. Says whether it was there.
    pub fn unsubscribe(&mut self, id: SubscriptionId, out: &mut Vec<Announce>) -> bool {
        let is_there = self.subscriber(id).is_some();
        if is_there {
            self.leave(id.slot, out);
        }
        is_there
    }

    /// A subscriber is no more: all that it had ends. Says how many subscriptions that were.
    pub fn subscriber_ended(&mut self, subscriber: SubscriberId, out: &mut Vec<Announce>) -> u32 {
        let mut ended = 0;
        while let Some(holding) = self.holdings.get(&subscriber) {
            self.leave(holding.first, out);
            ended += 1;
        }
        ended
    }

    /// What was to be announced was refused, so nobody else would ever find it: all its
    /// subscriptions end, and are appended to `ended`.
    pub fn handle_refused(&mut self, id: AnnouncementId, ended: &mut Vec<Recipient>) {
        let Some(row) = self.rows.announced(id) else {
            return;
        };
        let mut withdrawn = Vec::new();
        let members = self.rows.get(row).map(|it| it.members.clone());
        for slot in members.unwrap_or_default() {
            ended.push(self.recipient(slot));
            self.leave(slot, &mut withdrawn);
        }
    }

    /// Whose a subscription is; `None` if it is over.
    pub fn subscriber(&self, id: SubscriptionId) -> Option<SubscriberId> {
        let slot = self.slots.get(id.slot as usize)?;
        let is_it = slot.generation == id.generation && slot.row != NONE;
        is_it.then_some(slot.subscriber)
    }

    /// Whose they are.
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was refused or not delivered.
    pub fn counters(&self) -> InterestCounters {
        self.counters
    }

    /// The number of the plan that says who on this core gets what is published to a topic.
    pub(super) fn plan(&mut self, topic: Topic<'_>, protocol: u64) -> u32 {
        let known = self.plans.find(topic, protocol);
        if let Some(number) = known
            && let Some(basis) = self.plans.basis(number)
            && self.rows.is_current(basis)
        {
            return number;
        }
        let before = known.map(|number| self.plans.take(number));
        let mut plan = Plan::default();
        let slots = &self.slots;
        let mut sharers = FxHashSet::default();
        let basis = self.rows.visit(topic.as_str(), |row| {
            let once = |slot: &u32| {
                let Slot {
                    is_shared,
                    subscriber,
                    ..
                } = slots[*slot as usize];
                !is_shared || sharers.insert((row.announcement, subscriber))
            };
            let members = row.members.iter().copied().filter(once);
            plan.add(row, protocol, members.map(|slot| recipient(slots, slot)));
        });
        if let Some(before) = before {
            plan.go_on_from(&before);
        }
        let cost = plan.cost();
        self.plans.put(topic, protocol, (plan, basis), cost)
    }

    /// The plan with that number.
    pub(super) fn plan_at(&mut self, number: u32) -> Option<&mut Plan> {
        self.plans.value_mut(number)
    }

    /// The same, to be read.
    pub(super) fn plan_known(&self, number: u32) -> Option<&Plan> {
        self.plans.value(number)
    }

    /// Raised with each change.
    pub(super) fn version(&self) -> u64 {
        self.rows.version()
    }

    pub(super) fn count_other_type(&mut self, copies: u32) {
        self.counters.other_type += u64::from(copies);
    }

    fn recipient(&self, slot: u32) -> Recipient {
        recipient(&self.slots, slot)
    }

    fn refuse_unless(&mut self, has_room: bool, why: SubscribeError) -> Result<(), SubscribeError> {
        self.counters.refused += u64::from(!has_room);
        if has_room { Ok(()) } else { Err(why) }
    }

    /// Whether this core has room for one more.
    fn check_room(&mut self, name: usize) -> Result<(), SubscribeError> {
        let settings = self.settings;
        let is_within = self.len() < settings.subscriptions_max as usize
            && self.bytes + SUBSCRIPTION_BYTES + name <= settings.bytes_max;
        self.refuse_unless(is_within, SubscribeError::Core)
    }

    /// Whether a subscriber may have one more.
    fn check_own(&mut self, subscriber: SubscriberId, name: usize) -> Result<(), SubscribeError> {
        let bytes = SUBSCRIPTION_BYTES + name;
        let settings = self.settings;
        let is_own = self.holdings.get(&subscriber).is_none_or(|it| {
            it.count < settings.of_subscriber_max
                && it.bytes + bytes <= settings.bytes_of_subscriber_max
        });
        self.refuse_unless(is_own, SubscribeError::Subscriber)
    }

    fn announce(
        &mut self,
        key: Key,
        shape: Option<Shape>,
        target: Target,
        out: &mut Vec<Announce>,
    ) -> u32 {
        self.last_announcement += 1;
        let id = AnnouncementId(self.last_announcement);
        let core = self.core;
        out.push(Announce::Put {
            id,
            key: key.clone(),
            place: Place { core, target },
        });
        self.rows.add(Row::new(key, id), shape)
    }

    fn enter(
        &mut self,
        row: u32,
        (subscriber, is_shared): (SubscriberId, bool),
        out: &mut Vec<Announce>,
    ) -> Subscribed {
        let slot = self.free.pop().unwrap_or_else(|| {
            make_room(&mut self.slots);
            self.slots.push(Slot {
                generation: 0,
                row: NONE,
                subscriber,
                is_shared,
                next: NONE,
                previous: NONE,
            });
            // The settings bound them by a number of 32 bits.
            (self.slots.len() - 1) as u32
        });
        let (bytes, announcement, weight) = self.rows.enter(row, slot);
        let holding = self.holdings.entry(subscriber).or_insert(Holding {
            count: 0,
            bytes: 0,
            first: NONE,
        });
        let next = holding.first;
        holding.first = slot;
        holding.count += 1;
        holding.bytes += bytes + SUBSCRIPTION_BYTES;
        self.bytes += bytes + SUBSCRIPTION_BYTES;
        if let Some(next) = self.slots.get_mut(next as usize) {
            next.previous = slot;
        }
        let entered = &mut self.slots[slot as usize];
        entered.row = row;
        entered.subscriber = subscriber;
        entered.is_shared = is_shared;
        entered.next = next;
        entered.previous = NONE;
        let generation = entered.generation;
        if weight > 1 {
            let id = announcement;
            out.push(Announce::Weigh { id, weight });
        }
        let id = SubscriptionId { slot, generation };
        Subscribed { id, announcement }
    }

    /// Ends the subscription in a slot that has one.
    fn leave(&mut self, slot: u32, out: &mut Vec<Announce>) {
        let left = &mut self.slots[slot as usize];
        let (row, subscriber) = (left.row, left.subscriber);
        let (next, previous) = (left.next, left.previous);
        left.row = NONE;
        left.generation = left.generation.wrapping_add(1);
        self.free.push(slot);
        if let Some(next) = self.slots.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.slots.get_mut(previous as usize) {
            previous.next = next;
        }
        let (bytes, id, weight) = self.rows.leave(row, slot);
        self.bytes -= bytes + SUBSCRIPTION_BYTES;
        if let Some(holding) = self.holdings.get_mut(&subscriber) {
            holding.count -= 1;
            holding.bytes -= bytes + SUBSCRIPTION_BYTES;
            if previous == NONE {
                holding.first = next;
            }
            if holding.count == 0 {
                self.holdings.remove(&subscriber);
            }
        }
        out.push(match weight {
            0 => Announce::Withdraw { id },
            weight => Announce::Weigh { id, weight },
        });
    }
}

fn recipient(slots: &[Slot], slot: u32) -> Recipient {
    let Slot {
        generation,
        subscriber,
        ..
    } = slots[slot as usize];
    Recipient {
        subscription: SubscriptionId { slot, generation },
        subscriber,
    }
}

#[cfg(test)]
mod tests;
