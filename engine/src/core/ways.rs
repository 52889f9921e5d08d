//! Which peer leads to a recipient, where not every core has a link with every other.

use std::rc::Rc;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::lane::Lane;

use super::peers::PeerIndex;
use super::{CONTROL_CORE, Core, Home, NodeIndex};
use crate::error::{Refusal, ResolveError};
use crate::reference::Recipient;

impl Core {
    /// Has the core dialled where a recipient lives, if there is no link with it: refs come here
    /// from other cores and in messages, and links end. Afterwards there is a link, which takes
    /// sends until it has a connection.
    ///
    /// # Errors
    /// - [`Refusal::Stopping`]: this node makes no links any more;
    /// - [`Refusal::NotRunning`]: some core knows that the process start is over, or none knows its
    ///   node any more;
    /// - [`Refusal::Unreachable`]: the peer was not found lately, and is dialled now and then; or
    ///   this core knows as many as it may.
    #[cold]
    pub(crate) fn reach(self: &Rc<Self>, to: Recipient) -> Result<(), Refusal> {
        if self.is_closing() {
            return Err(Refusal::Stopping);
        }
        let address = self.shared.address_of_start(to.node, to.uid);
        let address = address.ok_or(Refusal::NotRunning)?;
        let node = self
            .peer_towards(&address, to.uid, (to.core, to.large))
            .map_err(|_| Refusal::Unreachable)?;
        if self.form(node, to.uid) {
            return Ok(());
        }
        // A client is sent to over the links that it made.
        if !self.shared.is_client(to.node, to.uid) {
            self.want_link(node);
        }
        Err(Refusal::Unreachable)
    }

    /// Where refs to actors of a node live that are made here: the node is known here from now on,
    /// unless the core knows as many as it may. Then they reach nobody.
    pub(crate) fn home_of(self: &Rc<Self>, address: &Address, uid: Uid, there: CoreId) -> Home {
        let peer = self.peer_towards(address, uid, (there, false));
        let number = peer.map_or(NodeIndex::NOWHERE, |peer| self.number_of(peer));
        self.home(number)
    }

    /// The index of the peer to send to for what goes to a core of the process start `uid` at
    /// `address`. Before any core has met that, nobody knows which links there may be: then it is
    /// the control core, and the handshake with it tells.
    pub(crate) fn peer_towards(
        self: &Rc<Self>,
        address: &Address,
        uid: Uid,
        (core, large): (CoreId, bool),
    ) -> Result<PeerIndex, ResolveError> {
        if let Some(node) = self.peers.borrow().towards(address, uid, (core, large)) {
            return Ok(node);
        }
        match self.shared.met(address) {
            Some((NodeIndex::SELF, _)) => self.peer(address, core),
            Some((number, Some(met))) if met.uid == uid => {
                let lane = if large { Lane::Large } else { Lane::Ordinary };
                let node = self.peer_on(address, (met.matrix.way(self.id, core), lane))?;
                self.peers.borrow_mut().learn(number, met);
                Ok(node)
            }
            _ => self.peer(address, CONTROL_CORE),
        }
    }
}
