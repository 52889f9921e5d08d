//! The control links, as far as watches over nodes go by them: what is said and heard, heartbeats,
//! and what the ends of links tell of their nodes.

use std::rc::Rc;

use ringmesh_cluster::evidence::Ending;
use ringmesh_cluster::watch::NodeEnd;
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::{Pong, System, WatchEnd};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;

use super::followed::Order;
use super::link::Link;
use super::peers::PeerIndex;
use super::shared::core_id;
use super::{CONTROL_CORE, Core, Errand, NodeIndex};

/// A control link, of a process start.
#[derive(Debug)]
pub(super) struct FarLink {
    link: Rc<Link>,
    pub(super) number: NodeIndex,
    /// The number of the first heartbeat; the others follow it.
    first: u64,
    heartbeats: u64,
}

impl FarLink {
    /// The number of the next heartbeat.
    fn next_heartbeat(&mut self) -> u64 {
        self.heartbeats += 1;
        self.first.wrapping_add(self.heartbeats - 1)
    }

    /// Whether a pong answers a heartbeat, which may have been on its way for a while.
    fn is_answered_by(&self, nonce: u64) -> bool {
        nonce.wrapping_sub(self.first) < self.heartbeats
    }

    pub(super) fn link(&self) -> Rc<Link> {
        Rc::clone(&self.link)
    }
}

/// What a core is to be told of who watches its actors.
///
/// One letter is under way at a time. Until it was read, what caused it stays charged to the link
/// it came on; so a peer has no more waiting for a busy core than its window.
#[derive(Debug, Default)]
pub(super) struct Orders {
    waiting: Vec<Order>,
    charged: Vec<(Rc<Link>, usize)>,
    /// Charged for what is under way.
    under_way: Option<Vec<(Rc<Link>, usize)>>,
}

impl Core {
    /// A node says something over its control link.
    pub(super) fn handle_system_frame(
        &self,
        link: &Rc<Link>,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        let wire_bytes = frame.wire_bytes;
        link.inbound.borrow_mut().accept(wire_bytes)?;
        let system = System::parse(frame)?;
        if self.id != CONTROL_CORE {
            return Err(CloseReason::UnexpectedFrame(Kind::System));
        }
        if let System::Watch { core, .. } = system
            && core != self.id
            && let Some(orders) = self.far.orders.borrow_mut().get_mut(usize::from(core.0))
        {
            link.inbound.borrow_mut().hold(wire_bytes);
            orders.charged.push((Rc::clone(link), wire_bytes));
        }
        let mut machine = self.far.machine.borrow_mut();
        machine.handle_system(link.uid, &system);
        self.far.stir();
        Ok(())
    }

    /// Notes what a core is to be told.
    pub(super) fn order(&self, core: CoreId, order: Order) {
        if core == self.id {
            return self.take_order(order);
        }
        if let Some(orders) = self.far.orders.borrow_mut().get_mut(usize::from(core.0)) {
            return orders.waiting.push(order);
        }
        // This node has no such core.
        if let Order::Follow { node, watch, .. } = order {
            self.far_ended(node.1, vec![(watch, WatchEnd::NotRunning)]);
        }
    }

    /// No core needs to tell a node of anything any more.
    pub(super) fn order_all(&self, uid: Uid) {
        let own = usize::from(self.id.0);
        for (index, orders) in self.far.orders.borrow_mut().iter_mut().enumerate() {
            orders.waiting.retain(|order| order.uid() != uid);
            if index != own {
                orders.waiting.push(Order::UnfollowNode { uid });
            }
        }
        self.take_order(Order::UnfollowNode { uid });
    }

    pub(super) fn send_orders(&self) {
        for (index, orders) in self.far.orders.borrow_mut().iter_mut().enumerate() {
            let core = core_id(index);
            let is_idle = orders.waiting.is_empty() && orders.charged.is_empty();
            if is_idle || orders.under_way.is_some() {
                continue;
            }
            orders.under_way = Some(std::mem::take(&mut orders.charged));
            let letter = std::mem::take(&mut orders.waiting);
            let word: Errand = Box::new(move |there| {
                letter.into_iter().for_each(|order| there.take_order(order));
                there.send_word(
                    CONTROL_CORE,
                    Box::new(move |control| control.orders_read(core)),
                );
            });
            self.send_word(core, word);
        }
    }

