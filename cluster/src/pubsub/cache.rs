//! What a core remembers by topic, so that what is published to it again costs no search.

use std::mem;

use rustc_hash::FxHashMap;

use super::limits::{CACHED_RECEIVERS_MAX, CACHED_TOPICS_MAX};
use super::name::Topic;
use super::shape::mix;

/// On what a value rests: it holds as long as nothing in those buckets is younger than it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Basis {
    /// The version with which it was made.
    pub(super) made: u64,
    /// The version with which it was last found to hold.
    pub(super) checked: u64,
    /// Where the texts were looked up.
    pub(super) buckets: Vec<u16>,
}

#[derive(Debug)]
struct Remembered<V> {
    hash: u64,
    protocol: u64,
    topic: Box<str>,
    basis: Basis,
    value: V,
    /// How many receivers it names.
    cost: usize,
    is_used: bool,
}

/// Values by topic and message type, of which those that were not used for long make room.
#[derive(Debug)]
pub(super) struct Cache<V> {
    slots: Vec<Option<Remembered<V>>>,
    free: Vec<u32>,
    numbers: FxHashMap<u64, u32>,
    cost: usize,
    /// How many made room for others.
    evicted: u64,
    /// Where the search for one that was not used goes on: the clock of Corbató (1968).
    hand: usize,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            numbers: FxHashMap::default(),
            cost: 0,
            evicted: 0,
            hand: 0,
        }
    }
}

fn key(topic: Topic<'_>, protocol: u64) -> u64 {
    mix(topic.hash() ^ protocol)
}

impl<V: Default> Cache<V> {
    /// Where the value of a topic is, whether it holds or not.
    pub(super) fn find(&mut self, topic: Topic<'_>, protocol: u64) -> Option<u32> {
        let number = *self.numbers.get(&key(topic, protocol))?;
        let slot = self.slots.get_mut(number as usize)?.as_mut()?;
        let is_it = slot.protocol == protocol && *slot.topic == *topic.as_str();
        slot.is_used = true;
        is_it.then_some(number)
    }

    /// On what the value there rests.
    pub(super) fn basis(&mut self, number: u32) -> Option<&mut Basis> {
        let slot = self.slots.get_mut(number as usize)?.as_mut()?;
        Some(&mut slot.basis)
    }

    pub(super) fn value(&self, number: u32) -> Option<&V> {
        let slot = self.slots.get(number as usize)?.as_ref()?;
        Some(&slot.value)
    }

    pub(super) fn value_mut(&mut self, number: u32) -> Option<&mut V> {
        let slot = self.slots.get_mut(number as usize)?.as_mut()?;
        Some(&mut slot.value)
    }

    /// Takes the value there, which is put anew next.
    pub(super) fn take(&mut self, number: u32) -> V {
        self.value_mut(number).map(mem::take).unwrap_or_default()
    }

    /// Remembers the value of a topic, which names that many receivers. Says where.
    pub(super) fn put(
        &mut self,
        topic: Topic<'_>,
        protocol: u64,
        (value, basis): (V, Basis),
        cost: usize,
    ) -> u32 {
        let hash = key(topic, protocol);
        if let Some(number) = self.numbers.get(&hash) {
            self.remove(*number);
        }
        while self.numbers.len() >= CACHED_TOPICS_MAX
            || !self.numbers.is_empty() && self.cost + cost > CACHED_RECEIVERS_MAX
        {
            self.evict();
        }
        let remembered = Remembered {
            hash,
            protocol,
            topic: topic.as_str().into(),
            basis,
            value,
            cost,
            is_used: true,
        };
        self.cost += cost;
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // There are no more than the bound.
            (self.slots.len() - 1) as u32
        });
        self.slots[number as usize] = Some(remembered);
        self.numbers.insert(hash, number);
        number
    }

    /// How many topics are remembered, and how many receivers of them.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.numbers.len(), self.cost)
    }

    /// How many had to make room for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len();
        match &mut self.slots[self.hand] {
            Some(slot) if slot.is_used => slot.is_used = false,
            Some(_) => {
                self.evicted += 1;
                self.remove(self.hand as u32);
            }
            None => {}
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(gone) = self.slots[number as usize].take() {
            self.numbers.remove(&gone.hash);
            self.cost -= gone.cost;
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &mut Cache<u64>, name: &str, value: u64, cost: usize) -> u32 {
        let topic = Topic::new(name).expect("a topic");
        cache.put(topic, 1, (value, Basis::default()), cost)
    }

    #[test]
    fn one_over_the_cached_topics_max_takes_the_place_of_one_that_was_not_used() {
        let mut cache = Cache::default();
        let names: Vec<String> = (0..=CACHED_TOPICS_MAX).map(|it| format!("t{it}")).collect();
        for (number, name) in names[1..].iter().enumerate() {
            put(&mut cache, name, number as u64, 1);
        }
        assert_eq!(cache.size(), (CACHED_TOPICS_MAX, CACHED_TOPICS_MAX));
        put(&mut cache, &names[0], 9, 1);
        assert_eq!(cache.size(), (CACHED_TOPICS_MAX, CACHED_TOPICS_MAX));
        let kept = names.iter().filter(|it| {
            let topic = Topic::new(it).expect("a topic");
            cache.find(topic, 1).is_some()
        });
        assert_eq!(kept.count(), CACHED_TOPICS_MAX);
        let topic = Topic::new(&names[0]).expect("a topic");
        let number = cache.find(topic, 1).expect("just put");
        assert_eq!(cache.value(number), Some(&9));
        assert_eq!(cache.find(topic, 2), None, "another type is another one");
    }

    #[test]
    fn one_over_the_cached_receivers_max_leaves_no_other_behind() {
        let mut cache = Cache::default();
        for number in 0..8_u32 {
            put(&mut cache, &format!("t{number}"), 1, 8);
        }
        assert_eq!(cache.size(), (8, 64));
        let large = put(&mut cache, "large", 5, CACHED_RECEIVERS_MAX + 1);
        assert_eq!((cache.size().0, cache.value(large)), (1, Some(&5)));
        put(&mut cache, "small", 6, 1);
        assert_eq!(cache.size(), (1, 1));
    }

    #[test]
    fn what_is_put_anew_replaces_what_was_there() {
        let mut cache = Cache::default();
        put(&mut cache, "t", 1, 5);
        let number = put(&mut cache, "t", 2, 3);
        assert_eq!((cache.size(), cache.value(number)), ((1, 3), Some(&2)));
        assert_eq!(cache.take(number), 2);
    }
}
