//! Dials, and the look-ups of host names before them.
//!
//! A name may stand for several addresses. They are dialled one after the other: the next at once
//! where one refuses, and with the association's next dial where one did not lead to a link. When
//! the last was tried, the name is looked up anew.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::thread;

use futures_channel::oneshot;
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

/// The look-ups of a core: one at a time. The others wait for it, one of each peer at most.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    under_way: bool,
    waiting: VecDeque<Wanted>,
}

/// A name to look up for a peer.
#[derive(Debug)]
struct Wanted {
    node: PeerIndex,
    host: String,
    port: u16,
}

impl LookUps {
    /// Gives back what is to be begun now.
    fn add(&mut self, wanted: Wanted) -> Option<Wanted> {
        if std::mem::replace(&mut self.under_way, true) {
            self.waiting.push_back(wanted);
            return None;
        }
        Some(wanted)
    }

    /// One has ended: gives back the next.
    fn next(&mut self) -> Option<Wanted> {
        let next = self.waiting.pop_front();
        self.under_way = next.is_some();
        next
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
        let next = self.look_ups.borrow_mut().add(Wanted { node, host, port });
        next.into_iter()
            .for_each(|wanted| self.begin_look_up(wanted));
    }

    fn begin_look_up(self: &Rc<Self>, wanted: Wanted) {
        let Wanted { node, host, port } = wanted;
        self.look_up_apart(host, port, move |core, found| {
            let next = core.look_ups.borrow_mut().next();
            core.looked_up(node, found);
            next.into_iter()
                .for_each(|wanted| core.begin_look_up(wanted));
        });
    }

    /// Looks a name up on a thread of its own, which may outlast the node. The core hears of it as
    /// of any wake from another thread, and does not wait: its loop goes on.
    pub(super) fn look_up_apart(
        self: &Rc<Self>,
        host: String,
        port: u16,
        then: impl FnOnce(&Rc<Self>, io::Result<Vec<SocketAddr>>) + 'static,
    ) {
        let look_up = self.settings.look_up.clone();
        let (say, heard) = oneshot::channel();
        let call = move || {
            // Nobody listens when the core has ended.
            let _ = say.send(look_up.addresses(&host, port));
        };
        let thread = thread::Builder::new().name("ringmesh-names".to_owned());
        let started = thread.spawn(call);
        let core = Rc::downgrade(self);
        let end = async move {
            let found = match started {
                Ok(_) => heard
                    .await
                    .unwrap_or_else(|gone| Err(io::Error::other(gone))),
                Err(error) => Err(error),
            };
            if let Some(core) = core.upgrade() {
                then(&core, found);
            }
        };
        self.tasks.attach(end).wake();
    }

    /// A look-up ended, perhaps long after the dial that wanted it was given up.
    fn looked_up(self: &Rc<Self>, node: PeerIndex, found: io::Result<Vec<SocketAddr>>) {
        let (status, is_to_dial) = {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.at(node);
            peer.places.begin(found);
            (peer.association.status(), peer.association.is_to_dial())
        };
        match status {
            _ if is_to_dial => self.dial_next(node),
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
    use ringmesh_proto::address::CoreId;

    use super::*;

    fn wanted(core: u16) -> Wanted {
        Wanted {
            node: PeerIndex::of_core(CoreId(core)),
            host: "peer.test".to_owned(),
            port: 1,
        }
    }

    #[test]
    fn one_name_is_looked_up_at_a_time() {
        let mut look_ups = LookUps::default();
        assert!(look_ups.add(wanted(1)).is_some());
        assert!(
            [2, 3]
                .map(|core| look_ups.add(wanted(core)))
                .iter()
                .all(Option::is_none)
        );
        let next = |look_ups: &mut LookUps| look_ups.next().map(|wanted| wanted.node);
        for core in [2, 3].map(CoreId) {
            assert_eq!(next(&mut look_ups), Some(PeerIndex::of_core(core)));
        }
        assert_eq!(next(&mut look_ups), None);
        assert!(
            look_ups.add(wanted(4)).is_some(),
            "nothing is under way any more"
        );
    }

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
