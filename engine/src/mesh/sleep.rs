//! Publishing against parking: one core that may park, and any number that put work where it looks.
//!
//! Both sides write, fence and then read what the other wrote (Dekker's protocol). The producer
//! publishes to its ring, fences, and reads the flag; the parker sets the flag, fences, and reads
//! its rings. Of two sequentially consistent fences one comes first, and whoever fences second sees
//! what the other wrote before: either the parker finds the value and does not park, or the
//! producer finds the flag and rings. A producer pays one fence and one plain load per batch.
//!
//! Of several producers that find the flag the exchange elects one. The others may rely on it: a
//! parker that is woken looks into all its rings, and whatever it misses then was published by
//! somebody whose fence still comes, or who is found by the re-check before the next park.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether a core is parked, or about to.
///
/// On cache lines of its own: every producer reads it once per batch, and it changes only when the
/// core parks.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Sleep {
    asleep: AtomicBool,
}

impl Sleep {
    /// The state of a core that is awake.
    pub(crate) fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
        }
    }

    /// Parker: says that this core is about to park. It must now look into *all* its inboxes, with
    /// fresh loads, and then either park or [`cancel`](Self::cancel).
    pub(crate) fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Parker: says that this core looks by itself again, because it found something or because it
    /// woke, whatever woke it. Says whether a waker was elected since [`prepare`](Self::prepare):
    /// its doorbell has rung, or will ring once more.
    pub(crate) fn cancel(&self) -> bool {
        // An exchange and no store, so that it stands in one order with those of the wakers.
        !self.asleep.swap(false, Ordering::AcqRel)
    }

    /// Waker: asks after publishing, once per batch, whether the core has to be woken. When it says
    /// true the caller was elected, and must ring the core's doorbell. It says true once per park.
    #[must_use = "a core that is not woken sleeps on what was published"]
    #[inline]
    pub(crate) fn wake_needed(&self) -> bool {
        fence(Ordering::SeqCst);
        // The plain load keeps the line shared among the producers while the core is awake.
        self.is_asleep() && self.elect()
    }

    /// Whether the core is parked, or about to; of no use to whoever has published something.
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// The fences carry what has to be seen; the exchange only decides who rings. One that loses
    /// writes nothing: every write to the flag follows from the one before it.
    #[cold]
    fn elect(&self) -> bool {
        let (asleep, awake) = (true, false);
        let elected =
            self.asleep
                .compare_exchange(asleep, awake, Ordering::AcqRel, Ordering::Relaxed);
        elected.is_ok()
    }
}
