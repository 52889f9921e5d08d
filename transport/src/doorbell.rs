//! Waking a core that sleeps, from any thread.
//!
//! Two flags, both sides in the order store, then load, all sequentially consistent (Dekker's
//! protocol): the ringer sets `rung` and then reads `sleep`; the core sets `sleep` and then reads
//! `rung`. So at least one of the two sees the other, and no ring is lost between the core's last
//! look and its sleep. A system call happens only when the core sleeps, and once per sleep.
//!
//! A core that sleeps in its ring is woken by an eventfd that the ring polls. A core that sleeps at
//! the ring's *registered* eventfd is woken by writing to that one: the kernel will not signal an
//! eventfd from within the wake-up of another, it puts it off to an RCU callback, and some releases
//! (6.18 was seen) do even that only once per ring.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::descriptor;

/// Rings for one core. Cloned to whoever puts work where the core will look.
#[derive(Clone, Debug)]
pub struct Doorbell(Arc<Bell>);

impl Doorbell {
    /// Tells the core to look: at least one [`Event::Doorbell`](crate::Event::Doorbell) comes after
    /// this call. Everything written before is visible to the core when it sees that event.
    ///
    /// Costs one atomic exchange, and a system call when the core sleeps. Ring once per batch.
    pub fn ring(&self) {
        let bell = &*self.0;
        if bell.rung.swap(true, Ordering::SeqCst) {
            // Whoever set it wakes the core, and the core has not looked since.
            return;
        }
        if bell.sleep.load(Ordering::SeqCst) == AWAKE {
            return;
        }
        let waker = match bell.sleep.swap(AWAKE, Ordering::SeqCst) {
            IN_RING => Some(&bell.polled),
            AT_EVENTFD => bell.registered.get(),
            _ => None,
        };
        if let Some(mut eventfd) = waker {
            // The counter never comes near the value at which a write could fail or block.
            let _ = eventfd.write(&1_u64.to_ne_bytes());
        }
    }
}

/// Where a core is about to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// In `io_uring_enter`.
    InRing,
    /// Elsewhere, until the ring's registered eventfd is readable.
    AtEventfd,
}

/// The core's end.
#[derive(Debug)]
pub(crate) struct DoorbellReceiver(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    /// `AWAKE`, `IN_RING` or `AT_EVENTFD`.
    sleep: AtomicU8,
    /// Polled by the ring.
    polled: File,
    /// Registered with the ring, once there is one.
    registered: OnceLock<File>,
}

const AWAKE: u8 = 0;
const IN_RING: u8 = 1;
const AT_EVENTFD: u8 = 2;

impl DoorbellReceiver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Bell {
            rung: AtomicBool::new(false),
            sleep: AtomicU8::new(AWAKE),
            polled: descriptor::eventfd()?,
            registered: OnceLock::new(),
        })))
    }

    pub(crate) fn handle(&self) -> Doorbell {
        Doorbell(Arc::clone(&self.0))
    }

    /// The eventfd that the ring has registered, if it was set.
    pub(crate) fn registered(&self) -> Option<&File> {
        self.0.registered.get()
    }

    /// Says which eventfd the ring has registered. Only the first call counts.
    pub(crate) fn set_registered(&self, eventfd: File) {
        let _ = self.0.registered.set(eventfd);
    }

    /// Whether someone rang, as far as this core can see yet.
    pub(crate) fn is_rung(&self) -> bool {
        self.0.rung.load(Ordering::Relaxed)
    }

    /// Whether someone rang since the last call.
    pub(crate) fn take(&self) -> bool {
        // The plain load keeps a spinning core from writing to a line that others read.
        self.0.rung.load(Ordering::Relaxed) && self.0.rung.swap(false, Ordering::AcqRel)
    }

    /// Says that the core is about to sleep. When someone rang it says false and takes it back.
    pub(crate) fn announce_sleep(&self, sleep: Sleep) -> bool {
        let sleep = match sleep {
            Sleep::InRing => IN_RING,
            Sleep::AtEventfd => AT_EVENTFD,
        };
        self.0.sleep.store(sleep, Ordering::SeqCst);
        let may_sleep = !self.0.rung.load(Ordering::SeqCst);
        if !may_sleep {
            self.announce_awake();
        }
        may_sleep
    }

    /// Says that the core looks by itself again.
    pub(crate) fn announce_awake(&self) {
        self.0.sleep.store(AWAKE, Ordering::SeqCst);
    }
}

impl AsFd for DoorbellReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.polled.as_fd()
    }
}
