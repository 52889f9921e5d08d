//! Tunnels: links between two cores of a node that go on with a shared link of its peer.
//!
//! Where two nodes have more pairs of cores than links, a message arrives on a core that its
//! recipient does not live on. That core, the near end, has a tunnel for each pair of such a link
//! and another core; the far end is there. A tunnel is a link like any other, with numbers,
//! positions and grants of its own, whose slabs travel over the mesh between those of the cores'
//! own links. The far end stands for the peer: it knows whose messages these are, and handlers,
//! mailboxes and answers there see no difference. What the near end passes on is in [`hop`].
//!
//! A tunnel is opened by the first message that needs it, and closed when its link has ended and
//! everything that came before went through: the near end says so behind its last slab, and the
//! far end answers behind its last grant. So there are as many as links and other cores at most.
//!
//! [`hop`]: super::hop

use std::rc::Rc;

use ringmesh_proto::address::{CoreId, NodeId};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::slab::SlabSlice;
use ringmesh_proto::slab_pool::Reader;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::contract::Piece;
use rustc_hash::FxHashMap;

use super::hop::Relay;
use super::link::{Connection, Link, LinkAt, LinkId};
use super::{Core, PeerIndex};

/// One end of a tunnel, as both cores name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Passage {
    /// The shared link, on the core at the near end.
    link: LinkId,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    /// On the core that the shared link comes to.
    Near,
    /// On the core where the recipients live.
    Far,
}

impl Passage {
    /// The end at the other core.
    pub(super) fn other_end(self) -> Self {
        let side = match self.side {
            Side::Near => Side::Far,
            Side::Far => Side::Near,
        };
        Self { side, ..self }
    }
}

/// The ends of tunnels that one core has.
#[derive(Default)]
pub(super) struct Tunnels {
    /// By the core at the other end.
    ends: FxHashMap<(CoreId, Passage), TunnelEnd>,
    /// Links whose last slabs wait for room in the mesh, or will be in it with this turn.
    leaving: Vec<Rc<Link>>,
}

#[derive(Clone)]
struct TunnelEnd {
    /// Where what comes from the other end is parsed.
    connection: Rc<Connection>,
    /// At a near end.
    relay: Option<Rc<Relay>>,
}

/// What passes through a tunnel, as one of its ends sees it.
#[derive(Clone, Copy, Debug)]
struct TunnelCaps {
    /// That of the shared link.
    lane: Lane,
    /// The longest body that leaves, and the longest that comes.
    outgoing: u32,
    incoming: u32,
}

impl Tunnels {
    fn links(&self) -> Vec<Rc<Link>> {
        let connections = self.ends.values().map(|end| &end.connection);
        connections
            .filter_map(|connection| connection.link())
            .collect()
    }

    fn relays(&self) -> Vec<Rc<Relay>> {
        let ends = self.ends.values();
        ends.filter_map(|end| end.relay.clone()).collect()
    }
}

impl Link {
    /// Whether it is the near end of a tunnel: what comes on it is on its way back to a peer.
    #[inline]
    pub(super) fn is_near_end(&self) -> bool {
        let passage = self.passage.as_ref();
        passage.is_some_and(|passage| passage.side == Side::Near)
    }
}

impl Core {
    /// What goes on with `origin` to another core; opened at its first use, unless the core ends.
    pub(super) fn relay_to(&self, origin: &Rc<Link>, core: CoreId) -> Option<Rc<Relay>> {
        let known = origin.routes.borrow().relay(core);
        if known.is_some() {
            return known;
        }
        if self.is_closing() || origin.ended.get() {
            return None;
        }
        let passage = Passage {
            link: origin.id,
            side: Side::Near,
        };
        let own = TunnelCaps {
            lane: origin.lane,
            outgoing: self.settings.of_lane(origin.lane).body_cap,
            incoming: origin.outbound.borrow().body_cap(),
        };
        let link = self.tunnel_link((core, passage), self.identity().clone(), own);
        let relay = Rc::new(Relay::new(Rc::clone(origin), Rc::clone(&link)));
        self.add_tunnel((core, passage), link, Some(Rc::clone(&relay)));
        let routes = &origin.routes;
        routes.borrow_mut().add_relay(core, Rc::clone(&relay));
        let (from, far) = (self.id, passage.other_end());
        let (peer, of_client) = (origin.node.clone(), origin.of_client.get());
        let open = move |there: &Rc<Self>| {
            let other = TunnelCaps {
                outgoing: own.incoming,
                incoming: own.outgoing,
                ..own
            };
            let link = there.tunnel_link((from, far), peer, other);
            link.of_client.set(of_client);
            there.add_tunnel((from, far), link, None);
        };
        self.send_word(core, Box::new(open));
        Some(relay)
    }

