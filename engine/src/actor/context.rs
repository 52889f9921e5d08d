//! What a handler can reach besides its actor.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::address::{ActorPath, NodeId, Uid};
use ringmesh_proto::message::{Message, Reply};

use super::origin::Origin;
use super::{Accepts, AcceptsLocal, Actor, LocalMessage, ReplyTo, StashFull};
use crate::core::{ActorPlace, Asked, Asker, Core, Extra, Link, Pace, Question, Rest, TimerId};
use crate::deploy::{Deploy, SpawnAtError, Spawnable};
use crate::ending::Ending;
use crate::error::{SendError, SpawnError, TimerError};
use crate::message::Msg;
use crate::node::Node;
use crate::props::{Props, StartError};
use crate::reference::{Recipient, Ref};
use crate::watch::WatchError;

/// The surroundings of an actor while one of its handlers runs.
pub struct Cx<'a, A: Actor> {
    core: &'a Rc<Core>,
    me: &'a Ref<A::Api>,
    stop: bool,
    message: Option<&'a Origin<'a>>,
}

impl<'a, A: Actor> Cx<'a, A> {
    pub(super) fn new(
        core: &'a Rc<Core>,
        me: &'a Ref<A::Api>,
        message: Option<&'a Origin<'a>>,
    ) -> Self {
        Self {
            core,
            me,
            stop: false,
            message,
        }
    }

    /// The actor's own ref, to be put into messages or sent to.
    pub fn me(&self) -> Ref<A::Api> {
        *self.me
    }

    /// The node the actor lives on.
    pub fn node(&self) -> Node {
        Node::new(Rc::clone(self.core))
    }

    /// The node that the message came from, as its link knows it: no message can claim another. Of
    /// what was [published](crate::pubsub) the node that did so, as
    /// [`Received::sender`](crate::pubsub::Received::sender) tells it.
    ///
    /// `None` in [`started`](Actor::started) and [`terminated`](Actor::terminated); and for a
    /// message that waited while its publisher left and 4096 other nodes published to this core for
    /// the first time, or while nodes of two addresses published under its uid.
    pub fn sender(&self) -> Option<NodeId> {
        self.message?.sender()
    }

    /// The process start of it.
    pub(crate) fn sender_uid(&self) -> Option<Uid> {
        self.message.map(Origin::sender_uid)
    }

    /// The node at the other end of the link that the message came on.
    pub(crate) fn link_node(&self) -> Option<&NodeId> {
        self.message.map(|it| &it.link.node)
    }

    /// Whether the message came from a client, for which the actor was
    /// [registered](Node::register_for_clients).
    pub fn is_from_client(&self) -> bool {
        let of_client = |origin: &Origin<'_>| origin.link.of_client.get();
        self.message.is_some_and(of_client)
    }

    /// What is left of the deadline of the question that is being handled, zero when it has passed;
    /// `None` when nobody asked. Counted from when the question reached this core. Questions that
    /// the handler asks [inherit](Ref::ask) it.
    pub fn deadline(&self) -> Option<Duration> {
        self.message?;
        let deadline = self.core.deadline()?;
        Some(self.core.time_to(deadline))
    }

