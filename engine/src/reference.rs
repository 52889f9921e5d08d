//! Refs: typed names of actors, wherever they live.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::link::Target;
use ringmesh_proto::message::Message;

use crate::actor::{Accepts, AcceptsLocal, ActorTable, LocalMessage, LocalValue, Protocol};
use crate::ask::Ask;
use crate::core::{ActorPlace, Home, NodeIndex, TableId, current};
use crate::error::{Refusal, SendError};
use crate::message::Msg;
use crate::tell::{Tell, TellLocal};
use crate::watch::ActorId;

/// The name of one actor of one process start, typed by the protocol it speaks.
///
/// 32 bytes, `Copy` and `Send`. A ref never reaches another actor than the one it was made for: not
/// a later one of the same name, nor one of a restarted process. Sends are made on a core: in
/// handlers, tasks, and the node's main future. It has to be the core that the ref was made on; to
/// use an actor from another node of the same process, resolve its path there.
pub struct Ref<P> {
    pub(crate) recipient: Recipient,
    marker: PhantomData<fn() -> P>,
}

const _: () = assert!(size_of::<Ref<()>>() == 32);

impl<P: Protocol> Ref<P> {
    pub(crate) fn new(uid: Uid, home: Home, core: CoreId, slot: u32, generation: u64) -> Self {
        let recipient = Recipient {
            uid,
            generation,
            slot,
            node: home.node,
            core,
            table: home.table,
            large: ActorTable::is_large(generation),
        };
        let marker = PhantomData;
        Self { recipient, marker }
    }

    /// Sends `message` if there is room for it now.
    ///
    /// `Ok` means that it is queued in order behind this core's earlier messages to the actor. It
    /// arrives unless the link ends, the actor stops, or its node does; then it is counted as a
    /// dead letter. Where there is no link yet it waits for one, for `link.dial_timeout_ms` at
    /// most, while the peer is dialled.
    ///
    /// # Errors
    /// [`SendError::Full`] while there is no room, and the other variants; each gives the message
    /// back, and none of them executed it.
    #[inline]
    pub fn try_tell<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: Message,
        P: Accepts<M>,
    {
        match self.push(&message) {
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(SendError::new(refusal, message)),
            None => Err(SendError::OffCore(message)),
        }
    }

    /// Sends `message`, waiting for room until a deadline: the node's `send_timeout` unless
    /// [`Tell::timeout`] gives another.
    ///
    /// A task that sends many messages this way also lets its core do other work in between.
    #[inline]
    pub fn tell<M>(&self, message: M) -> Tell<P, M>
    where
        M: Message,
        P: Accepts<M>,
    {
        Tell::new(*self, message)
    }

    /// Sends `message` if there is room for it now, and drops it otherwise: for what the next
    /// message makes good, such as a reading that is taken again and again.
    ///
    /// What is dropped, for whatever reason a [`SendError`] names, is counted as
    /// [`dropped_lossy`](crate::Counters::dropped_lossy). Use [`try_tell`](Self::try_tell) to
    /// decide yourself what becomes of the message, and [`tell`](Self::tell) when it should rather
    /// wait. On a thread that is not a core nothing is sent or counted, and an error is logged.
    #[inline]
    pub fn tell_lossy<M>(&self, message: M)
    where
        M: Message,
        P: Accepts<M>,
    {
        if !matches!(self.push(&message), Some(Ok(()))) {
            note_lost(M::NAME);
        }
    }

    /// Sends `message` by value to an actor of this node, on whatever core, if there is room for it
    /// now.
    ///
    /// It is moved into one `Box`, and nothing else is allocated for it. The recipient's core
    /// delivers it when its turn comes, never within this call. Order is kept among the local
    /// messages of this core to the actor, not between them and others. `M` is `Send` also
    /// where the actor happens to live on the same core.
    ///
    /// At most 1024 local messages are on their way from one core to another, those included that
    /// wait in a mailbox beyond its bound. One that finds its actor gone is a
    /// [dead letter](crate::Counters::local_dead), as are those that are left when the node ends.
    ///
    /// # Errors
    /// [`SendError::Full`] while there is no room; [`NotLocal`](SendError::NotLocal) of an actor of
    /// another node; [`NotRunning`](SendError::NotRunning) of an earlier process, or a core that
    /// has ended; `OtherCore`, `Stopping` and `OffCore`. Each gives the message back.
    pub fn try_tell_local<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: LocalMessage + Send,
        P: AcceptsLocal<M>,
    {
        let to = self.recipient;
        match current::try_with(|core| core.has_room_for_local(to)) {
            Some(Ok(())) => {}
            Some(Err(refusal)) => return Err(SendError::new(refusal, message)),
            None => return Err(SendError::OffCore(message)),
        }
        let value = LocalValue::new(message);
        current::try_with(|core| core.tell_local(to, P::INDEX, value));
        Ok(())
    }

