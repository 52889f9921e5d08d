use std::collections::BTreeMap;

use super::*;
use crate::context::Random;
use crate::pubsub::limits::SHAPES_OF_CORE_MAX;

const TYPE: u64 = 7;

fn interests() -> Interests {
    Interests::new(CoreId(1), InterestSettings::default())
}

fn subscribe(pattern: &str, group: Option<&str>, subscriber: u64) -> Subscribe {
    Subscribe {
        pattern: Pattern::new(pattern).expect("a pattern"),
        group: group.map(|it| GroupName::new(it).expect("a group")),
        protocol: TYPE,
        subscriber: SubscriberId(subscriber),
    }
}

fn begin(interests: &mut Interests, subscribe: &Subscribe) -> (SubscriptionId, Vec<Announce>) {
    let mut out = Vec::new();
    let subscribed = interests.subscribe(subscribe, &mut out).expect("room");
    (subscribed.id, out)
}

/// Who gets what is published to a topic, sorted.
fn planned(interests: &mut Interests, topic: &str, protocol: u64) -> Vec<u64> {
    let number = interests.plan(Topic::new(topic).expect("a topic"), protocol);
    let plan = interests.plan_at(number).expect("just made");
    let all = plan.recipients().iter().map(|it| it.subscriber.0);
    let mut all: Vec<u64> = all.collect();
    all.sort_unstable();
    all
}

/// Whoever stands for many hands a copy on to them itself.
#[test]
fn who_stands_for_many_gets_one_copy_and_weighs_as_many_as_they_are() {
    let mut interests = interests();
    let mut out = Vec::new();
    let begun: Vec<Subscribed> = (0..5000)
        .map(|_| interests.share(&subscribe("a.b", None, 1), &mut out))
        .map(|it| it.expect("more than one subscriber may have"))
        .collect();
    let id = begun[0].announcement;
    assert_eq!(out.last(), Some(&Announce::Weigh { id, weight: 5000 }));
    let _ = begin(&mut interests, &subscribe("a.b", None, 2));
    let _ = begin(&mut interests, &subscribe("a.b", None, 2));
    assert_eq!(planned(&mut interests, "a.b", TYPE), [1, 2, 2]);
    let _ = interests.share(&subscribe("a.*", None, 1), &mut out);
    assert_eq!(planned(&mut interests, "a.b", TYPE), [1, 1, 2, 2]);
    let (last, others) = begun.split_last().expect("some");
    for it in others {
        assert!(interests.unsubscribe(it.id, &mut out));
    }
    assert_eq!(planned(&mut interests, "a.b", TYPE), [1, 1, 2, 2]);
    assert!(interests.unsubscribe(last.id, &mut out));
    assert_eq!(planned(&mut interests, "a.b", TYPE), [1, 2, 2]);
}

#[test]
fn each_pattern_is_announced_once_and_weighs_what_subscribes_to_it() {
    let mut interests = interests();
    let (first, put) = begin(&mut interests, &subscribe("a.*", None, 1));
    let [Announce::Put { id, key, place }] = &put[..] else {
        panic!("{put:?}");
    };
    assert_eq!((key.name(), place.core), ("a.*", CoreId(1)));
    let id = *id;
    let (second, weighed) = begin(&mut interests, &subscribe("a.*", None, 1));
    assert_eq!(weighed, [Announce::Weigh { id, weight: 2 }]);
    let (_, other) = begin(&mut interests, &subscribe("a.*", Some("g"), 1));
    assert!(matches!(&other[..], [Announce::Put { id: other, .. }] if *other != id));
    let mut out = Vec::new();
    assert!(interests.unsubscribe(first, &mut out) && !interests.unsubscribe(first, &mut out));
    assert_eq!(out, [Announce::Weigh { id, weight: 1 }]);
    assert_eq!(interests.subscriber_ended(SubscriberId(1), &mut out), 2);
    assert!(out.contains(&Announce::Withdraw { id }) && interests.is_empty());
    assert_eq!(interests.subscriber(second), None);
    let (_, anew) = begin(&mut interests, &subscribe("a.*", None, 1));
    assert!(matches!(&anew[..], [Announce::Put { id: anew, .. }] if *anew != id));
}

