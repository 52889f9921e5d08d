//! Questions that only the cores can answer, on their way from a session's thread to a task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::link_report::LinkReport;
use crate::node::Node;

/// Questions that may wait at one time.
const WAITING_MAX: usize = 8;

/// Those who want to know the links of a node.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<SyncSender<Vec<LinkReport>>>,
    /// The task that answers.
    waker: Option<Waker>,
}

impl Requests {
    /// Asks for the links. `None` when too many others wait.
    pub(crate) fn ask_for_links(&self) -> Option<Receiver<Vec<LinkReport>>> {
        let (asker, links) = sync_channel(1);
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return None;
        }
        state.waiting.push_back(asker);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(links)
    }

    /// Answers whoever asks, on a core of the node, for as long as that runs tasks.
    pub(crate) async fn answer(&self, node: &Node) {
        loop {
            let asker = poll_fn(|context| self.poll_next(context)).await;
            // Whoever asked may have given up.
            let _ = asker.try_send(node.links().await);
        }
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<SyncSender<Vec<LinkReport>>> {
        // The task's own waker: its clone and its drop are no user's code.
        let mut state = self.lock();
        match state.waiting.pop_front() {
            Some(asker) => Poll::Ready(asker),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_questions_that_may_wait_is_refused_until_one_is_taken() {
        let requests = Requests::default();
        let asked: Vec<_> = (0..WAITING_MAX).map(|_| requests.ask_for_links()).collect();
        assert!(asked.iter().all(Option::is_some));
        assert!(requests.ask_for_links().is_none());
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(asker) = requests.poll_next(&mut context) else {
            panic!("somebody asks");
        };
        asker.try_send(Vec::new()).expect("the first one waits");
        let first = asked[0].as_ref().expect("it was asked");
        assert_eq!(first.try_recv(), Ok(Vec::new()));
        assert!(requests.ask_for_links().is_some());
    }
}
