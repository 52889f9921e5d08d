//! What is asked of whoever gives leases to this node, carried out apart: a store that is slow
//! holds up no core.
//!
//! The store lives on a thread of its own, which carries out one ask at a time. Of those that wait
//! for it the newest of each lease counts: what an older one wanted is not wanted any more. A node
//! that stops waits for what is given back, and for what is under way, for as long as its last
//! bytes may take; a store that hangs for longer is left behind with its thread.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use futures_channel::oneshot;
use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName};
use ringmesh_lease::Store;

use super::super::Core;
use crate::error::EngineError;

/// Asks for so many leases wait at most.
const WAITING_MAX: usize = 64;

/// What is asked of the store, and who carries it out.
#[derive(Debug, Default)]
pub(super) struct LeaseDesk {
    /// There is no store without one, or it is gone.
    clerk: Option<Clerk>,
    is_busy: bool,
    waiting: BTreeMap<LeaseName, Ask>,
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

    /// Has an ask wait in place of an older one for its lease, or says that there is no room.
    fn put(&mut self, ask: Ask) -> Put {
        let is_new = !self.waiting.contains_key(&ask.name);
        if self.clerk.is_none() {
            Put::Refused("this node has no lease store, or it is gone")
        } else if is_new && self.waiting.len() >= WAITING_MAX {
            Put::Refused("asks for too many leases wait")
        } else {
            match self.waiting.insert(ask.name.clone(), ask) {
                Some(_) => Put::Replaced,
                None => Put::Waits,
            }
        }
    }

    /// What is to be asked next, if the store has nothing to do: what has waited longest.
    fn take(&mut self) -> Option<Ask> {
        if self.is_busy {
            return None;
        }
        let oldest = self.waiting.values().min_by_key(|ask| ask.number);
        let name = oldest.map(|ask| ask.name.clone())?;
        let ask = self.waiting.remove(&name);
        self.is_busy = ask.is_some();
        ask
    }

    /// Nothing but what is given back is asked for any more. Says how much is left out.
    fn wind_up(&mut self) -> usize {
        let before = self.waiting.len();
        let is_last = |ask: &Ask| matches!(ask.deed, Deed::Release(_));
        self.waiting.retain(|_, ask| is_last(ask));
        before - self.waiting.len()
    }

    fn is_done(&self) -> bool {
        self.clerk.is_none() || !self.is_busy && self.waiting.is_empty()
    }
}

/// What becomes of an ask.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    Waits,
    /// An older one is not asked any more.
    Replaced,
    Refused(&'static str),
}

/// Carries out errands, one after the other, until nobody can give any.
fn serve(mut store: Box<dyn Store>, given: &Receiver<Errand>) {
    while let Ok(Errand { ask, say }) = given.recv() {
        // Nobody listens when the core has ended.
        let _ = say.send(store.handle(&ask));
    }
}

impl Core {
    /// Asks the store, now or when it has nothing else to do.
    pub(super) fn ask_lease(self: &Rc<Self>, ask: Ask) {
        self.tally.lease_asks.add(1);
        let number = ask.number;
        let put = { self.cluster.leases.borrow_mut() }.put(ask);
        match put {
            Put::Waits => {}
            Put::Replaced => self.tally.lease_asks_dropped.add(1),
            Put::Refused(why) => return self.lease_answered(number, failed(why)),
        }
        self.ask_next_lease();
    }

    fn ask_next_lease(self: &Rc<Self>) {
        let Some(ask) = { self.cluster.leases.borrow_mut() }.take() else {
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
                Ok(answer) => core.lease_answered(number, answer),
                Err(_) => core.lease_store_gone(number),
            }
            core.ask_next_lease();
        };
        self.tasks.attach(end).wake();
    }

    /// The store panicked, and its thread with it.
    fn lease_store_gone(self: &Rc<Self>, number: u64) {
        tracing::error!("the lease store panicked: no lease is given to this node any more");
        let waiting = {
            let mut desk = self.cluster.leases.borrow_mut();
            desk.clerk = None;
            std::mem::take(&mut desk.waiting)
        };
        let numbers = waiting.into_values().map(|ask| ask.number);
        for number in numbers.chain([number]) {
            self.lease_answered(number, failed("the lease store panicked"));
        }
    }

    fn lease_answered(&self, number: u64, answer: Answer) {
        if let Answer::Failed { why } = &answer {
            self.tally.lease_failures.add(1);
            tracing::debug!(number, %why, "a lease was asked for in vain");
        }
        self.tell_cluster(|machine, cx| machine.handle_lease(cx, number, answer));
    }

    /// Whether the store has nothing to do any more for a node that stops.
    pub(in super::super) fn has_asked_leases(self: &Rc<Self>) -> bool {
        let dropped = { self.cluster.leases.borrow_mut() }.wind_up();
        self.tally.lease_asks_dropped.add(dropped as u64);
        self.ask_next_lease();
        self.cluster.leases.borrow().is_done()
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

    #[test]
    fn the_newest_ask_for_each_lease_is_carried_out_one_at_a_time() {
        let mut desk = desk();
        for (number, name, put) in [
            (1, "b", Put::Waits),
            (2, "a", Put::Waits),
            (3, "b", Put::Replaced),
        ] {
            assert_eq!(desk.put(ask(number, name, Deed::Acquire)), put);
        }
        assert_eq!(desk.take().map(|it| it.number), Some(2));
        assert_eq!(desk.take(), None, "one is under way");
        desk.is_busy = false;
        assert_eq!(desk.take().map(|it| it.number), Some(3));
        desk.is_busy = false;
        assert_eq!(desk.take(), None);
        assert!(desk.is_done());
    }

    #[test]
    fn one_over_the_waiting_max_is_refused() {
        let mut desk = desk();
        let mut put =
            |number: usize| desk.put(ask(number as u64, &format!("shop-{number}"), Deed::Acquire));
        assert!((0..WAITING_MAX).all(|number| put(number) == Put::Waits));
        assert!(matches!(put(WAITING_MAX), Put::Refused(_)));
        assert_eq!(put(0), Put::Replaced, "there is room in its place");
        let nobody = LeaseDesk::default().put(ask(1, "a", Deed::Acquire));
        assert!(matches!(nobody, Put::Refused(_)), "there is no store");
    }

    #[test]
    fn a_desk_that_winds_up_gives_back_and_asks_nothing_else() {
        let mut desk = desk();
        let token = ringmesh_lease::Token(1);
        desk.put(ask(1, "a", Deed::Acquire));
        desk.put(ask(2, "b", Deed::Renew(token)));
        desk.put(ask(3, "c", Deed::Release(token)));
        assert_eq!(desk.wind_up(), 2);
        assert!(!desk.is_done());
        assert_eq!(desk.take().map(|it| it.number), Some(3));
        assert!(!desk.is_done(), "it is under way");
    }
}