#[test]
fn each_subscription_gets_one_copy_and_another_type_none() {
    let mut interests = interests();
    for pattern in ["a.b", "a.*", "a.*", "**", "b.*"] {
        begin(&mut interests, &subscribe(pattern, None, 1));
    }
    let other = Subscribe {
        protocol: TYPE + 1,
        ..subscribe("a.b", None, 2)
    };
    begin(&mut interests, &other);
    assert_eq!(planned(&mut interests, "a.b", TYPE), [1; 4]);
    assert_eq!(planned(&mut interests, "a.b", TYPE + 1), [2]);
    let number = interests.plan(Topic::new("a.b").expect("a topic"), TYPE);
    assert_eq!(interests.plan_at(number).expect("made").other_type(), 1);
}

#[test]
fn members_of_a_group_take_turns_also_when_others_come() {
    let mut interests = interests();
    for subscriber in 1..=3 {
        begin(&mut interests, &subscribe("t", Some("g"), subscriber));
    }
    let topic = Topic::new("t").expect("a topic");
    let mut taken = BTreeMap::new();
    for turn in 0..300 {
        if turn % 7 == 0 {
            let (other, _) = begin(&mut interests, &subscribe("t", None, 9));
            interests.unsubscribe(other, &mut Vec::new());
        }
        let number = interests.plan(topic, TYPE);
        let plan = interests.plan_at(number).expect("made");
        let member = plan.take_of("g").expect("a member");
        *taken.entry(member.subscriber.0).or_insert(0) += 1;
        assert_eq!(plan.take_of("h"), None);
    }
    assert!(taken.values().all(|times| *times == 100), "{taken:?}");
}

#[test]
fn one_subscriber_over_its_share_harms_no_other() {
    let mut interests = interests();
    let mut out = Vec::new();
    let max = u64::from(InterestSettings::default().of_subscriber_max);
    for number in 0..max + 100 {
        let wanted = subscribe(&format!("t{number}"), None, 1);
        let begun = interests.subscribe(&wanted, &mut out);
        assert_eq!(begun.is_ok(), number < max);
        if number >= max {
            assert_eq!(begun, Err(SubscribeError::Subscriber));
        }
    }
    assert_eq!((out.len() as u64, interests.counters().refused), (max, 100));
    begin(&mut interests, &subscribe("t1", None, 2));
    assert_eq!(planned(&mut interests, "t1", TYPE), [1, 2]);
}

#[test]
fn one_over_each_setting_is_refused() {
    let settings = InterestSettings {
        of_subscriber_max: 10,
        bytes_of_subscriber_max: 3 * (SUBSCRIPTION_BYTES + 1),
        subscriptions_max: 5,
        bytes_max: 4 * (SUBSCRIPTION_BYTES + 1),
    };
    let mut interests = Interests::new(CoreId(0), settings);
    let mut out = Vec::new();
    for _ in 0..3 {
        assert!(
            interests
                .subscribe(&subscribe("a", None, 1), &mut out)
                .is_ok()
        );
    }
    let over = interests.subscribe(&subscribe("a", None, 1), &mut out);
    assert_eq!(over, Err(SubscribeError::Subscriber));
    assert!(
        interests
            .subscribe(&subscribe("a", None, 2), &mut out)
            .is_ok()
    );
    let over = interests.subscribe(&subscribe("a", None, 3), &mut out);
    assert_eq!(over, Err(SubscribeError::Core));
    interests.subscriber_ended(SubscriberId(1), &mut out);
    assert!(
        interests
            .subscribe(&subscribe("a", None, 3), &mut out)
            .is_ok()
    );
}

