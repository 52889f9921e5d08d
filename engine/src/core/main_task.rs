//! The future that a node was started for.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Core;
use super::user_code::{contain, panic_message};
use crate::error::EngineError;
use crate::node::Node;

/// Where the main future's result is put.
pub(crate) struct Outcome<T>(Rc<RefCell<Option<Result<T, EngineError>>>>);

impl<T> Outcome<T> {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// The result.
    ///
    /// # Panics
    /// If it is not ready, or was taken already.
    pub(crate) fn take(&self) -> Result<T, EngineError> {
        self.0
            .borrow_mut()
            .take()
            .expect("the loop runs until the main future has ended")
    }
}

impl Core {
    /// Spawns the main future; when it ends, the node begins to stop.
    pub(super) fn spawn_main<F, Fut, T>(self: &Rc<Self>, main: F) -> Outcome<T>
    where
        F: FnOnce(Node) -> Fut + 'static,
        Fut: Future<Output = T> + 'static,
        T: 'static,
    {
        let place = Rc::new(RefCell::new(None));
        let outcome = Rc::clone(&place);
        let core = Rc::clone(self);
        self.tasks.spawn(async move {
            let node = Node::new(Rc::clone(&core));
            let made = catch_unwind(AssertUnwindSafe(|| main(node)));
            let ended = match made {
                Ok(future) => Guarded(Some(Box::pin(future))).await,
                Err(payload) => Err(payload),
            };
            let result = ended.map_err(|payload| EngineError::MainPanicked {
                message: panic_message(payload),
            });
            *place.borrow_mut() = Some(result);
            core.main_ended();
        });
        Outcome(outcome)
    }
}

/// A future whose panic is its result. A panic in its drop, once it has ended, is only logged.
struct Guarded<Fut>(Option<Pin<Box<Fut>>>);

impl<Fut: Future> Future for Guarded<Fut> {
    type Output = Result<Fut::Output, super::tasks::PanicPayload>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let result = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(payload),
        };
        let ended = self.0.take();
        if let Err(panic) = contain(|| drop(ended)) {
            tracing::error!(panic, "the node's main future panicked in its drop");
        }
        Poll::Ready(result)
    }
}
