//! Quarantine, as the cores of a node carry it out.
//!
//! The table is the node's: whoever is in it is refused at once, by every core. What there is with
//! it ends on each core when nothing is borrowed there: at the end of the turn on the core that was
//! asked, and with the next turn on the others.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringmesh_cluster::watch::NodeEnd;
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::quarantine::{By, Entered, Quarantines};

use super::link::{Connection, Link};
use super::verify::answerer;
use super::{CONTROL_CORE, Core, Errand, PeerIndex};
use crate::error::{AskError, AskPhase};
use crate::event::NodeEvent;
use crate::quarantine::{QuarantineError, Remedy};

/// Who is parted from this node by a quarantine, as all its cores know.
#[derive(Debug, Default)]
pub(crate) struct Parted {
    table: Mutex<Quarantines>,
    /// Somebody is.
    any: AtomicBool,
}

impl Parted {
    /// Who has parted this node from a process start, if anybody has. Called when a send found no
    /// link, which may be often.
    pub(super) fn of(&self, uid: Uid) -> Option<By> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| self.lock().parted(uid))?
    }

    fn is_quarantined(&self, node: &NodeId) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().is_quarantined(node)
    }

    /// There is a link with a process start.
    pub(super) fn handle_link_up(&self, node: &NodeId) {
        if self.any.load(Ordering::Acquire) {
            self.change(|table| table.handle_link_up(node));
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Quarantines) -> R) -> R {
        let mut table = self.lock();
        let result = change(&mut table);
        self.any.store(!table.is_empty(), Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Quarantines> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Quarantines a process start that this node knows. Says whether it was not before.
    pub(crate) fn quarantine(&self, node: &NodeId, cause: &str) -> Result<bool, QuarantineError> {
        let me = self.identity();
        if node.uid == me.uid {
            return Err(QuarantineError::Itself);
        }
        if self.shared.parted.is_quarantined(node) {
            return Ok(false);
        }
        let known = match node.address == me.address {
            true => Err(Some(me.uid)),
            false => self.shared.check_start(node),
        };
        known.map_err(|known| match known {
            Some(known) => QuarantineError::OtherStart { known },
            None => QuarantineError::Unknown,
        })?;
        let Entered::New { forgotten } = self.shared.parted.change(|it| it.quarantine(node)) else {
            return Ok(false);
        };
        self.tally.quarantines.add(1);
        tracing::warn!(%node, cause, "quarantined until either process ends");
        if let Some(forgotten) = forgotten {
            self.tally.quarantines_forgotten.add(1);
            tracing::warn!(node = %forgotten, "no room: its quarantine is over");
        }
        self.tell_of_quarantine(|core| NodeEvent::Quarantined {
            core,
            node: node.clone(),
            cause: cause.into(),
            remedy: Remedy::RestartPeer,
        });
        self.part_everywhere(node, By::Us);
        Ok(true)
    }

    /// A peer said that it has quarantined this node.
    pub(super) fn quarantined_by_peer(&self, peer: &NodeId) {
        let told = self.shared.parted.change(|table| table.handle_told(peer));
        let Entered::New { forgotten } = told else {
            return;
        };
        self.tally.quarantines_told.add(1);
        let forgotten = u64::from(forgotten.is_some());
        self.tally.quarantines_forgotten.add(forgotten);
        // A peer may say so as often as it makes links.
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!(%peer, "a peer has quarantined this node");
        }
        self.tell_of_quarantine(|core| NodeEvent::QuarantinedByPeer {
            core,
            node: peer.clone(),
            remedy: Remedy::RestartThisNode,
        });
        self.part_everywhere(peer, By::Peer);
    }

    /// Has each core end what there is with a process start.
    fn part_everywhere(&self, node: &NodeId, by: By) {
        self.parting.borrow_mut().push((node.clone(), by));
        for core in self.cores().filter(|core| *core != self.id()) {
            let node = node.clone();
            let part: Errand = Box::new(move |there| there.part(&node, by));
            match by {
                // No more of these wait than somebody here has asked for.
                By::Us => self.send_word(core, part),
                // Nor than process starts that say so; a member learns there that it was removed.
                By::Peer if core == CONTROL_CORE => self.send_word(core, part),
                // A core that has too much to do hears it from the peer, on its own links.
                By::Peer => drop(self.send_errand(core, part)),
            }
        }
    }

    /// Does what was asked for while something was borrowed.
    pub(super) fn part_all(self: &Rc<Self>) {
        while let Some((node, by)) = { self.parting.borrow_mut().pop() } {
            self.part(&node, by);
        }
    }

    fn part(self: &Rc<Self>, node: &NodeId, by: By) {
        let of_node = {
            let peers = self.peers.borrow();
            let number = peers.number(&node.address);
            number.map_or_else(Vec::new, |number| peers.of_node(number))
        };
        for peer in of_node {
            self.associate(peer, |association, cx| {
                association.handle_quarantined(cx, node.uid, by);
            });
            self.peer_changed(peer);
        }
        if self.id == CONTROL_CORE {
            self.far_node_ended(node.uid, NodeEnd::Quarantined);
            self.cluster_parted(node, by);
        }
    }

    /// Refuses who is quarantined.
    pub(super) fn check_quarantine(&self, node: &NodeId) -> Result<(), RefuseReason> {
        match self.shared.parted.is_quarantined(node) {
            true => Err(RefuseReason::Quarantined),
            false => Ok(()),
        }
    }

    /// Whether a frame is the answer of a process start that is quarantined to a dial of its
    /// address: then it has heard so, and nobody else answers there.
    pub(super) fn is_quarantined_answer(
        self: &Rc<Self>,
        connection: &Connection,
        node: PeerIndex,
        frame: &Frame<'_>,
    ) -> bool {
        let is_quarantined =
            answerer(frame).is_some_and(|answerer| self.shared.parted.is_quarantined(&answerer));
        if is_quarantined {
            self.associate(node, |association, cx| {
                association.handle_quarantined_answer(cx, connection.key);
            });
        }
        is_quarantined
    }

    /// Somebody wants to know whether another process start than the quarantined one runs at the
    /// address of a peer: what the last dial came to does not say.
    pub(crate) fn look_past_quarantine(&self, node: PeerIndex) {
        let mut peers = self.peers.borrow_mut();
        let problem = &mut peers.at(node).problem;
        problem.take_if(|problem| problem.quarantined_by().is_some());
    }

    /// Tells whoever asked over a link that ends, and whose question has not left.
    pub(super) fn end_unsent_questions(&self, link: &Rc<Link>, by: By) {
        let sent = link.outbound.borrow().positions().reached;
        let by_peer = by == By::Peer;
        self.end_questions(link, sent, |phase| match phase {
            AskPhase::Queued => AskError::Quarantined { by_peer },
            phase => AskError::Unreachable { phase },
        });
    }
}