    /// Has the actor itself told `message` when `span` has passed, rounded up to the tick of the
    /// core's timers (65.5 us).
    ///
    /// It comes like any message told by the actor, behind those that are on their way then. While
    /// the actor's mailbox has no room it is tried again, with pauses of 1 to 64 ms. The timer ends
    /// with the actor.
    ///
    /// # Errors
    /// [`TimerError`]; the message was dropped. A message that is too large to be sent is counted
    /// as [`ticks_lost`](crate::Counters::ticks_lost) when its time has come.
    pub fn after<M>(&self, span: Duration, message: M) -> Result<TimerId, TimerError>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        let me = self.me.recipient;
        self.core.set_tick(me, Pace::Once(span), message)
    }

    /// Has the actor itself told `message` each time that `period` has passed, the same value over
    /// and over.
    ///
    /// One that finds no room in the actor's mailbox is merged with the next, as are those that a
    /// slow core missed; [`ticks_merged`](crate::Counters::ticks_merged) counts them. A period
    /// below a tick of the core's timers (65.5 us) is a tick. The timer ends with the actor.
    ///
    /// # Errors
    /// As [`after`](Self::after).
    pub fn every<M>(&self, period: Duration, message: M) -> Result<TimerId, TimerError>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        let me = self.me.recipient;
        self.core.set_tick(me, Pace::Every(period), message)
    }

    /// Has the actor itself told `message` when nothing has come for it for `span`, and again each
    /// time that this is so; the message itself is something that comes.
    ///
    /// The core only looks now and then, so that messages cost nothing more: it comes after `span`
    /// and at most half of it more. Everything that comes counts: messages, local ones, word of
    /// the ends of others. The timer ends with the actor, when it begins anew, and by
    /// [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// As [`after`](Self::after).
    pub fn receive_timeout<M>(&self, span: Duration, message: M) -> Result<TimerId, TimerError>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        let me = self.me.recipient;
        self.core.set_tick(me, Pace::Quiet(span), message)
    }

    /// Runs `future` as a task of this core, and has the actor itself told what `map` makes of its
    /// result, waiting for room until the node's `send_timeout`.
    ///
    /// The actor goes on meanwhile: this is how a handler that does not wait asks others. Questions
    /// in it inherit the [deadline](Self::deadline) of the one being handled. It ends early when
    /// the actor is gone, and a panic in it ends it alone; the actor hears of neither.
    /// [`pipes_lost`](crate::Counters::pipes_lost) counts what found no room.
    ///
    /// # Errors
    /// [`SpawnError::TooManyTasks`] or [`SpawnError::Stopping`]; both were dropped.
    pub fn pipe<F, M>(
        &self,
        future: F,
        map: impl FnOnce(F::Output) -> M + 'static,
    ) -> Result<(), SpawnError>
    where
        F: Future + 'static,
        M: Message,
        A::Api: Accepts<M>,
    {
        self.core.pipe(*self.me, future, map)
    }

    /// Tells `message` to whoever `to` names, as the bytes it came in, if there is room for it now.
    /// Its sender is this node then.
    ///
    /// Nothing is encoded anew; more than 4 KiB go to another node without a copy, and hold the
    /// buffer they were received in until it has them. A question is told like any other message,
    /// and its answer, if it was asked, is still this handler's to give;
    /// [`ReplyTo::forward`](crate::ReplyTo::forward) passes the question itself on.
    ///
    /// # Errors
    /// As [`Ref::try_tell`]; the message comes back.
    pub fn forward<M, P>(&self, message: Msg<M>, to: &Ref<P>) -> Result<(), SendError<Msg<M>>>
    where
        M: Message,
        P: Accepts<M>,
    {
        to.pass_on(message)
    }

    /// Lays the message that is being handled aside until [`unstash_all`](Self::unstash_all), with
    /// the promise of its answer: for an actor that cannot handle it yet. [`Actor::STASH`] says how
    /// much may be.
    ///
    /// A question keeps its deadline; when that has passed at its return, it is a
    /// [dead letter](crate::DeadLetterReason::Stashed). What is laid aside is copied, and holds no
    /// receive buffer. When the actor begins anew it comes back first; when it ends, it is dead
    /// letters, and whoever asked is told that it does not run.
    ///
    /// Only a [`LaterHandler`](crate::LaterHandler) has both in hand. It should lay aside what it
    /// was just given: a message that it kept, and that nobody asked, counts as one of the
    /// [`sender`](Self::sender) of the present one.
    ///
    /// # Errors
    /// [`StashFull`]; the message and the promise come back.
    pub fn stash<M>(&mut self, message: Msg<M>, reply: ReplyTo<M>) -> Result<(), StashFull<M>>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        const {
            assert!(
                !A::STASH.is_none(),
                "`Actor::STASH` says how much may be stashed"
            )
        };
        let told = self.message.map_or(Extra::None, Origin::told_for);
        let at = (<A::Api as Accepts<M>>::INDEX, self.link(), told);
        self.core
            .stash(self.place(), at, (message, reply), A::STASH)
    }

    /// The same with a local message, in order with the others.
    ///
    /// # Errors
    /// As many messages are laid aside as may be; the message comes back.
    pub fn stash_local<M>(&mut self, message: M) -> Result<(), M>
    where
        M: LocalMessage + Send,
        A::Api: AcceptsLocal<M>,
    {
        const {
            assert!(
                !A::STASH.is_none(),
                "`Actor::STASH` says how much may be stashed"
            )
        };
        let at = (<A::Api as AcceptsLocal<M>>::INDEX, self.link());
        self.core.stash_local(self.place(), at, message, A::STASH)
    }

    /// Has what was laid aside come back, in order, before everything that waits and that comes.
    /// Says how many messages that are.
    pub fn unstash_all(&mut self) -> usize {
        let cell = self.core.cell_at(self.place());
        let port = cell.as_ref().and_then(|cell| cell.port());
        port.map_or(0, |port| port.unstash())
    }

    /// How many messages are laid aside.
    pub fn stashed(&self) -> usize {
        let cell = self.core.cell_at(self.place());
        let port = cell.as_ref().and_then(|cell| cell.port());
        port.map_or(0, |port| port.stashed())
    }

    /// Where the present message came from.
    fn link(&self) -> &'a Rc<Link> {
        self.message
            .map_or_else(|| self.core.own_link(), |it| it.link)
    }

    fn place(&self) -> ActorPlace {
        ActorPlace {
            slot: self.me.recipient.slot,
            generation: self.me.recipient.generation,
        }
    }

    /// Ends a timer of this actor. Says whether it had still to fire; what it sent before may be on
    /// its way.
    pub fn cancel(&self, timer: TimerId) -> bool {
        self.core.cancel_tick(self.me.recipient.generation, timer)
    }

    /// Spawns an actor as a child of this one, on the same core, without a name.
    ///
    /// A child ends before its parent does, whatever ends that, and before its parent begins anew.
    /// When a child fails that is not told to its parent, unless it was spawned to
    /// [escalate](crate::Supervision::Escalate), or is [watched](Self::watch).
    ///
    /// # Errors
    /// [`SpawnError`]; the child was dropped.
    pub fn spawn<C: Actor>(&self, child: C) -> Result<Ref<C::Api>, SpawnError> {
        let me = Some(self.me.recipient);
        self.core.bear(me, None, child, |_| None)
    }

    /// The same with a name that no other child of this actor has. Other nodes can resolve it
    /// behind the path of this actor, as `ringmesh://system@host:port/user/parent/name`.
    ///
    /// # Errors
    /// [`SpawnError`]; the child was dropped.
    pub fn spawn_named<C: Actor>(&self, name: &str, child: C) -> Result<Ref<C::Api>, SpawnError> {
        let me = Some(self.me.recipient);
        self.core.bear(me, Some(name), child, |_| None)
    }

    /// Spawns the child that `factory` makes, or says why it made none.
    ///
    /// # Errors
    /// [`StartError`]: what the factory said, or a [`SpawnError`], also when it panicked. Nothing
    /// of the child is left.
    pub fn try_spawn<C: Actor, E>(
        &self,
        factory: impl FnOnce() -> Result<C, E>,
    ) -> Result<Ref<C::Api>, StartError<E>> {
        self.core.try_bear(Some(self.me.recipient), factory)
    }

    /// Spawns a child as [`Props`] say: with a name if they have one, and made anew when it fails
    /// if it is supervised so.
    ///
    /// # Errors
    /// As [`try_spawn`](Self::try_spawn).
    pub fn spawn_props<C: Actor, E: fmt::Display + 'static>(
        &self,
        props: Props<C, E>,
    ) -> Result<Ref<C::Api>, StartError<E>> {
        self.core.bear_by(Some(self.me.recipient), props)
    }

    /// Spawns a child where the settings of this node, or else its [`Deploy`], say: here, on
    /// another core, or on another node. The future is awaited by a handler that may wait, or
    /// [piped](Self::pipe).
    ///
    /// The child ends when this actor does, before it begins anew, and when this node is lost to
    /// its own. Elsewhere it hears of that by a message, so it may outlive its parent by the time
    /// that takes. What it escalates is a failure of this actor, once; its end is told to whoever
    /// [watches](Self::watch) it.
    ///
    /// # Errors
    /// [`SpawnAtError`]; nothing of the child is left, or will be. The same when the future drops.
    pub fn spawn_at<W: Spawnable>(
        &self,
        deploy: Deploy<W>,
    ) -> impl Future<Output = Result<Ref<W::Api>, SpawnAtError>> + use<A, W> {
        let (core, me) = (Rc::clone(self.core), self.me.recipient);
        crate::deploy::spawn_at(core, Some(me), deploy)
    }

    /// Stops a child of this actor as [`Node::stop_within`] does. A handler that does not wait may
    /// have the actor told how it went by [`pipe`](Self::pipe), or drop the future and
    /// [watch](Self::watch).
    ///
    /// # Errors
    /// The future says [`StopError`](crate::StopError), of an actor that lives and is no child
    /// [`NotAChild`](crate::StopError::NotAChild); nothing was changed.
    pub fn stop_child<P>(&self, child: &Ref<P>, span: Duration) -> Ending {
        let me = self.me.recipient;
        self.core
            .stop_child_within(me, child.recipient, span, Rest::Bury)
    }

    /// The same as [`Node::drain_within`] does.
    ///
    /// # Errors
    /// As [`stop_child`](Self::stop_child).
    pub fn drain_child<P>(&self, child: &Ref<P>, span: Duration) -> Ending {
        let me = self.me.recipient;
        self.core
            .stop_child_within(me, child.recipient, span, Rest::Handle)
    }

    /// The actor's path: `ringmesh://system@host:port/user/parent/name#7`. One without a name has
    /// one that its core gave it, which begins with `$`.
    pub fn path(&self) -> ActorPath {
        let Recipient {
            slot, generation, ..
        } = self.me.recipient;
        self.core.full_path(slot, generation)
    }

    /// Has the actor told when another actor ends, of its node or of any: its
    /// [`terminated`](Actor::terminated) is called, once, behind everything that the other sent to
    /// it. Of one that has ended already it is told at once.
    ///
    /// Actors of another node also end with that: when it says goodbye, when another start of its
    /// process is met, when all its connections end and its host refuses new ones, or when its
    /// answers to heartbeats stay out for too long, see [`Settings`](crate::Settings). The last is
    /// no certainty. Where two nodes share links, because they have too many cores for one from
    /// each to each, word of an end may come before the last messages.
    ///
    /// A watch ends with its watcher, and with its first word. A second one of the same actor takes
    /// the place of the first.
    ///
    /// # Errors
    /// [`WatchError`]; nothing was changed.
    pub fn watch<P>(&self, actor: &Ref<P>) -> Result<(), WatchError> {
        self.core
            .watch_actor(self.me.recipient, actor.recipient, None)
    }

    /// The same, and the actor is told `message` instead, like any message of its own: behind
    /// everything that the other sent to it, and again, with pauses, while its mailbox has no room.
    /// It takes the place of a [timer](Self::after) until then.
    ///
    /// # Errors
    /// [`WatchError`]; the message was dropped. One that is too large to be sent is counted as
    /// [`ticks_lost`](crate::Counters::ticks_lost) when its time has come.
    pub fn watch_with<P, M>(&self, actor: &Ref<P>, message: M) -> Result<(), WatchError>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        let me = self.me.recipient;
        let kept = self.core.keep_tick(me, message);
        let kept = kept.map_err(|error| match error {
            TimerError::TooManyTimers { limit } => WatchError::TooManyTimers { limit },
            TimerError::Stopping => WatchError::Stopping,
        })?;
        let watched = self.core.watch_actor(me, actor.recipient, Some(kept));
        if watched.is_err() {
            self.core.drop_tick_at(kept);
        }
        watched
    }

    /// Takes a watch back. Says whether there was one; then its word does not come any more. A
    /// message of [`watch_with`](Self::watch_with) that was told before comes all the same.
    pub fn unwatch<P>(&self, actor: &Ref<P>) -> bool {
        self.core.unwatch_actor(self.me.recipient, actor.recipient)
    }

    /// Stops the actor when the handler returns, its children before it. Messages still on their
    /// way to it, or waiting, become dead letters.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        self.core
    }

    pub(super) fn wants_stop(&self) -> bool {
        self.stop
    }

    /// Takes the question over, if the message is one whose answer is still owed.
    #[inline]
    pub(super) fn take_question(&self) -> Option<Asked> {
        let Origin { link, handled, .. } = self.message?;
        let correlation = handled.question.take()?;
        let question = Question {
            correlation,
            // It is there as long as the handler of a question runs.
            deadline: self.core.deadline()?,
        };
        Asked::new(self.core, link, question)
    }

    /// Answers the message if it is a question whose answer is still owed.
    #[inline]
    pub(super) fn answer<R: Reply>(&self, reply: &R) {
        Owed(self.message).answer(reply);
    }
}

/// The answer that a handler owes when it returns, if its message is a question.
#[derive(Clone, Copy)]
pub struct Owed<'a>(pub(super) Option<&'a Origin<'a>>);

impl Owed<'_> {
    /// Gives it, unless somebody else took the question over.
    #[inline]
    pub fn answer<R: Reply>(self, reply: &R) {
        if let Some(Origin {
            core,
            link,
            handled,
        }) = self.0
            && let Some(correlation) = handled.question.get()
        {
            Asker::new(core, link, correlation).answer(reply);
            // Whatever the handler still panics with, in the drop of its answer, this was the
            // answer.
            handled.question.set(None);
        }
    }
}

impl fmt::Debug for Owed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owed").finish_non_exhaustive()
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
