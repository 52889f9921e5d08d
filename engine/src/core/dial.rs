//! Dials, and the look-ups of host names before them.
//!
//! A name may stand for several addresses. They are dialled one after the other: the next at once
//! where one refuses, and with the association's next dial where one did not lead to a link. When
//! the last was tried, the name is looked up anew.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringmesh_proto::address::Address;
use ringmesh_proto::association::Status;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::limits::DIALLED_ADDRESSES_MAX;
use ringmesh_transport::contract::Transport;

use super::Core;
use super::peers::PeerIndex;

/// Where a peer can be dialled.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Not tried yet, in the order of the look-up.
    left: VecDeque<SocketAddr>,
    /// The name is being looked up; at most one look-up of a peer is under way.
    pub(super) looking_up: bool,
    /// Why the last look-up found nothing.
    pub(super) unknown: Option<String>,
}

/// What a dial begins with.
enum Next {
    /// There is an address to dial.
    Dial,
    /// The name is to be looked up.
    LookUp,
    /// A look-up is under way.
    Wait,
}

impl Places {
    /// What a dial has to begin with. A look-up that it asks for counts as under way.
    fn next(&mut self, address: &Address) -> Next {
        if self.looking_up {
            return Next::Wait;
        }
        if self.left.is_empty() {
            let Ok(ip) = address.host().parse::<IpAddr>() else {
                self.looking_up = true;
                return Next::LookUp;
            };
            self.left.push_back(SocketAddr::new(ip, address.port()));
        }
        Next::Dial
    }

    /// Begins a round with what a look-up found.
    fn begin(&mut self, found: io::Result<Vec<SocketAddr>>) {
        self.looking_up = false;
        self.left.clear();
        self.unknown = match found {
            Ok(found) if found.is_empty() => Some("it has no address".to_owned()),
            Ok(found) => {
                self.left
                    .extend(found.into_iter().take(DIALLED_ADDRESSES_MAX));
                None
            }
            Err(error) => Some(error.to_string()),
        };
    }

    /// Ends the round: one of them was right.
    pub(super) fn found(&mut self) {
        self.left.clear();
        self.unknown = None;
    }
}

impl Core {
    /// Starts a dial: at the next address of the round, or after a look-up with a new one.
    pub(super) fn dial(self: &Rc<Self>, node: PeerIndex, address: &Address) {
        let next = self.peers.borrow_mut().at(node).places.next(address);
        match next {
            Next::Dial => self.dial_next(node),
            Next::LookUp => self.look_up_host(node, address.host().to_owned(), address.port()),
            // What it finds is dialled when it ends.
            Next::Wait => {}
        }
    }

    fn look_up_host(self: &Rc<Self>, node: PeerIndex, host: String, port: u16) {
        let look_up = self.settings.look_up.clone();
        // A look-up may outlast the node, and whatever waits for it then is never dropped.
        let core = Rc::downgrade(self);
        self.runtime.run_blocking(
            move || look_up.addresses(&host, port),
            move |found| {
                if let Some(core) = core.upgrade() {
                    core.looked_up(node, found);
                }
            },
        );
    }

    /// A look-up ended, perhaps long after the dial that wanted it was given up.
    fn looked_up(self: &Rc<Self>, node: PeerIndex, found: io::Result<Vec<SocketAddr>>) {
        let status = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            peer.places.begin(found);
            peer.association.status()
        };
        match status {
            Status::Dialling => self.dial_next(node),
            Status::BackOff => {}
            // Nobody dials any more, and what was found grows old.
            _ => self.peers.borrow_mut().at(node).places.left.clear(),
        }
    }

    /// Dials the next address of the round at which a socket can be made.
    fn dial_next(self: &Rc<Self>, node: PeerIndex) {
        while let Some(at) = { self.peers.borrow_mut().at(node).places.left.pop_front() } {
            let dialled = self.io.borrow_mut().dial(at);
            match dialled {
                Ok(id) => {
                    let connection = self.add_connection(id, Some(node));
                    connection.place.set(Some(at.ip()));
                    let key = connection.key;
                    return self
                        .associate(node, |association, cx| association.handle_dialling(cx, key));
                }
                Err(error) => tracing::debug!(%at, %error, "no socket for a dial"),
            }
        }
        self.associate(node, |association, cx| association.handle_dial_failed(cx));
    }

    /// A dial found nobody: goes on with the next address of its round. Says whether there is one.
    pub(super) fn redial(self: &Rc<Self>, node: PeerIndex, failed: ConnKey) -> bool {
        if self.peers.borrow_mut().at(node).places.left.is_empty() {
            return false;
        }
        let goes_on = self.associate(node, |association, _| association.handle_redial(failed));
        if goes_on {
            self.dial_next(node);
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_one_over_the_limit_are_not_dialled() {
        let mut places = Places::default();
        let all = |count: usize| (0..count).map(|_| SocketAddr::from(([127, 0, 0, 1], 1)));
        places.begin(Ok(all(DIALLED_ADDRESSES_MAX + 1).collect()));
        assert_eq!(places.left.len(), DIALLED_ADDRESSES_MAX);
        places.begin(Ok(all(DIALLED_ADDRESSES_MAX).collect()));
        assert_eq!(places.left.len(), DIALLED_ADDRESSES_MAX);
    }

    #[test]
    fn a_name_without_addresses_is_unknown_until_one_is_found() {
        let mut places = Places::default();
        for nothing in [Ok(Vec::new()), Err(io::ErrorKind::NotFound.into())] {
            places.begin(nothing);
            assert!(places.unknown.is_some() && places.left.is_empty());
        }
        places.begin(Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))]));
        assert_eq!(places.unknown, None);
    }
}
