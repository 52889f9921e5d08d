//! Nodes of several cores: jobs on one of them, and the accounts of all.

use std::borrow::Borrow;
use std::future::Future;
use std::time::Instant;

use futures_channel::oneshot;
use ringmesh::{CoreId, Counters, Node};

use super::WAIT;
use super::books::assert_closed;
use super::node::LiveNode;

/// Runs `job` on a core of the node, from another of its cores.
///
/// # Panics
/// If the core has no room for the task, or the job panics.
pub async fn on_core<F, Fut, R>(node: &Node, core: CoreId, job: F) -> R
where
    F: FnOnce(Node) -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let (said, heard) = oneshot::channel();
    let task = move |there: Node| async move {
        drop(said.send(job(there).await));
    };
    node.spawn_task_on(core, task).await.expect("room");
    heard.await.expect("the task ends")
}

/// Runs `job` on a core of `node` and waits for its result.
///
/// # Panics
/// If the job panics, or is not done within [`WAIT`].
pub fn run_on<F, Fut, R>(node: &LiveNode, core: u16, job: F) -> R
where
    F: FnOnce(Node) -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    node.run(move |node| async move { on_core(&node, CoreId(core), job).await })
}

/// What each core of `node` has counted so far.
pub fn books_of(node: &LiveNode) -> Vec<Counters> {
    node.run(|node| async move {
        let mut books = Vec::new();
        for core in node.cores() {
            let counters = |there: Node| async move { there.counters() };
            books.push(on_core(&node, core, counters).await);
        }
        books
    })
}

/// Sums a count of all cores.
pub fn total(books: &[Counters], count: fn(&Counters) -> u64) -> u64 {
    books.iter().map(count).sum()
}

/// What became of the messages that a core sent or received, as far as it knows.
pub fn ended(book: &Counters) -> u64 {
    book.delivered + book.hopped + book.dead_received + book.dead_sent
}

/// Waits until nothing is under way on any core of `nodes`, and checks that their accounts close.
///
/// The cores are read one after the other, so a message may move from one that was read to one
/// that was not: the counts only grow, and two readings that agree are a picture of all at once.
///
/// # Panics
/// If they do not, or if something is under way for longer than [`WAIT`].
pub fn settled(nodes: &[impl Borrow<LiveNode>]) -> Vec<Counters> {
    let begin = Instant::now();
    let mut before = None;
    loop {
        let books = nodes.iter().flat_map(|node| books_of(node.borrow()));
        let books: Vec<Counters> = books.collect();
        books.iter().for_each(assert_closed);
        let idle = total(&books, |book| book.in_flight + book.waiting) == 0;
        let moved = (total(&books, |book| book.sent), total(&books, ended));
        if idle && before == Some(moved) {
            return books;
        }
        before = Some(moved);
        assert!(begin.elapsed() < WAIT, "{books:#?}");
    }
}

/// The same for nodes that talked to each other alone: their accounts close all together.
///
/// # Panics
/// As [`settled`], and if something was sent that is nowhere.
pub fn balanced(nodes: &[impl Borrow<LiveNode>]) -> Vec<Counters> {
    let books = settled(nodes);
    let sent = total(&books, |book| book.sent);
    assert_eq!(sent, total(&books, ended), "{books:#?}");
    books
}
