//! What waits for links with other nodes, or for room on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmesh_cluster::effect::Class;
use ringmesh_cluster::post::Post;
use ringmesh_proto::address::{Address, NodeId, Uid};

/// The most nodes that are no members for which something waits. Only those that do not read, or
/// are not there, are among them: whatever has room leaves at once.
pub(super) const STRANGERS_MAX: usize = 64;

/// The most bytes that wait for those, together.
pub(super) const STRANGERS_BYTES_MAX: usize = 1 << 20;

/// What waits, by process start. For members it is bounded by their number and by each
/// [`Post`], for all others here.
#[derive(Debug, Default)]
pub(super) struct Posts {
    posts: BTreeMap<Uid, (NodeId, Post)>,
    /// Those for which there was no memory: another link's grant may be what they wait for.
    starved: BTreeSet<Uid>,
}

impl Posts {
    pub(super) fn has(&self, uid: Uid) -> bool {
        self.posts.contains_key(&uid)
    }

    pub(super) fn node(&self, uid: Uid) -> Option<&NodeId> {
        self.posts.get(&uid).map(|(node, _)| node)
    }

    /// Adds a body for a node. Says how many bodies are lost for want of room.
    pub(super) fn put(
        &mut self,
        to: &NodeId,
        (class, body): (Class, Arc<[u8]>),
        is_member: impl Fn(Uid) -> bool,
    ) -> u64 {
        if !is_member(to.uid) && !self.has_room(to.uid, body.len(), is_member) {
            return 1;
        }
        let (_, post) = self
            .posts
            .entry(to.uid)
            .or_insert_with(|| (to.clone(), Post::default()));
        let dropped = post.dropped();
        post.put(class, body);
        post.dropped() - dropped
    }

    fn has_room(&self, uid: Uid, bytes: usize, is_member: impl Fn(Uid) -> bool) -> bool {
        let strangers = self.posts.iter().filter(|(uid, _)| !is_member(**uid));
        let add = |(count, sum): (usize, usize), (_, (_, post)): (_, &(_, Post))| {
            (count + 1, sum + post.bytes())
        };
        let (count, waiting) = strangers.fold((0, 0), add);
        let has_place = self.has(uid) || count < STRANGERS_MAX;
        has_place && waiting + bytes <= STRANGERS_BYTES_MAX
    }

    /// Hands what waits for a node to `send` until that says no; see [`Post::flush`].
    pub(super) fn flush(&mut self, uid: Uid, send: impl FnMut(&[u8]) -> bool) {
        if let Some((_, post)) = self.posts.get_mut(&uid)
            && post.flush(send)
        {
            self.posts.remove(&uid);
        }
    }

    /// There was no memory for what waits for a node.
    pub(super) fn starve(&mut self, uid: Uid) {
        self.starved.insert(uid);
    }

    /// Those that wait for memory, which may have come.
    pub(super) fn take_starved(&mut self) -> BTreeSet<Uid> {
        std::mem::take(&mut self.starved)
    }

    /// Nothing waits for a node any more. Says how many bodies are lost by that.
    pub(super) fn drop(&mut self, uid: Uid) -> u64 {
        self.starved.remove(&uid);
        let post = self.posts.remove(&uid);
        post.map_or(0, |(_, post)| post.waiting() as u64)
    }

    /// Keeps what waits for those that are wanted. Says how many bodies are lost.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(&Uid) -> bool) -> u64 {
        self.drop_all(|node| !is_wanted(&node.uid))
    }

    /// As [`keep`](Self::keep), of those at an address.
    pub(super) fn keep_at(&mut self, address: &Address, is_wanted: impl Fn(Uid) -> bool) -> u64 {
        self.drop_all(|node| node.address == *address && !is_wanted(node.uid))
    }

    fn drop_all(&mut self, is_gone: impl Fn(&NodeId) -> bool) -> u64 {
        let nodes = self.posts.values().map(|(node, _)| node);
        let gone: Vec<Uid> = nodes.filter(|it| is_gone(it)).map(|it| it.uid).collect();
        gone.into_iter().map(|uid| self.drop(uid)).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId {
            address: format!("ringmesh://demo@[::1]:{number}").parse().unwrap(),
            uid: Uid::new(number).unwrap(),
        }
    }

    fn body(bytes: usize) -> (Class, Arc<[u8]>) {
        (Class::Message, vec![1; bytes].into())
    }

    #[test]
    fn what_waits_for_one_over_the_strangers_max_is_lost_and_members_are_no_strangers() {
        let mut posts = Posts::default();
        let most = STRANGERS_MAX as u64;
        let is_member = |uid: Uid| uid.as_u64() > most + 1;
        for number in 1..=most {
            assert_eq!(posts.put(&node(number), body(1), is_member), 0);
        }
        assert_eq!(posts.put(&node(most + 1), body(1), is_member), 1);
        assert!(!posts.has(node(most + 1).uid), "nothing is kept of it");
        assert_eq!(posts.put(&node(1), body(1), is_member), 0, "it has a place");
        assert_eq!(posts.put(&node(most + 2), body(1), is_member), 0);
        assert_eq!(posts.drop(node(1).uid), 2);
        assert_eq!(posts.put(&node(most + 1), body(1), is_member), 0);
        assert_eq!(posts.keep(|uid| is_member(*uid)), most);
        assert!(posts.has(node(most + 2).uid));
    }

    #[test]
    fn who_is_not_at_an_address_takes_no_place_among_the_strangers() {
        let mut posts = Posts::default();
        let nobody = |_| false;
        let most = STRANGERS_MAX as u64;
        let at_one = |number| NodeId {
            address: node(1).address,
            uid: node(number).uid,
        };
        for number in 1..=most {
            assert_eq!(posts.put(&at_one(number), body(1), nobody), 0);
        }
        assert_eq!(posts.put(&node(most + 1), body(1), nobody), 1);
        assert_eq!(posts.keep_at(&node(2).address, nobody), 0);
        let kept = |uid: Uid| uid.as_u64() == 2;
        assert_eq!(posts.keep_at(&node(1).address, kept), most - 1);
        assert!(posts.has(at_one(2).uid));
        assert_eq!(posts.put(&node(most + 1), body(1), nobody), 0);
    }

    #[test]
    fn one_over_the_strangers_bytes_max_is_lost() {
        let mut posts = Posts::default();
        let nobody = |_| false;
        let sixteenth = STRANGERS_BYTES_MAX / 16;
        for number in 1..=16 {
            assert_eq!(posts.put(&node(number), body(sixteenth), nobody), 0);
        }
        assert_eq!(posts.put(&node(1), body(1), nobody), 1);
        assert_eq!(
            posts.put(&node(1), body(1), |_| true),
            0,
            "a member's own bound"
        );
        posts.flush(node(2).uid, |_| true);
        assert_eq!(posts.put(&node(3), body(sixteenth - 1), nobody), 0);
        assert_eq!(posts.put(&node(3), body(1), nobody), 1);
    }

    #[test]
    fn whoever_found_no_memory_is_named_once() {
        let mut posts = Posts::default();
        posts.starve(node(1).uid);
        posts.starve(node(2).uid);
        posts.drop(node(2).uid);
        assert!(posts.take_starved().into_iter().eq([node(1).uid]));
        assert!(posts.take_starved().is_empty());
    }
}
