//! Dials, and the look-ups of host names before them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;

use ringmesh_proto::address::Address;
use ringmesh_transport::contract::Transport;

use super::Core;
use super::peers::NodeIndex;

impl Core {
    /// Starts a dial; a host name is looked up first, each time anew.
    pub(super) fn dial(self: &Rc<Self>, node: NodeIndex, address: &Address) {
        let port = address.port();
        if let Ok(ip) = address.host().parse::<IpAddr>() {
            return self.dial_at(node, Some(SocketAddr::new(ip, port)));
        }
        let host = address.host().to_owned();
        let core = Rc::clone(self);
        self.runtime.run_blocking(
            move || {
                (host.as_str(), port)
                    .to_socket_addrs()
                    .ok()
                    .and_then(|mut found| found.next())
            },
            move |found| core.dial_at(node, found),
        );
    }

    fn dial_at(self: &Rc<Self>, node: NodeIndex, at: Option<SocketAddr>) {
        let dialled = at.and_then(|at| self.io.borrow_mut().dial(at).ok());
        match dialled {
            Some(id) => {
                let key = self.add_connection(id, Some(node)).key;
                self.associate(node, |association, cx| association.handle_dialling(cx, key));
            }
            None => self.associate(node, |association, cx| association.handle_dial_failed(cx)),
        }
    }
}
