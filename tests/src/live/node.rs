//! Nodes that run in the test's process, and jobs that the test runs on their cores.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringmesh::cluster::ClusterSettings;
use ringmesh::{
    Address, Counters, Engine, EngineError, IdleMode, Node, NodeBuilder, NodeId, Settings,
};
use ringmesh_cluster::detector::Judge;

use super::log::Log;
use super::messages::{ECHO, Echoer, SINK, Sink};
use super::{SYSTEM, WAIT};

/// A node on a thread of its own. Dropping it stops it.
#[derive(Debug)]
pub struct LiveNode {
    id: NodeId,
    jobs: Arc<Jobs>,
    log: Log,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
}

impl LiveNode {
    /// A node that parks when idle, on a free port, without actors.
    pub fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// The same with a [`Sink`] and an [`Echoer`] under their names.
    pub fn start_serving() -> Self {
        Self::start_serving_with(|builder| builder)
    }

    /// A serving node with other settings.
    ///
    /// # Panics
    /// If the node does not start.
    pub fn start_serving_with(change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let node = Self::start_with(change);
        node.run(|node| async move {
            node.spawn_named(SINK, Sink::default())
                .expect("a free name");
            node.spawn_named(ECHO, Echoer::default())
                .expect("a free name");
        });
        node
    }

    /// A node with so many cores.
    pub fn of_cores(cores: usize) -> Self {
        Self::start_with(|builder| builder.cores(cores))
    }

    /// A node with other settings.
    ///
    /// # Panics
    /// If the node does not start.
    pub fn start_with(change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let builder = change(Engine::node(SYSTEM).idle(IdleMode::Park).settings(lenient));
        let jobs = Arc::new(Jobs::default());
        let log = Log::default();
        let (started, start) = sync_channel(1);
        let thread = {
            let (jobs, log) = (Arc::clone(&jobs), log.clone());
            thread::spawn(move || {
                builder.run(move |node| async move {
                    let _captured = log.capture();
                    // The test may have given up already; then the jobs are closed.
                    let _ = started.send(node.id().clone());
                    while let Some(job) = jobs.next().await {
                        node.spawn_task(job(node.clone()))
                            .expect("room for one more task");
                    }
                })
            })
        };
        match start.recv_timeout(WAIT) {
            Ok(id) => Self {
                id,
                jobs,
                log,
                thread: Some(thread),
            },
            Err(RecvTimeoutError::Timeout) => panic!("the node did not start within {WAIT:?}"),
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Ok(ended) => panic!("the node did not start: {ended:?}"),
                Err(_) => panic!("the node's thread panicked"),
            },
        }
    }

    /// Who it is.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.id.address
    }

    /// The path of its actor `name`.
    pub fn path(&self, name: &str) -> String {
        format!("{}/user/{name}", self.id.address)
    }

    /// What it logged so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Runs `job` on the node's core and waits for its result.
    ///
    /// # Panics
    /// If the job panics, or is not done within [`WAIT`].
    pub fn run<F, Fut, R>(&self, job: F) -> R
    where
        F: FnOnce(Node) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        self.begin(job).finish()
    }

    /// Starts `job` on the node's core.
    pub fn begin<F, Fut, R>(&self, job: F) -> Pending<R>
    where
        F: FnOnce(Node) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        let (done, result) = sync_channel(1);
        self.jobs.push(Box::new(move |node| {
            Box::pin(async move {
                let outcome = job(node).await;
                // The test may have failed elsewhere and not wait any more.
                let _ = done.send(outcome);
            })
        }));
        Pending(result)
    }

    /// What its core has counted so far.
    pub fn counters(&self) -> Counters {
        self.run(|node| async move { node.counters() })
    }

    /// Waits until the counters are as `wanted`, and returns them.
    ///
    /// # Panics
    /// If that is not so within [`WAIT`]; `what` says what was waited for.
    pub fn until(
        &self,
        what: &str,
        wanted: impl Fn(&Counters) -> bool + Send + 'static,
    ) -> Counters {
        self.until_so(what, move |node| wanted(&node.counters()));
        self.counters()
    }

    /// Waits until `is_so` says yes on the node's core. It is asked every millisecond: counters
    /// ring no bell.
    ///
    /// # Panics
    /// If that is not so within [`WAIT`]; `what` says what was waited for.
    pub fn until_so(&self, what: &str, is_so: impl Fn(&Node) -> bool + Send + 'static) {
        let came = self.run(move |node| async move {
            let begin = Instant::now();
            while !is_so(&node) {
                if begin.elapsed() >= WAIT - Duration::from_secs(5) {
                    return Err((node.counters(), node.close_reasons()));
                }
                node.sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        });
        if let Err(now) = came {
            panic!("waited in vain for {what}: {now:#?}");
        }
    }

    /// Stops the node in order.
    ///
    /// # Panics
    /// If the node ended with an error.
    pub fn stop(mut self) {
        self.jobs.close();
        let thread = self.thread.take().expect("a node is stopped once");
        thread
            .join()
            .expect("the node's thread panicked")
            .expect("the node ends in order");
    }
}

/// Lets peers in that listen nowhere, as often as they come: those that tests make by hand. What
/// the door does about such is the business of tests of its own.
pub fn lenient(settings: &mut Settings) {
    settings.verify_peers = false;
    settings.connects_per_second_max = 1 << 20;
}

/// Notices soon who is silent, and gives nobody up by itself. All members of a cluster agree
/// about that.
pub fn watchful() -> ClusterSettings {
    let mut settings = ClusterSettings::default();
    settings.monitor.interval = Duration::from_millis(100);
    settings.monitor.judge = Judge::Deadline {
        silence: Duration::from_millis(600),
    };
    settings.resolver.stable_after = Some(Duration::from_secs(600));
    settings.resolver.fast_stable_after = None;
    settings
}

impl Drop for LiveNode {
    fn drop(&mut self) {
        self.jobs.close();
        if thread::panicking() {
            for line in self.log.last(LINES_SHOWN) {
                eprintln!("[{}] {line}", self.id.address.port());
            }
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                thread::panicking() || matches!(ended, Ok(Ok(()))),
                "the node ended with {ended:?}"
            );
        }
    }
}

/// How much of the log is shown when a test fails.
const LINES_SHOWN: usize = 30;

/// The result of a job that may still run.
#[derive(Debug)]
#[must_use = "a job that is not waited for may have failed unseen"]
pub struct Pending<R>(Receiver<R>);

impl<R> Pending<R> {
    /// Waits for the result.
    ///
    /// # Panics
    /// If the job panicked, or is not done within [`WAIT`].
    pub fn finish(self) -> R {
        match self.0.recv_timeout(WAIT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("a job was not done within {WAIT:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("a job panicked, or its node ended"),
        }
    }
}

type Job = Box<dyn FnOnce(Node) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Jobs on their way from the test's thread to the core.
#[derive(Default)]
struct Jobs {
    state: Mutex<JobsState>,
}

#[derive(Default)]
struct JobsState {
    waiting: VecDeque<Job>,
    closed: bool,
    waker: Option<Waker>,
}

impl Jobs {
    fn push(&self, job: Job) {
        self.change(|state| state.waiting.push_back(job));
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut JobsState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next job; `None` once there will be none.
    async fn next(&self) -> Option<Job> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Job>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(job) => Poll::Ready(Some(job)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}
