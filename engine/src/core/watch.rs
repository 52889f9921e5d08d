//! Death watch: which actors of this core watch others, and who watches them.
//!
//! A watch has two entries: one on the core of the watcher, which alone decides what the watcher
//! hears and is taken when it does; one on the core of the watched actor, which says whom to tell.
//! Whichever of the two actors ends takes both with it. An actor that has ended never lives again,
//! so a word about it that comes late, or twice, is true all the same, and reaches whoever watches
//! it then or nobody.
//!
//! Actors of other nodes: [`super::far`] has their node told, and [`Core::remote_terminated`] takes
//! what it says. Those of other nodes that watch an actor of this core: [`super::followed`].

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmesh_proto::address::Uid;
use rustc_hash::FxHashMap;

use super::ticks::TickKey;
use super::{Core, Errand, NodeIndex};
use crate::actor::{ActorCell, ActorTable};
use crate::reference::Recipient;
use crate::watch::{Ended, Terminated, WatchError};

/// Others that one actor may watch.
pub(super) const WATCHES_OF_ACTOR_MAX: usize = 1 << 17;

/// Others that the actors of one core may watch together.
pub(super) const WATCHES_MAX: usize = 1 << 18;

/// An actor of this node, by what no other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u64,
}

/// What says which watch is meant: the generation of the watcher, and who is watched.
type Key = (u64, Uid, u64);

/// The rest of what is known of a watched actor.
#[derive(Clone, Copy, Debug)]
struct Watched {
    slot: u32,
    node: NodeIndex,
}

/// The entries of one core, of both sorts.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// What actors of this core watch.
    watching: BTreeMap<Key, Watched>,
    /// The messages of `watch_with`, which wait among the timers.
    messages: FxHashMap<Key, TickKey>,
    /// The slots of those who watch actors of this core: by the generation of the watched actor,
    /// and their own.
    watchers: BTreeMap<(u64, u64), u32>,
}

// Both entries of a watch, in trees whose nodes are half full at worst, take 128 bytes at most.
const _: () =
    assert!(2 * (size_of::<(Key, Watched)>() + size_of::<((u64, u64), u32)>()) + 16 <= 128);

impl Watches {
    /// Entries of both sorts.
    pub(super) fn len(&self) -> usize {
        self.watching.len() + self.watchers.len()
    }

    /// Room for one more watch of an actor that has so many.
    fn check(&self, of_actor: usize) -> Result<(), WatchError> {
        if of_actor >= WATCHES_OF_ACTOR_MAX {
            let limit = WATCHES_OF_ACTOR_MAX;
            return Err(WatchError::TooMany { limit });
        }
        if self.watching.len() >= WATCHES_MAX {
            let limit = WATCHES_MAX;
            return Err(WatchError::TooManyOnCore { limit });
        }
        Ok(())
    }

    /// Takes a watch out. Says who was watched, and the message that was to be told.
    fn take(&mut self, key: &Key) -> Option<(Watched, Option<TickKey>)> {
        let watched = self.watching.remove(key)?;
        Some((watched, self.messages.remove(key)))
    }

    /// What the actor of a generation watches.
    fn of(&self, watcher: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        let first = Uid::new(1).map(|uid| (watcher, uid, 0));
        for (key, _) in first.into_iter().flat_map(|it| self.watching.range(it..)) {
            if key.0 != watcher {
                break;
            }
            keys.push(*key);
        }
        keys
    }

    /// Takes out those who watch the actor of a generation.
    fn take_watchers(&mut self, watched: u64) -> Vec<Place> {
        let range = (watched, 0)..=(watched, u64::MAX);
        let places = self.watchers.range(range);
        let places: Vec<Place> = places
            .map(|((_, generation), slot)| Place {
                slot: *slot,
                generation: *generation,
            })
            .collect();
        for place in &places {
            self.watchers.remove(&(watched, place.generation));
        }
        places
    }
}

