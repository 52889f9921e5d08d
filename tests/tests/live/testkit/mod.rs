//! What users write their own tests with.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use ringmesh::Node;
use ringmesh::testkit::VirtualTime;
use ringmesh_tests::live::node::LiveNode;

mod letters;
mod probe;
mod virtual_time;

/// Runs `job` on a node in virtual time, and says what it panicked with.
fn panic_of<F>(job: impl FnOnce(Node) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + 'static,
{
    let time = VirtualTime::new();
    let node = LiveNode::start_with(|builder| builder.virtual_time(&time));
    node.run(move |node| async move {
        let mut job = Box::pin(job(node));
        let result = poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(context))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        let panic = result.await.expect_err("it panics");
        *panic.downcast::<String>().expect("a text")
    })
}
