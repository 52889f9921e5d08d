//! Stands in for the actor room: the least that the macros' code needs to compile and to be run.

use ringmesh_proto::archive::encode;
use ringmesh_proto::message::{Message, MessageInfo, MessageType, ProtocolId, Reply, ReplySink};

use crate::chunk::Chunk;
use crate::message::{AccessError, Msg};

/// A named set of messages. Made by [`protocol!`](crate::protocol).
pub trait Protocol: 'static {
    /// The name.
    const NAME: &'static str;
    /// The hash of the name.
    const ID: ProtocolId;
    /// The messages, in declaration order.
    const MESSAGES: &'static [MessageInfo];
}

/// Says that a protocol contains message `M`. Made by [`protocol!`](crate::protocol).
#[diagnostic::on_unimplemented(
    message = "protocol `{Self}` does not accept message `{M}`",
    label = "`{M}` is not in this protocol",
    note = "add `{M}` to the list in `protocol! {{ {Self} = \"..\" {{ .. }} }}`"
)]
pub trait Accepts<M: Message>: Protocol {
    /// The place of the message in [`Protocol::MESSAGES`].
    const INDEX: u16;
}

/// State that handles the messages of one protocol.
pub trait Actor: Sized + 'static {
    /// The protocol the actor speaks.
    type Api: Protocol + Dispatch<Self>;
}

/// Handles message `M`.
#[diagnostic::on_unimplemented(
    message = "actor `{Self}` does not handle message `{M}`",
    label = "its protocol contains `{M}`",
    note = "add `impl Handler<{M}> for {Self}`"
)]
pub trait Handler<M: Message>: Actor {
    /// Handles one message and answers it.
    fn handle(&mut self, message: Msg<M>, cx: &mut Cx<'_, Self>) -> M::Reply;
}

/// What a handler may do besides.
#[derive(Debug)]
pub struct Cx<'a, A> {
    _actor: std::marker::PhantomData<&'a mut A>,
}

impl<A> Cx<'_, A> {
    /// A context for one call.
    pub fn new() -> Self {
        Self {
            _actor: std::marker::PhantomData,
        }
    }
}

impl<A> Default for Cx<'_, A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes a message of a protocol to the handler of an actor.
pub trait Dispatch<A>: Protocol {
    /// Hands `delivery`, message number `index` of the protocol, to `actor`.
    fn dispatch(actor: &mut A, index: u16, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome;
}

/// One message on its way into a handler, and where its reply goes.
#[derive(Debug)]
pub struct Delivery<'a> {
    payload: Chunk,
    reply: &'a mut Vec<u8>,
}

impl<'a> Delivery<'a> {
    /// A delivery of `payload` whose reply is appended to `reply`.
    pub fn new(payload: &[u8], reply: &'a mut Vec<u8>) -> Self {
        Self {
            payload: Chunk::copied_from(payload),
            reply,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler ran; the type of what it answered.
    Handled(Option<MessageType>),
    /// Not an archive of the message.
    Invalid(AccessError),
    /// No message of that number.
    NoSuchMessage,
}

/// Validates a message and calls its handler.
pub fn deliver<A, M>(actor: &mut A, delivery: Delivery<'_>, cx: &mut Cx<'_, A>) -> Outcome
where
    A: Handler<M>,
    M: Message,
{
    struct Append<'a>(&'a mut Vec<u8>);

    impl ReplySink for Append<'_> {
        type Output = MessageType;

        fn send<R: Message>(self, reply: &R) -> MessageType {
            self.0.resize(1024, 0);
            let length = encode(reply, self.0).expect("a reply under 1 KiB");
            self.0.truncate(length);
            R::TYPE
        }
    }

    match Msg::<M>::new(delivery.payload) {
        Ok(message) => {
            let reply = actor.handle(message, cx);
            Outcome::Handled(reply.send_to(Append(delivery.reply)))
        }
        Err((error, _)) => Outcome::Invalid(error),
    }
}

/// The arm behind the last number of a generated `match`.
pub fn no_such_message(_: Delivery<'_>) -> Outcome {
    Outcome::NoSuchMessage
}

#[cfg(test)]
mod tests;
