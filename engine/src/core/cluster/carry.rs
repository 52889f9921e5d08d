//! What the machine of the cluster wants done.

use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::effect::{Class, Effect, StopReason};
use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::topology::Topology;
use ringmesh_cluster::watch::NodeEnd;
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::HEADER_BYTES;

use super::super::far_links::FarLink;
use super::super::link::Link;
use super::super::shared::Stop;
use super::super::{CONTROL_CORE, Core};

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
                Effect::Remember(memory) => self.write_down(Some(memory)),
                Effect::Forget => self.write_down(None),
                Effect::Identify { address } => self.identify(address),
                Effect::Stop { why } => self.cluster_is_over(why),
            }
        }
        self.publish_cluster(latest, news);
    }

    /// Once this node is exiting it says that its work is done: what there is of that goes on until
    /// the node itself is stopped.
    fn follow_topology(self: &Rc<Self>, topology: &Topology) {
        self.forget_posts(topology);
        self.far_members(topology);
        let is_exiting = topology.own_status() == Some(Status::Exiting);
        if is_exiting && !self.cluster.has_exited.replace(true) {
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

    /// Nothing waits for nodes that are neither members nor linked.
    fn forget_posts(&self, topology: &Topology) {
        let links = self.far.links.borrow();
        let is_wanted = |uid: &Uid| topology.member(*uid).is_some() || links.contains_key(uid);
        self.cluster
            .posts
            .borrow_mut()
            .retain(|uid, _| is_wanted(uid));
    }

    /// Sends a body to a member over the control link, or has it wait for one.
    fn send_to_member(self: &Rc<Self>, to: &NodeId, class: Class, body: Arc<[u8]>) {
        {
            let mut posts = self.cluster.posts.borrow_mut();
            let (_, post) = posts
                .entry(to.uid)
                .or_insert_with(|| (to.clone(), <_>::default()));
            post.put(class, body);
        }
        self.flush_post(to.uid);
    }

    /// Sends what waits for a member, as far as there is room; dials if there is no link.
    pub(super) fn flush_post(self: &Rc<Self>, uid: Uid) {
        let link = { self.far.links.borrow().get(&uid).map(FarLink::link) };
        let link = link.filter(|link| !link.is_lost());
        let Some(link) = link else {
            return self.dial_member(uid);
        };
        let mut posts = self.cluster.posts.borrow_mut();
        let Some((_, post)) = posts.get_mut(&uid) else {
            return;
        };
        if post.flush(|body| self.push_to_member(&link, body)) {
            posts.remove(&uid);
        }
        drop(posts);
        self.enqueue(&link);
    }

    fn push_to_member(&self, link: &Link, body: &[u8]) -> bool {
        let (mut outbound, slabs) = (link.outbound.borrow_mut(), self.slabs_of(link));
        let is_pushed = outbound.push_cluster(&mut slabs.borrow_mut(), body).is_ok();
        if is_pushed {
            self.tally.cluster_frames.add(1);
            let frame_bytes = HEADER_BYTES + body.len();
            self.tally.cluster_bytes.add(frame_bytes as u64);
        }
        is_pushed
    }

    /// Sends a word that is worth nothing later, if there is room.
    pub(super) fn send_word_to_member(self: &Rc<Self>, link: &Rc<Link>, word: &[u8]) {
        self.push_to_member(link, word);
        self.enqueue(link);
    }

    fn dial_member(self: &Rc<Self>, uid: Uid) {
        if self.is_closing() {
            self.cluster.posts.borrow_mut().remove(&uid);
            return;
        }
        let to = {
            self.cluster
                .posts
                .borrow()
                .get(&uid)
                .map(|(to, _)| to.clone())
        };
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
            _ => drop(self.cluster.posts.borrow_mut().remove(&uid)),
        }
    }

    /// A removed member is not to speak to this node again.
    fn quarantine_member(self: &Rc<Self>, node: &NodeId) {
        self.cluster.posts.borrow_mut().remove(&node.uid);
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
        let _ = self.shared.cluster_end.set(why);
        self.shared.stop(Stop::Begun);
    }
}