impl Core {
    /// Has an actor of this core told when another ends. The place of the message that it is told
    /// instead, if there is one, is the watch's from now on.
    pub(crate) fn watch_actor(
        self: &Rc<Self>,
        watcher: Recipient,
        who: Recipient,
        message: Option<TickKey>,
    ) -> Result<(), WatchError> {
        let cell = self.living(watcher).ok_or(WatchError::Stopping)?;
        if who.table != self.shared.table {
            return Err(WatchError::OtherNode);
        }
        let key = (watcher.generation, who.uid, who.generation);
        let is_new = !self.lives.watches.borrow().watching.contains_key(&key);
        if is_new {
            let of_actor = cell.watches.get() as usize;
            self.lives.watches.borrow().check(of_actor)?;
            self.ask_to_watch(watcher, who)?;
            cell.watches.set(cell.watches.get() + 1);
        }
        let former = {
            let mut watches = self.lives.watches.borrow_mut();
            let Recipient { slot, node, .. } = who;
            watches.watching.insert(key, Watched { slot, node });
            match message {
                Some(message) => watches.messages.insert(key, message),
                None => watches.messages.remove(&key),
            }
        };
        former
            .into_iter()
            .for_each(|former| self.drop_tick_at(former));
        Ok(())
    }

    /// Has the other entry of a watch made, where the watched actor lives.
    fn ask_to_watch(self: &Rc<Self>, watcher: Recipient, who: Recipient) -> Result<(), WatchError> {
        let by = Place {
            slot: watcher.slot,
            generation: watcher.generation,
        };
        match who.node {
            NodeIndex::SELF if who.uid == self.local().id.uid => {}
            // It names nobody, or an actor of an earlier process here.
            NodeIndex::SELF | NodeIndex::NOWHERE => {
                self.notice_here(by, who.uid, who.generation, Ended::Gone, None);
                return Ok(());
            }
            _ => return self.watch_remote(watcher, who),
        }
        let watched = Place {
            slot: who.slot,
            generation: who.generation,
        };
        if who.core == self.id {
            self.watched_by(watched, by);
            return Ok(());
        }
        let errand: Errand = Box::new(move |there| there.watched_by(watched, by));
        let core = who.core.0;
        self.send_errand(who.core, errand)
            .map_err(|_| WatchError::CoreOverloaded { core })
    }

    /// Another node says that an actor of it, which an actor of this core watches, has ended. All
    /// that the actor sent before is handled, or waits in mailboxes.
    pub(super) fn remote_terminated(&self, watcher: Place, uid: Uid, generation: u64, why: Ended) {
        self.notice_here(watcher, uid, generation, why, None);
    }

    /// An actor of this core is watched by one of this node from now on; tells it at once when
    /// there is no such actor any more.
    fn watched_by(&self, watched: Place, by: Place) {
        let Place { slot, generation } = watched;
        let is_there = {
            let actors = self.actors.borrow();
            let cell = actors.at(slot, generation);
            cell.inspect(|cell| cell.is_watched.set(true)).is_some()
        };
        if is_there {
            let mut watches = self.lives.watches.borrow_mut();
            watches
                .watchers
                .insert((generation, by.generation), by.slot);
        } else {
            self.notice(by, watched, Ended::Gone, None);
        }
    }

    /// An actor of this core is not watched by that one of this node any more.
    fn unwatched_by(&self, watched: u64, by: u64) {
        self.lives
            .watches
            .borrow_mut()
            .watchers
            .remove(&(watched, by));
    }

    /// Takes a watch back. Says whether there was one.
    pub(crate) fn unwatch_actor(&self, watcher: Recipient, who: Recipient) -> bool {
        let key = (watcher.generation, who.uid, who.generation);
        let is_watching = self.forget_watch(&key);
        if is_watching && let Some(cell) = self.living(watcher) {
            cell.watches.set(cell.watches.get() - 1);
        }
        is_watching
    }

    fn forget_watch(&self, key: &Key) -> bool {
        let taken = self.lives.watches.borrow_mut().take(key);
        let Some((watched, message)) = taken else {
            return false;
        };
        message.into_iter().for_each(|tick| self.drop_tick_at(tick));
        let (watcher, uid, generation) = *key;
        let core = ActorTable::core_of(generation);
        match watched.node {
            NodeIndex::SELF if uid != self.local().id.uid => {}
            NodeIndex::NOWHERE => {}
            NodeIndex::SELF if core == self.id => self.unwatched_by(generation, watcher),
            // No more of these wait than there are watches.
            NodeIndex::SELF => {
                let word: Errand = Box::new(move |there| there.unwatched_by(generation, watcher));
                self.send_word(core, word);
            }
            _ => self.unwatch_remote(watcher, uid, generation),
        }
        true
    }

