//! Recipients without room: what senders are told of them, and what they cost their links.

use std::rc::Rc;

use ringmesh_proto::frame::body::Notice;

use super::Core;
use super::link::Link;
use crate::actor::{Letter, Port};

impl Link {
    /// Takes a message that waits beyond the bound of its mailbox off the credit of its link.
    pub(crate) fn charge(&self, bytes: usize) {
        self.inbound.borrow_mut().hold(bytes);
    }
}

impl Core {
    /// Gives back what a message was charged with.
    pub(super) fn uncharge(&self, letter: &Letter) {
        if !letter.charged {
            return;
        }
        letter.link.inbound.borrow_mut().release(letter.bytes);
        if !letter.link.ended.get() {
            self.owe_grant(&letter.link);
        }
    }

    /// Tells the peer of a link that the recipient of this number there, an actor of `generation`,
    /// has no room. Says whether it was told just now; one notice may be lost for want of room, and
    /// follows the next message then.
    pub(crate) fn say_busy(&self, link: &Rc<Link>, number: u32, generation: u64) -> bool {
        let is_told = link.told_busy.borrow().get(&number) == Some(&generation);
        if is_told || link.ended.get() {
            return false;
        }
        let notice = Notice {
            target_number: number,
            busy: true,
        };
        let queued = link.outbound.borrow_mut().queue_notice(notice);
        if queued {
            link.told_busy.borrow_mut().insert(number, generation);
            self.enqueue(link);
        }
        queued
    }

    /// Tells every link that was told otherwise that an actor has room, if it has.
    pub(super) fn say_ready(&self, port: &Port) {
        for told in port.take_told() {
            let number = told.target_number;
            let is_mine = told.link.told_busy.borrow().get(&number) == Some(&port.generation());
            // Else the number stands for another recipient by now, and the peer was told.
            if is_mine {
                self.withdraw_busy(&told.link, number);
            }
        }
    }

    /// Tells the peer of a link that the recipient of this number has room, if it was told
    /// otherwise. It is also told so when it gives the number to another recipient: it may have
    /// taken what was said of the former for that one.
    pub(super) fn withdraw_busy(&self, link: &Rc<Link>, number: u32) {
        let was_told = link.told_busy.borrow_mut().remove(&number).is_some();
        if was_told && !link.ended.get() {
            link.ready_owed.borrow_mut().push(number);
            self.queue_ready(link);
            self.enqueue(link);
        }
    }

    /// Queues the notices that found no room so far.
    pub(super) fn queue_ready(&self, link: &Link) {
        let mut owed = link.ready_owed.borrow_mut();
        if owed.is_empty() {
            return;
        }
        let mut outbound = link.outbound.borrow_mut();
        let queued = owed.iter().take_while(|number| {
            outbound.queue_notice(Notice {
                target_number: **number,
                busy: false,
            })
        });
        let queued = queued.count();
        owed.drain(..queued);
    }

    /// A recipient at the other end of a link has no room, or has some again.
    pub(super) fn handle_notice(
        &self,
        link: &Link,
        notice: Notice,
    ) -> Result<(), ringmesh_proto::link::Violation> {
        if link.is_near_end() {
            // What its peer has sent is passed on all the same.
            self.relay_notice(link, notice);
            return Ok(());
        }
        link.outbound.borrow_mut().handle_notice(notice)?;
        if !notice.busy {
            self.recipients_came(link.peer);
        }
        Ok(())
    }
}
