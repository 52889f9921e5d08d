//! Actors without asynchronous handlers: each message is handled where it arrives.

use std::rc::Rc;

use super::cell::{Behaviour, Turn};
use super::origin::Origin;
use super::{Actor, Cx, Delivered, Delivery, Dispatch, LocalValue, Outcome};
use crate::core::{ActorPlace, Core, Link, Notice};
use crate::reference::Ref;
use crate::watch::Terminated;

/// An actor and its ref.
pub(super) struct Running<A: Actor> {
    pub(super) actor: A,
    pub(super) me: Ref<A::Api>,
}

impl<A: Actor> Running<A> {
    /// Tells the actor of an end. Says whether it asked to be stopped.
    pub(super) fn see(&mut self, core: &Rc<Core>, terminated: Terminated) -> bool {
        let mut cx = Cx::new(core, &self.me, None);
        self.actor.terminated(terminated, &mut cx);
        cx.wants_stop()
    }
}

impl<A: Actor> Behaviour for Running<A> {
    fn started(&mut self, core: &Rc<Core>) -> bool {
        let mut cx = Cx::new(core, &self.me, None);
        self.actor.started(&mut cx);
        cx.wants_stop()
    }

    #[inline]
    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let origin = Origin {
            core,
            link: delivery.link,
            handled: core.running(),
        };
        let mut cx = Cx::new(core, &self.me, Some(&origin));
        let outcome = <A::Api as Dispatch<A>>::dispatch(&mut self.actor, index, delivery, &mut cx);
        Turn {
            outcome,
            stop: cx.wants_stop(),
        }
    }

    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        let origin = Origin {
            core,
            link,
            handled: core.running(),
        };
        let mut cx = Cx::new(core, &self.me, Some(&origin));
        <A::Api as Dispatch<A>>::dispatch_local(&mut self.actor, index, value, &mut cx);
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: cx.wants_stop(),
        }
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        let terminated = core.claim(place_of(&self.me), notice);
        terminated.is_some_and(|terminated| self.see(core, terminated))
    }

    fn stopped(&mut self) {
        self.actor.stopped();
    }
}

/// Where an actor lives on its core.
fn place_of<P>(actor: &Ref<P>) -> ActorPlace {
    ActorPlace {
        slot: actor.recipient.slot,
        generation: actor.recipient.generation,
    }
}
