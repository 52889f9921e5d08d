//! What waits to be sent to one node, while there is no link with it or no room on that.
//!
//! Of heartbeats, of answers to them, of views and of each kind of word about tables the latest one
//! is worth all before it. Messages each count, in a queue that is bounded: what is over it is lost
//! and counted, for whoever sends one repeats it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::effect::Class;

/// The most messages that wait for one node.
pub const POST_MESSAGES_MAX: usize = 64;

/// The most bytes of messages that wait for one node.
pub const POST_BYTES_MAX: usize = 128 << 10;

/// The most messages that wait for one node because they are passed on to it for others.
pub const POST_RELAYED_MAX: usize = 256;

/// The most bytes of those.
pub const POST_RELAYED_BYTES_MAX: usize = 256 << 10;

/// What waits to be sent to one node.
#[derive(Debug, Default)]
pub struct Post {
    /// One for each first byte: a question is worth no answer.
    heartbeats: Vec<Arc<[u8]>>,
    gossip: Option<Arc<[u8]>>,
    messages: Queue<POST_MESSAGES_MAX, POST_BYTES_MAX>,
    /// One for each first byte.
    tables: Vec<Arc<[u8]>>,
    relayed: Queue<POST_RELAYED_MAX, POST_RELAYED_BYTES_MAX>,
    replaced: u64,
}

/// Bodies that each count, so many and so many bytes of them at most.
#[derive(Debug, Default)]
struct Queue<const BODIES: usize, const BYTES: usize> {
    bodies: VecDeque<Arc<[u8]>>,
    bytes: usize,
    dropped: u64,
}

impl<const BODIES: usize, const BYTES: usize> Queue<BODIES, BYTES> {
    fn add(&mut self, body: Arc<[u8]>) {
        let bytes = self.bytes + body.len();
        if self.bodies.len() >= BODIES || bytes > BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes = bytes;
        self.bodies.push_back(body);
    }

    /// Whether `send` took all.
    fn flush(&mut self, send: &mut impl FnMut(&[u8]) -> bool) -> bool {
        while let Some(body) = self.bodies.front() {
            if !send(body) {
                return false;
            }
            self.bytes -= body.len();
            self.bodies.pop_front();
        }
        true
    }
}

impl Post {
    /// Adds a body behind those of its class, or in the place of one.
    pub fn put(&mut self, class: Class, body: Arc<[u8]>) {
        match class {
            Class::Heartbeat => self.replaced += put_latest(&mut self.heartbeats, body),
            Class::Table => self.replaced += put_latest(&mut self.tables, body),
            Class::Gossip => self.replaced += u64::from(self.gossip.replace(body).is_some()),
            Class::Relayed => self.relayed.add(body),
            Class::Message => self.messages.add(body),
        }
    }

    /// Hands what waits to `send`, heartbeats first and what is passed on last, until that has no
    /// room: then the body it refused waits on. Says whether all are gone.
    pub fn flush(&mut self, mut send: impl FnMut(&[u8]) -> bool) -> bool {
        let mut send = |body: &[u8]| send(body);
        let is_done = flush_latest(&mut self.heartbeats, &mut send)
            && self.messages.flush(&mut send)
            && flush_latest(&mut self.tables, &mut send);
        if is_done && self.gossip.as_deref().is_none_or(&mut send) {
            self.gossip = None;
            self.relayed.flush(&mut send);
        }
        self.is_empty()
    }

    /// How many bodies wait.
    pub fn waiting(&self) -> usize {
        let queued = self.messages.bodies.len() + self.relayed.bodies.len();
        queued + self.latest().count()
    }

    /// The bytes of those.
    pub fn bytes(&self) -> usize {
        let queued = self.messages.bytes + self.relayed.bytes;
        queued + self.latest().map(|body| body.len()).sum::<usize>()
    }

