//! The core that the running thread belongs to.

use std::cell::RefCell;
use std::rc::Rc;

use super::Core;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Calls `with` on this thread's core; `None` on a thread that is not a core.
#[inline]
pub(crate) fn try_with<R>(with: impl FnOnce(&Rc<Core>) -> R) -> Option<R> {
    // The borrow is shared, so calls may nest; `enter` is only called outside of any.
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(with))
        .ok()
        .flatten()
}

/// Makes `core` this thread's core until the guard drops.
pub(crate) fn enter(core: Rc<Core>) -> Entered {
    let before = CURRENT.with(|current| current.borrow_mut().replace(core));
    assert!(before.is_none(), "a thread is one core at most");
    Entered(())
}

/// Ends the thread's life as a core when dropped.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        // Taken out first: dropping a core drops user futures, which may ask for the current core.
        let core = CURRENT.with(|current| current.borrow_mut().take());
        drop(core);
    }
}
