//! An actor that is the test.

use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use super::patience::{PATIENCE, during, within};
use crate::actor::{Accepts, AcceptsLocal, Content, Letter, LocalMessage, Protocol, ReplyTo};
use crate::core::{Catch, Probe};
use crate::error::SpawnError;
use crate::message::{Message, Msg};
use crate::node::Node;
use crate::reference::Ref;
use crate::watch::{Terminated, WatchError};
use ringmesh_proto::address::NodeId;

/// An actor that speaks any protocol and handles nothing: what comes for it waits in its mailbox,
/// in order, until the test takes it and says what it expected.
///
/// Its mailbox is bounded like any other's, and senders to it that are too fast are told so. The
/// actor ends when this is dropped.
///
/// # Panics
/// The methods that expect something, when something else comes first, or nothing in time; in
/// [`VirtualTime`](super::VirtualTime) when nothing more happens without time passing.
///
/// ```
/// use ringmesh::prelude::*;
/// use ringmesh::testkit::TestProbe;
///
/// #[message(id = "demo.Greeting", v = 1)]
/// struct Greeting;
///
/// protocol! { GreeterApi = "demo.greeter" { Greeting } }
///
/// # fn main() -> Result<(), ringmesh::EngineError> {
/// Engine::node("demo").run(|node| async move {
///     let mut probe = TestProbe::<GreeterApi>::spawn(&node).unwrap();
///     probe.me().try_tell(Greeting).unwrap();
///     probe.expect_msg::<Greeting>().await;
///     probe.expect_no_msg(std::time::Duration::from_millis(1)).await;
/// })
/// # }
/// ```
pub struct TestProbe<P: Protocol> {
    me: Ref<P>,
    node: Node,
    probe: Probe,
    patience: Duration,
}

/// A message that came for a [`TestProbe`].
#[non_exhaustive]
pub struct Caught<M: Message> {
    /// The message.
    pub message: Msg<M>,
    /// Where the answer goes, if it is a question.
    pub reply: ReplyTo<M>,
    /// The node it came from.
    pub sender: NodeId,
}

impl<P: Protocol> TestProbe<P> {
    /// Spawns a probe without a name.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn spawn(node: &Node) -> Result<Self, SpawnError> {
        Self::spawn_as(node, None)
    }

    /// Spawns a probe that others can resolve.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn spawn_named(node: &Node, name: &str) -> Result<Self, SpawnError> {
        Self::spawn_as(node, Some(name))
    }

    fn spawn_as(node: &Node, name: Option<&str>) -> Result<Self, SpawnError> {
        let (me, probe) = node.spawn_probe(name)?;
        Ok(Self {
            me,
            node: node.clone(),
            probe,
            patience: PATIENCE,
        })
    }

    /// Waits that long for what is expected, in place of three seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The ref of the actor.
    pub fn me(&self) -> Ref<P> {
        self.me
    }

    /// The next that comes, which is an `M`.
    pub async fn expect_msg<M: Message>(&mut self) -> Caught<M>
    where
        P: Accepts<M>,
    {
        let expected = M::NAME;
        match self.next().await {
            Some(Catch::Letter(letter)) if letter.arrived.index == <P as Accepts<M>>::INDEX => {
                self.open(letter)
            }
            other => self.fail(expected, other),
        }
    }

    /// The next `M` that `is_it`; everything before is passed over. Questions among that are told
    /// that their handler failed.
    pub async fn fish_for<M: Message>(&mut self, is_it: impl Fn(&Msg<M>) -> bool) -> Caught<M>
    where
        P: Accepts<M>,
    {
        loop {
            let caught = match self.next().await {
                Some(Catch::Letter(letter)) if letter.arrived.index == <P as Accepts<M>>::INDEX => {
                    self.open(letter)
                }
                Some(other) => {
                    self.pass_over(&other);
                    continue;
                }
                None => self.fail(M::NAME, None),
            };
            if is_it(&caught.message) {
                return caught;
            }
        }
    }

    /// The next that comes, which is the local message `M`.
    pub async fn expect_local<M: LocalMessage>(&mut self) -> M
    where
        P: AcceptsLocal<M>,
    {
        let expected = std::any::type_name::<M>();
        match self.next().await {
            Some(Catch::Letter(letter))
                if letter.arrived.index == <P as AcceptsLocal<M>>::INDEX =>
            {
                let value = letter.arrived.into_local();
                let message = value.and_then(crate::actor::LocalValue::into_message);
                message.expect("the core has seen that it is the message of its number")
            }
            other => self.fail(expected, other),
        }
    }

    /// The next that comes, which is word that `actor` has ended; it has to be
    /// [watched](Self::watch).
    pub async fn expect_terminated<Q: Protocol>(&mut self, actor: &Ref<Q>) -> Terminated {
        match self.next().await {
            Some(Catch::Terminated(terminated)) if terminated.is(actor) => terminated,
            other => self.fail("the end of an actor", other),
        }
    }

    /// Lets `span` pass, in which nothing comes.
    pub async fn expect_no_msg(&mut self, span: Duration) {
        let next = poll_fn(|context| self.probe.poll_next(context));
        if let Some(catch) = during(&self.node, span, next).await {
            self.pass_over(&catch);
            panic!("nothing was expected; this came: {}", Self::told(&catch));
        }
    }

    /// Has the probe told when `actor` ends.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn watch<Q: Protocol>(&self, actor: &Ref<Q>) -> Result<(), WatchError> {
        self.probe.watch(actor.recipient)
    }

    /// Takes a watch back. Says whether there was one.
    pub fn unwatch<Q: Protocol>(&self, actor: &Ref<Q>) -> bool {
        self.probe.unwatch(actor.recipient)
    }

    async fn next(&self) -> Option<Catch> {
        let next = poll_fn(|context| self.probe.poll_next(context));
        within(&self.node, self.patience, next).await
    }

    fn open<M: Message>(&self, letter: Letter) -> Caught<M> {
        let reply = ReplyTo::of(self.probe.take_question(&letter));
        let sender = letter.link.node.clone();
        let message = match letter.arrived.content {
            Content::Archived(validated) => Msg::from_validated(validated),
            Content::Local(_) | Content::Notice(_) => None,
        };
        Caught {
            message: message.expect("it was validated as the message of its number"),
            reply,
            sender,
        }
    }

    fn pass_over(&self, catch: &Catch) {
        if let Catch::Letter(letter) = catch {
            self.probe.refuse(letter);
        }
    }

    fn fail(&self, expected: &str, came: Option<Catch>) -> ! {
        let Some(catch) = came else {
            panic!("`{expected}` was expected; nothing came");
        };
        self.pass_over(&catch);
        panic!(
            "`{expected}` was expected; this came: {}",
            Self::told(&catch)
        );
    }

    fn told(catch: &Catch) -> String {
        match catch {
            Catch::Terminated(terminated) => format!("{terminated:?}"),
            Catch::Letter(letter) => {
                let index = usize::from(letter.arrived.index);
                let local = || P::LOCALS.get(index - P::MESSAGES.len());
                match P::MESSAGES.get(index) {
                    Some(message) => format!("`{}`", message.name),
                    None => local().map_or_else(String::new, |info| format!("`{}`", info.name())),
                }
            }
        }
    }
}

impl<M: Message> fmt::Debug for Caught<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caught")
            .field("message", &M::NAME)
            .field("reply", &self.reply)
            .field("sender", &self.sender)
            .finish()
    }
}

impl<P: Protocol> fmt::Debug for TestProbe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestProbe")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}
