//! The end of a link: everything it carried is accounted for.

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;

use super::Core;
use super::link::Link;

impl Core {
    /// Accounts for what the peer of an ended link did not take over, and tells whoever asked.
    pub(super) fn end_link(&self, link: &Rc<Link>) {
        if link.ended.replace(true) {
            return;
        }
        let sent = link.outbound.borrow().positions().sent;
        let mut slabs = self.slabs.borrow_mut();
        let tally = &self.tally;
        let acknowledged = link
            .outbound
            .borrow_mut()
            .drain_unacknowledged(&mut slabs, |frame| {
                if !frame.kind.is_message() {
                    return;
                }
                let count = if frame.sent {
                    &tally.dead_maybe
                } else {
                    &tally.dead_unsent
                };
                count.add(1);
            });
        tally.acknowledged.add(acknowledged);
        drop(slabs);
        let relays = link.routes.take().relays();
        self.close_relays(relays.into_iter());
        self.end_questions(link, sent);
        self.memory_came();
    }

    /// Marks a link whose peer broke the rules in a way that only showed while a handler ran.
    pub(super) fn doom(&self, link: &Rc<Link>) {
        self.doomed.borrow_mut().push(Rc::clone(link));
    }

    /// Ends the links that were doomed in this turn.
    pub(super) fn end_doomed(self: &Rc<Self>) {
        while let Some(link) = { self.doomed.borrow_mut().pop() } {
            if link.passage.is_some() {
                self.tunnel_fault(&link, CloseReason::TooManyAsks);
            } else if let Some(connection) = link.connection.and_then(|id| self.connection(id)) {
                self.connection_fault(&connection, CloseReason::TooManyAsks);
            }
        }
    }

    /// Ends every link there is, when the core does.
    pub(super) fn end_all_links(&self) {
        let links: Vec<Rc<Link>> = self.linked().collect();
        links.iter().for_each(|link| self.end_link(link));
        self.end_tunnels();
        self.ends.iter().for_each(|end| self.end_link(&end.link));
    }

    /// Bytes that have not left.
    pub(super) fn unsent_bytes(&self) -> u64 {
        let unsent = |link: Rc<Link>| {
            let positions = link.outbound.borrow().positions();
            positions.tail - positions.sent
        };
        self.linked().map(unsent).sum()
    }
}
