//! Actors that begin anew: who makes their state again, and what stands for them without one.

use std::fmt;
use std::rc::Rc;

use super::cell::{Behaviour, Turn};
use super::looping::loop_on;
use super::notes::Notes;
use super::origin::Origin;
use super::port::{MESSAGES_PER_POLL, Port};
use super::running::Running;
use super::{
    Actor, Arrived, Check, Content, Cx, Delivered, Delivery, Dispatch, Letter, LocalValue, Protocol,
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

/// An actor without asynchronous handlers that failed once, or that may lay messages aside, or any
/// actor that waits for its new state: it has a mailbox, and nothing overtakes what waits in there.
pub(super) struct Renewed<A: Actor> {
    core: Rc<Core>,
    port: Rc<Port>,
    me: Ref<A::Api>,
    running: Option<Running<A>>,
    checks: &'static [Check],
}

impl<A: Actor> Renewed<A> {
    fn on(core: &Rc<Core>, port: &Rc<Port>, me: Ref<A::Api>, actor: Option<A>) -> Self {
        Self {
            core: Rc::clone(core),
            port: Rc::clone(port),
            me,
            running: actor.map(|actor| Running { actor, me }),
            checks: <A::Api as Protocol>::CHECKS,
        }
    }

    /// An actor that has a mailbox from its start.
    pub(super) fn of(
        core: &Rc<Core>,
        port: &Rc<Port>,
        me: Ref<A::Api>,
        actor: A,
    ) -> Box<dyn Behaviour> {
        Box::new(Self::on(core, port, me, Some(actor)))
    }

    /// The actor, if nothing waits that goes before what comes now.
    fn free(&mut self) -> Option<&mut Running<A>> {
        let is_free = !self.port.notes.have(Notes::WAITING);
        self.running.as_mut().filter(|_| is_free)
    }

    /// Tells the actor of an end, if word of one was laid aside. Says whether it asked to be
    /// stopped.
    fn see_aside(&mut self) -> bool {
        let (Some(terminated), Some(running)) = (self.port.take_aside(), &mut self.running) else {
            return false;
        };
        running.see(&self.core, terminated)
    }

    /// Has the actor handle a letter. Says whether it asked to be stopped.
    fn handle(&mut self, letter: Letter) -> bool {
        let Self {
            core,
            port,
            me,
            running,
            ..
        } = self;
        let Some(Running { actor, .. }) = running else {
            return false;
        };
        let Letter {
            arrived: Arrived { index, content },
            link,
            extra,
            ..
        } = letter;
        port.ask(extra, &link);
        let origin = Origin {
            core,
            link: &link,
            handled: port.handled(),
        };
        let _scope = core.with_deadline(extra.deadline());
        let mut cx = Cx::new(core, me, Some(&origin));
        match content {
            Content::Archived(message) => {
                let delivery = Delivery {
                    payload: Payload::whole(message.chunk()),
                    link: &link,
                    target_number: 0,
                    extra,
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
        let running = self.running.as_mut();
        running.is_some_and(|running| running.started(core))
    }

    fn deliver(&mut self, core: &Rc<Core>, index: u16, delivery: Delivery<'_>) -> Turn {
        if let Some(running) = self.free() {
            return running.deliver(core, index, delivery);
        }
        let Some(check) = self.checks.get(usize::from(index)).copied() else {
            return Turn::of(Delivered::NoSuchMessage);
        };
        // It is answered when its turn comes.
        core.running_question().set(None);
        self.port.put_by(core, index, check, &delivery)
    }

    fn deliver_local(
        &mut self,
        core: &Rc<Core>,
        index: u16,
        value: LocalValue,
        link: &Rc<Link>,
    ) -> Turn {
        match self.free() {
            Some(running) => running.deliver_local(core, index, value, link),
            None => self.port.put_local(index, value, link),
        }
    }

    fn notify(&mut self, core: &Rc<Core>, notice: Notice) -> bool {
        if let Some(running) = self.free() {
            return running.notify(core, notice);
        }
        self.port.put_notice(core, notice);
        false
    }

    fn resume(&mut self) -> bool {
        if self.running.is_none() {
            return false;
        }
        for _ in 0..MESSAGES_PER_POLL {
            if self.port.ends_now() {
                return true;
            }
            if self.port.has_nothing() {
                return false;
            }
            let core = Rc::clone(&self.core);
            let stop = match core.take_waiting(&self.port) {
                Some(letter) => self.handle(letter),
                None => self.see_aside(),
            };
            if stop {
                self.port.notes.add(Notes::WANTS_STOP);
                return true;
            }
        }
        self.port.waker().wake_by_ref();
        false
    }

    fn stopped(&mut self) {
        if let Some(running) = &mut self.running {
            running.stopped();
        }
    }
}
