//! What is asked of whoever gives leases to this node, carried out apart: a store that is slow
//! holds up no core.
//!
//! The store lives on a thread of its own, which carries out one ask at a time: first those of the
//! cluster's machine, then those of the program's leases as they came. Of the asks of one user for
//! one lease the newest counts: what an older one wanted is not wanted any more. A node that stops
//! waits for what is given back, and for what is under way, for as long as its last bytes may take;
//! a store that hangs for longer is left behind with its thread.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use futures_channel::oneshot;
use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName};
use ringmesh_lease::Store;
use ringmesh_proto::address::CoreId;
use ringmesh_proto::time::Instant;

use super::super::{CONTROL_CORE, Core};
use crate::cluster::LeaseStore;
use crate::error::EngineError;

/// Asks for so many leases wait at most.
const WAITING_MAX: usize = 256;

/// Who asks: the machine of the cluster, or a lease of the program by its number on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeaseUser {
    /// The machine. First of all.
    Machine,
    Lease(CoreId, u64),
}

/// Where an answer goes.
#[derive(Debug)]
enum Reply {
    ToMachine,
    ToLease(oneshot::Sender<Answer>),
}

/// What is asked of the store, and who carries it out.
#[derive(Debug, Default)]
pub(super) struct LeaseDesk {
    /// There is no store without one, or it is gone.
    clerk: Option<Clerk>,
    is_busy: bool,
    waiting: BTreeMap<(LeaseUser, LeaseName), Waiting>,
    /// How many asks have come.
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    arrival: u64,
    ask: Ask,
    reply: Reply,
}

/// The thread of the store.
#[derive(Debug)]
struct Clerk {
    errands: SyncSender<Errand>,
    thread: JoinHandle<()>,
}

/// An ask, and where its answer goes.
#[derive(Debug)]
struct Errand {
    ask: Ask,
    say: oneshot::Sender<Answer>,
}

impl LeaseDesk {
    /// Starts the thread of a store.
    ///
    /// # Errors
    /// [`EngineError::LeaseStore`] if there is none to be had.
    pub(super) fn of(store: Box<dyn Store>) -> Result<Self, EngineError> {
        // One errand is under way at a time.
        let (errands, given) = sync_channel(1);
        let thread = thread::Builder::new().name("ringmesh-lease".to_owned());
        let thread = thread.spawn(move || serve(store, &given));
        let thread = thread.map_err(|error| EngineError::LeaseStore(error.to_string()))?;
        Ok(Self {
            clerk: Some(Clerk { errands, thread }),
            ..Self::default()
        })
    }

    /// Has an ask wait, at the place of an older one for its lease, or says that there is no room.
    fn put(&mut self, user: LeaseUser, ask: Ask, reply: Reply) -> Put {
        let key = (user, ask.name.clone());
        if self.clerk.is_none() {
            return Put::Refused(reply, "this node has no lease store, or it is gone");
        }
        self.arrivals += 1;
        let has_room = self.waiting.len() < WAITING_MAX;
        match self.waiting.entry(key) {
            Entry::Occupied(mut older) => {
                let older = older.get_mut();
                (older.ask, older.reply) = (ask, reply);
                Put::Replaced
            }
            Entry::Vacant(place) if has_room => {
                let arrival = self.arrivals;
                place.insert(Waiting {
                    arrival,
                    ask,
                    reply,
                });
                Put::Waits
            }
            Entry::Vacant(_) => Put::Refused(reply, "asks for too many leases wait"),
        }
    }

    /// What is to be asked next, if the store has nothing to do.
    fn take(&mut self) -> Option<(Ask, Reply)> {
        if self.is_busy {
            return None;
        }
        let rank = |((user, _), it): &(&(LeaseUser, LeaseName), &Waiting)| {
            (*user != LeaseUser::Machine, it.arrival)
        };
        let next = self.waiting.iter().min_by_key(rank);
        let key = next.map(|(key, _)| key.clone())?;
        let Waiting { ask, reply, .. } = self.waiting.remove(&key)?;
        self.is_busy = true;
        Some((ask, reply))
    }

    /// Nothing but what is given back is asked for any more. Says how much is left out.
    fn wind_up(&mut self) -> usize {
        let before = self.waiting.len();
        let is_last = |it: &Waiting| matches!(it.ask.deed, Deed::Release(_));
        self.waiting.retain(|_, it| is_last(it));
        before - self.waiting.len()
    }

    fn is_done(&self) -> bool {
        self.clerk.is_none() || !self.is_busy && self.waiting.is_empty()
    }
}

