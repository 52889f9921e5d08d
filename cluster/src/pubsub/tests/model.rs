//! Random cores subscribe and publish while nodes come, go and lose each other; what has to hold of
//! that does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::world::{At, World, confirmed};
use crate::pubsub::{
    Audience, GroupName, Pattern, Policy, Publish, Subscribe, SubscriberId, SubscriptionId, Topic,
};

const TOPICS: [&str; 5] = ["a", "a.b", "a.c", "b.b", "a.b.c"];
const PATTERNS: [&str; 9] = ["a", "a.b", "a.b", "a.c", "a.*", "**", "a.**", "*.b", "b.b"];

struct Subscription {
    at: At,
    id: SubscriptionId,
    wanted: Subscribe,
    begun: Instant,
    /// When and by whom it was confirmed, if all that were to have.
    confirmed: Option<(Instant, BTreeSet<u64>)>,
    ended: Option<Instant>,
}

struct Published {
    at: At,
    topic: &'static str,
    kind: u64,
    when: Instant,
    number: u64,
    audience: Audience,
    is_dead_letter: bool,
}

struct Model {
    seed: u64,
    world: World,
    next: u64,
    subscriptions: Vec<Subscription>,
    published: Vec<Published>,
    /// When the way between two nodes was cut or healed last.
    broken: BTreeMap<(u64, u64), Instant>,
    is_ever_cut: bool,
    /// How much was demanded, so that the test cannot be empty.
    demanded: usize,
    demanded_of_groups: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let nodes = 2 + seed % 3;
        let numbers: Vec<u64> = (1..=nodes).collect();
        let cores = 1 + (seed / 3 % 3) as u16;
        let mut world = World::new(seed, &numbers, cores);
        world.travel = [200, 2_000, 20_000][seed as usize % 3];
        Self {
            seed,
            world,
            next: nodes + 1,
            subscriptions: Vec::new(),
            published: Vec::new(),
            broken: BTreeMap::new(),
            is_ever_cut: false,
            demanded: 0,
            demanded_of_groups: 0,
        }
    }

    fn any_node(&mut self) -> u64 {
        let numbers: Vec<u64> = self.world.nodes.keys().copied().collect();
        numbers[self.world.random.below(numbers.len())]
    }

    fn any(&mut self) -> At {
        let number = self.any_node();
        let cores = self.world.nodes[&number].cores.len();
        (number, self.world.random.below(cores) as u16)
    }

    fn act(&mut self) {
        match self.world.random.below(100) {
            0..22 => self.subscribe(),
            22..37 => self.unsubscribe(),
            37..40 => self.end_subscriber(),
            40..94 => self.publish(),
            // Every fourth world is a calm one.
            94.. if self.seed.is_multiple_of(4) => self.publish(),
            94..96 => {
                let (one, other) = (self.any_node(), self.any_node());
                if one != other {
                    self.world.part(one, other);
                    self.note_broken();
                    self.world.show_all();
                }
            }
            96..99 => self.heal(),
            _ => self.restart(),
        }
    }

    fn note_broken(&mut self) {
        for pair in &self.world.cut {
            self.broken.insert(*pair, self.world.now);
            self.is_ever_cut = true;
        }
    }

    fn heal(&mut self) {
        self.note_broken();
        self.world.cut.clear();
        self.world.show_all();
    }

    fn subscribe(&mut self) {
        let at = self.any();
        let random = &mut self.world.random;
        let pattern = PATTERNS[random.below(PATTERNS.len())];
        let group = random.chance(40).then(|| ["g", "h"][random.below(2)]);
        let wanted = Subscribe {
            pattern: Pattern::new(pattern).expect("a pattern"),
            group: group.map(|it| GroupName::new(it).expect("a group")),
            protocol: 1 + u64::from(random.chance(20)),
            subscriber: SubscriberId(random.below(4) as u64),
        };
        let waiter = self.subscriptions.len() as u64;
        let id = self.world.subscribe(at, &wanted, waiter).id;
        self.subscriptions.push(Subscription {
            at,
            id,
            wanted,
            begun: self.world.now,
            confirmed: None,
            ended: None,
        });
    }

    fn unsubscribe(&mut self) {
        let now = self.world.now;
        let alive = self
            .subscriptions
            .iter_mut()
            .filter(|it| it.ended.is_none());
        let mut alive: Vec<_> = alive.collect();
        if alive.is_empty() {
            return;
        }
        let place = self.world.random.below(alive.len());
        alive[place].ended = Some(now);
        let (at, id) = (alive[place].at, alive[place].id);
        let was_there = self.world.change(at, |it, out| it.unsubscribe(id, out));
        assert!(was_there);
    }

    fn end_subscriber(&mut self) {
        let at = self.any();
        let subscriber = SubscriberId(self.world.random.below(4) as u64);
        let ended = self
            .world
            .change(at, |it, out| it.subscriber_ended(subscriber, out));
        let now = self.world.now;
        let alive = self
            .subscriptions
            .iter_mut()
            .filter(|it| it.ended.is_none());
        let own = alive.filter(|it| it.at == at && it.wanted.subscriber == subscriber);
        let count = own.map(|it| it.ended = Some(now)).count();
        assert_eq!(ended as usize, count);
    }

    fn publish(&mut self) {
        let at = self.any();
        let random = &mut self.world.random;
        let topic = TOPICS[random.below(TOPICS.len())];
        let kind = 1 + u64::from(random.chance(20));
        let audiences = [
            Audience::All,
            Audience::All,
            Audience::GroupsOnly,
            Audience::UngroupedOnly,
        ];
        let publish = Publish {
            audience: audiences[random.below(4)],
            policy: [Policy::Random, Policy::RoundRobin][random.below(2)],
            ..Publish::default()
        };
        let sent = self.world.publish(at, topic, kind, &publish);
        let is_one_each = sent.frames.values().all(|frames| *frames == 1);
        assert!(is_one_each, "31: seed {}", self.seed);
        let nodes = &self.world.nodes;
        for node in sent.frames.keys() {
            assert!(!nodes.contains_key(node) || !self.is_cut(at.0, *node), "32");
        }
        self.published.push(Published {
            at,
            topic,
            kind,
            when: self.world.now,
            number: sent.number,
            audience: publish.audience,
            is_dead_letter: sent.is_dead_letter,
        });
    }

    /// Whether one does not reach the other, and its cores were shown that long ago.
    fn is_cut(&self, one: u64, other: u64) -> bool {
        let since = self.broken.get(&(one, other));
        let since = since.filter(|_| self.world.cut.contains(&(one, other)));
        since.is_some_and(|it| self.world.now - *it > Duration::from_millis(100))
    }

    /// Another process in its place.
    fn restart(&mut self) {
        let number = self.any_node();
        let cores = self.world.nodes[&number].cores.len() as u16;
        self.world.stop(number);
        self.world.start(self.next, cores);
        self.next += 1;
        let now = self.world.now;
        let own = self.subscriptions.iter_mut().filter(|it| it.at.0 == number);
        own.for_each(|it| it.ended = Some(it.ended.unwrap_or(now)));
        self.world.show_all();
    }

    fn note_answers(&mut self) {
        let numbers: Vec<u64> = self.world.nodes.keys().copied().collect();
        for number in numbers {
            for (waiter, answer) in self.world.answers(number) {
                let subscription = &mut self.subscriptions[waiter as usize];
                if answer.is_enough {
                    subscription.confirmed = Some((self.world.now, confirmed(&answer)));
                }
            }
        }
    }

    /// How long what is published may take to be everywhere.
    fn window(&self) -> Duration {
        Duration::from_micros(4 * self.world.travel as u64 + 1_000)
    }

    fn is_alive_through(&self, it: &Subscription, from: Instant) -> bool {
        let until = from + self.window();
        it.begun <= from && it.ended.is_none_or(|ended| ended > until)
    }

    /// Whether the publisher is one whose node confirmed the subscription, and was not cut off
    /// since.
    fn is_confirmed_to(&self, it: &Subscription, published: &Published) -> bool {
        let pair = (published.at.0, it.at.0);
        let Some((when, nodes)) = &it.confirmed else {
            return false;
        };
        let back = (pair.1, pair.0);
        let broken = [self.broken.get(&pair), self.broken.get(&back)];
        let is_whole = broken.iter().flatten().all(|it| **it < *when);
        *when < published.when && nodes.contains(&pair.0) && is_whole
    }

    fn check(&mut self) {
        self.note_broken();
        let mut copies: BTreeMap<(u64, At, SubscriptionId), usize> = BTreeMap::new();
        let mut of_groups: BTreeMap<(u64, String), usize> = BTreeMap::new();
        let mut last: BTreeMap<(At, &str, u16, At, SubscriptionId), u64> = BTreeMap::new();
        let places: BTreeMap<(At, SubscriptionId), usize> = self
            .subscriptions
            .iter()
            .enumerate()
            .map(|(place, it)| ((it.at, it.id), place))
            .collect();
        let seed = self.seed;
        for delivery in &self.world.deliveries {
            let number = delivery.message.number;
            let published = &self.published[number as usize - 1];
            let to = (delivery.at, delivery.to.subscription);
            let subscription = &self.subscriptions[places[&to]];
            let topic = Topic::new(published.topic).expect("a topic");
            assert!(
                subscription.wanted.pattern.matches(topic),
                "28: seed {seed}"
            );
            assert_eq!(
                subscription.wanted.protocol, published.kind,
                "28: seed {seed}"
            );
            assert!(!published.is_dead_letter);
            *copies.entry((number, to.0, to.1)).or_insert(0) += 1;
            match &subscription.wanted.group {
                Some(group) => {
                    let group = group.as_str().to_owned();
                    *of_groups.entry((number, group)).or_insert(0) += 1;
                    assert_ne!(published.audience, Audience::UngroupedOnly);
                }
                None => {
                    assert_ne!(published.audience, Audience::GroupsOnly);
                    let by = delivery.message.by;
                    let way = (published.at, published.topic, by, to.0, to.1);
                    let before = last.insert(way, number);
                    assert!(before < Some(number), "28: order, seed {seed}");
                }
            }
        }
        let is_once = |times: &usize| *times == 1;
        assert!(copies.values().all(is_once), "28: seed {seed}");
        assert!(of_groups.values().all(is_once), "29: seed {seed}");
        for published in &self.published {
            self.demanded += self.check_open(published, &copies);
            self.demanded_of_groups += self.check_groups(published, &of_groups);
        }
    }

    fn matching<'a>(&'a self, published: &Published) -> impl Iterator<Item = &'a Subscription> {
        let topic = Topic::new(published.topic).expect("a topic");
        let kind = published.kind;
        let all = self.subscriptions.iter();
        all.filter(move |it| it.wanted.protocol == kind && it.wanted.pattern.matches(topic))
    }

    /// Invariant 30. How many subscriptions it is demanded of.
    fn check_open(
        &self,
        published: &Published,
        copies: &BTreeMap<(u64, At, SubscriptionId), usize>,
    ) -> usize {
        if published.audience == Audience::GroupsOnly {
            return 0;
        }
        let open = self
            .matching(published)
            .filter(|it| it.wanted.group.is_none());
        let alive = open.filter(|it| self.is_alive_through(it, published.when));
        let mut demanded = 0;
        for it in alive {
            if it.at == published.at || self.is_confirmed_to(it, published) {
                let copies = copies.get(&(published.number, it.at, it.id));
                assert_eq!(
                    copies,
                    Some(&1),
                    "30: seed {} publish {} from {:?} to {:?}",
                    self.seed,
                    published.number,
                    published.at,
                    it.at
                );
                demanded += 1;
            }
        }
        demanded
    }

    /// A group in which nothing changed for a while gets what is published. How many it is demanded
    /// of.
    fn check_groups(
        &self,
        published: &Published,
        of_groups: &BTreeMap<(u64, String), usize>,
    ) -> usize {
        if published.audience == Audience::UngroupedOnly || self.is_ever_cut {
            return 0;
        }
        let mut demanded = 0;
        for group in ["g", "h"] {
            let name = GroupName::new(group).expect("a group");
            let members = self.matching(published);
            let members: Vec<_> = members
                .filter(|it| it.wanted.group.as_ref() == Some(&name))
                .collect();
            let is_quiet = members.iter().all(|it| {
                it.ended.is_none_or(|ended| {
                    ended + Duration::from_millis(500) < published.when
                        || ended > published.when + self.window()
                })
            });
            let is_there = members.iter().any(|it| {
                let is_alive = self.is_alive_through(it, published.when);
                is_alive && self.is_confirmed_to(it, published)
            });
            if is_quiet && is_there {
                let key = (published.number, group.to_owned());
                assert_eq!(of_groups.get(&key), Some(&1), "seed {}", self.seed);
                demanded += 1;
            }
        }
        demanded
    }
}

#[test]
fn whatever_happens_each_subscription_gets_what_it_is_to_and_nothing_twice() {
    let (mut demanded, mut of_groups, mut followed) = (0, 0, 0);
    for seed in 0..60 {
        let mut model = Model::new(seed);
        for _ in 0..700 {
            model.act();
            let pause = model.world.random.below(8_000) as u64;
            model.world.run_for(Duration::from_micros(pause));
            model.note_answers();
        }
        model.heal();
        model.world.run_for(Duration::from_secs(3));
        model.check();
        demanded += model.demanded;
        of_groups += model.demanded_of_groups;
        followed += model.world.tracks.followed;
    }
    println!("demanded: {demanded} copies, and {of_groups} of groups; {followed} ways again");
    assert!(
        demanded > 10_000 && of_groups > 100 && followed > 500,
        "{demanded} {of_groups} {followed}"
    );
}
