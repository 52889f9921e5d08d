//! Actors that are to hear something now and then: what notes that they did.
//!
//! Only an actor with a receive timeout has this around it, so that others pay nothing for it.

use std::cell::Cell;
use std::rc::Rc;

use super::cell::{Behaviour, Turn};
use super::{Delivery, LocalValue};
use crate::core::{Core, Link, Notice};

/// An actor, and how often something came for it.
pub(super) struct Heard {
    pub(super) inner: Box<dyn Behaviour>,
    pub(super) count: Rc<Cell<u64>>,
}

impl Behaviour for Heard {
    fn started(&mut self, core: &Rc<Core>) -> bool {
        self.inner.started(core)
    }

    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        self.count.set(self.count.get() + 1);
        self.inner.deliver(core, index, delivery)
    }

    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        self.count.set(self.count.get() + 1);
        self.inner.deliver_local(core, index, value, link)
    }

    fn resume(&mut self) -> bool {
        self.count.set(self.count.get() + 1);
        self.inner.resume()
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        self.count.set(self.count.get() + 1);
        self.inner.notify(core, notice)
    }

    fn stopped(&mut self) {
        self.inner.stopped();
    }
}