    /// A core has read what it was told.
    fn orders_read(&self, core: CoreId) {
        let mut orders = self.far.orders.borrow_mut();
        let charged = orders[usize::from(core.0)].under_way.take();
        drop(orders);
        for (link, bytes) in charged.into_iter().flatten() {
            link.inbound.borrow_mut().release(bytes);
            if !link.ended.get() && !link.is_lost() {
                self.owe_grant(&link);
            }
        }
        self.far.stir();
    }

    /// Says what a node is to be told, as far as there is room.
    pub(super) fn say_far(&self, uid: Uid) {
        let Some(link) = self.far.links.borrow().get(&uid).map(FarLink::link) else {
            return;
        };
        let mut refused = false;
        {
            let (mut outbound, slabs) = (link.outbound.borrow_mut(), self.slabs_of(&link));
            let mut slabs = slabs.borrow_mut();
            self.far.machine.borrow_mut().say(uid, |system| {
                refused = outbound.push_system(&mut slabs, system).is_err();
                !refused
            });
        }
        if refused {
            self.far.speechless.borrow_mut().insert(uid);
        }
        self.enqueue(&link);
    }

    /// A link has more room, or others have the memory that it needs.
    pub(super) fn far_room_came(&self, link: &Link) {
        if !self.far.fences.borrow().is_empty() {
            self.far.stir();
        }
        self.cluster_room_came(link);
        if link.lane == Lane::Control && !self.far.speechless.borrow().is_empty() {
            let speechless = self.far.speechless.take();
            speechless.into_iter().for_each(|uid| self.say_far(uid));
        }
    }

    pub(super) fn send_heartbeat(self: &Rc<Self>, uid: Uid) {
        let mut links = self.far.links.borrow_mut();
        let Some(far) = links.get_mut(&uid) else {
            return;
        };
        let link = far.link();
        if link.is_lost() {
            drop(links);
            return self.wake_far(&link);
        }
        self.tally.heartbeats.add(1);
        let nonce = far.next_heartbeat();
        link.outbound.borrow_mut().queue_ping(nonce);
        self.enqueue(&link);
    }

    /// A pong may be the answer to a heartbeat.
    pub(super) fn heartbeat_answered(&self, link: &Link, frame: &Frame<'_>) {
        if frame.header.kind != Kind::Pong || link.lane != Lane::Control {
            return;
        }
        let links = self.far.links.borrow();
        let pong = Pong::parse(frame).ok();
        let far = links.get(&link.uid).filter(|far| far.link.id == link.id);
        if let (Some(pong), Some(far)) = (pong, far)
            && far.is_answered_by(pong.nonce)
        {
            let mut machine = self.far.machine.borrow_mut();
            machine.handle_heard(self.clock.now(), link.uid);
        }
    }

    /// A link with a node is up.
    pub(super) fn far_link_up(&self, number: NodeIndex, peer: PeerIndex) {
        let link = self.peers.borrow_mut().at(peer).link.clone();
        let Some(link) = link.filter(|link| link.lane == Lane::Control) else {
            return;
        };
        let far = FarLink {
            link: Rc::clone(&link),
            number,
            first: crate::random::number(),
            heartbeats: 0,
        };
        self.far.links.borrow_mut().insert(link.uid, far);
        self.far.machine.borrow_mut().handle_link_up(&link.node);
        self.note_found(&link.node);
        self.far.stir();
        self.cluster_link_up(&link);
    }

    /// A link lost its connection.
    pub(super) fn far_link_lost(self: &Rc<Self>, link: &Rc<Link>, reason: CloseReason) {
        self.far_disconnected(self.number_of(link.peer), link.uid, reason);
        // Whoever watches wants to know soon.
        if link.lane == Lane::Control && self.far.machine.borrow().is_watched(link.uid) {
            self.wake_far(link);
        }
    }

