//! Futures whose results actors are told: tasks of the core that end with their actor.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmesh_proto::message::Message;
use ringmesh_proto::time::Instant;
use rustc_hash::FxHashMap;

use super::Core;
use crate::actor::{Accepts, Protocol};
use crate::error::SpawnError;
use crate::reference::{Recipient, Ref};

/// The tasks that end with an actor: their wakers, by the actor's generation and a number of their
/// own. No more than there may be tasks.
#[derive(Default)]
pub(crate) struct Pipes {
    of: FxHashMap<u64, FxHashMap<u64, Waker>>,
    next: u64,
}

impl Pipes {
    fn add(&mut self, owner: u64, waker: Waker) -> u64 {
        let number = self.next;
        self.next += 1;
        self.of.entry(owner).or_default().insert(number, waker);
        number
    }

    fn remove(&mut self, owner: u64, number: u64) -> Option<Waker> {
        let pipes = self.of.get_mut(&owner)?;
        let waker = pipes.remove(&number);
        if pipes.is_empty() {
            self.of.remove(&owner);
        }
        waker
    }
}

impl Core {
    /// Has an actor of this core told what `map` makes of the result of `future`.
    pub(crate) fn pipe<P, F, M>(
        self: &Rc<Self>,
        to: Ref<P>,
        future: F,
        map: impl FnOnce(F::Output) -> M + 'static,
    ) -> Result<(), SpawnError>
    where
        P: Protocol + Accepts<M>,
        F: Future + 'static,
        M: Message,
    {
        let core = Rc::clone(self);
        let owner = to.recipient;
        let piped = Piped {
            core: Rc::clone(self),
            losses: self.losses_of(owner).unwrap_or_default(),
            owner,
            deadline: self.deadline(),
            number: None,
            future: Box::pin(future),
        };
        self.spawn_task(async move {
            // It drops before the rest begins.
            let Some(output) = piped.await else {
                return;
            };
            if let Err(error) = to.tell(map(output)).await {
                core.lose_pipe(&error.to_string());
            }
        })
    }

    /// Ends the pipes of an actor that is gone.
    pub(super) fn end_pipes(&self, owner: u64) {
        let pipes = self.lives.pipes.borrow_mut().of.remove(&owner);
        for waker in pipes.into_iter().flatten() {
            self.wake(waker.1);
        }
    }

    /// The result of a future was not told.
    #[cold]
    fn lose_pipe(&self, error: &str) {
        self.tally.pipes_lost.add(1);
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!(error, "the result of a piped future was not told");
        }
    }

    /// How often an actor of this core has begun anew; `None` when it ends.
    fn losses_of(&self, actor: Recipient) -> Option<u32> {
        let actors = self.actors.borrow();
        let cell = actors.at(actor.slot, actor.generation);
        let cell = cell.filter(|cell| cell.is_alive());
        cell.map(|cell| cell.kin.losses.get())
    }
}

/// A future, as long as its actor keeps its state: `None` when that is gone.
struct Piped<F> {
    core: Rc<Core>,
    owner: Recipient,
    /// How often the actor had lost its state.
    losses: u32,
    /// That of the question whose handler made it.
    deadline: Option<Instant>,
    /// Its own among the pipes of its actor, once it waits.
    number: Option<u64>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Piped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.core.losses_of(this.owner) != Some(this.losses) {
            return Poll::Ready(None);
        }
        let scope = this.core.with_deadline(this.deadline);
        let polled = this.future.as_mut().poll(context);
        drop(scope);
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Some(output));
        }
        // It may have ended its own actor.
        if this.core.losses_of(this.owner) != Some(this.losses) {
            return Poll::Ready(None);
        }
        if this.number.is_none() {
            // A task has one waker for its whole life, and it is the core's own.
            let waker = context.waker().clone();
            let owner = this.owner.generation;
            this.number = Some(this.core.lives.pipes.borrow_mut().add(owner, waker));
        }
        Poll::Pending
    }
}

impl<F> Drop for Piped<F> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let owner = self.owner.generation;
            let waker = self.core.lives.pipes.borrow_mut().remove(owner, number);
            self.core.release(waker);
        }
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes")
            .field("actors", &self.of.len())
            .finish_non_exhaustive()
    }
}
