//! Messages that move by value between the actors of one node.

mod ends;
mod room;
mod sends;
mod waits;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::Poll;

use futures_channel::oneshot;
use ringmesh::{
    AcceptsLocal, Actor, Counters, Cx, LocalHandler, LocalMessage, Metrics, Node, Ref, SendError,
    message, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;

type Work = dyn FnOnce(&mut Worker, &mut Cx<'_, Worker>) + Send;

/// Work that its recipient does.
#[message(local)]
struct Job(Box<Work>);

impl Job {
    fn new(work: impl FnOnce(&mut Worker, &mut Cx<'_, Worker>) + Send + 'static) -> Self {
        Self(Box::new(work))
    }
}

/// One of many, with something that shows whether it still lives.
#[message(local)]
struct Numbered {
    number: u64,
    _token: Token,
}

impl Numbered {
    fn new(number: u64, count: &Alive) -> Self {
        let _token = count.token();
        Self { number, _token }
    }
}

protocol! { WorkerApi = "tests.worker" { local Job, local Numbered } }

/// Does jobs, and keeps the numbers it got.
#[derive(Default)]
struct Worker {
    numbers: Vec<u64>,
}

impl Actor for Worker {
    type Api = WorkerApi;
}

impl LocalHandler<Job> for Worker {
    fn handle(&mut self, Job(work): Job, cx: &mut Cx<'_, Self>) {
        work(self, cx);
    }
}

impl LocalHandler<Numbered> for Worker {
    fn handle(&mut self, numbered: Numbered, _: &mut Cx<'_, Self>) {
        self.numbers.push(numbered.number);
    }
}

/// How many tokens there are.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicU64>);

struct Token(Alive);

impl Alive {
    fn token(&self) -> Token {
        self.0.fetch_add(1, Ordering::Relaxed);
        Token(self.clone())
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the cores have counted, when none is in the middle of a message.
async fn settled(node: &Node) -> Metrics {
    let is_settled = |books: &Counters| {
        let local = books.local_delivered + books.local_dead + books.local_waiting;
        let archived = books.delivered + books.dead_received + books.waiting + books.hopped;
        (books.local_received, books.received) == (local, archived)
    };
    loop {
        let metrics = node.metrics();
        if metrics.cores.iter().all(is_settled) {
            metrics.cores.iter().for_each(assert_closed);
            return metrics;
        }
        turn().await;
    }
}

/// Gives the core a turn.
async fn turn() {
    let mut is_over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sends when there is room, and says how often there was none.
async fn send<P, M>(to: Ref<P>, mut message: M) -> u64
where
    P: AcceptsLocal<M>,
    M: LocalMessage + Send,
{
    let mut full = 0;
    loop {
        match to.try_tell_local(message) {
            Ok(()) => return full,
            Err(SendError::Full(back)) => message = back,
            Err(error) => panic!("{error:?}"),
        }
        full += 1;
        turn().await;
    }
}

/// Has a worker do `work`, and waits for what comes of it.
async fn done<R: Send + 'static>(
    to: Ref<WorkerApi>,
    work: impl FnOnce(&mut Worker, &mut Cx<'_, Worker>) -> R + Send + 'static,
) -> R {
    let (done, result) = oneshot::channel();
    let job = Job::new(move |worker, cx| {
        // Whoever sent it may have failed.
        let _ = done.send(work(worker, cx));
    });
    send(to, job).await;
    result.await.expect("the job is done")
}

/// Has a worker hold its core up, until what is given back drops.
async fn held_up(worker: Ref<WorkerApi>) -> SyncSender<()> {
    let (release, released) = sync_channel(0);
    let (held, holds) = oneshot::channel();
    let hold = move |_: &mut Worker, _: &mut Cx<'_, Worker>| {
        held.send(()).expect("the test waits");
        // Either way it is time to go on.
        let _ = released.recv_timeout(WAIT);
    };
    send(worker, Job::new(hold)).await;
    holds.await.expect("the core is held up");
    release
}