    /// A link without a connection is needed now.
    fn wake_far(self: &Rc<Self>, link: &Rc<Link>) {
        self.stir(link);
        self.associate(link.peer, |association, cx| {
            association.handle_resume_wanted(cx);
        });
    }

    /// Whether watches go over a link, which is not to rest for that.
    pub(super) fn far_needs(&self, link: &Link) -> bool {
        let needs = || self.far.machine.borrow().is_concerned(link.uid);
        link.lane == Lane::Control && (needs() || self.cluster_needs(link.uid))
    }

    /// A link is over.
    pub(super) fn far_link_down(
        self: &Rc<Self>,
        number: NodeIndex,
        link: &Link,
        reason: CloseReason,
    ) {
        if link.connection.get().is_some() {
            self.far_disconnected(number, link.uid, reason);
        }
        if link.lane != Lane::Control {
            return;
        }
        let uid = link.uid;
        let mut links = self.far.links.borrow_mut();
        if links.get(&uid).is_none_or(|far| far.link.id != link.id) {
            return;
        }
        links.remove(&uid);
        drop(links);
        match reason {
            CloseReason::Bye => self.far_node_ended(uid, NodeEnd::Stopped),
            CloseReason::Restarted => self.far_node_ended(uid, NodeEnd::Restarted),
            CloseReason::Quarantined(_) => self.far_node_ended(uid, NodeEnd::Quarantined),
            _ => self.far.machine.borrow_mut().handle_link_down(uid),
        }
        self.cluster_link_down(uid);
        self.far.stir();
    }

    fn far_disconnected(self: &Rc<Self>, number: NodeIndex, uid: Uid, reason: CloseReason) {
        let ending = match reason {
            CloseReason::PeerClosed | CloseReason::Broken => Ending::Abrupt,
            _ => Ending::InOrder,
        };
        let is_suspect = self.shared.disconnected(number, uid, ending);
        if is_suspect {
            self.on_control(move |control| control.suspect(number, uid));
        }
    }

    /// Every link with a process start ended abruptly: a dial will tell whether it has crashed.
    fn suspect(self: &Rc<Self>, number: NodeIndex, uid: Uid) {
        if (self.far.machine.borrow().is_watched(uid) || self.cluster_needs(uid))
            && let Some(address) = self.shared.address_of(number)
            && let Ok(peer) = self.peer_on(&address, (CONTROL_CORE, Lane::Control))
        {
            if self.far.machine.borrow().is_watched(uid) {
                self.want_link(peer);
            }
            self.associate(peer, |association, cx| {
                association.handle_resume_wanted(cx);
                association.handle_dial_once(cx);
            });
        }
    }

    /// A dial came to nothing: if nobody listens, that may be evidence of a crash.
    pub(super) fn far_dial_failed(self: &Rc<Self>, peer: PeerIndex, reason: CloseReason) {
        self.cluster_dial_failed(peer, reason);
        if reason != CloseReason::DialRefused {
            return;
        }
        let number = self.number_of(peer);
        if let Some(uid) = self.shared.dial_refused(number) {
            self.on_control(move |control| control.far_node_ended(uid, NodeEnd::Crashed));
        }
    }

    /// A process start is over.
    pub(super) fn far_start_over(&self, uid: Uid, reason: CloseReason) {
        let end = match reason {
            CloseReason::Bye => NodeEnd::Stopped,
            _ => NodeEnd::Restarted,
        };
        if self.id == CONTROL_CORE {
            self.far_node_ended(uid, end);
        }
    }

    /// Does something on the control core, which is told in any case: of links, which are few.
    fn on_control(self: &Rc<Self>, errand: impl FnOnce(&Rc<Self>) + Send + 'static) {
        if self.id == CONTROL_CORE {
            errand(self);
        } else {
            self.send_word(CONTROL_CORE, Box::new(errand));
        }
    }
}
