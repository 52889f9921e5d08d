//! Two nodes with more pairs of cores than links: messages change cores once, and nobody else can
//! tell.

mod fates;
mod pressure;
mod raw;
mod traffic;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use futures_channel::oneshot;
use ringmesh::{CoreId, Counters, Node};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;

/// Nodes of this size have no links of their own for core 1 with core 1, and 2 with 2, under the
/// smallest cap: what goes from one to the other takes the link to the other core.
const CORES: usize = 3;

/// A node whose links are as few as can be.
fn sparse(cores: usize) -> LiveNode {
    capped(cores, 1)
}

fn capped(cores: usize, links_max: usize) -> LiveNode {
    LiveNode::start_with(|builder| {
        builder.cores(cores).settings(|settings| {
            settings.links_per_association_max = links_max;
        })
    })
}

/// Runs `job` on a core of `node` and waits for its result.
fn run_on<F, Fut, R>(node: &LiveNode, core: u16, job: F) -> R
where
    F: FnOnce(Node) -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    node.run(move |node| async move { on_core(&node, CoreId(core), job).await })
}

async fn on_core<F, Fut, R>(node: &Node, core: CoreId, job: F) -> R
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

/// What each core of `node` has counted so far.
fn books_of(node: &LiveNode) -> Vec<Counters> {
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
fn total(books: &[Counters], count: fn(&Counters) -> u64) -> u64 {
    books.iter().map(count).sum()
}

/// Waits until nothing is under way on any core of `nodes`, and checks that their accounts close.
///
/// The cores are read one after the other, so a message may move from one that was read to one
/// that was not: the counts only grow, and two readings that agree are a picture of all at once.
fn settled(nodes: &[&LiveNode]) -> Vec<Counters> {
    let begin = Instant::now();
    let mut before = None;
    loop {
        let books: Vec<Counters> = nodes.iter().flat_map(|node| books_of(node)).collect();
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

/// What became of the messages that a core sent or received, as far as it knows.
fn ended(book: &Counters) -> u64 {
    book.delivered + book.hopped + book.dead_received + book.dead_sent
}

/// The same for nodes that talked to each other alone: their accounts close all together.
fn balanced(nodes: &[&LiveNode]) -> Vec<Counters> {
    let books = settled(nodes);
    let sent = total(&books, |book| book.sent);
    assert_eq!(sent, total(&books, ended), "{books:#?}");
    books
}

/// Holds a core until the barrier is waited for: nothing is read there meanwhile.
fn block(node: &LiveNode, core: CoreId) -> Arc<Barrier> {
    let barrier = Arc::new(Barrier::new(2));
    let held = Arc::clone(&barrier);
    node.run(move |node| async move {
        let hold = move |_: Node| async move {
            held.wait();
            held.wait();
        };
        node.spawn_task_on(core, hold).await.expect("room");
    });
    barrier.wait();
    barrier
}
