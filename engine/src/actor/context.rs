//! What a handler can reach besides its actor.

use std::fmt;
use std::rc::Rc;

use super::Actor;
use crate::core::Core;
use crate::node::Node;
use crate::reference::Ref;

/// The surroundings of an actor while one of its handlers runs.
pub struct Cx<'a, A: Actor> {
    core: &'a Rc<Core>,
    me: Ref<A::Api>,
    stop: bool,
}

impl<'a, A: Actor> Cx<'a, A> {
    pub(super) fn new(core: &'a Rc<Core>, me: Ref<A::Api>) -> Self {
        Self {
            core,
            me,
            stop: false,
        }
    }

    /// The actor's own ref, to be put into messages or sent to.
    pub fn me(&self) -> Ref<A::Api> {
        self.me
    }

    /// The node the actor lives on.
    pub fn node(&self) -> Node {
        Node::new(Rc::clone(self.core))
    }

    /// Stops the actor when the handler returns. Messages still on their way to it become dead
    /// letters.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        self.core
    }

    pub(super) fn wants_stop(&self) -> bool {
        self.stop
    }
}

impl<A: Actor> fmt::Debug for Cx<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("me", &self.me)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}