    fn tunnel_link(
        &self,
        (core, passage): (CoreId, Passage),
        node: NodeId,
        caps: TunnelCaps,
    ) -> Rc<Link> {
        let id = self.take_link_id();
        let window = self.settings.of_lane(caps.lane).window_bytes;
        let both = (caps.outgoing, caps.outgoing);
        let outbound = Outbound::within_process(both, u64::from(window), window, Reader::OtherCore);
        let at = LinkAt {
            connection: None,
            to_core: core,
            lane: caps.lane,
            body_cap: caps.incoming,
        };
        let inbound = Inbound::of_tunnel(window);
        let mut link = Link::new(id, PeerIndex::of_core(core), node, at, outbound, inbound);
        link.passage = Some(passage);
        Rc::new(link)
    }

    fn add_tunnel(&self, key: (CoreId, Passage), link: Rc<Link>, relay: Option<Rc<Relay>>) {
        let connection = Rc::new(Connection::within_process(link, 0));
        let end = TunnelEnd { connection, relay };
        self.tunnels.borrow_mut().ends.insert(key, end);
    }

    fn tunnel_end(&self, key: (CoreId, Passage)) -> Option<TunnelEnd> {
        self.tunnels.borrow().ends.get(&key).cloned()
    }

    /// What goes on with a shared link, by the near end of its tunnel.
    pub(super) fn relay_of(&self, near_end: &Link) -> Option<Rc<Relay>> {
        let key = (near_end.to_core, near_end.passage?);
        self.tunnel_end(key)?.relay
    }

    /// The ends of all tunnels.
    pub(super) fn tunnel_links(&self) -> Vec<Rc<Link>> {
        self.tunnels.borrow().links()
    }

    /// Whether nothing is on its way through a tunnel to a core that still takes something.
    pub(super) fn tunnels_are_idle(&self) -> bool {
        let mesh = self.mesh.borrow();
        let idle = |link: Rc<Link>| link.outbound.borrow().is_idle() || mesh.is_gone(link.to_core);
        self.tunnel_links().into_iter().all(idle)
    }

    /// What goes on with shared links.
    pub(super) fn relays(&self) -> Vec<Rc<Relay>> {
        self.tunnels.borrow().relays()
    }

    /// Slices of a tunnel came over the mesh. What comes for one that has closed is its sender's to
    /// give up.
    pub(super) fn receive_passing(&self, from: CoreId, passage: Passage, slice: SlabSlice) {
        if let Some(TunnelEnd { connection, .. }) = self.tunnel_end((from, passage)) {
            connection.intake.borrow_mut().push(Chunk::of_slab(slice));
            self.make_readable(&connection);
        }
    }

    /// Notes a link of a tunnel whose slices were given to the mesh.
    pub(super) fn note_leaving(&self, link: &Rc<Link>) {
        self.tunnels.borrow_mut().leaving.push(Rc::clone(link));
    }

    /// Everything that was given to the mesh for a core is in its ring.
    pub(super) fn passed_on(&self, core: CoreId) {
        if self.tunnels.borrow().leaving.is_empty() {
            return;
        }
        let left: Vec<Rc<Link>> = {
            let leaving = &mut self.tunnels.borrow_mut().leaving;
            leaving
                .extract_if(.., |link| link.to_core == core)
                .collect()
        };
        for link in left {
            self.handle_sent(&link);
            self.near_end_moved(&link);
        }
    }

