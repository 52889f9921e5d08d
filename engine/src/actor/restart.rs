//! Actors that begin anew: who makes their state again, and what stands for them without one.

use std::fmt;
use std::rc::Rc;

use super::cell::{Behaviour, Turn};
use super::context::Origin;
use super::looping::loop_on;
use super::port::{MESSAGES_PER_POLL, Notes, Port};
use super::{
    Actor, Arrived, Check, Content, Cx, Delivered, Delivery, Dispatch, Letter, LocalValue, Outcome,
    Protocol,
};
use crate::core::{Core, Link, Notice, Payload};
use crate::props::Factory;
use crate::reference::Ref;

/// Makes the state of an actor again.
pub(crate) trait Maker {
    /// What stands for the actor while it has no state: messages wait.
    fn park(&self, core: &Rc<Core>, port: &Rc<Port>) -> Box<dyn Behaviour>;

    /// The actor with a new state, which is to be started; or what its factory says.
    fn make(&self, core: &Rc<Core>, port: &Rc<Port>) -> Result<Box<dyn Behaviour>, String>;
}

/// The maker of an actor that has a factory.
pub(super) struct Remake<A: Actor, E> {
    pub(super) me: Ref<A::Api>,
    pub(super) factory: Factory<A, E>,
}

impl<A: Actor, E: fmt::Display + 'static> Maker for Remake<A, E> {
    fn park(&self, core: &Rc<Core>, port: &Rc<Port>) -> Box<dyn Behaviour> {
        Box::new(Renewed::<A>::on(core, port, self.me, None))
    }

    fn make(&self, core: &Rc<Core>, port: &Rc<Port>) -> Result<Box<dyn Behaviour>, String> {
        let actor = (self.factory)().map_err(|error| error.to_string())?;
        if <A::Api as Dispatch<A>>::IS_ASYNC {
            return Ok(loop_on(port, actor, self.me, core));
        }
        Ok(Box::new(Renewed::on(core, port, self.me, Some(actor))))
    }
}

/// An actor without asynchronous handlers that failed once, or any actor that waits for its new
/// state: it has a mailbox, and nothing overtakes what waits in there.
struct Renewed<A: Actor> {
    core: Rc<Core>,
    port: Rc<Port>,
    me: Ref<A::Api>,
    actor: Option<A>,
    checks: &'static [Check],
}

impl<A: Actor> Renewed<A> {
    fn on(core: &Rc<Core>, port: &Rc<Port>, me: Ref<A::Api>, actor: Option<A>) -> Self {
        Self {
            core: Rc::clone(core),
            port: Rc::clone(port),
            me,
            actor,
            checks: <A::Api as Protocol>::CHECKS,
        }
    }

    /// The actor, if nothing waits that goes before what comes now.
    fn free(&mut self) -> Option<&mut A> {
        let is_free = !self.port.notes.have(Notes::WAITING);
        self.actor.as_mut().filter(|_| is_free)
    }

    /// Tells the actor of an end, if word of one was laid aside. Says whether it asked to be
    /// stopped.
    fn see_aside(&mut self) -> bool {
        let (Some(terminated), Some(actor)) = (self.port.take_aside(), &mut self.actor) else {
            return false;
        };
        let mut cx = Cx::new(&self.core, &self.me, None);
        actor.terminated(terminated, &mut cx);
        cx.wants_stop()
    }

    /// Has the actor handle a letter. Says whether it asked to be stopped.
    fn handle(&mut self, letter: Letter) -> bool {
        let Self {
            core,
            port,
            me,
            actor,
            ..
        } = self;
        let Some(actor) = actor else {
            return false;
        };
        let Letter {
            arrived: Arrived { index, content },
            link,
            question,
            ..
        } = letter;
        port.ask(question, &link);
        let origin = Origin {
            core,
            link: &link,
            question: port.question(),
        };
        let _scope = core.with_deadline(question.map(|it| it.deadline));
        let mut cx = Cx::new(core, me, Some(&origin));
        match content {
            Content::Archived(message) => {
                let delivery = Delivery {
                    payload: Payload::whole(message.chunk()),
                    link: &link,
                    target_number: 0,
                    question,
                };
                // It was validated when it came.
                let _ = <A::Api as Dispatch<A>>::dispatch(actor, index, delivery, &mut cx);
            }
            Content::Local(value) => {
                <A::Api as Dispatch<A>>::dispatch_local(actor, index, value, &mut cx);
            }
            // It was laid aside.
            Content::Notice(_) => {}
        }
        cx.wants_stop()
    }
}

impl<A: Actor> Behaviour for Renewed<A> {
    fn started(&mut self, core: &Rc<Core>) -> bool {
        self.port.waker().wake_by_ref();
        let Some(actor) = &mut self.actor else {
            return false;
        };
        let mut cx = Cx::new(core, &self.me, None);
        actor.started(&mut cx);
        cx.wants_stop()
    }

    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        let me = self.me;
        let Some(actor) = self.free() else {
            let Some(check) = self.checks.get(usize::from(index)).copied() else {
                return Turn::of(Delivered::NoSuchMessage);
            };
            // It is answered when its turn comes.
            core.running_question().set(None);
            return self.port.put_by(core, index, check, &delivery);
        };
        let origin = Origin {
            core,
            link: delivery.link,
            question: core.running_question(),
        };
        let mut cx = Cx::new(core, &me, Some(&origin));
        let outcome = <A::Api as Dispatch<A>>::dispatch(actor, index, delivery, &mut cx);
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
        let me = self.me;
        let Some(actor) = self.free() else {
            return self.port.put_local(index, value, link);
        };
        let origin = Origin {
            core,
            link,
            question: core.running_question(),
        };
        let mut cx = Cx::new(core, &me, Some(&origin));
        <A::Api as Dispatch<A>>::dispatch_local(actor, index, value, &mut cx);
        Turn {
            outcome: Outcome(Delivered::Handled),
            stop: cx.wants_stop(),
        }
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        let me = self.me;
        let Some(actor) = self.free() else {
            self.port.put_notice(core, notice);
            return false;
        };
        let Some(terminated) = core.claim(super::cell::place_of(&me), notice) else {
            return false;
        };
        let mut cx = Cx::new(core, &me, None);
        actor.terminated(terminated, &mut cx);
        cx.wants_stop()
    }

    fn resume(&mut self) -> bool {
        if self.actor.is_none() {
            return false;
        }
        for _ in 0..MESSAGES_PER_POLL {
            if self.port.has_nothing() {
                return false;
            }
            let core = Rc::clone(&self.core);
            let stop = match core.take_waiting(&self.port) {
                Some(letter) => self.handle(letter),
                None => self.see_aside(),
            };
            if stop {
                return true;
            }
        }
        self.port.waker().wake_by_ref();
        false
    }

    fn stopped(&mut self) {
        if let Some(actor) = &mut self.actor {
            actor.stopped();
        }
    }
}
