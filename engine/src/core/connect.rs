//! TEMP
use super::fault::Fault;
use super::link::{Connection, Link, LinkId, Stage};
use super::peers::{NodeIndex, PeerState};
use super::Core;
use crate::error::ResolveError;
use ringmesh_proto::address::Address;
use ringmesh_proto::frame::body::{Accept, Hello, Offer};
use ringmesh_proto::frame::{Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::slab::Slab;
use ringmesh_transport::contract::{CloseReason, ConnectionId, Transport};
use std::rc::Rc;

impl Core {
    pub(crate) fn peer(&self, address: &Address) -> Result<NodeIndex, ResolveError> {
        self.peers.borrow_mut().find_or_add(address)
    }
    pub(crate) fn peer_state(&self, node: NodeIndex) -> PeerState {
        match &self.peers.borrow_mut().at(node).link {
            Some(l) => PeerState::Up(l.uid),
            None => PeerState::Down(None),
        }
    }
    pub(crate) fn want_link(self: &Rc<Self>, node: NodeIndex) {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(node);
        if peer.dialling {
            return;
        }
        peer.dialling = true;
        let to: std::net::SocketAddr =
            format!("{}:{}", peer.address.host(), peer.address.port()).parse().unwrap();
        let id = self.io.borrow_mut().dial(to).unwrap();
        drop(peers);
        let c = self.add_connection(id, Stage::Handshake);
        c.node.set(Some(node));
    }
    pub(super) fn peer_timeout(&self, _: NodeIndex) {}
    pub(super) fn say_goodbye(&self) {}
    pub(super) fn all_said(&self) -> bool {
        true
    }
    pub(super) fn unsent_bytes(&self) -> u64 {
        0
    }
    pub(super) fn end_all_links(&self) {}
    pub(super) fn handle_bye(&self, _: &Rc<Link>) {}
    pub(super) fn doom(&self, _: &Rc<Link>) {}
    fn offer(&self) -> Offer {
        Offer {
            body_cap: self.settings.frame_bytes_max,
            limit: u64::from(self.settings.window_bytes),
            features: 0,
            received_to: 0,
        }
    }
    fn write_raw(&self, id: ConnectionId, bytes: &[u8]) {
        let mut slab = Slab::with_capacity(bytes.len());
        slab.tail_mut().copy_from_slice(bytes);
        slab.advance(bytes.len());
        self.io.borrow_mut().send(id, &mut vec![slab.freeze()]);
    }
    pub(super) fn handle_preface(&self, id: ConnectionId, bytes: &[u8; 64]) {
        let c = self.connection(id).unwrap();
        self.clear_deadline(&c);
        c.uid.set(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
        *c.stage.borrow_mut() = Stage::Handshake;
        self.io.borrow_mut().start_receiving(id);
    }
    pub(super) fn handle_connected(&self, id: ConnectionId) {
        let c = self.connection(id).unwrap();
        let mut out = vec![0u8; 64];
        out[..8].copy_from_slice(&self.identity.uid.as_u64().to_le_bytes());
        let to = self.address_of(c.node.get().unwrap()).unwrap();
        Hello { from: self.identity.address.clone(), to, offer: self.offer() }.encode(&mut out);
        self.write_raw(id, &out);
        self.io.borrow_mut().start_receiving(id);
    }
    pub(super) fn connection_closed(&self, _: &Rc<Connection>, r: &CloseReason) {
        tracing::warn!(?r, "closed");
    }
    pub(super) fn read_handshake(self: &Rc<Self>, c: &Rc<Connection>) -> Result<(), Fault> {
        let mut intake = c.intake.borrow_mut();
        let Some(chunk) = intake.front() else { return Ok(()) };
        let Parse::Complete(frame) = parse(chunk, 4096)? else { return Ok(()) };
        let n = frame.wire_bytes;
        let (node, uid, offer) = match frame.header.kind {
            Kind::Hello => {
                let hello = Hello::parse(&frame)?;
                let node = self.peers.borrow_mut().find_or_add(&hello.from).unwrap();
                let mut out = Vec::new();
                Accept {
                    from: self.identity.address.clone(),
                    to: hello.from.clone(),
                    offer: self.offer(),
                    uid: self.identity.uid,
                    nonce: 0,
                }
                .encode(&mut out);
                self.write_raw(c.id, &out);
                (node, ringmesh_proto::address::Uid::new(c.uid.get()).unwrap(), hello.offer)
            }
            Kind::Accept => {
                let a = Accept::parse(&frame)?;
                (c.node.get().unwrap(), a.uid, a.offer)
            }
            k => return Err(Fault::OutOfPlace(k)),
        };
        intake.consume(n);
        drop(intake);
        let link = Rc::new(Link::new(
            LinkId(self.next_link.get()),
            node,
            uid,
            Some(c.id),
            Outbound::new(offer.body_cap, offer.limit, self.settings.window_bytes),
            Inbound::new(self.settings.window_bytes),
        ));
        if frame_is_accept(&self.peers, node) {}
        link.sending.set(c.node.get().is_none());
        self.next_link.set(self.next_link.get() + 1);
        *c.stage.borrow_mut() = Stage::Linked(Rc::clone(&link));
        let mut peers = self.peers.borrow_mut();
        let p = peers.at(node);
        p.uid = Some(uid);
        p.link = Some(link);
        peers.wake(node);
        Ok(())
    }
}
fn frame_is_accept(_: &std::cell::RefCell<super::peers::PeerTable>, _: NodeIndex) -> bool {
    false
}
