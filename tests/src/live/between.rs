//! Two nodes with a proxy between them that does what networks do.
//!
//! A handshake names the address that was dialled, and the node there refuses what is not its own.
//! So the far node advertises the proxy's address, and binds the same port of another address of
//! the loopback, which is how the proxy knows where to forward to before the node has started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringmesh::NodeBuilder;
use ringmesh_fault_proxy::{Counters, Faults, Proxy};

use super::WAIT;
use super::node::LiveNode;

/// Where the far node really listens.
const FAR_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A node that is dialled through a proxy, and one that dials it.
#[derive(Debug)]
pub struct Between {
    /// Dials; nothing is between it and who dials it.
    pub near: LiveNode,
    /// Serves a sink and an echo. Its address is the proxy's.
    pub far: LiveNode,
    /// All that the two say to each other passes here, as long as the near node dialled.
    pub proxy: Proxy,
}

impl Between {
    /// Starts both nodes, with these faults between them.
    pub fn start(faults: Faults) -> Self {
        Self::start_with(faults, |builder| builder)
    }

    /// The same with other settings of both nodes.
    pub fn start_with(faults: Faults, change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let (proxy, behind) = proxy(faults);
        let far = LiveNode::start_serving_with(|builder| behind(change(builder)));
        let near = LiveNode::start_with(change);
        Self { near, far, proxy }
    }

    /// Waits until the proxy's counters are as `wanted`. They ring no bell, so the near node looks
    /// every millisecond.
    ///
    /// # Panics
    /// If that is not so within [`WAIT`]; `what` says what was waited for.
    pub fn until(&self, what: &str, wanted: impl Fn(&Counters) -> bool) -> Counters {
        let begin = Instant::now();
        loop {
            let counters = self.proxy.counters();
            if wanted(&counters) {
                return counters;
            }
            assert!(begin.elapsed() < WAIT, "waited for {what}: {counters:?}");
            let look = Duration::from_millis(1);
            self.near
                .run(move |node| async move { node.sleep(look).await });
        }
    }

    /// The path of the far node's actor `name`, through the proxy.
    pub fn path(&self, name: &str) -> String {
        self.far.path(name)
    }
}

/// A proxy, and what puts the next node behind it.
///
/// # Panics
/// If no port is free.
pub fn proxy(faults: Faults) -> (Proxy, impl Fn(NodeBuilder) -> NodeBuilder) {
    let proxy = Proxy::start(None, faults).expect("a free port");
    let front = proxy.address();
    let behind = SocketAddr::new(FAR_HOST, front.port());
    proxy.set_upstream(behind);
    let change = move |builder: NodeBuilder| {
        let host = front.ip().to_string();
        builder.bind(behind).advertise(&host, front.port())
    };
    (proxy, change)
}
