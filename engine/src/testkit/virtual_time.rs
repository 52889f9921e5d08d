//! Time that passes when a test says so.
//!
//! The cores that share such a time tell it when they go to sleep, and until when they would sleep.
//! Once all of them sleep and none has been rung, nothing happens before the earliest of these
//! times: so that is what time it becomes, and the cores that wait for it are woken. That is done
//! by whoever sees it first, which is the core that went to sleep last.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::doorbell::Doorbell;

use crate::core::contain;

/// Time that passes when a test says so, for the nodes that were
/// [given it](crate::NodeBuilder::virtual_time). Clones are the same time.
///
/// It stands still while a core of these nodes has anything to do, and goes from deadline to
/// deadline while none has: timers fire in order and at their times, as often as they are due.
/// Nodes that talk over a [`MemoryNetwork`](crate::transport::MemoryNetwork) are deterministic in
/// time. Bytes between two sockets are seen by nobody while the kernel has them, and a host's name
/// is looked up on a thread that has no such time: it may pass meanwhile.
///
/// Handlers take no time, so budgets of it are never spent, and no handler counts as slow.
#[derive(Clone, Default)]
pub struct VirtualTime(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Nanoseconds since the start. Written behind the lock.
    now: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cores: Vec<Sleeper>,
    passes: Vec<Pass>,
    next: u64,
}

/// A core.
struct Sleeper {
    id: u64,
    doorbell: Doorbell,
    sleep: Sleep,
}

/// How long a core sleeps if nobody rings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    Until(u64),
    ForEver,
}

/// Somebody waits until it is that late.
struct Pass {
    id: u64,
    until: u64,
    waker: Waker,
}

impl VirtualTime {
    /// A time that begins now.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has passed of it.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// Lets `span` pass, and waits until everything that was due by then has been done and what
    /// came of it has come to rest. With a span of zero it only waits for that.
    ///
    /// It may be awaited on any thread, on a core of one of the nodes as well. Without any node it
    /// passes at once. Dropped early it ends where it is.
    pub async fn pass(&self, span: Duration) {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let mut passing = Passing {
            id: self.0.lock().new_id(),
            until: self.nanos().saturating_add(span),
            begun: false,
            time: self,
        };
        poll_fn(|context| passing.poll(context)).await;
    }

    fn nanos(&self) -> u64 {
        self.0.now.load(Ordering::Acquire)
    }

    /// Takes a core in, which `doorbell` wakes. Its time begins with this.
    pub(crate) fn join(&self, doorbell: Doorbell) -> Timekeeper {
        let mut state = self.0.lock();
        let id = state.new_id();
        state.cores.push(Sleeper {
            id,
            doorbell,
            sleep: Sleep::Awake,
        });
        Timekeeper {
            id,
            origin: self.nanos(),
            time: self.clone(),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and lets time pass if nothing happens without it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let mut woken = Vec::new();
        if state.is_at_rest() {
            self.go_on(&mut state, &mut woken);
        }
        drop(state);
        // Somebody's code, which may come back here.
        for waker in woken {
            if let Err(panic) = contain(|| waker.wake()) {
                tracing::error!(panic, "a waker panicked");
            }
        }
    }

    /// Lets time pass up to the next core's deadline, or to where somebody waits.
    fn go_on(&self, state: &mut State, woken: &mut Vec<Waker>) {
        let Some(until) = state.passes.iter().map(|pass| pass.until).min() else {
            return;
        };
        let deadline = state.cores.iter().filter_map(Sleeper::deadline).min();
        let now = self.now.load(Ordering::Relaxed);
        match deadline {
            Some(deadline) if deadline <= until => {
                let now = now.max(deadline);
                self.now.store(now, Ordering::Release);
                let is_due = |core: &&Sleeper| core.deadline().is_some_and(|due| due <= now);
                let due = state.cores.iter().filter(is_due);
                due.for_each(|core| core.doorbell.ring());
            }
            _ => {
                let now = now.max(until);
                self.now.store(now, Ordering::Release);
                let over = state.passes.extract_if(.., |pass| pass.until <= now);
                woken.extend(over.map(|pass| pass.waker));
            }
        }
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether nothing happens before it is later.
    fn is_at_rest(&self) -> bool {
        let is_active = |core: &Sleeper| core.sleep == Sleep::Awake || core.doorbell.is_rung();
        !self.cores.iter().any(is_active)
    }
}

impl Sleeper {
    fn deadline(&self) -> Option<u64> {
        match self.sleep {
            Sleep::Until(deadline) => Some(deadline),
            Sleep::Awake | Sleep::ForEver => None,
        }
    }
}

/// Somebody who waits, until dropped.
struct Passing<'a> {
    id: u64,
    until: u64,
    begun: bool,
    time: &'a VirtualTime,
}

impl Passing<'_> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        let waker = context.waker().clone();
        let mut former = None;
        self.time.0.change(|state| {
            former = self.take_from(state);
            // Once it is over it is not there any more.
            if first || former.is_some() {
                state.passes.push(Pass {
                    id: self.id,
                    until: self.until,
                    waker,
                });
            }
        });
        if self.is_waiting() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn is_waiting(&self) -> bool {
        let state = self.time.0.lock();
        state.passes.iter().any(|pass| pass.id == self.id)
    }

    fn take_from(&self, state: &mut State) -> Option<Pass> {
        let place = state.passes.iter().position(|pass| pass.id == self.id)?;
        Some(state.passes.swap_remove(place))
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        // Its waker is somebody's code: it drops behind the lock. Others may wait for later.
        let mut left = None;
        self.time.0.change(|state| left = self.take_from(state));
    }
}

/// A core's part in such a time, from its start to its end.
pub(crate) struct Timekeeper {
    id: u64,
    /// When the core began.
    origin: u64,
    time: VirtualTime,
}

impl Timekeeper {
    /// What time it is on the core, which began at zero.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.time.nanos() - self.origin)
    }

    /// The time it keeps.
    pub(crate) fn time(&self) -> &VirtualTime {
        &self.time
    }

    /// The core goes to sleep until then, or until it is rung.
    pub(crate) fn sleep_until(&self, deadline: Option<Instant>) {
        let sleep = deadline.map_or(Sleep::ForEver, |deadline| {
            Sleep::Until(deadline.as_nanos().saturating_add(self.origin))
        });
        self.set(sleep);
    }

    /// The core does something.
    pub(crate) fn awake(&self) {
        self.set(Sleep::Awake);
    }

    fn set(&self, sleep: Sleep) {
        self.time.0.change(|state| {
            let mine = state.cores.iter_mut().find(|core| core.id == self.id);
            if let Some(core) = mine {
                core.sleep = sleep;
            }
        });
    }
}

impl Drop for Timekeeper {
    fn drop(&mut self) {
        let leave = |state: &mut State| state.cores.retain(|core| core.id != self.id);
        self.time.0.change(leave);
    }
}

impl fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualTime({:?})", self.now())
    }
}

impl fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timekeeper({:?})", self.now())
    }
}
