//! Futures that are waited for at the same time, until a deadline.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::user_code::{contain, panic_message};
use super::Core;

/// What a task of a shutdown does, and why it failed if it did.
pub(crate) struct PhaseTask<T = ()>(Pin<Box<dyn Future<Output = Result<T, String>>>>);

impl<T> PhaseTask<T> {
    pub(crate) fn boxed(future: impl Future<Output = Result<T, String>> + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// One that has failed.
    pub(super) fn failed(why: String) -> Self
    where
        T: 'static,
    {
        Self::boxed(std::future::ready(Err(why)))
    }

    /// A panic is a failure.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, String>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        polled.unwrap_or_else(|payload| {
            let why = panic_message(payload);
            Poll::Ready(Err(format!("it panicked: {why}")))
        })
    }
}

impl<T> fmt::Debug for PhaseTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhaseTask").finish_non_exhaustive()
    }
}

/// What came of several tasks.
#[derive(Debug)]
pub(super) struct Ended<T> {
    pub(super) done: Vec<T>,
    /// Which of them failed, and why.
    pub(super) failed: Vec<Failure>,
}

/// A task that did not do what it was for.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) task: Box<str>,
    pub(super) why: String,
}

/// Waits for all `tasks`, but no longer than `span`: those that have not ended then are dropped,
/// and have failed.
pub(super) async fn together<T>(
    core: &Rc<Core>,
    mut tasks: Vec<(Box<str>, PhaseTask<T>)>,
    span: Duration,
) -> Ended<T> {
    let mut ended = Ended {
        done: Vec::new(),
        failed: Vec::new(),
    };
    let mut alarm = core.alarm(span);
    poll_fn(|context| {
        tasks.retain_mut(|(name, task)| match task.poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(done)) => {
                ended.done.push(done);
                false
            }
            Poll::Ready(Err(why)) => {
                let task = name.clone();
                ended.failed.push(Failure { task, why });
                false
            }
        });
        match tasks.is_empty() {
            true => Poll::Ready(()),
            false => alarm.poll(context),
        }
    })
    .await;
    for (task, late) in tasks {
        let mut why = format!("it took longer than {span:?}");
        if let Err(panic) = contain(|| drop(late)) {
            why = format!("{why}, and panicked in its drop: {panic}");
        }
        ended.failed.push(Failure { task, why });
    }
    ended
}
