//! The nodes that have published, by name: who that was is told by a uid from core to core and from
//! core to actor, and asked by users for its name.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ringmesh_cluster::pubsub::{FrameError, OWN_ORIGIN, Origin};
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_transport::buffer::Chunk;
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::Core;

/// The most other nodes of which a core remembers that they have published: beyond, the one that it
/// has known for longest is forgotten. What waits in the queues of subscriptions names its
/// publisher itself.
const PUBLISHERS_MAX: usize = 4096;

/// A node that has published.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) node: NodeId,
    /// The same for other cores of this node.
    pub(super) origin: Box<[u8]>,
}

/// Those of which a core has something.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    own: OnceCell<Rc<Publisher>>,
    others: RefCell<Others>,
}

#[derive(Debug, Default)]
struct Others {
    by_uid: FxHashMap<Uid, Rc<Publisher>>,
    /// Of those, uids with which nodes of two addresses have come. Which of them published what
    /// waits in a mailbox nobody can say.
    doubtful: FxHashSet<Uid>,
    /// In the order they came.
    uids: VecDeque<Uid>,
}

impl Others {
    fn put(&mut self, publisher: &Rc<Publisher>) {
        let uid = publisher.node.uid;
        if let Some(former) = self.by_uid.get_mut(&uid) {
            *former = Rc::clone(publisher);
            self.doubtful.insert(uid);
            return;
        }
        if self.uids.len() >= PUBLISHERS_MAX
            && let Some(oldest) = self.uids.pop_front()
        {
            self.by_uid.remove(&oldest);
            self.doubtful.remove(&oldest);
        }
        self.uids.push_back(uid);
        self.by_uid.insert(uid, Rc::clone(publisher));
    }
}

impl Publishers {
    fn find(&self, uid: Uid) -> Option<Rc<Publisher>> {
        self.others.borrow().by_uid.get(&uid).map(Rc::clone)
    }

    #[cold]
    fn add(&self, node: NodeId) -> Rc<Publisher> {
        let origin = Origin::write(&node).into();
        let publisher = Rc::new(Publisher { node, origin });
        self.others.borrow_mut().put(&publisher);
        publisher
    }

    /// That node, which is another one. Its link knows its name: another that has come with the
    /// same uid is none of it.
    fn of(&self, node: &NodeId) -> Rc<Publisher> {
        let known = self.find(node.uid).filter(|it| it.node == *node);
        known.unwrap_or_else(|| self.add(node.clone()))
    }
}

impl Core {
    /// This node.
    pub(super) fn own_publisher(&self) -> Rc<Publisher> {
        let own = self.pubsub.publishers.own.get_or_init(|| {
            Rc::new(Publisher {
                node: self.identity().clone(),
                origin: Box::from(OWN_ORIGIN),
            })
        });
        Rc::clone(own)
    }

    /// The node from which something came that was published.
    pub(crate) fn publisher(&self, node: &NodeId) -> Rc<Publisher> {
        if self.is_own_start(node.uid) {
            return self.own_publisher();
        }
        self.pubsub.publishers.of(node)
    }

    /// The node that published what another member has sent on. It says so of one that this node
    /// knows as well as it: else that counts as published by itself.
    pub(super) fn publisher_of_sent_on(&self, sender: Rc<Publisher>, uid: Uid) -> Rc<Publisher> {
        let snapshot = self.registry_snapshot();
        let listed = snapshot.listing(sender.node.uid);
        let is_member = listed.is_some_and(|it| *it.owner() == sender.node);
        if !is_member {
            return sender;
        }
        if self.is_own_start(uid) {
            return self.own_publisher();
        }
        let listed = || Some(self.publisher(snapshot.listing(uid)?.owner()));
        let left = || self.pubsub.publishers.find(uid);
        listed().or_else(left).unwrap_or(sender)
    }

