//! How long probes wait.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::node::Node;

/// How long probes wait for what they expect, if nothing else is said.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// What `future` comes to within `patience`. In virtual time that none lets pass, waiting is over
/// when nothing more happens without it.
pub(super) async fn within<T>(
    node: &Node,
    patience: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let end = async {
        match node.virtual_time() {
            Some(time) => time.pass(Duration::ZERO).await,
            None => node.sleep(patience).await,
        }
    };
    let (mut future, mut end) = (pin!(future), pin!(end));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// What `future` comes to while `span` passes, which virtual time does here.
pub(super) async fn during<T>(
    node: &Node,
    span: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    match node.virtual_time() {
        Some(time) => {
            time.pass(span).await;
            within(node, span, future).await
        }
        None => within(node, span, future).await,
    }
}
