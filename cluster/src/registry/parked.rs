//! Messages of nodes that this one does not know as members yet, as the view that lets them in may
//! come later than what they say.

use std::collections::VecDeque;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::limits::{PARKED_AGE, PARKED_BYTES_MAX, PARKED_MAX, PARKED_OF_NODE_MAX};

/// What waits for whoever says it to become a member.
#[derive(Debug, Default)]
pub(super) struct Parked {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    origin: Uid,
    from: NodeId,
    body: Box<[u8]>,
}

impl Parked {
    /// Keeps a message. The first ones of a node are kept, and then none: it is asked for all once
    /// it is a member.
    pub(super) fn put(&mut self, now: Instant, (origin, from): (Uid, &NodeId), body: &[u8]) {
        self.expire(now);
        let of_it = self.waiting.iter().filter(|it| it.origin == origin);
        if of_it.count() >= PARKED_OF_NODE_MAX
            || self.waiting.len() >= PARKED_MAX
            || self.bytes + body.len() > PARKED_BYTES_MAX
        {
            self.dropped += 1;
            return;
        }
        self.bytes += body.len();
        self.waiting.push_back(Waiting {
            since: now,
            origin,
            from: from.clone(),
            body: body.into(),
        });
    }

    /// Takes those of whoever is a member now.
    pub(super) fn take(&mut self, is_member: impl Fn(Uid) -> bool) -> Vec<(NodeId, Box<[u8]>)> {
        let (known, unknown) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|it| is_member(it.origin));
        self.waiting = unknown;
        let known = known.into_iter().map(|it| (it.from, it.body));
        let known: Vec<_> = known.collect();
        self.bytes -= known.iter().map(|it| it.1.len()).sum::<usize>();
        known
    }

    /// Forgets those that are too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(first) = self.waiting.front()
            && now - first.since >= PARKED_AGE
        {
            self.bytes -= first.body.len();
            self.dropped += 1;
            self.waiting.pop_front();
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::{node, uid};

    #[test]
    fn one_over_the_parked_max_or_the_bytes_or_those_of_a_node_is_dropped_and_counted() {
        let mut parked = Parked::default();
        let now = Instant::from_nanos(1);
        for number in 1..=PARKED_MAX as u64 + 1 {
            parked.put(now, (uid(number), &node(number)), &[1]);
        }
        assert_eq!(parked.dropped(), 1);
        assert_eq!(parked.take(|it| it != uid(1)).len(), PARKED_MAX - 1);
        for _ in 0..PARKED_OF_NODE_MAX {
            parked.put(now, (uid(1), &node(1)), &[1]);
        }
        assert_eq!(parked.dropped(), 2);
        assert_eq!(parked.take(|_| true).len(), PARKED_OF_NODE_MAX);
        parked.put(now, (uid(1), &node(1)), &vec![0; PARKED_BYTES_MAX]);
        parked.put(now, (uid(2), &node(2)), &[1]);
        assert_eq!(parked.dropped(), 3);
        parked.expire(now + PARKED_AGE);
        assert_eq!((parked.dropped(), parked.bytes), (4, 0));
    }
}
