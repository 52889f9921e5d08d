//! An actor that takes one message and keeps it, until another actor lets it go on.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringmesh::{Actor, AsyncHandler, Cx, Handler, Msg, async_handler, message, protocol};

use super::messages::Record;

/// The name under which [`Hoarder`] is spawned.
pub const HOARDER: &str = "hoarder";

/// The name under which [`Latch`] is spawned.
pub const LATCH: &str = "latch";

/// Lets the hoarder go on, for good.
#[message(id = "tests.Lift", v = 1)]
#[derive(Clone, Debug)]
pub struct Lift;

protocol! {
    /// Takes records when it may.
    pub HoarderApi = "tests.hoarder" { Record }
}

protocol! {
    /// Lets the hoarder go on.
    pub LatchApi = "tests.latch" { Lift }
}

/// Handles no record before its latch is lifted; those that come meanwhile wait.
#[derive(Debug)]
pub struct Hoarder(Latch);

/// The latch of a hoarder.
#[derive(Clone, Debug, Default)]
pub struct Latch(Rc<Lifted>);

#[derive(Debug, Default)]
struct Lifted {
    is_so: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Hoarder {
    /// One that waits for `latch`.
    pub fn behind(latch: &Latch) -> Self {
        Self(latch.clone())
    }
}

impl Actor for Hoarder {
    type Api = HoarderApi;
}

impl Actor for Latch {
    type Api = LatchApi;
}

#[async_handler]
impl AsyncHandler<Record> for Hoarder {
    async fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        let Latch(lifted) = &self.0;
        poll_fn(|context| {
            if lifted.is_so.get() {
                return Poll::Ready(());
            }
            *lifted.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Handler<Lift> for Latch {
    fn handle(&mut self, _: Msg<Lift>, _: &mut Cx<'_, Self>) {
        self.0.is_so.set(true);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }
}