    /// Says that nothing follows through a tunnel, behind everything that was written.
    pub(super) fn say_closed(&self, near_end: &Link) {
        let Some(passage) = near_end.passage else {
            return;
        };
        let (from, far) = (self.id, passage.other_end());
        let close = move |there: &Rc<Self>| there.tunnel_closed((from, far));
        self.send_word(near_end.to_core, Box::new(close));
    }

    /// The other end is closed. What came from there before is parsed first.
    fn tunnel_closed(self: &Rc<Self>, key: (CoreId, Passage)) {
        let Some(TunnelEnd { connection, .. }) = self.tunnel_end(key) else {
            return;
        };
        if connection.closing.get() {
            return self.tunnel_over(&connection);
        }
        connection.over.set(Some(CloseReason::PeerClosed));
        self.make_readable(&connection);
    }

    /// Everything that came through a tunnel before its other end closed is parsed.
    pub(super) fn tunnel_over(&self, connection: &Rc<Connection>) {
        let link = connection.link();
        let Some((link, passage)) = link.and_then(|link| Some((Rc::clone(&link), link.passage?)))
        else {
            return;
        };
        connection.closing.set(true);
        if passage.side == Side::Far {
            self.say_last_grant(&link);
            self.say_closed(&link);
        }
        let key = (link.to_core, passage);
        let end = self.tunnels.borrow_mut().ends.remove(&key);
        self.end_link(&link, true);
        if let Some(relay) = end.and_then(|end| end.relay) {
            self.bury_relay(&relay);
        }
    }

    /// Tells the near end how much of its stream was taken over.
    fn say_last_grant(&self, link: &Rc<Link>) {
        link.owes_grant.set(true);
        self.attach_grant(link);
        if !link.sending.get() {
            return self.send_on(link);
        }
        let last = link.outbound.borrow_mut().gather_control();
        self.hand_over(link, &mut last.into_iter().map(Piece::from).collect());
    }

    /// What came through a tunnel breaks the rules, or its link was doomed: the peer whose link it
    /// goes on with is at fault.
    pub(super) fn tunnel_fault(self: &Rc<Self>, link: &Rc<Link>, reason: CloseReason) {
        let Some(passage) = link.passage else {
            return;
        };
        let key = (link.to_core, passage);
        let Some(TunnelEnd { connection, relay }) = self.tunnel_end(key) else {
            return;
        };
        if connection.closing.replace(true) {
            return;
        }
        self.end_link(link, false);
        if let Some(relay) = relay {
            return self.origin_fault(&relay, reason);
        }
        let key = (self.id, passage.other_end());
        let tell = move |there: &Rc<Self>| {
            if let Some(relay) = there.tunnel_end(key).and_then(|end| end.relay) {
                there.origin_fault(&relay, reason);
            }
        };
        self.send_word(link.to_core, Box::new(tell));
    }

    fn origin_fault(self: &Rc<Self>, relay: &Relay, reason: CloseReason) {
        self.break_off(relay);
        self.link_fault(&relay.origin, reason);
    }

    /// A core of this node has ended, and with it the other ends of all tunnels to it.
    pub(super) fn lose_tunnels(&self, core: CoreId) {
        self.tunnels
            .borrow_mut()
            .leaving
            .retain(|link| link.to_core != core);
        let lost: Vec<TunnelEnd> = {
            let ends = &mut self.tunnels.borrow_mut().ends;
            ends.extract_if(|(to, _), _| *to == core)
                .map(|(_, end)| end)
                .collect()
        };
        lost.into_iter().for_each(|end| self.end_tunnel(end));
    }

    /// Ends all tunnels, when the core does.
    pub(super) fn end_tunnels(&self) {
        let ends = std::mem::take(&mut *self.tunnels.borrow_mut()).ends;
        ends.into_values().for_each(|end| self.end_tunnel(end));
    }

    fn end_tunnel(&self, end: TunnelEnd) {
        let TunnelEnd { connection, relay } = end;
        connection.closing.set(true);
        self.discard_unread(&connection);
        if let Some(link) = connection.link() {
            self.end_link(&link, true);
        }
        if let Some(relay) = relay {
            self.bury_relay(&relay);
        }
    }
}
