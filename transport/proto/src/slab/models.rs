//! Models of the counts of a slab: the same source under loom, which runs every order of the
//! threads' steps up to a bound of preemptions, with every value that the memory model lets a load
//! return.
//!
//! The bytes are a cell of loom's: it sees who reads while another writes, or frees, what the first
//! may still use.

use std::rc::Rc;
use std::sync::atomic::AtomicUsize;

use loom::cell::UnsafeCell;
use loom::thread;

use harness::check;
use shares::Shares;
use sync::Ordering;

#[path = "harness.rs"]
mod harness;
#[path = "shares.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "the slab's own source, with the atomics below"
)]
mod shares;

/// What the source above finds in place of the slab's `sync`.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicI64, Ordering};

    pub(super) use super::harness::{FENCED, fence};
}

/// What a slab and its slices share. Loom's threads take turns on one of the system's, so a plain
/// count keeps it while the model runs, and says nothing of the order of their steps.
struct Memory {
    shares: Shares,
    bytes: UnsafeCell<()>,
    frees: AtomicUsize,
}

impl Memory {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            shares: Shares::new(),
            bytes: UnsafeCell::new(()),
            frees: AtomicUsize::new(0),
        })
    }

    fn write(&self) {
        self.bytes.with_mut(|_| ());
    }

    /// Reads through a slice, and drops it.
    fn read_and_drop(&self) {
        self.bytes.with(|_| ());
        self.freed_if(self.shares.slice_gone());
    }

    fn freed_if(&self, nobody_left: bool) {
        if nobody_left {
            self.bytes.with_mut(|_| ());
            self.frees.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn bytes_are_written_again_only_behind_their_last_reader() {
    check(|| {
        let memory = Memory::new();
        memory.write();
        let threads = [(); 2].map(|()| {
            let memory = Rc::clone(&memory);
            thread::spawn(move || memory.read_and_drop())
        });
        while !memory.shares.all_home(2) {
            thread::yield_now();
        }
        memory.write();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(memory.frees.load(Ordering::Relaxed), 0, "the slab lives");
    });
}

#[test]
fn a_slice_that_was_made_of_another_counts_like_it() {
    check(|| {
        let memory = Memory::new();
        memory.write();
        let there = Rc::clone(&memory);
        // One was handed out; its part goes on to a third thread.
        let thread = thread::spawn(move || {
            there.shares.split();
            let part = Rc::clone(&there);
            let other = thread::spawn(move || part.read_and_drop());
            there.read_and_drop();
            other.join().unwrap();
        });
        while !memory.shares.all_home(1) {
            thread::yield_now();
        }
        memory.write();
        thread.join().unwrap();
    });
}

/// A slab goes while two of its slices are read elsewhere: whoever goes last frees the memory.
fn last_one_frees(fenced: bool) {
    let memory = Memory::new();
    memory.write();
    let threads = [(); 2].map(|()| {
        let memory = Rc::clone(&memory);
        thread::spawn(move || {
            sync::FENCED.with(|it| it.set(fenced));
            memory.read_and_drop();
        })
    });
    sync::FENCED.with(|it| it.set(fenced));
    memory.freed_if(memory.shares.slab_gone(2));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(memory.frees.load(Ordering::Relaxed), 1);
}

#[test]
fn whoever_goes_last_frees_the_memory_once_and_behind_all_readers() {
    check(|| last_one_frees(true));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_fence_memory_is_freed_that_another_may_still_read() {
    check(|| last_one_frees(false));
}
