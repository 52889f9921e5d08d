//! What is steady goes the same way as long as its moment is the same: shown of everything that
//! the tests of this folder publish.

use std::collections::BTreeMap;

use super::world::At;
use crate::pubsub::{Arrival, Audience, Fanout, Hop, Moment, Publish};

/// When a way was found, and which it was.
type Known<K> = BTreeMap<K, (Moment, String)>;

/// The topic, the message type, and whether it is for those without a group, and for groups.
type Topic = (At, String, u64, (bool, bool));

/// What a driver may remember.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    of_publishes: Known<Topic>,
    of_arrivals: Known<(At, bool, Vec<u8>)>,
    /// How often something went a way that was known.
    pub(super) followed: usize,
}

impl Tracks {
    /// A core begins anew.
    pub(super) fn forget(&mut self, number: u64) {
        self.of_publishes.retain(|it, _| it.0.0 != number);
        self.of_arrivals.retain(|it, _| it.0.0 != number);
    }

    pub(super) fn publish(
        &mut self,
        (at, moment): (At, Moment),
        (topic, kind): (&str, u64),
        publish: &Publish,
        fanout: &Fanout<'_>,
    ) {
        let audience = publish.audience;
        let is_for = (
            audience != Audience::GroupsOnly,
            audience != Audience::UngroupedOnly,
        );
        let key = (at, topic.to_owned(), kind, is_for);
        let (mut way, mut head) = (Vec::new(), vec![0; 4096]);
        for core in fanout.cores().iter() {
            let length = fanout.write_for_cores(&mut head).expect("room");
            way.push(format!("{core:?} {:?}", &head[..length]));
        }
        for stop in fanout.stops() {
            let length = fanout.write_for(&stop, &mut head).expect("room");
            way.push(format!("{stop:?} {:?}", &head[..length]));
        }
        way.extend(fanout.recipients().map(|it| format!("{it:?}")));
        let is_steady = fanout.is_steady();
        self.followed += note(&mut self.of_publishes, key, (moment, is_steady), way);
    }

    pub(super) fn arrive(
        &mut self,
        (at, moment): (At, Moment),
        (head, hop): (&[u8], Hop),
        arrival: &Arrival<'_>,
    ) {
        let key = (at, hop == Hop::Link, head.to_vec());
        let mut way = vec![format!("{:?}", arrival.cores())];
        way.extend(arrival.recipients().map(|it| format!("{it:?}")));
        let is_steady = arrival.is_steady();
        self.followed += note(&mut self.of_arrivals, key, (moment, is_steady), way);
    }
}

fn note<K: Ord + std::fmt::Debug>(
    known: &mut Known<K>,
    key: K,
    (moment, is_steady): (Moment, bool),
    way: Vec<String>,
) -> usize {
    let way = way.join("\n");
    if let Some((when, before)) = known.get(&key)
        && *when == moment
    {
        assert!(is_steady, "{key:?} was steady at {moment:?}");
        assert_eq!(*before, way, "{key:?} at {moment:?}");
        return 1;
    }
    if is_steady {
        known.insert(key, (moment, way));
    }
    0
}
