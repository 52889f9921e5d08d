//! What a handler can reach besides its actor.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::message::Reply;

use super::Actor;
use crate::core::{Asker, Core, Link};
use crate::node::Node;
use crate::reference::Ref;

/// The surroundings of an actor while one of its handlers runs.
pub struct Cx<'a, A: Actor> {
    core: &'a Rc<Core>,
    me: Ref<A::Api>,
    stop: bool,
    message: Option<Origin<'a>>,
}

/// Where the message came from that is being handled.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) link: &'a Rc<Link>,
    /// The number of the question, if it is one and its answer is still owed.
    pub(crate) question: &'a Cell<Option<u64>>,
}

impl<'a, A: Actor> Cx<'a, A> {
    pub(super) fn new(core: &'a Rc<Core>, me: Ref<A::Api>, message: Option<Origin<'a>>) -> Self {
        Self {
            core,
            me,
            stop: false,
            message,
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

    /// The node that the message came from, as its link knows it: no message can claim another.
    /// `None` in [`started`](Actor::started).
    pub fn sender(&self) -> Option<NodeId> {
        let link = self.message?.link;
        Some(link.node.clone())
    }

    /// Stops the actor when the handler returns. Messages still on their way to it, or waiting,
    /// become dead letters.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        self.core
    }

    pub(super) fn wants_stop(&self) -> bool {
        self.stop
    }

    /// Answers the message if it is a question whose answer is still owed.
    #[inline]
    pub(super) fn answer<R: Reply>(&self, reply: &R) {
        if let Some(Origin { link, question }) = self.message
            && let Some(correlation) = question.get()
        {
            Asker::new(self.core, link, correlation).answer(reply);
            // Whatever the handler still panics with, in the drop of its answer, this was the
            // answer.
            question.set(None);
        }
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