#[test]
fn one_over_the_shapes_of_core_max_is_refused_and_a_known_one_is_not() {
    let mut interests = interests();
    let mut out = Vec::new();
    let pattern =
        |number: usize| format!("{}*", "a.".repeat(number % 16) + &"*.".repeat(number / 16));
    for number in 0..SHAPES_OF_CORE_MAX {
        let wanted = subscribe(&pattern(number), None, 1);
        assert!(interests.subscribe(&wanted, &mut out).is_ok(), "{number}");
    }
    let over = subscribe("b.**", None, 1);
    let refused = interests.subscribe(&over, &mut out);
    assert_eq!(refused, Err(SubscribeError::Shapes));
    assert!(
        interests
            .subscribe(&subscribe("c.*", None, 1), &mut out)
            .is_ok()
    );
    assert!(
        interests
            .subscribe(&subscribe("c.d", None, 1), &mut out)
            .is_ok()
    );
}

#[test]
fn what_was_refused_elsewhere_ends_here() {
    let mut interests = interests();
    let mut out = Vec::new();
    let wanted = subscribe("a", None, 1);
    let begun = interests.subscribe(&wanted, &mut out).expect("room");
    begin(&mut interests, &subscribe("a", None, 2));
    begin(&mut interests, &subscribe("a", Some("g"), 3));
    let mut ended = Vec::new();
    interests.handle_refused(begun.announcement, &mut ended);
    interests.handle_refused(begun.announcement, &mut ended);
    let ended: Vec<u64> = ended.iter().map(|it| it.subscriber.0).collect();
    assert_eq!((ended, interests.len()), (vec![1, 2], 1));
}

#[test]
fn whatever_begins_and_ends_a_plan_is_what_a_search_finds() {
    const NAMES: [&str; 6] = ["a", "a.b", "a.c", "b.b", "a.b.c", "c"];
    const PATTERNS: [&str; 9] = [
        "a", "a.b", "a.*", "*.b", "**", "a.**", "*", "a.b.**", "*.*.c",
    ];
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut interests = interests();
        let mut known: Vec<(SubscriptionId, Subscribe)> = Vec::new();
        let mut weights: BTreeMap<AnnouncementId, u32> = BTreeMap::new();
        let mut out = Vec::new();
        for _ in 0..400 {
            match random.below(10) {
                0..5 => {
                    let mut wanted = subscribe(PATTERNS[random.below(9)], None, 1);
                    wanted.subscriber = SubscriberId(random.below(5) as u64);
                    wanted.protocol = TYPE + random.below(2) as u64;
                    let begun = interests.subscribe(&wanted, &mut out).expect("room");
                    known.push((begun.id, wanted));
                }
                5..9 if !known.is_empty() => {
                    let (id, _) = known.swap_remove(random.below(known.len()));
                    assert!(interests.unsubscribe(id, &mut out));
                }
                _ => {
                    let subscriber = SubscriberId(random.below(5) as u64);
                    let before = known.len();
                    known.retain(|it| it.1.subscriber != subscriber);
                    let ended = interests.subscriber_ended(subscriber, &mut out);
                    assert_eq!(ended as usize, before - known.len());
                }
            }
            for announce in out.drain(..) {
                match announce {
                    Announce::Put { id, .. } => assert_eq!(weights.insert(id, 1), None),
                    Announce::Weigh { id, weight } => *weights.get_mut(&id).expect("put") = weight,
                    Announce::Withdraw { id } => assert!(weights.remove(&id).is_some()),
                }
            }
            let sum: u32 = weights.values().sum();
            assert_eq!((sum as usize, interests.len()), (known.len(), known.len()));
            let name = NAMES[random.below(NAMES.len())];
            let topic = Topic::new(name).expect("a topic");
            let matching = known.iter().filter(|it| it.1.pattern.matches(topic));
            let (typed, others): (Vec<_>, Vec<_>) = matching.partition(|it| it.1.protocol == TYPE);
            let mut expected: Vec<u64> = typed.iter().map(|it| it.1.subscriber.0).collect();
            expected.sort_unstable();
            assert_eq!(planned(&mut interests, name, TYPE), expected, "seed {seed}");
            let number = interests.plan(topic, TYPE);
            let plan = interests.plan_at(number).expect("made");
            assert_eq!(plan.other_type() as usize, others.len());
        }
    }
}
