//! What waits to be sent to a process start, in the production [`Post`].

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmesh_cluster::effect::Class;
use ringmesh_cluster::post::Post;
use ringmesh_proto::address::{NodeId, Uid};

use super::{Driver, Surroundings};
use crate::machine::Sent;

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
        let (_, post) = self
            .posts
            .entry(uid)
            .or_insert_with(|| (to, Post::default()));
        let dropped = post.dropped();
        post.put(class, body);
        self.not_sent += post.dropped() - dropped;
        self.flush_post(env, uid);
    }

    /// Nothing waits for process starts that are neither these nor linked.
    pub(crate) fn forget_posts(&mut self, members: &BTreeSet<Uid>) {
        let mut posts = std::mem::take(&mut self.posts);
        posts
            .retain(|uid, (to, _)| members.contains(uid) || self.linked(&to.address) == Some(*uid));
        self.posts = posts;
    }

    /// Sends what waits for a process start, as far as that is possible.
    pub(super) fn flush_post(&mut self, env: &mut Surroundings<'_>, uid: Uid) {
        let Some((to, mut post)) = self.posts.remove(&uid) else {
            return;
        };
        let linked = self.linked(&to.address);
        let is_replaced = linked.is_some_and(|it| it != uid);
        if is_replaced || self.quarantines.parted(uid).is_some() {
            // Another start is there, or it will not listen: nothing reaches it.
            return;
        }
        if linked.is_none() {
            let address = to.address.clone();
            self.posts.insert(uid, (to, post));
            return self.dial_once(env, &address);
        }
        let target = to.clone().into();
        let mut is_parted = false;
        let is_empty = post.flush(|body| match self.try_send(env, &target, body) {
            Sent::Taken | Sent::TooLong => true,
            Sent::NoRoom | Sent::NoLink => false,
            Sent::Quarantined => {
                is_parted = true;
                false
            }
        });
        if !is_empty && !is_parted {
            self.posts.insert(uid, (to, post));
        }
    }
}
