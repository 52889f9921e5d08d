//! Local messages: values that move from actor to actor within one node, unarchived.

use std::any::{Any, type_name};
use std::fmt;

use super::{Actor, Cx, Protocol};

/// A type that is sent by value between the actors of one node, whatever it holds: a closure, a
/// socket, an [`Arc`](std::sync::Arc).
///
/// It never crosses the wire, so it needs no id, no version and no layout. Made by
/// `#[message(local)]`, which writes nothing but this `impl`. It stands in a protocol behind the
/// word `local`, reaches a [`LocalHandler`], and is sent with
/// [`Ref::try_tell_local`](crate::Ref::try_tell_local) or
/// [`Ref::tell_local`](crate::Ref::tell_local), which waits for room.
///
/// ```
/// use ringmesh::{Actor, Cx, LocalHandler, message, protocol};
///
/// #[message(local)]
/// struct Job(Box<dyn FnOnce() + Send>);
///
/// protocol! { WorkerApi = "demo.worker" { local Job } }
///
/// struct Worker;
///
/// impl Actor for Worker {
///     type Api = WorkerApi;
/// }
///
/// impl LocalHandler<Job> for Worker {
///     fn handle(&mut self, Job(job): Job, _: &mut Cx<'_, Self>) {
///         job();
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a local message",
    label = "not a local message",
    note = "put `#[message(local)]` on the type"
)]
pub trait LocalMessage: 'static {}

/// Says that a protocol contains the local message `M`. Made by [`protocol!`](crate::protocol).
#[diagnostic::on_unimplemented(
    message = "protocol `{Self}` does not accept local message `{M}`",
    label = "`local {M}` is not in this protocol",
    note = "add `local {M}` to the list in `protocol! {{ {Self} = \"..\" {{ .. }} }}`"
)]
pub trait AcceptsLocal<M: LocalMessage>: Protocol {
    /// The place of the message in the protocol, behind all that cross the wire.
    #[doc(hidden)]
    const INDEX: u16;
}

/// Handles local message `M`, without waiting.
///
/// An actor with asynchronous handlers has them too: then a local message waits in the actor's
/// mailbox like any other, behind what came to the core before.
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle local message `{M}`",
    label = "its protocol contains `local {M}`",
    note = "add `impl LocalHandler<{M}> for {Self}`"
)]
pub trait LocalHandler<M: LocalMessage>: Actor {
    /// Handles one message. Nobody waits for an answer; put a sender of one into the message.
    ///
    /// # Panics
    /// As in [`Handler::handle`](crate::Handler::handle).
    fn handle(&mut self, message: M, cx: &mut Cx<'_, Self>);
}

/// A local message whose type only its recipient knows.
pub struct LocalValue(Box<dyn Any + Send>);

impl LocalValue {
    pub(crate) fn new<M: LocalMessage + Send>(message: M) -> Self {
        Self(Box::new(message))
    }

    pub(crate) fn into_message<M: LocalMessage>(self) -> Option<M> {
        self.0.downcast().ok().map(|message| *message)
    }
}

impl fmt::Debug for LocalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalValue").finish_non_exhaustive()
    }
}

/// What a protocol says of a local message.
#[derive(Clone, Copy, Debug)]
pub struct LocalInfo {
    name: fn() -> &'static str,
    is: fn(&(dyn Any + Send)) -> bool,
}

impl LocalInfo {
    /// That of `M`.
    pub const fn of<M: LocalMessage>() -> Self {
        Self {
            name: type_name::<M>,
            is: <dyn Any + Send>::is::<M>,
        }
    }

    /// The name of the type.
    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Whether `value` is one of these. A ref that came over the wire may name the protocol of
    /// another actor.
    pub(crate) fn is_of(&self, value: &LocalValue) -> bool {
        (self.is)(&*value.0)
    }
}

/// Calls the handler of a local message; the code behind every arm of a generated `match`.
#[inline]
pub fn deliver_local<A, M>(actor: &mut A, value: LocalValue, cx: &mut Cx<'_, A>)
where
    A: LocalHandler<M>,
    M: LocalMessage,
{
    // The core has seen that it is the message of its number.
    if let Some(message) = value.into_message::<M>() {
        actor.handle(message, cx);
    }
}
