//! Waking a core that sleeps, from any thread.
//!
//! Two flags, both sides in the order store, then load, all sequentially consistent (Dekker's
//! protocol): the ringer sets `rung` and then reads `asleep`; the core sets `asleep` and then reads
//! `rung`. So at least one of the two sees the other, and no ring is lost between the core's last
//! look and its sleep. A system call happens only when the core sleeps, and once per sleep.
//!
//! A core sleeps in its ring alone, and is woken by an eventfd that the ring polls.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        if bell.asleep.load(Ordering::SeqCst) && bell.asleep.swap(false, Ordering::SeqCst) {
            // The counter never comes near the value at which a write could fail or block.
            let _ = (&bell.polled).write(&1_u64.to_ne_bytes());
        }
    }

    /// Whether the core has still to look because of a ring.
    pub fn is_rung(&self) -> bool {
        self.0.rung.load(Ordering::SeqCst)
    }
}

/// The core's end.
#[derive(Debug)]
pub(crate) struct DoorbellReceiver(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    /// The core sleeps, or is about to.
    asleep: AtomicBool,
    /// Polled by the ring.
    polled: File,
}

impl DoorbellReceiver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Bell {
            rung: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            polled: descriptor::eventfd()?,
        })))
    }

    pub(crate) fn handle(&self) -> Doorbell {
        Doorbell(Arc::clone(&self.0))
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
    pub(crate) fn announce_sleep(&self) -> bool {
        self.0.asleep.store(true, Ordering::SeqCst);
        let may_sleep = !self.0.rung.load(Ordering::SeqCst);
        if !may_sleep {
            self.announce_awake();
        }
        may_sleep
    }

    /// Says that the core looks by itself again.
    pub(crate) fn announce_awake(&self) {
        self.0.asleep.store(false, Ordering::SeqCst);
    }
}

impl AsFd for DoorbellReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.polled.as_fd()
    }
}
