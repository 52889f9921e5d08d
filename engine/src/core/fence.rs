//! What waits until all that this core sent to another one has arrived there.
//!
//! Word of an actor's end goes by the control lane, and would overtake what the actor sent before.
//! So it waits until the core of the watcher has acknowledged, on the ordinary and the large lane,
//! everything that was written when the actor was gone: acknowledged is what is handled or waits in
//! a mailbox. What is given up is waited for no more. Where links are shared the core at their
//! other end acknowledges and passes on: there the word may be first.

use std::rc::Rc;

use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::frame::body::{Watch, WatchEnd};

use super::link::Link;
use super::{CONTROL_CORE, Core, NodeIndex};

/// Words of ends that wait. No more than there are watches.
pub(super) type Fences = Vec<Fence>;

/// Words for one core of another node.
#[derive(Debug)]
pub(super) struct Fence {
    /// Each with the position that its peer has to have received, as far as it is known: answers
    /// that wait for credit have none yet.
    links: Vec<(Rc<Link>, Option<u64>)>,
    uid: Uid,
    ended: Vec<(Watch, WatchEnd)>,
}

impl Fence {
    fn is_passed(&mut self) -> bool {
        self.links.retain_mut(|(link, position)| {
            if link.ended.get() {
                return false;
            }
            let outbound = link.outbound.borrow();
            let positions = outbound.positions();
            if position.is_none() && outbound.deferred() == 0 {
                *position = Some(positions.tail);
            }
            position.is_none_or(|position| positions.received_to < position)
        });
        self.links.is_empty()
    }
}

impl Core {
    /// Has a core of another node told that actors of this one have ended, behind all that this
    /// core has sent to it.
    pub(super) fn tell_far(
        &self,
        (node, core): (NodeIndex, CoreId),
        uid: Uid,
        ended: Vec<(Watch, WatchEnd)>,
    ) {
        let links = self.peers.borrow().links_towards(node, core, uid);
        let links = links.into_iter().map(|link| (link, None)).collect();
        self.far
            .fences
            .borrow_mut()
            .push(Fence { links, uid, ended });
        self.far.stir();
    }

    /// Sends on what waits no more.
    pub(super) fn look_at_fences(&self) {
        let passed: Fences = {
            let mut fences = self.far.fences.borrow_mut();
            fences.extract_if(.., Fence::is_passed).collect()
        };
        passed.into_iter().for_each(|fence| self.pass(fence));
    }

    fn pass(&self, fence: Fence) {
        let Fence { uid, ended, .. } = fence;
        if self.id == CONTROL_CORE {
            return self.far_ended(uid, ended);
        }
        // No more of these are under way than there are watches.
        let word = Box::new(move |control: &Rc<Self>| control.far_ended(uid, ended));
        self.send_word(CONTROL_CORE, word);
    }
}
