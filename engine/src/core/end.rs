//! The end of a link: everything it carried is accounted for.

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;

use super::Core;
use super::letters::Described;
use super::link::Link;
use crate::dead_letter::DeadLetterReason;
use crate::error::AskError;

impl Core {
    /// Accounts for what the peer of an ended link did not take over, and tells whoever asked.
    /// `in_order`: nothing went wrong that somebody should look into.
    pub(super) fn end_link(&self, link: &Rc<Link>, in_order: bool) {
        if link.ended.replace(true) {
            return;
        }
        if link.connection.get().is_some() {
            self.tally.links.take(1);
        }
        let sent = link.outbound.borrow().positions().reached;
        let mut slabs = self.slabs_of(link).borrow_mut();
        let (mut unsent, mut maybe) = (0, 0);
        let acknowledged = link
            .outbound
            .borrow_mut()
            .drain_unacknowledged(&mut slabs, |frame| {
                if !frame.kind.is_message() {
                    return;
                }
                let count = if frame.sent { &mut maybe } else { &mut unsent };
                *count += 1;
            });
        self.tally.acknowledged.add(acknowledged);
        drop(slabs);
        let dead = [
            (DeadLetterReason::Unsent, unsent),
            (DeadLetterReason::Maybe, maybe),
        ];
        for (reason, count) in dead.into_iter().filter(|(_, count)| *count > 0) {
            self.bury(reason, count, link, |_| Described::with_its_link(in_order));
        }
        self.tell_of_dropped(link, unsent + maybe, false);
        let relays = link.routes.take().relays();
        self.close_relays(relays.into_iter());
        self.end_questions(link, sent, |phase| AskError::Unreachable { phase });
        self.memory_came();
        self.far.stir();
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
            } else {
                self.link_fault(&link, CloseReason::TooManyAsks);
            }
        }
    }

    /// Ends every link there is, when the core does.
    pub(super) fn end_all_links(&self) {
        let links: Vec<Rc<Link>> = self.linked().collect();
        let own = self.ends.iter().map(|end| &end.link);
        // Whatever did not leave in time was said when the flush was over.
        links.iter().for_each(|link| self.end_link(link, true));
        self.end_tunnels();
        own.for_each(|link| self.end_link(link, true));
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