/// What becomes of an ask.
#[derive(Debug)]
enum Put {
    Waits,
    /// An older one is not asked any more.
    Replaced,
    Refused(Reply, &'static str),
}

/// Carries out errands, one after the other, until nobody can give any.
fn serve(mut store: Box<dyn Store>, given: &Receiver<Errand>) {
    while let Ok(Errand { ask, say }) = given.recv() {
        // Nobody listens when the core has ended.
        let _ = say.send(store.handle(&ask));
    }
}

impl Core {
    /// Asks the store for the machine, now or when it has nothing else to do.
    pub(super) fn ask_lease(self: &Rc<Self>, ask: Ask) {
        self.put_ask(LeaseUser::Machine, ask, Reply::ToMachine);
    }

    /// Asks the store for a lease of the program, from any core. Nobody answers if there is too
    /// much to do, or something newer is asked.
    pub(crate) fn ask_for_lease(
        self: &Rc<Self>,
        user: LeaseUser,
        ask: Ask,
    ) -> oneshot::Receiver<Answer> {
        let (say, heard) = oneshot::channel();
        let put = move |control: &Rc<Self>| control.put_ask(user, ask, Reply::ToLease(say));
        if self.id == CONTROL_CORE {
            put(self);
        } else if self.send_errand(CONTROL_CORE, Box::new(put)).is_err() {
            tracing::debug!("the control core has too much to do to ask for a lease");
        }
        heard
    }

    fn put_ask(self: &Rc<Self>, user: LeaseUser, ask: Ask, reply: Reply) {
        self.tally.lease_asks.add(1);
        let number = ask.number;
        let put = { self.cluster.leases.borrow_mut() }.put(user, ask, reply);
        match put {
            Put::Waits => {}
            Put::Replaced => self.tally.lease_asks_dropped.add(1),
            Put::Refused(reply, why) => return self.lease_answered(number, reply, failed(why)),
        }
        self.ask_next_lease();
    }

    fn ask_next_lease(self: &Rc<Self>) {
        let Some((ask, reply)) = { self.cluster.leases.borrow_mut() }.take() else {
            return;
        };
        let (say, heard) = oneshot::channel();
        let number = ask.number;
        {
            let desk = self.cluster.leases.borrow();
            let clerk = desk.clerk.as_ref();
            // If the thread is gone, so is what would be said.
            let _ = clerk.map(|clerk| clerk.errands.try_send(Errand { ask, say }));
        }
        let core = Rc::downgrade(self);
        let end = async move {
            let answer = heard.await;
            let Some(core) = core.upgrade() else {
                return;
            };
            { core.cluster.leases.borrow_mut() }.is_busy = false;
            match answer {
                Ok(answer) => core.lease_answered(number, reply, answer),
                Err(_) => core.lease_store_gone(number, reply),
            }
            core.ask_next_lease();
        };
        self.tasks.attach(end).wake();
    }

    /// The store panicked, and its thread with it.
    fn lease_store_gone(&self, number: u64, reply: Reply) {
        tracing::error!("the lease store panicked: no lease is given to this node any more");
        let waiting = {
            let mut desk = self.cluster.leases.borrow_mut();
            desk.clerk = None;
            std::mem::take(&mut desk.waiting)
        };
        let waiting = waiting.into_values().map(|it| (it.ask.number, it.reply));
        for (number, reply) in waiting.chain([(number, reply)]) {
            self.lease_answered(number, reply, failed("the lease store panicked"));
        }
    }

    fn lease_answered(&self, number: u64, reply: Reply, answer: Answer) {
        if let Answer::Failed { why } = &answer {
            self.tally.lease_failures.add(1);
            tracing::debug!(number, %why, "a lease was asked for in vain");
        }
        match reply {
            Reply::ToMachine => {
                self.tell_cluster(|machine, cx| machine.handle_lease(cx, number, answer));
            }
            Reply::ToLease(say) => {
                // It may not be waited for any more.
                let _ = say.send(answer);
            }
        }
    }

    /// Whether the store has nothing to do any more for a node that stops.
    pub(in super::super) fn has_asked_leases(self: &Rc<Self>) -> bool {
        let dropped = { self.cluster.leases.borrow_mut() }.wind_up();
        self.tally.lease_asks_dropped.add(dropped as u64);
        self.ask_next_lease();
        self.cluster.leases.borrow().is_done() && self.cluster.leases_ending.get() == 0
    }

    /// Whether anything gives leases to this node.
    pub(crate) fn has_lease_store(&self) -> bool {
        let is_named = self.settings.cluster.lease_store != LeaseStore::None;
        is_named || self.cluster.lease_store.is_some()
    }

    /// What no other lease on this node is called.
    pub(crate) fn next_lease(&self) -> LeaseUser {
        let number = self.cluster.leases_made.get() + 1;
        self.cluster.leases_made.set(number);
        LeaseUser::Lease(self.id, number)
    }

    /// The time by which a lease is held: as it is now, not when the turn began.
    pub(crate) fn lease_time(&self) -> Instant {
        self.clock.peek()
    }

