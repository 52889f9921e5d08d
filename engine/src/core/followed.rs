//! Actors of this core that actors of other nodes watch.

use std::collections::BTreeMap;

use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::frame::body::{Watch, WatchEnd};

use super::watch::Place;
use super::{Core, NodeIndex};
use crate::watch::Ended;

/// Who of other nodes watches which actor of this core: by the generation of the actor, the process
/// start, and the name of the watcher there.
#[derive(Debug, Default)]
pub(super) struct Followed {
    entries: BTreeMap<Key, Follower>,
}

type Key = (u64, Uid, u64);

#[derive(Clone, Copy, Debug)]
struct Follower {
    node: NodeIndex,
    /// Where it lives.
    core: CoreId,
}

/// What the control core says of who watches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Follow {
        node: (NodeIndex, Uid),
        watch: Watch,
        slot: u32,
        watcher_core: CoreId,
    },
    Unfollow {
        uid: Uid,
        watch: Watch,
    },
    UnfollowNode {
        uid: Uid,
    },
}

impl Order {
    /// The node that it is about.
    pub(super) fn uid(&self) -> Uid {
        match self {
            Self::Follow { node, .. } => node.1,
            Self::Unfollow { uid, .. } | Self::UnfollowNode { uid } => *uid,
        }
    }
}

/// What a core of a process start is to be told together.
type Group = (NodeIndex, Vec<(Watch, WatchEnd)>);

impl Followed {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out those who watch the actor of a generation, by where they live.
    fn take(&mut self, watched: u64, reason: WatchEnd) -> BTreeMap<(Uid, CoreId), Group> {
        let mut groups: BTreeMap<(Uid, CoreId), Group> = BTreeMap::new();
        let Some(first) = Uid::new(1) else {
            return groups;
        };
        while let Some((key, follower)) = self.entries.range((watched, first, 0)..).next()
            && key.0 == watched
        {
            let ((_, uid, watcher), follower) = (*key, *follower);
            self.entries.remove(&(watched, uid, watcher));
            let (_, ended) = groups
                .entry((uid, follower.core))
                .or_insert_with(|| (follower.node, Vec::new()));
            ended.push((Watch { watched, watcher }, reason));
        }
        groups
    }
}

impl Core {
    /// Does what the control core says.
    pub(super) fn take_order(&self, order: Order) {
        match order {
            Order::Follow {
                node: (node, uid),
                watch,
                slot,
                watcher_core: core,
            } => {
                let generation = watch.watched;
                let Some(cell) = self.cell_at(Place { slot, generation }) else {
                    let ended = vec![(watch, WatchEnd::NotRunning)];
                    return self.tell_far((node, core), uid, ended);
                };
                cell.is_watched.set(true);
                let key = (generation, uid, watch.watcher);
                let mut followed = self.far.followed.borrow_mut();
                followed.entries.insert(key, Follower { node, core });
            }
            Order::Unfollow { uid, watch } => {
                let key = (watch.watched, uid, watch.watcher);
                self.far.followed.borrow_mut().entries.remove(&key);
            }
            Order::UnfollowNode { uid } => {
                let mut followed = self.far.followed.borrow_mut();
                followed.entries.retain(|key, _| key.1 != uid);
            }
        }
    }

    /// An actor of this core has ended: those of other nodes that watch it are told, behind all
    /// that this core sent to theirs.
    pub(super) fn followed_is_gone(&self, generation: u64, why: Ended) {
        let reason = match why {
            Ended::Stopped => WatchEnd::Stopped,
            Ended::Failed => WatchEnd::Failed,
            _ => WatchEnd::Other,
        };
        let groups = self.far.followed.borrow_mut().take(generation, reason);
        for ((uid, core), (node, ended)) in groups {
            self.tell_far((node, core), uid, ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_an_actor_is_told_with_the_others_of_its_core() {
        let mut followed = Followed::default();
        let uid = |value| Uid::new(value).expect("not zero");
        let entries = [
            (5, 1, 9, 0),
            (5, 1, 8, 1),
            (5, 1, 7, 0),
            (5, u64::MAX, u64::MAX, 0),
            (4, 1, 9, 0),
            (6, 1, 9, 0),
        ];
        for (watched, node, watcher, core) in entries {
            let follower = Follower {
                node: NodeIndex(3),
                core: CoreId(core),
            };
            let key = (watched, uid(node), watcher);
            followed.entries.insert(key, follower);
        }
        let groups = followed.take(5, WatchEnd::Failed);
        let watchers = |key| {
            let (node, ended): &Group = &groups[&key];
            assert_eq!(*node, NodeIndex(3));
            let watchers = ended.iter().map(|(watch, _)| watch.watcher);
            watchers.collect::<Vec<_>>()
        };
        assert_eq!(groups.len(), 3);
        assert_eq!(watchers((uid(1), CoreId(0))), [7, 9]);
        assert_eq!(watchers((uid(1), CoreId(1))), [8]);
        assert_eq!(watchers((uid(u64::MAX), CoreId(0))), [u64::MAX]);
        assert_eq!(followed.len(), 2);
        assert!(followed.take(5, WatchEnd::Failed).is_empty());
    }
}