    /// An actor of this core has ended for good: its watches with it, and whoever watched it is
    /// told. What it sent comes before that.
    pub(super) fn actor_is_gone(&self, cell: &ActorCell, why: Ended) {
        if cell.watches.replace(0) > 0 {
            let keys = self.lives.watches.borrow().of(cell.generation);
            for key in keys {
                self.forget_watch(&key);
            }
        }
        // When the core ends, nobody is left to be told.
        if !cell.is_watched.get() || self.is_over() {
            return;
        }
        let watchers = self
            .lives
            .watches
            .borrow_mut()
            .take_watchers(cell.generation);
        let watched = Place {
            slot: cell.slot,
            generation: cell.generation,
        };
        for watcher in watchers {
            self.notice(watcher, watched, why, cell.name.clone());
        }
        self.followed_is_gone(cell.generation, why);
    }

    /// Takes a watch whose time has come: what its actor is told, unless it has a message for that,
    /// which is told here. `None` as well when nobody watches any more.
    pub(crate) fn claim(&self, watcher: Place, notice: Notice) -> Option<Terminated> {
        let key = (watcher.generation, notice.uid, notice.generation);
        let (watched, message) = self.lives.watches.borrow_mut().take(&key)?;
        if matches!(notice.why, Ended::NodeLost | Ended::Unwatched) {
            // The actor may live on, and be watched anew since that was said.
            self.unwatch_remote(key.0, key.1, key.2);
        }
        let cell = self.cell_at(watcher)?;
        cell.watches.set(cell.watches.get() - 1);
        if let Some(message) = message {
            self.tick(message);
            return None;
        }
        let who = Recipient {
            uid: notice.uid,
            generation: notice.generation,
            slot: watched.slot,
            node: watched.node,
            core: ActorTable::core_of(notice.generation),
            table: self.shared.table,
            large: ActorTable::is_large(notice.generation),
        };
        Some(Terminated {
            who,
            why: notice.why,
            path: notice.path,
        })
    }

    /// The actor at a place of this core, if it is not wholly gone.
    pub(crate) fn cell_at(&self, place: Place) -> Option<Rc<ActorCell>> {
        let actors = self.actors.borrow();
        actors.at(place.slot, place.generation).cloned()
    }

    /// An actor of this core, unless it is ending.
    pub(super) fn living(&self, actor: Recipient) -> Option<Rc<ActorCell>> {
        let Recipient {
            slot, generation, ..
        } = actor;
        let cell = self.cell_at(Place { slot, generation });
        cell.filter(|cell| cell.is_alive())
    }
}

/// Word of an end, for one who may watch.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) uid: Uid,
    pub(crate) generation: u64,
    pub(crate) why: Ended,
    pub(crate) path: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(value: u64) -> Uid {
        Uid::new(value).expect("not zero")
    }

    fn watch(watches: &mut Watches, watcher: u64, watched: u64) {
        let place = Watched {
            slot: 0,
            node: NodeIndex::SELF,
        };
        let key = (watcher, uid(7), watched);
        watches.watching.insert(key, place);
        watches.watchers.insert((watched, watcher), 3);
    }

    #[test]
    fn one_over_the_watches_of_an_actor_and_of_a_core_is_refused() {
        let mut watches = Watches::default();
        assert_eq!(watches.check(WATCHES_OF_ACTOR_MAX - 1), Ok(()));
        let limit = WATCHES_OF_ACTOR_MAX;
        assert_eq!(watches.check(limit), Err(WatchError::TooMany { limit }));
        let limit = WATCHES_MAX;
        (1..limit).for_each(|watched| watch(&mut watches, 1, watched as u64));
        assert_eq!(watches.check(0), Ok(()));
        watch(&mut watches, 2, 1);
        assert_eq!(watches.check(0), Err(WatchError::TooManyOnCore { limit }));
    }

    #[test]
    fn each_actor_has_its_own_watches_and_its_own_watchers() {
        let mut watches = Watches::default();
        for (watcher, watched) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 3), (u64::MAX, 3)] {
            watch(&mut watches, watcher, watched);
        }
        let watched = |watcher| {
            let keys = watches.of(watcher);
            keys.iter().map(|key| key.2).collect::<Vec<_>>()
        };
        assert_eq!(
            [1, 2, 3, 4].map(watched),
            [vec![2, 3], vec![1, 3], vec![3], vec![]]
        );
        assert_eq!(watched(u64::MAX), [3]);
        let watchers = watches.take_watchers(3);
        let generations: Vec<u64> = watchers.iter().map(|place| place.generation).collect();
        assert_eq!(generations, [1, 2, 3, u64::MAX]);
        assert_eq!(watches.take_watchers(3), []);
        assert_eq!(watches.watchers.len(), 2);
    }
}