    /// A lease of the program on this core is given back from now on: the node does not end before,
    /// if its time suffices.
    pub(crate) fn lease_ends(&self) {
        let ending = &self.cluster.leases_ending;
        ending.set(ending.get() + 1);
    }

    /// That is done.
    pub(crate) fn lease_ended(&self) {
        let ending = &self.cluster.leases_ending;
        ending.set(ending.get() - 1);
    }

    /// The node ends: so does the thread of the store, if that has nothing under way.
    pub(in super::super) fn close_leases(&self) {
        let desk = self.cluster.leases.take();
        let Some(Clerk { errands, thread }) = desk.clerk else {
            return;
        };
        drop(errands);
        if desk.is_busy {
            tracing::warn!("the node ends before its lease store has answered");
            self.tally.lease_asks_dropped.add(1);
        } else if thread.join().is_err() {
            tracing::error!("the lease store panicked when it ended");
        }
    }
}

fn failed(why: &str) -> Answer {
    let why = why.into();
    Answer::Failed { why }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringmesh_cluster::lease::Token;

    use super::*;

    fn ask(number: u64, name: &str, deed: Deed) -> Ask {
        Ask {
            number,
            name: LeaseName::new(name).expect("a name"),
            owner: "a".into(),
            deed,
            time_to_live: Duration::from_secs(1),
        }
    }

    /// A desk whose thread has ended: nothing is ever carried out.
    fn desk() -> LeaseDesk {
        let (errands, _) = sync_channel(1);
        let thread = thread::spawn(|| ());
        LeaseDesk {
            clerk: Some(Clerk { errands, thread }),
            ..LeaseDesk::default()
        }
    }

    fn waits(desk: &mut LeaseDesk, user: LeaseUser, ask: Ask) -> bool {
        match desk.put(user, ask, Reply::ToMachine) {
            Put::Waits => true,
            Put::Replaced => false,
            Put::Refused(_, why) => panic!("{why}"),
        }
    }

    fn take(desk: &mut LeaseDesk) -> Option<u64> {
        desk.take().map(|(ask, _)| ask.number)
    }

    const PROGRAM: LeaseUser = LeaseUser::Lease(CoreId(0), 1);

    #[test]
    fn the_newest_ask_for_each_lease_is_carried_out_one_at_a_time() {
        let mut desk = desk();
        let mut acquire =
            |user, number, name| waits(&mut desk, user, ask(number, name, Deed::Acquire(Token(0))));
        assert!(acquire(PROGRAM, 5, "b") && acquire(PROGRAM, 6, "a"));
        assert!(!acquire(PROGRAM, 7, "b"), "in place of the older one");
        let other = LeaseUser::Lease(CoreId(1), 1);
        assert!(
            acquire(other, 1, "b"),
            "another holder's numbers are others"
        );
        assert!(acquire(LeaseUser::Machine, 2, "b"));
        for number in [2, 7, 6, 1] {
            assert_eq!(take(&mut desk), Some(number));
            assert_eq!(take(&mut desk), None, "one is under way");
            desk.is_busy = false;
        }
        assert_eq!(take(&mut desk), None);
        assert!(desk.is_done());
    }

    #[test]
    fn one_over_the_waiting_max_is_refused() {
        let mut desk = desk();
        let mut put = |number: usize| {
            let ask = ask(
                number as u64,
                &format!("shop-{number}"),
                Deed::Acquire(Token(0)),
            );
            desk.put(PROGRAM, ask, Reply::ToMachine)
        };
        assert!((0..WAITING_MAX).all(|number| matches!(put(number), Put::Waits)));
        assert!(matches!(put(WAITING_MAX), Put::Refused(..)));
        assert!(
            matches!(put(0), Put::Replaced),
            "there is room in its place"
        );
        let ask = ask(1, "a", Deed::Acquire(Token(0)));
        let nobody = LeaseDesk::default().put(PROGRAM, ask, Reply::ToMachine);
        assert!(matches!(nobody, Put::Refused(..)), "there is no store");
    }

    #[test]
    fn a_desk_that_winds_up_gives_back_and_asks_nothing_else() {
        let mut desk = desk();
        let token = Token(1);
        let deeds = [
            Deed::Acquire(Token(0)),
            Deed::Renew(token),
            Deed::Release(token),
        ];
        for (number, (name, deed)) in ["a", "b", "c"].into_iter().zip(deeds).enumerate() {
            assert!(waits(&mut desk, PROGRAM, ask(number as u64, name, deed)));
        }
        assert_eq!(desk.wind_up(), 2);
        assert!(!desk.is_done());
        assert_eq!(take(&mut desk), Some(2));
        assert!(!desk.is_done(), "it is under way");
    }
}