    /// Those of which only the latest waits.
    fn latest(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        let tables = self.tables.iter().chain(&self.gossip);
        self.heartbeats.iter().chain(tables)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Bodies in whose place a later one came.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Messages that were lost for want of room.
    pub fn dropped(&self) -> u64 {
        self.messages.dropped + self.relayed.dropped
    }
}

/// Whether `send` took all.
fn flush_latest(bodies: &mut Vec<Arc<[u8]>>, send: &mut impl FnMut(&[u8]) -> bool) -> bool {
    while let Some(body) = bodies.first() {
        if !send(body) {
            return false;
        }
        bodies.remove(0);
    }
    true
}

/// Puts a body in the place of the one that begins with the same byte, or behind all. How many it
/// replaced.
fn put_latest(waiting: &mut Vec<Arc<[u8]>>, body: Arc<[u8]>) -> u64 {
    let of_its_kind = |it: &&mut Arc<[u8]>| it.first() == body.first();
    match waiting.iter_mut().find(of_its_kind) {
        Some(known) => {
            *known = body;
            1
        }
        None => {
            waiting.push(body);
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(byte: u8) -> Arc<[u8]> {
        Arc::new([byte])
    }

    fn sent(post: &mut Post, room: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        post.flush(|body| {
            let fits = sent.len() < room;
            if fits {
                sent.push(body[0]);
            }
            fits
        });
        sent
    }

    #[test]
    fn heartbeats_go_first_and_views_last_and_of_both_the_latest() {
        let mut post = Post::default();
        for (class, byte) in [
            (Class::Gossip, 1),
            (Class::Message, 2),
            (Class::Heartbeat, 3),
            (Class::Gossip, 4),
            (Class::Message, 5),
            (Class::Heartbeat, 6),
            (Class::Heartbeat, 3),
        ] {
            post.put(class, body(byte));
        }
        assert_eq!(post.replaced(), 2, "a view, and a heartbeat by its like");
        assert_eq!((post.waiting(), post.bytes()), (5, 5));
        assert_eq!(sent(&mut post, 9), [3, 6, 2, 5, 4]);
        assert!(post.is_empty());
        post.put(Class::Gossip, body(7));
        assert_eq!(post.waiting(), 1);
    }

    #[test]
    fn of_words_about_tables_the_latest_of_each_kind_waits_behind_messages() {
        let mut post = Post::default();
        for (class, byte) in [
            (Class::Table, 67),
            (Class::Gossip, 1),
            (Class::Table, 66),
            (Class::Message, 2),
            (Class::Table, 67),
            (Class::Heartbeat, 32),
        ] {
            post.put(class, body(byte));
        }
        assert_eq!((post.replaced(), post.waiting(), post.bytes()), (1, 5, 5));
        assert_eq!(sent(&mut post, 3), [32, 2, 67]);
        assert_eq!(sent(&mut post, 9), [66, 1]);
        assert_eq!((post.waiting(), post.dropped()), (0, 0));
    }

    #[test]
    fn one_over_the_post_relayed_max_or_its_bytes_is_lost_and_counted_and_no_message_for_it() {
        let mut post = Post::default();
        for _ in 0..=POST_RELAYED_MAX {
            post.put(Class::Relayed, body(1));
        }
        post.put(Class::Table, body(3));
        post.put(Class::Message, body(2));
        assert_eq!((post.dropped(), post.bytes()), (1, POST_RELAYED_MAX + 2));
        let sent = sent(&mut post, usize::MAX);
        assert_eq!(
            (&sent[..3], sent.len()),
            (&[2, 3, 1][..], POST_RELAYED_MAX + 2)
        );
        let large: Arc<[u8]> = vec![1; POST_RELAYED_BYTES_MAX].into();
        post.put(Class::Relayed, large);
        post.put(Class::Relayed, body(1));
        assert_eq!((post.dropped(), post.waiting()), (2, 1));
    }

    #[test]
    fn what_found_no_room_waits_in_its_place() {
        let mut post = Post::default();
        for (class, byte) in [
            (Class::Heartbeat, 1),
            (Class::Message, 2),
            (Class::Message, 3),
            (Class::Gossip, 4),
        ] {
            post.put(class, body(byte));
        }
        let rounds = [0, 1, 1, 0, 1, 1, 1].map(|room| sent(&mut post, room));
        let expected: [&[u8]; 7] = [&[], &[1], &[2], &[], &[3], &[4], &[]];
        assert_eq!(rounds, expected);
    }

    #[test]
    fn one_over_the_post_messages_max_or_the_post_bytes_max_is_lost_and_counted() {
        let mut post = Post::default();
        for _ in 0..=POST_MESSAGES_MAX {
            post.put(Class::Message, body(1));
        }
        assert_eq!(post.dropped(), 1);
        assert_eq!(sent(&mut post, usize::MAX).len(), POST_MESSAGES_MAX);
        let half: Arc<[u8]> = vec![2; POST_BYTES_MAX / 2].into();
        for _ in 0..3 {
            post.put(Class::Message, Arc::clone(&half));
        }
        assert_eq!(post.dropped(), 2);
        sent(&mut post, 1);
        post.put(Class::Message, half);
        assert_eq!(post.dropped(), 2, "there was room again");
    }
}
