//! What is watched there from here, and here from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmesh_proto::address::{Address, CoreId};
use ringmesh_proto::frame::body::{System, Watch, WatchEnd};

use super::pulse::Pulse;

/// Where the two actors of a watch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// The core of this node that the watcher lives on.
    pub watcher_core: CoreId,
    /// Its slot.
    pub watcher_slot: u32,
    /// The core of the other node that the watched actor lives on.
    pub core: CoreId,
    /// Its slot.
    pub slot: u32,
}

/// Another process start.
#[derive(Debug)]
pub(super) struct Node {
    address: Address,
    /// There is a control link.
    linked: bool,
    /// What actors of this node watch there, and whether the node was told over this link.
    outgoing: BTreeMap<Watch, (Watching, bool)>,
    /// What it watches here, and on which core.
    incoming: BTreeMap<Watch, CoreId>,
    /// What it is to be told, oldest first. What holds no more is left out when its turn comes.
    queue: VecDeque<Word>,
    /// The driver knows that there is something to say.
    announced: bool,
    /// As long as something is watched there, unless it is a member of the cluster.
    pub(super) pulse: Option<Pulse>,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Watch(Watch),
    Unwatch(Watch),
    Terminated(Watch, WatchEnd),
}

impl Node {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            linked: false,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            queue: VecDeque::new(),
            announced: false,
            pulse: None,
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn is_linked(&self) -> bool {
        self.linked
    }

    pub(super) fn outgoing(&self) -> usize {
        self.outgoing.len()
    }

    pub(super) fn incoming(&self) -> usize {
        self.incoming.len()
    }

    /// What waits to be said.
    #[cfg(test)]
    pub(super) fn words(&self) -> usize {
        self.queue.len()
    }

    /// Says whether it is new.
    pub(super) fn watch(&mut self, watch: Watch, watching: Watching) -> bool {
        if self.outgoing.contains_key(&watch) {
            return false;
        }
        self.outgoing.insert(watch, (watching, false));
        self.tell(Word::Watch(watch));
        true
    }

    /// Says whether it was there.
    pub(super) fn unwatch(&mut self, watch: Watch) -> bool {
        let Some((_, was_told)) = self.outgoing.remove(&watch) else {
            return false;
        };
        if was_told {
            self.tell(Word::Unwatch(watch));
        }
        true
    }

    pub(super) fn take_outgoing(&mut self, watch: Watch) -> Option<Watching> {
        self.outgoing.remove(&watch).map(|(watching, _)| watching)
    }

    pub(super) fn take_all_outgoing(&mut self) -> BTreeMap<Watch, Watching> {
        let all = std::mem::take(&mut self.outgoing);
        all.into_iter()
            .map(|(watch, (watching, _))| (watch, watching))
            .collect()
    }

    pub(super) fn has_incoming(&self, watch: Watch) -> bool {
        self.incoming.contains_key(&watch)
    }

    /// Says whether it is new.
    pub(super) fn add_incoming(&mut self, watch: Watch, core: CoreId) -> bool {
        self.incoming.insert(watch, core).is_none()
    }

    pub(super) fn take_incoming(&mut self, watch: Watch) -> Option<CoreId> {
        self.incoming.remove(&watch)
    }

    /// Says how many there were.
    pub(super) fn forget_incoming(&mut self) -> usize {
        std::mem::take(&mut self.incoming).len()
    }

    pub(super) fn terminated(&mut self, watch: Watch, reason: WatchEnd) {
        self.tell(Word::Terminated(watch, reason));
    }

    /// Declares everything over a new link.
    pub(super) fn link_up(&mut self) {
        self.link_down();
        self.linked = true;
        for (watch, (_, was_told)) in &mut self.outgoing {
            *was_told = false;
            self.queue.push_back(Word::Watch(*watch));
        }
    }

    pub(super) fn link_down(&mut self) {
        self.linked = false;
        self.announced = false;
        self.queue = VecDeque::new();
    }

    /// Without a link there is nobody to tell: the next one begins with everything.
    fn tell(&mut self, word: Word) {
        if self.linked {
            self.queue.push_back(word);
        }
    }

    /// Whether there is something to say that the driver does not know of; it does then.
    pub(super) fn has_news(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.announced, true)
    }

    /// Whether more waits than may, also when what holds no more is left out.
    pub(super) fn is_overflowing(&mut self, words_max: usize) -> bool {
        if self.queue.len() <= words_max {
            return false;
        }
        let (outgoing, mut seen) = (&self.outgoing, BTreeSet::new());
        self.queue.retain(|word| match word {
            Word::Watch(watch) => {
                let is_due = matches!(outgoing.get(watch), Some((_, false)));
                is_due && seen.insert(*watch)
            }
            Word::Unwatch(_) | Word::Terminated(..) => true,
        });
        // Some room, so that not each word is followed by such a look.
        self.queue.len() > words_max - words_max / 4
    }

    pub(super) fn say(&mut self, mut send: impl FnMut(&System) -> bool) {
        while let Some(word) = self.queue.front() {
            if let Some(system) = self.in_words(*word)
                && !send(&system)
            {
                return;
            }
            if let Some(Word::Watch(watch)) = self.queue.pop_front()
                && let Some((_, was_told)) = self.outgoing.get_mut(&watch)
            {
                *was_told = true;
            }
        }
        self.announced = false;
        self.queue.shrink_to(WORDS_KEPT);
    }

    /// `None` when it holds no more.
    fn in_words(&self, word: Word) -> Option<System> {
        Some(match word {
            Word::Watch(watch) => {
                let (watching, was_told) = self.outgoing.get(&watch)?;
                if *was_told {
                    return None;
                }
                System::Watch {
                    watch,
                    watcher_core: watching.watcher_core,
                    core: watching.core,
                    slot: watching.slot,
                }
            }
            Word::Unwatch(watch) => System::Unwatch { watch },
            Word::Terminated(watch, reason) => System::Terminated { watch, reason },
        })
    }
}

/// Room for words that a node with little to say keeps.
const WORDS_KEPT: usize = 64;
