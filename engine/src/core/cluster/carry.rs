//! What the machine of the cluster wants done.

use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::effect::{Class, Effect, StopReason};
use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::topology::Topology;
use ringmesh_cluster::watch::NodeEnd;
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_proto::link::PushError;

use super::super::far_links::FarLink;
use super::super::link::Link;
use super::super::{CONTROL_CORE, Core};
use crate::shutdown::{ShutdownReason, phase};

impl Core {
    pub(super) fn carry_out_cluster(self: &Rc<Self>) {
        let (mut latest, mut news) = (None, Vec::new());
        while let Some(effect) = { self.cluster.out.borrow_mut().pop() } {
            match effect {
                Effect::Send { to, class, body } => self.send_to_member(&to, class, body),
                Effect::Contact { address, body } => self.contact(address, body),
                Effect::Publish(event) => {
                    if let Event::Removed { node, .. } = &event.event {
                        self.far_node_ended(node.uid, NodeEnd::Removed);
                    }
                    news.push(event);
                }
                Effect::Topology(topology) => {
                    self.follow_topology(&topology);
                    latest = Some(topology);
                }
                Effect::Quarantine { node } => self.quarantine_member(&node),
                Effect::Remember { number, memory } => self.write_down(Some((number, memory))),
                Effect::Forget => self.write_down(None),
                Effect::Identify { address } => self.identify(address),
                Effect::Probe { node } => self.probe_member(&node),
                Effect::Lease(ask) => self.ask_lease(ask),
                Effect::Registry(publication) => self.publish_registry(publication),
                Effect::Acknowledged(answer) => self.registry_acknowledged(answer),
                Effect::Stop { why } => self.cluster_is_over(why),
            }
        }
        self.publish_cluster(latest, news);
    }

    /// Once this node leaves it shuts down, and in time says that its work is done. If that is not
    /// to be it says so at once: what there is of its work goes on until it is stopped.
    fn follow_topology(self: &Rc<Self>, topology: &Topology) {
        self.forget_posts(topology);
        self.far_members(topology);
        let status = topology.own_status();
        let leaves = matches!(status, Some(Status::Leaving | Status::Exiting));
        let is_new = self.shared.phases_end().is_none();
        if leaves && is_new && self.settings.shutdown.on_leaving {
            self.shared.ask_to_stop(ShutdownReason::Leaving, 0);
            self.follow_stop();
        }
        if status == Some(Status::Exiting) && !self.phases_say_exited() {
            self.say_exited();
        }
    }

    /// Says that the work of this node is done, if it is exiting.
    pub(in super::super) fn say_exited(&self) {
        let status = self.cluster.own_status();
        if status == Some(Status::Exiting) && !self.cluster.has_exited.replace(true) {
            self.tell_cluster(|machine, cx| machine.handle_command(cx, Command::Exited));
        }
    }

    /// Shows all cores the latest topology, and tells those who follow the cluster what happened:
    /// in that order, so that whoever subscribes in between reads a topology with the number of the
    /// last event that it holds, and passes over those up to it.
    fn publish_cluster(&self, topology: Option<Arc<Topology>>, news: Vec<Numbered>) {
        let last = news.last().map(|event| event.number);
        if topology.is_some() || last.is_some() {
            self.put_topology(topology, last);
        }
        let mut waiting = self.event_readers.borrow_mut();
        for event in news {
            let woken = self.shared.cluster_events.post(event);
            waiting.extend(woken.into_iter().map(|(_, waker)| waker));
        }
    }

    /// Nothing that waits for a process start will reach it.
    fn drop_post(&self, uid: Uid) {
        let dropped = self.cluster.posts.borrow_mut().drop(uid);
        self.tally.cluster_dropped.add(dropped);
    }

    /// Nothing waits for nodes that are neither members nor linked.
    fn forget_posts(&self, topology: &Topology) {
        let links = self.far.links.borrow();
        let is_wanted = |uid: &Uid| topology.member(*uid).is_some() || links.contains_key(uid);
        let dropped = self.cluster.posts.borrow_mut().keep(is_wanted);
        self.tally.cluster_dropped.add(dropped);
    }

    fn is_member(&self, uid: Uid) -> bool {
        let topology = self.cluster.topology.borrow();
        topology.as_ref().is_some_and(|it| it.member(uid).is_some())
    }

    /// A dial of an address came to nothing, or met `there` alone: what waits for another, who is
    /// no member and has no connection, is not to keep its place from others.
    pub(super) fn forget_strangers(&self, address: &Address, there: Option<Uid>) {
        let has_link = |uid| there == Some(uid) || self.link_with(uid).is_some();
        let is_wanted = |uid| self.is_member(uid) || has_link(uid);
        let dropped = { self.cluster.posts.borrow_mut() }.keep_at(address, is_wanted);
        self.tally.cluster_dropped.add(dropped);
    }

    /// A control link is over.
    pub(in super::super) fn cluster_link_down(&self, uid: Uid) {
        if self.cluster.takes_part() && !self.is_member(uid) {
            self.drop_post(uid);
        }
    }

