//! What the nodes of a test hang on, and how it is cut. There are two ways: hosts of their own,
//! where the test may make them, and a relay on the loopback, where anybody may.

use std::path::Path;

use crate::process::{Node, Nodes};

/// Hosts with a node each, and a cable between any two of them. They go with this.
pub(crate) trait Cables {
    /// Where they run, as in "a cut between hosts".
    fn place(&self) -> &'static str;

    /// What the nodes are dialled at, by host.
    fn addresses(&self) -> &[String];

    /// Starts the node of a host, with all as seeds, and more arguments.
    fn start(&self, program: &Path, host: usize, more: &[&str]) -> Node;

    /// Waits until nobody listens on a host whose node was killed, as [`wait_until_free`] does.
    ///
    /// [`wait_until_free`]: crate::process::wait_until_free
    fn wait_until_free(&self, host: usize);

    /// Has nothing that hosts on one side send reach those on another, from now on. Nobody is told.
    fn mute(&self, from: &[usize], to: &[usize]);

    /// Has all that two sides send reach each other again.
    fn heal(&self, one: &[usize], other: &[usize]);

    /// Cuts two sides apart.
    fn cut(&self, one: &[usize], other: &[usize]) {
        self.mute(one, other);
        self.mute(other, one);
    }

    /// Starts a node on each host, and waits until all know that all are up.
    fn up(&self, program: &Path) -> Nodes {
        let hosts = 0..self.addresses().len();
        let nodes = Nodes(hosts.map(|host| self.start(program, host, &[])).collect());
        nodes.wait_until_up();
        nodes.forget();
        nodes
    }
}

/// Each host on one side with each on another.
pub(crate) fn pairs<'a>(
    one: &'a [usize],
    other: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + Clone + 'a {
    let with = move |here: &'a usize| other.iter().map(move |there| (*here, *there));
    one.iter().flat_map(with)
}
