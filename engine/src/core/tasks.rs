//! The futures of a core: polled by its driver, woken from anywhere.
//!
//! A task has one waker, made when it is spawned. A wake on its own core is a push on the ready
//! list, without a lock; a wake from another thread goes through a queue that holds each task at
//! most once, and rings the core's doorbell.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ringmesh_transport::doorbell::Doorbell;

use super::current;
use super::user_code::contain;

/// Tasks that are polled between two readings of the clock, which take time as well.
const STRIDE: usize = 4;

/// What a panic carried.
pub(crate) type PanicPayload = Box<dyn Any + Send>;

type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one core.
pub(crate) struct Tasks {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<Arc<TaskWaker>>>,
    foreign: Arc<ForeignWakes>,
    live: Cell<usize>,
}

struct Slot {
    /// `None` while the task is being polled, and after it ended.
    future: Option<TaskFuture>,
    waker: Option<Arc<TaskWaker>>,
    /// It is one of those that [`Tasks::live`] counts.
    counts: bool,
}

/// Wakes that came from other threads.
struct ForeignWakes {
    queue: Mutex<Vec<Arc<TaskWaker>>>,
    doorbell: Doorbell,
}

/// One task's waker.
struct TaskWaker {
    slot: u32,
    /// Set while the task is on the ready list. Only its own core touches it.
    ready: AtomicBool,
    /// Set while the task is in the queue of foreign wakes.
    foreign: AtomicBool,
    wakes: Arc<ForeignWakes>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let here = current::try_with(|core| {
            let own = Arc::ptr_eq(&core.tasks.foreign, &self.wakes);
            if own {
                core.tasks.make_ready(self);
            }
            own
        });
        if !here.unwrap_or(false) && !self.foreign.swap(true, Ordering::AcqRel) {
            let mut queue = self
                .wakes
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            queue.push(Arc::clone(self));
            drop(queue);
            self.wakes.doorbell.ring();
        }
    }
}

impl Tasks {
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        Self {
            slots: RefCell::default(),
            free: RefCell::default(),
            ready: RefCell::default(),
            foreign: Arc::new(ForeignWakes {
                queue: Mutex::default(),
                doorbell,
            }),
            live: Cell::new(0),
        }
    }

    /// Adds a task; it is polled first in the next turn.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let waker = self.add(Box::pin(future), true);
        self.live.set(self.live.get() + 1);
        self.make_ready(&waker);
    }

    /// Adds a task that belongs to an actor and does not count; it is polled when the waker that
    /// comes back has woken it.
    pub(crate) fn attach(&self, future: impl Future<Output = ()> + 'static) -> Waker {
        Waker::from(self.add(Box::pin(future), false))
    }

    fn add(&self, future: TaskFuture, counts: bool) -> Arc<TaskWaker> {
        let mut slots = self.slots.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(Slot {
                future: None,
                waker: None,
                counts,
            });
            u32::try_from(slots.len() - 1).expect("fewer than 2^32 tasks on a core")
        });
        let waker = Arc::new(TaskWaker {
            slot,
            ready: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            wakes: Arc::clone(&self.foreign),
        });
        slots[slot as usize] = Slot {
            future: Some(future),
            waker: Some(Arc::clone(&waker)),
            counts,
        };
        waker
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    /// Whether a task waits to be polled.
    pub(crate) fn any_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Takes in the wakes of other threads.
    pub(crate) fn collect_foreign(&self) {
        let queue = &self.foreign.queue;
        let woken = std::mem::take(&mut *queue.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in woken {
            waker.foreign.store(false, Ordering::Release);
            self.make_ready(&waker);
        }
    }

    /// Polls the tasks that are ready now, each once, as long as there `has_time`, which a few of
    /// them are polled without asking for; the rest keep their places. `panicked` gets the payload
    /// of one that panicked, and that task is gone. Says whether any was polled.
    pub(crate) fn poll_ready(
        &self,
        has_time: impl Fn() -> bool,
        mut panicked: impl FnMut(PanicPayload),
    ) -> bool {
        let count = self.ready.borrow().len();
        for polled in 1..=count {
            let Some(waker) = self.ready.borrow_mut().pop_front() else {
                break;
            };
            if let Err(payload) = self.poll_one(waker) {
                panicked(payload);
            }
            if polled % STRIDE == 0 && !has_time() {
                break;
            }
        }
        count > 0
    }

    /// Drops every task, ready or not.
    pub(crate) fn clear(&self) {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        self.free.borrow_mut().clear();
        self.ready.borrow_mut().clear();
        self.live.set(0);
        // A future's own drop may panic; the others are dropped all the same.
        for slot in slots {
            if let Err(panic) = contain(|| drop(slot.future)) {
                tracing::error!(panic, "a task panicked in its drop");
            }
        }
    }

    fn poll_one(&self, task: Arc<TaskWaker>) -> Result<(), PanicPayload> {
        task.ready.store(false, Ordering::Relaxed);
        let Some(mut future) = self.take(&task) else {
            return Ok(());
        };
        let slot = task.slot as usize;
        let waker = Waker::from(task);
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        match catch_unwind(poll) {
            Ok(Poll::Pending) => {
                self.slots.borrow_mut()[slot].future = Some(future);
                Ok(())
            }
            Ok(Poll::Ready(())) => {
                self.retire(slot);
                catch_unwind(AssertUnwindSafe(|| drop(future)))
            }
            Err(payload) => {
                self.retire(slot);
                if let Err(panic) = contain(|| drop(future)) {
                    tracing::error!(panic, "a task that panicked did so again in its drop");
                }
                Err(payload)
            }
        }
    }

    /// The future of `task`, unless it ended: a waker may outlive its task, and the slot may have a
    /// new one.
    fn take(&self, task: &Arc<TaskWaker>) -> Option<TaskFuture> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(task.slot as usize)?;
        let current = slot
            .waker
            .as_ref()
            .is_some_and(|waker| Arc::ptr_eq(waker, task));
        if current { slot.future.take() } else { None }
    }

    fn retire(&self, slot: usize) {
        let mut slots = self.slots.borrow_mut();
        slots[slot].waker = None;
        let counted = usize::from(slots[slot].counts);
        drop(slots);
        self.free
            .borrow_mut()
            .push(u32::try_from(slot).expect("slot numbers are 32 bits"));
        self.live.set(self.live.get() - counted);
    }

    fn make_ready(&self, waker: &Arc<TaskWaker>) {
        if !waker.ready.load(Ordering::Relaxed) {
            waker.ready.store(true, Ordering::Relaxed);
            self.ready.borrow_mut().push_back(Arc::clone(waker));
        }
    }
}