    /// Sends a body to a member over the control link, or has it wait for one.
    fn send_to_member(self: &Rc<Self>, to: &NodeId, class: Class, body: Arc<[u8]>) {
        let is_first = !self.cluster.posts.borrow().has(to.uid);
        if is_first && let Some(link) = self.link_with(to.uid) {
            // Whatever has room needs no place among what waits.
            let is_gone = self.push_to_member(&link, &body);
            self.enqueue(&link);
            if is_gone {
                return;
            }
        }
        let lost = {
            let mut posts = self.cluster.posts.borrow_mut();
            posts.put(to, (class, body), |uid| self.is_member(uid))
        };
        self.tally.cluster_dropped.add(lost);
        self.flush_post(to.uid);
    }

    /// The control link with a process start, if it has a connection.
    fn link_with(&self, uid: Uid) -> Option<Rc<Link>> {
        let links = self.far.links.borrow();
        let link = links.get(&uid).map(FarLink::link);
        link.filter(|link| !link.is_lost())
    }

    /// Sends what waits for a member, as far as there is room; dials if there is no link.
    pub(super) fn flush_post(self: &Rc<Self>, uid: Uid) {
        if !self.cluster.posts.borrow().has(uid) {
            return;
        }
        let Some(link) = self.link_with(uid) else {
            return self.dial_member(uid);
        };
        let mut posts = self.cluster.posts.borrow_mut();
        let mut is_starved = false;
        posts.flush(uid, |body| match self.try_push_to_member(&link, body) {
            Ok(()) => true,
            Err(PushError::TooLarge { .. }) => {
                // It never will leave, and those behind it may.
                self.tally.cluster_dropped.add(1);
                true
            }
            Err(error) => {
                is_starved = error == PushError::NoMemory;
                false
            }
        });
        if is_starved {
            posts.starve(uid);
        }
        drop(posts);
        self.enqueue(&link);
    }

    fn push_to_member(&self, link: &Link, body: &[u8]) -> bool {
        self.try_push_to_member(link, body).is_ok()
    }

    fn try_push_to_member(&self, link: &Link, body: &[u8]) -> Result<(), PushError> {
        let (mut outbound, slabs) = (link.outbound.borrow_mut(), self.slabs_of(link));
        outbound.push_cluster(&mut slabs.borrow_mut(), body)?;
        self.tally.cluster_frames.add(1);
        let frame_bytes = HEADER_BYTES + body.len();
        self.tally.cluster_bytes.add(frame_bytes as u64);
        Ok(())
    }

    /// Sends a word that is worth nothing later, if there is room.
    pub(super) fn send_word_to_member(self: &Rc<Self>, link: &Rc<Link>, word: &[u8]) {
        if !self.push_to_member(link, word) {
            self.tally.cluster_dropped.add(1);
        }
        self.enqueue(link);
    }

    fn dial_member(self: &Rc<Self>, uid: Uid) {
        if self.is_closing() {
            return self.drop_post(uid);
        }
        let to = { self.cluster.posts.borrow() }.node(uid).cloned();
        let Some(to) = to else {
            return;
        };
        let other = self.control_link_at(&to.address);
        let is_replaced = other.is_some_and(|link| link.uid != uid && !link.is_lost());
        let peer = self.peer_on(&to.address, (CONTROL_CORE, Lane::Control));
        match peer {
            Ok(peer) if !is_replaced && self.shared.parted.of(uid).is_none() => {
                self.associate(peer, |association, cx| {
                    association.handle_resume_wanted(cx);
                    association.handle_dial_once(cx);
                });
            }
            // Another process start is there, or it is quarantined: nothing will reach it.
            _ => self.drop_post(uid),
        }
    }

    /// Dials a member anew from which nothing comes.
    fn probe_member(self: &Rc<Self>, node: &NodeId) {
        let link = { self.far.links.borrow().get(&node.uid).map(FarLink::link) };
        let Some(link) = link.filter(|_| !self.is_closing()) else {
            return;
        };
        let is_dialled =
            self.associate(link.peer, |association, cx| association.handle_silence(cx));
        self.tally.cluster_probes.add(u64::from(is_dialled));
    }

    /// A removed member is not to speak to this node again.
    fn quarantine_member(self: &Rc<Self>, node: &NodeId) {
        self.drop_post(node.uid);
        if let Err(error) = self.quarantine(node, "it was removed from the cluster") {
            // Another start is at its address, or it was never met: nothing comes from it.
            tracing::debug!(%node, %error, "a removed member is not quarantined");
        }
    }

    /// This node has no part in the cluster any more: it stops. Its last topology is published
    /// behind this, and wakes whoever waits for the end.
    fn cluster_is_over(&self, why: StopReason) {
        tracing::info!(
            why = why.label(),
            "this node is no member of its cluster any more"
        );
        let reason = ShutdownReason::of_end(&why);
        let _ = self.shared.cluster_end.set(why);
        let settings = &self.settings.shutdown;
        // Whatever runs already goes on.
        let has_phases = match reason {
            _ if self.phases_run() => true,
            ShutdownReason::Leaving => settings.on_leaving,
            _ => settings.on_downed,
        };
        // One that leaves before it is a member has all of its work to end.
        let from = match reason {
            ShutdownReason::Leaving => Ok(0),
            _ => self.phase_number(phase::CLUSTER_SHUTDOWN),
        };
        match from {
            Ok(from) if has_phases => self.shared.ask_to_stop(reason, from),
            _ => self.shared.stop_at_once(reason),
        }
    }
}