    /// The same, and waits for room until a deadline: the node's `send_timeout`, or another that
    /// [`TellLocal::timeout`] gives. Those who wait for room to the same core are woken together,
    /// the oldest first; one that finds none waits on, and one that comes meanwhile may find it.
    ///
    /// # Errors
    /// Those of [`try_tell_local`](Self::try_tell_local), with [`SendError::TimedOut`] in the place
    /// of `Full`.
    pub fn tell_local<M>(&self, message: M) -> TellLocal<P, M>
    where
        M: LocalMessage + Send,
        P: AcceptsLocal<M>,
    {
        TellLocal::new(*self, message)
    }

    /// Sends `message` and waits for its answer until a deadline, which covers waiting for room.
    ///
    /// Made in the handler of a question it inherits the [deadline](crate::Cx::deadline) of that,
    /// also when it is awaited elsewhere; otherwise the deadline is the node's `ask_timeout`.
    /// [`Ask::timeout`] gives another.
    #[inline]
    pub fn ask<M>(&self, message: M) -> Ask<P, M>
    where
        M: Message,
        M::Reply: Message,
        P: Accepts<M>,
    {
        Ask::new(*self, message)
    }

    /// Sends a received message on, as the bytes it came in.
    pub(crate) fn pass_on<M>(&self, message: Msg<M>) -> Result<(), SendError<Msg<M>>>
    where
        M: Message,
        P: Accepts<M>,
    {
        let told = current::try_with(|core| {
            let tell = |to: &Recipient| match core.tell_archived(to, &M::TYPE, message.chunk()) {
                Err(Refusal::Unreachable) => {
                    core.reach(*to)?;
                    core.tell_archived(to, &M::TYPE, message.chunk())
                }
                told => told,
            };
            let to = self.recipient;
            match tell(&to) {
                Err(Refusal::ForLargeLane { .. }) => tell(&Recipient { large: true, ..to }),
                told => told,
            }
        });
        match told {
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(SendError::new(refusal, message)),
            None => Err(SendError::OffCore(message)),
        }
    }

    /// One attempt; `None` off a core.
    #[inline]
    pub(crate) fn push<M>(&self, message: &M) -> Option<Result<(), Refusal>>
    where
        M: Message,
        P: Accepts<M>,
    {
        current::try_with(
            |core| match core.tell_or_form(&self.recipient, message, None) {
                Err(Refusal::ForLargeLane { .. }) => core.tell_large(self.recipient, message),
                told => told,
            },
        )
    }
}

/// A message was dropped knowingly.
#[cold]
fn note_lost(message: &'static str) {
    if current::try_with(|core| core.count_lossy()).is_none() {
        tracing::error!(message, "a ref was used on a thread that is not a core");
    }
}

/// A ref without its protocol, as the core sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    pub(crate) uid: Uid,
    pub(crate) generation: u64,
    pub(crate) slot: u32,
    pub(crate) node: NodeIndex,
    pub(crate) core: CoreId,
    /// Where `node` counts.
    pub(crate) table: TableId,
    /// By way of the large lane, if it is of another node.
    pub(crate) large: bool,
}

impl Recipient {
    /// What tells actors apart, wherever a ref to them was made.
    pub(crate) fn id(&self) -> ActorId {
        ActorId {
            uid: self.uid,
            core: self.core,
            slot: self.slot,
            generation: self.generation,
        }
    }

    /// Its place on its core.
    pub(crate) fn place(&self) -> ActorPlace {
        ActorPlace {
            slot: self.slot,
            generation: self.generation,
        }
    }

    #[inline]
    pub(crate) fn target(&self) -> Target {
        Target {
            slot: self.slot,
            generation: self.generation,
        }
    }
}

impl<P> Ref<P> {
    /// Whom it names, whatever the protocol.
    pub fn id(&self) -> ActorId {
        self.recipient.id()
    }
}

impl<P> Clone for Ref<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Ref<P> {}

impl<P> PartialEq for Ref<P> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<P> Eq for Ref<P> {}

impl<P> Hash for Ref<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<P: Protocol> fmt::Debug for Ref<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref<{}>({self})", P::NAME)
    }
}

/// `ringmesh://system@host:port/core0/slot/7#19` on a core that knows the node, else its uid.
impl<P> fmt::Display for Ref<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = Home {
            table: self.recipient.table,
            node: self.recipient.node,
        };
        let address = current::try_with(|core| core.address_of(home)).flatten();
        match address {
            Some(address) => write!(f, "{address}")?,
            None => write!(f, "ringmesh://{}", self.recipient.uid)?,
        }
        write!(
            f,
            "/core{}/slot/{}#{}",
            self.recipient.core.0, self.recipient.slot, self.recipient.generation
        )
    }
}
