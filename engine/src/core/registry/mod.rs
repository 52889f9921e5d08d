//! What this node announces, and what all others do.
//!
//! On the control core of a member the machine of the cluster has the registry; on that of any
//! other node a registry of its own serves the node alone. What either publishes reaches every
//! core by the [slot](RegistrySlot), and is read there by borrow. Actors announce themselves from
//! their own core, so the word of their end cannot come before.

mod announcing;
mod counting;
mod listening;
mod slot;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use futures_channel::oneshot;
use ringmesh_cluster::context::Random;
use ringmesh_cluster::pubsub::Topics;
use ringmesh_cluster::registry::{
    Acknowledgement, EntryId, Key, Publication, Registry, RegistryOutput, RegistrySettings,
    Snapshot,
};
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;
use rustc_hash::FxHashSet;

pub(crate) use self::announcing::Service;
use self::listening::Listeners;
pub(crate) use self::listening::Listening;
pub(crate) use self::slot::RegistrySlot;
use super::{CONTROL_CORE, Core, Token};

/// What a core has of the registry.
#[derive(Debug, Default)]
pub(super) struct RegistryRoom {
    /// What is announced, as this core knows.
    snapshot: RefCell<Arc<Snapshot>>,
    listeners: RefCell<Listeners>,
    /// Who waits for another snapshot.
    waiting: RefCell<Vec<Rc<RefCell<Option<Waker>>>>>,
    /// The generations of the actors of this core that were announced.
    announced: RefCell<FxHashSet<u64>>,
    desk: Desk,
}

/// What the control core has besides.
#[derive(Debug, Default)]
struct Desk {
    /// The registry of a node that takes part in no cluster, and what it wants done.
    alone: RefCell<Option<Registry>>,
    out: RefCell<Vec<RegistryOutput>>,
    timer: Cell<Option<(Instant, TimerKey)>>,
    stirred: Cell<bool>,
    /// What actors are announced as, by their generations.
    entries: RefCell<BTreeMap<u64, Vec<(Key, EntryId)>>>,
    /// Who waits for an acknowledgement, by its ticket.
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Acknowledgement>>>,
    last_ticket: Cell<u64>,
    /// What is subscribed to in the cluster, as it was published last.
    topics: RefCell<Option<Arc<Topics>>>,
    /// Snapshots that some core does not read yet: the first is waited for, and then the last.
    unread: RefCell<VecDeque<Arc<Snapshot>>>,
}

impl Core {
    /// Makes the registry of a node that takes part in no cluster. Before the first turn.
    pub(super) fn begin_registry(&self) {
        if self.id == CONTROL_CORE && !self.settings.cluster.take_part {
            let settings = RegistrySettings::default();
            let alone = Registry::alone(settings, self.identity().clone());
            let snapshot = Arc::clone(alone.snapshot());
            self.registry.desk.alone.replace(Some(alone));
            let differences = Vec::new();
            self.publish_registry(Publication {
                snapshot,
                differences,
            });
        }
    }

    /// The registry has something to show: all cores read it, this one now and the others in their
    /// next turn.
    pub(super) fn publish_registry(&self, publication: Publication) {
        let snapshot = Arc::clone(&publication.snapshot);
        {
            let mut unread = self.registry.desk.unread.borrow_mut();
            // Those between the one that is waited for and the last are nobody's loss.
            unread.truncate(1);
            unread.push_back(snapshot);
        }
        let topics = {
            let mut topics = self.registry.desk.topics.borrow_mut();
            let topics = topics.get_or_insert_with(|| Topics::new(self.identity().uid).into());
            // Cores read the value before this one: what changes is copied, and the rest shared.
            Arc::make_mut(topics).apply(&publication);
            Arc::clone(topics)
        };
        self.shared.registry.put(publication, topics);
        self.read_registry();
        for core in self.cores().filter(|core| *core != self.id) {
            self.shared.ring(core);
        }
    }

    /// All cores read what this one does: the control core confirms it.
    fn all_read_registry(&self) {
        if self.id == CONTROL_CORE {
            self.registry.desk.stirred.set(true);
        } else {
            self.shared.ring(CONTROL_CORE);
        }
    }

    /// Tells the registry what all cores read by now. Says whether that is more than before.
    fn confirm_registry(&self) -> bool {
        let desk = &self.registry.desk;
        if desk.unread.borrow().is_empty() {
            return false;
        }
        let read = self.shared.registry.read_by_all();
        let mut confirmed = None;
        {
            let mut unread = desk.unread.borrow_mut();
            while unread.front().is_some_and(|it| it.version() <= read) {
                confirmed = unread.pop_front();
            }
        }
        let Some(snapshot) = confirmed else {
            return false;
        };
        self.tell_registry(|registry, now, out| registry.handle_applied(now, &snapshot, out));
        true
    }

    /// Gives the registry something, wherever it is, and has what follows done in this turn. `None`
    /// off the control core, and once the node has no part in its cluster any more.
    pub(super) fn tell_registry<R>(
        &self,
        tell: impl FnOnce(&mut Registry, Instant, &mut Vec<RegistryOutput>) -> R,
    ) -> Option<R> {
        let desk = &self.registry.desk;
        if let Some(registry) = desk.alone.borrow_mut().as_mut() {
            desk.stirred.set(true);
            let out = &mut desk.out.borrow_mut();
            return Some(tell(registry, self.clock.now(), out));
        }
        self.tell_cluster(|machine, cx| machine.with_registry(cx, tell))?
    }

    /// Whether something is to be done in this turn or the next.
    pub(super) fn is_registry_stirred(&self) -> bool {
        self.registry.desk.stirred.get()
    }

    /// Does what follows from what happened. Says whether there was anything.
    pub(super) fn look_at_registry(&self) -> bool {
        let mut busy = self.read_registry();
        if self.id == CONTROL_CORE {
            busy |= self.confirm_registry();
            if self.registry.desk.stirred.replace(false) {
                self.carry_out_registry();
                self.arm_registry_timer();
                busy = true;
            }
        }
        busy
    }

    fn carry_out_registry(&self) {
        let outputs = self.registry.desk.out.take();
        for output in outputs {
            match output {
                RegistryOutput::Publish(publication) => self.publish_registry(publication),
                RegistryOutput::Acknowledged(answer) => self.registry_acknowledged(answer),
                // There is nobody else.
                _ => {}
            }
        }
    }

    /// An acknowledgement has come.
    pub(super) fn registry_acknowledged(&self, answer: Acknowledgement) {
        let waiting = { self.registry.desk.waiting.borrow_mut() }.remove(&answer.ticket);
        if let Some(waiting) = waiting {
            // Whoever asked may wait no more.
            let _ = waiting.send(answer);
        }
    }

    /// This node has no part in its cluster any more: nobody confirms anything.
    pub(super) fn registry_is_over(&self) {
        let waiting = self.registry.desk.waiting.take();
        drop(waiting);
    }

    pub(super) fn registry_timeout(&self) {
        self.registry.desk.timer.set(None);
        let mut random = Random::new(crate::random::number());
        self.tell_registry(|registry, now, out| registry.handle_timeout(now, &mut random, out));
    }

    fn arm_registry_timer(&self) {
        let desk = &self.registry.desk;
        let due = { desk.alone.borrow() }
            .as_ref()
            .and_then(Registry::poll_timeout);
        let armed = desk.timer.get();
        if armed.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, key)) = armed {
            self.cancel_timer(key);
        }
        let timer = due.and_then(|at| Some((at, self.set_timer(at, Token::Registry)?)));
        desk.timer.set(timer);
    }
}
