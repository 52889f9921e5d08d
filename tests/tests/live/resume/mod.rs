//! Links that outlive their connections: nothing is lost, repeated or out of order, whatever is
//! cut; and what cannot go on is accounted for.

mod ends;
mod holdings;
mod positions;
pub(crate) mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::{CoreId, Counters, Node, NodeBuilder};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::node::LiveNode;

/// Longer than any test goes without a connection that it wants to get over.
const PATIENCE: Duration = Duration::from_secs(25);

/// Two nodes, each of which can only be dialled through a cutter.
struct Pair {
    nodes: [LiveNode; 2],
    cutters: [Cutter; 2],
}

impl Pair {
    fn start(cuts: &Arc<Cuts>, change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let cutters = [0, 1].map(|_| Cutter::start(cuts));
        let [first, second] = &cutters;
        Self {
            nodes: [behind(first, &change), behind(second, &change)],
            cutters,
        }
    }

    /// With cutters that cut when they are told to.
    fn calm(change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        Self::start(&Cuts::none(), change)
    }

    fn cut_all(&self, shut: bool) {
        self.cutters.iter().for_each(|cutter| cutter.cut_all(shut));
    }
}

/// A node that says it listens where a cutter does.
fn behind(cutter: &Cutter, change: impl Fn(NodeBuilder) -> NodeBuilder) -> LiveNode {
    LiveNode::start_with(|builder| {
        let builder = builder
            .bind(cutter.behind())
            .advertise("127.0.0.1", cutter.address().port())
            .settings(|settings| {
                settings.resume_timeout = PATIENCE;
                settings.ask_timeout = PATIENCE;
                settings.send_timeout = PATIENCE;
            });
        change(builder)
    })
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

pub(crate) fn total(books: &[Counters], count: fn(&Counters) -> u64) -> u64 {
    books.iter().map(count).sum()
}

/// Waits until nothing is under way on any core, and checks that the accounts close, of each core
/// and of all together.
pub(crate) fn settled(nodes: &[LiveNode]) -> Vec<Counters> {
    let begin = Instant::now();
    let mut before = None;
    loop {
        let books: Vec<Counters> = nodes.iter().flat_map(books_of).collect();
        books.iter().for_each(assert_closed);
        let idle = total(&books, |book| book.in_flight + book.waiting) == 0;
        let sent = total(&books, |book| book.sent);
        if idle && before == Some(sent) {
            let ended = total(&books, |book| {
                book.delivered + book.hopped + book.dead_received + book.dead_sent
            });
            assert_eq!(sent, ended, "{books:#?}");
            return books;
        }
        before = Some(sent);
        assert!(begin.elapsed() < WAIT, "{books:#?}");
    }
}
