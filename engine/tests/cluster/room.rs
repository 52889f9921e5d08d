//! How many nodes run side by side, where their memory is counted.
//!
//! The rings of a node are memory that its user locks, with all other processes of that user. Who
//! may lock any amount has room for all tests at once; else those that find none wait for others to
//! end.

use std::cell::RefCell;
use std::fs;
use std::rc::{Rc, Weak};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

/// What a node locks, and a tenth of it: the kernel frees that of a process a while after its end.
const NODE_BYTES: u64 = 448 << 10;

/// Nodes that a test, or a case of one, has at one time, at most.
const NODES: u64 = 6;

/// The capability to lock any amount, as a bit: `CAP_IPC_LOCK`.
const MAY_LOCK: u64 = 1 << 14;

/// Rooms there may be at one time.
static ROOMS_MAX: LazyLock<u64> = LazyLock::new(|| {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    rooms_max(&read("limits"), &read("status"), &read("uid_map"))
});

static TAKEN: Mutex<u64> = Mutex::new(0);

/// A room was given back.
static FREED: Condvar = Condvar::new();

thread_local! {
    /// That of the test, or case, of this thread.
    static OWN: RefCell<Weak<Room>> = const { RefCell::new(Weak::new()) };
}

/// Room for the nodes of one test. Each of them holds it.
pub(crate) struct Room(());

/// That of this thread. Where its nodes are the first, or the others are gone, it waits until there
/// is one. It never waits with nodes that run, so two tests do not wait for each other.
pub(crate) fn room() -> Rc<Room> {
    OWN.with_borrow_mut(|own| {
        own.upgrade().unwrap_or_else(|| {
            let room = Rc::new(Room::take());
            *own = Rc::downgrade(&room);
            room
        })
    })
}

impl Room {
    fn take() -> Self {
        let is_full = |taken: &mut u64| *taken >= *ROOMS_MAX;
        let waited = FREED.wait_while(taken(), is_full);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *taken() -= 1;
        FREED.notify_one();
    }
}

fn taken() -> MutexGuard<'static, u64> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many rooms there are, by what the kernel says of this process. A capability in a namespace
/// of users, where not all ids are mapped, does not count.
fn rooms_max(limits: &str, status: &str, uid_map: &str) -> u64 {
    let after = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        let word = found.and_then(|rest| rest.split_whitespace().next());
        word.map(str::to_owned)
    };
    let capabilities = after(status, "CapEff:").and_then(|it| u64::from_str_radix(&it, 16).ok());
    let may_lock = capabilities.is_some_and(|it| it & MAY_LOCK != 0);
    if may_lock && uid_map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return u64::MAX;
    }
    let limit = after(limits, "Max locked memory").and_then(|it| it.parse::<u64>().ok());
    limit.map_or(u64::MAX, |bytes| (bytes / (NODES * NODE_BYTES)).max(1))
}

#[test]
fn who_may_not_lock_much_has_room_for_three_tests() {
    let limits = |soft| format!("Max processes 1 1 processes\nMax locked memory  {soft} 9 bytes\n");
    let status = |bits| format!("Name:\tnode\nCapPrm:\tffffffffffffffff\nCapEff:\t{bits:016x}\n");
    let all_ids = "         0          0 4294967295\n";
    assert_eq!(rooms_max(&limits("8388608"), &status(0), all_ids), 3);
    assert_eq!(rooms_max(&limits("65536"), &status(0), all_ids), 1);
    assert_eq!(
        rooms_max(&limits("unlimited"), &status(0), all_ids),
        u64::MAX
    );
    let (limits, root) = (limits("8388608"), status(MAY_LOCK));
    assert_eq!(rooms_max(&limits, &root, all_ids), u64::MAX);
    assert_eq!(rooms_max(&limits, &root, "0 1000 1\n"), 3);
}
