//! An actor that handles nothing: what comes for it waits in its mailbox, until a test takes it.

use std::rc::Rc;

use super::cell::{Behaviour, Turn};
use super::port::Port;
use super::{Check, Delivered, Delivery, LocalValue, Protocol};
use crate::core::{Core, Link, Notice};
use crate::reference::Ref;

struct Probing {
    port: Rc<Port>,
    checks: &'static [Check],
}

impl Probing {
    /// Something waits that did not before.
    fn tell(&self) {
        self.port.waker().wake_by_ref();
    }
}

/// The actor, and what it shares with its core and with whoever takes its messages.
pub(super) fn probing<P: Protocol>(core: &Core, me: &Ref<P>) -> (Box<dyn Behaviour>, Rc<Port>) {
    let port = Port::of(core, (me.recipient.slot, me.recipient.generation));
    let probing = Probing {
        port: Rc::clone(&port),
        checks: P::CHECKS,
    };
    (Box::new(probing), port)
}

impl Behaviour for Probing {
    fn started(&mut self, _: &Rc<Core>) -> bool {
        false
    }

    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // It is answered by whoever takes it.
        core.running_question().set(None);
        let turn = self.port.put_by(core, index, check, &delivery);
        self.tell();
        turn
    }

    fn deliver_local(
        &mut self,
        _: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        let turn = self.port.put_local(index, value, link);
        self.tell();
        turn
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        self.port.put_notice(core, notice);
        self.tell();
        false
    }

    fn stopped(&mut self) {}
}
