//! Where the message came from that is being handled.

use std::rc::Rc;

use ringmesh_proto::address::{NodeId, Uid};

use crate::core::{Core, Extra, Handled, Link};

/// Where the message came from that is being handled.
pub struct Origin<'a> {
    pub(crate) core: &'a Rc<Core>,
    pub(crate) link: &'a Rc<Link>,
    /// What it brought: the number of the question, if it is one and its answer is still owed, and
    /// the node that it is told for.
    pub(crate) handled: &'a Handled,
}

impl Origin<'_> {
    /// The node that sent it, or published it: that of the link, unless a core of this process says
    /// for whom it tells it. `None` of one whose name nobody knows any more.
    pub(super) fn sender(&self) -> Option<NodeId> {
        match self.handled.publisher() {
            None => Some(self.link.node.clone()),
            Some(publisher) => self.core.name_of_publisher(publisher),
        }
    }

    /// The process start of it.
    pub(super) fn sender_uid(&self) -> Uid {
        self.handled.publisher().unwrap_or(self.link.node.uid)
    }

    /// For whom it is told, for one that is laid aside.
    pub(super) fn told_for(&self) -> Extra {
        self.handled
            .publisher()
            .map_or(Extra::None, Extra::Publisher)
    }
}
