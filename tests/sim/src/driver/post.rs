//! What waits to be sent to a process start, while there is no link with it or no room on that.
//!
//! Of heartbeats and views the latest one is worth all before it; other messages each count, in a
//! queue that is bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use ringmesh_cluster::effect::Class;
use ringmesh_proto::address::{NodeId, Uid};

use super::{Driver, Surroundings};
use crate::machine::Sent;

/// The most messages that wait for one process start.
const WAITING_MAX: usize = 64;

/// What waits for one process start.
#[derive(Debug)]
pub(super) struct Post {
    to: NodeId,
    heartbeat: Option<Arc<[u8]>>,
    gossip: Option<Arc<[u8]>>,
    messages: VecDeque<Arc<[u8]>>,
}

impl Post {
    fn new(to: NodeId) -> Self {
        Self {
            to,
            heartbeat: None,
            gossip: None,
            messages: VecDeque::new(),
        }
    }

    /// Says whether there was room.
    fn put(&mut self, class: Class, body: Arc<[u8]>) -> bool {
        match class {
            Class::Heartbeat => self.heartbeat = Some(body),
            Class::Gossip => self.gossip = Some(body),
            Class::Message if self.messages.len() < WAITING_MAX => self.messages.push_back(body),
            Class::Message => return false,
        }
        true
    }

    /// Heartbeats go first, and views last.
    fn next(&self) -> Option<(Class, Arc<[u8]>)> {
        let heartbeat = self.heartbeat.clone().map(|it| (Class::Heartbeat, it));
        let message = || Some((Class::Message, self.messages.front()?.clone()));
        let gossip = || Some((Class::Gossip, self.gossip.clone()?));
        heartbeat.or_else(message).or_else(gossip)
    }

    fn drop_next(&mut self, class: Class) {
        match class {
            Class::Heartbeat => self.heartbeat = None,
            Class::Gossip => self.gossip = None,
            Class::Message => drop(self.messages.pop_front()),
        }
    }
}

impl Driver {
    /// Has bytes sent to a process start as soon as there is a link with it, and room.
    pub(crate) fn post(
        &mut self,
        env: &mut Surroundings<'_>,
        to: NodeId,
        class: Class,
        body: Arc<[u8]>,
    ) {
        let uid = to.uid;
        let post = self.posts.entry(uid).or_insert_with(|| Post::new(to));
        if !post.put(class, body) {
            self.not_sent += 1;
        }
        self.flush_post(env, uid);
    }

    /// Sends what waits for a process start, as far as that is possible.
    pub(super) fn flush_post(&mut self, env: &mut Surroundings<'_>, uid: Uid) {
        let Some(mut post) = self.posts.remove(&uid) else {
            return;
        };
        let is_replaced = self.linked(&post.to.address).is_some_and(|it| it != uid);
        if is_replaced || self.quarantines.parted(uid).is_some() {
            // Another start is there, or it will not listen: nothing reaches it.
            return;
        }
        if self.linked(&post.to.address).is_none() {
            let address = post.to.address.clone();
            self.posts.insert(uid, post);
            return self.dial(env, &address);
        }
        let to = post.to.clone().into();
        while let Some((class, body)) = post.next() {
            match self.try_send(env, &to, &body) {
                Sent::Taken | Sent::TooLong => post.drop_next(class),
                Sent::Quarantined => return,
                Sent::NoRoom | Sent::NoLink => {
                    self.posts.insert(uid, post);
                    return;
                }
            }
        }
    }
}
