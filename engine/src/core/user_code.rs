//! User code that runs outside its own task or handler: wakers, and the drops of what it left
//! behind. None of it runs while a cell of the core is borrowed, and a panic in it ends nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::{Core, PanicPayload, current};

/// Calls what may be anybody's code. Gives back what it panicked with, as text.
pub(crate) fn contain(call: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panic_message)
}

/// The text of a panic, as far as it has one; ends the payload.
pub(crate) fn panic_message(payload: PanicPayload) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    dispose(payload);
    text
}

/// Drops what a panic carried. Its own drop may panic; what that carries is leaked, because nothing
/// says that such a chain ends.
pub(crate) fn dispose(payload: PanicPayload) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

/// Somebody's value that may be dropped unused, wherever that happens: a panic in its drop is
/// logged, and counted on a core, and ends nothing. No cell of the core may be borrowed then.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value, to be used.
    pub(crate) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else {
            return;
        };
        if let Err(panic) = contain(|| drop(value)) {
            current::try_with(|core| core.tally.panics.add(1));
            tracing::error!(panic, "a value that nobody took panicked in its drop");
        }
    }
}

impl Core {
    /// Wakes whoever waited. No cell of the core may be borrowed.
    pub(crate) fn wake(&self, waker: Waker) {
        self.contain("a waker panicked", || waker.wake());
    }

    /// Drops a waker that nobody will call. No cell of the core may be borrowed.
    pub(crate) fn release(&self, waker: Option<Waker>) {
        if waker.is_some() {
            self.contain("a waker panicked in its drop", || drop(waker));
        }
    }

    /// Calls user code whose panic is counted and logged, and ends nothing.
    pub(crate) fn contain(&self, what: &str, call: impl FnOnce()) {
        if let Err(panic) = contain(call) {
            self.tally.panics.add(1);
            tracing::error!(panic, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics when it drops, with another of its kind that has one less to go.
    struct Chain(u32);

    impl Drop for Chain {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_whose_payload_panics_ends_here() {
        for length in 0..4 {
            let text = contain(|| panic_any(Chain(length))).unwrap_err();
            assert_eq!(text, "a panic without a message");
        }
        assert_eq!(contain(|| panic!("plain")).unwrap_err(), "plain");
        assert_eq!(contain(|| ()), Ok(()));
    }
}