    /// Takes what another core of this node shares apart: who published it, and the frame that
    /// was. `None` of anything else, which is counted: other nodes have nothing to share, and may
    /// know where to send it all the same.
    pub(crate) fn open_shared(
        &self,
        from: Option<Uid>,
        shared: &Chunk,
    ) -> Option<(Rc<Publisher>, Chunk)> {
        let own = from.filter(|it| self.is_own_start(*it));
        let opened = own.and_then(|_| self.read_shared(shared).ok());
        let is_malformed = opened.is_none();
        self.tally.published_malformed.add(u64::from(is_malformed));
        opened
    }

    fn read_shared(&self, shared: &Chunk) -> Result<(Rc<Publisher>, Chunk), FrameError> {
        let (origin, frame) = Origin::parse(shared)?;
        let before = shared.len() - frame.len();
        let publisher = match origin {
            None => self.own_publisher(),
            Some(origin) => {
                let known = self.pubsub.publishers.find(origin.uid);
                match known.filter(|it| *it.origin == shared[..before]) {
                    Some(known) => known,
                    None => self.publisher(&origin.node(self.identity().address.system())?),
                }
            }
        };
        Ok((publisher, shared.slice(before..shared.len())))
    }

    /// The name of another node that has published. `None` of one that has left, and of which
    /// nothing was heard for long.
    #[cold]
    pub(crate) fn name_of_publisher(&self, uid: Uid) -> Option<NodeId> {
        let publishers = &self.pubsub.publishers;
        if publishers.others.borrow().doubtful.contains(&uid) {
            return None;
        }
        if let Some(known) = publishers.find(uid) {
            return Some(known.node.clone());
        }
        let snapshot = self.registry_snapshot();
        Some(snapshot.listing(uid)?.owner().clone())
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::address::Address;

    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId {
            address: Address::new("demo", "127.0.0.1", 7).expect("an address"),
            uid: Uid::new(number).expect("not zero"),
        }
    }

    #[test]
    fn one_over_the_publishers_max_has_the_oldest_forgotten() {
        let publishers = Publishers::default();
        let first = publishers.of(&node(1));
        for number in 1..=PUBLISHERS_MAX as u64 {
            assert_eq!(publishers.of(&node(number)).node, node(number));
        }
        assert!(
            Rc::ptr_eq(&publishers.of(&node(1)), &first),
            "there is room"
        );
        publishers.of(&node(PUBLISHERS_MAX as u64 + 1));
        let others = publishers.others.borrow();
        assert_eq!((others.by_uid.len(), others.uids.len()), (4096, 4096));
        drop(others);
        assert!(publishers.find(first.node.uid).is_none());
        assert!(publishers.find(node(2).uid).is_some());
        // Who has something of it still can say who it was.
        assert_eq!(first.node, node(1));
    }

    #[test]
    fn a_node_is_called_what_its_link_says_though_another_came_with_its_uid() {
        let publishers = Publishers::default();
        let address = Address::new("demo", "127.0.0.1", 8).expect("an address");
        let other = NodeId { address, ..node(1) };
        let stranger = publishers.of(&other);
        assert_eq!(
            (&publishers.of(&node(1)).node, &stranger.node),
            (&node(1), &other)
        );
        let known = publishers.find(other.uid).map(|it| it.node.clone());
        assert_eq!(known, Some(node(1)));
        assert_eq!(publishers.others.borrow().uids.len(), 1);
    }

    #[test]
    fn a_uid_with_which_nodes_of_two_addresses_came_is_doubtful() {
        let publishers = Publishers::default();
        let first = publishers.of(&node(1));
        let mut other = node(1);
        other.address = Address::new("demo", "127.0.0.1", 8).expect("an address");
        let is_doubtful = || publishers.others.borrow().doubtful.contains(&other.uid);
        assert!(!is_doubtful());
        assert_eq!(publishers.of(&other).node, other);
        assert!(is_doubtful());
        assert_eq!(first.node, node(1));
    }

    #[test]
    fn what_a_node_is_called_for_other_cores_is_read_as_that_node() {
        let publisher = Publishers::default().of(&node(9));
        let (origin, rest) = Origin::parse(&publisher.origin).expect("an origin");
        assert_eq!(origin.map(|it| it.node("demo")), Some(Ok(node(9))));
        assert!(rest.is_empty());
    }
}
