//! A running node: what its futures and handlers can ask of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, NodeId};

use crate::actor::{Actor, Protocol};
use crate::client::ClientAccessError;
use crate::cluster::Cluster;
use crate::core::{Core, Probe, Rest};
use crate::counters::Counters;
use crate::dead_letter::DeadLetters;
use crate::deploy::{Deploy, SpawnAtError, Spawnable};
use crate::ending::Ending;
use crate::error::{ResolveError, SpawnError};
use crate::event::Events;
use crate::link_report::LinkReport;
use crate::metrics::{Metrics, MetricsReader};
use crate::ping_error::PingError;
use crate::props::{Props, StartError};
use crate::quarantine::QuarantineError;
use crate::reference::Ref;
use crate::selection::{SelectError, Selection};
use crate::shutdown::{CoordinatedShutdown, ShutdownReason};
use crate::testkit::VirtualTime;

/// A handle on the node that the current core belongs to. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Node {
    pub(crate) core: Rc<Core>,
}

impl Node {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        Self { core }
    }

    /// The address other nodes dial, with the port that was really bound.
    pub fn address(&self) -> &Address {
        &self.core.identity().address
    }

    /// The address and the number of this process start.
    pub fn id(&self) -> &NodeId {
        self.core.identity()
    }

    /// Spawns an actor without a name; only its ref reaches it. It lives on this core, which
    /// [`SpawnError::CoreReserved`] refuses if it is to be free of actors.
    ///
    /// # Errors
    /// [`SpawnError`]; the actor was dropped.
    pub fn spawn<A: Actor>(&self, actor: A) -> Result<Ref<A::Api>, SpawnError> {
        self.core.spawn(None, actor)
    }

    /// Spawns an actor that other nodes can resolve as `ringmesh://system@host:port/user/name`. The
    /// name is free again when the actor is wholly gone: its children and its running handler with
    /// it.
    ///
    /// # Errors
    /// [`SpawnError`]; the actor was dropped.
    pub fn spawn_named<A: Actor>(&self, name: &str, actor: A) -> Result<Ref<A::Api>, SpawnError> {
        self.core.spawn(Some(name), actor)
    }

    /// Spawns the actor that `factory` makes, or says why it made none.
    ///
    /// # Errors
    /// [`StartError`]: what the factory said, or a [`SpawnError`], also when it panicked. Nothing
    /// of the actor is left.
    pub fn try_spawn<A: Actor, E>(
        &self,
        factory: impl FnOnce() -> Result<A, E>,
    ) -> Result<Ref<A::Api>, StartError<E>> {
        self.core.try_bear(None, factory)
    }

    /// Spawns an actor as [`Props`] say: with a name if they have one, and made anew when it fails
    /// if it is supervised so.
    ///
    /// # Errors
    /// As [`try_spawn`](Self::try_spawn).
    pub fn spawn_props<A: Actor, E: fmt::Display + 'static>(
        &self,
        props: Props<A, E>,
    ) -> Result<Ref<A::Api>, StartError<E>> {
        self.core.bear_by(None, props)
    }

    /// The core this handle belongs to.
    pub fn core(&self) -> CoreId {
        self.core.id()
    }

    /// The numbers of the node's cores.
    pub fn cores(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        self.core.cores()
    }

    /// The numbers of those that actors may live on: all, but for the control core if
    /// `core.reserve_control_core` of the [settings](crate::Settings) keeps that free of them.
    pub fn actor_cores(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        self.core.actor_cores()
    }

    /// Spawns on `core` the actor that `factory` makes there; the actor itself need not be `Send`.
    ///
    /// # Errors
    /// [`SpawnError`]; a factory that panics is [`SpawnError::Panicked`].
    pub async fn spawn_on<A: Actor>(
        &self,
        core: CoreId,
        factory: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Ref<A::Api>, SpawnError> {
        self.core.spawn_on(core, None, factory).await
    }

    /// The same with a name, see [`Node::spawn_named`].
    ///
    /// # Errors
    /// [`SpawnError`]; a factory that panics is [`SpawnError::Panicked`].
    pub async fn spawn_named_on<A: Actor>(
        &self,
        core: CoreId,
        name: &str,
        factory: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Ref<A::Api>, SpawnError> {
        let name = Some(name.to_owned());
        self.core.spawn_on(core, name, factory).await
    }

    /// Spawns one actor on every core that [takes actors](Self::actor_cores), each made there by a
    /// clone of `factory`; the refs are in the order of those cores.
    ///
    /// # Errors
    /// The first [`SpawnError`]; the actors of the cores before it run.
    pub async fn spawn_each<A: Actor>(
        &self,
        factory: impl Fn(CoreId) -> A + Clone + Send + 'static,
    ) -> Result<Vec<Ref<A::Api>>, SpawnError> {
        let mut refs = Vec::with_capacity(self.actor_cores().len());
        for core in self.actor_cores() {
            let factory = factory.clone();
            refs.push(self.spawn_on(core, move || factory(core)).await?);
        }
        Ok(refs)
    }

    /// Spawns an actor where the settings of this node, or else its [`Deploy`], say: here, on
    /// another core, or on another node, which is dialled if needed. It is asked once.
    ///
    /// The actor ends when this node does, or is lost to its own. Elsewhere its path begins with
    /// `/user/remote/`; the name is taken here too, and [`resolve`](Self::resolve) finds there only
    /// who stands for the actor, which speaks another protocol.
    ///
    /// # Errors
    /// [`SpawnAtError`]; nothing of the actor is left, or will be. The same when this future drops.
    pub async fn spawn_at<W: Spawnable>(
        &self,
        deploy: Deploy<W>,
    ) -> Result<Ref<W::Api>, SpawnAtError> {
        crate::deploy::spawn_at(Rc::clone(&self.core), None, deploy).await
    }

    /// Runs on `core` the future that `task` makes there, until it ends or the node stops.
    ///
    /// A panic in it is logged and counted, and ends it alone.
    ///
    /// # Errors
    /// [`SpawnError`]; the future was dropped, or never made.
    pub async fn spawn_task_on<F, Fut>(&self, core: CoreId, task: F) -> Result<(), SpawnError>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let begin = |there: &Rc<Core>| there.spawn_task(task(Self::new(Rc::clone(there))));
        self.core.run_on(core, begin).await
    }

    /// Stops an actor of this node: first its children, the youngest before the others; then its
    /// `stopped` runs. Messages to it become dead letters from now on. One whose handler runs just
    /// now ends when that returns; a handler that waits is dropped where it does, for which
    /// [`stop_within`](Self::stop_within) gives it time. Says whether it was running; of an actor
    /// on another core, whether that core was told.
    pub fn stop<P: Protocol>(&self, actor: &Ref<P>) -> bool {
        self.core.stop_actor(actor)
    }

    /// Stops an actor of this node, on whatever core, in order if that is done within `span`.
    ///
    /// It takes nothing new from now on: that and what waits in its mailbox become dead letters. A
    /// handler of it that waits may finish, for which its children still serve; then those are
    /// stopped in the same way, and its `stopped` runs behind them. At the deadline handlers that
    /// wait still are dropped where they do, and it ends. All this begins at once, and goes on when
    /// the future is dropped. Children that it spawned [elsewhere](Self::spawn_at) have the same
    /// time where they live; one whose node is lost meanwhile counts as cut short.
    ///
    /// A failure on the way ends it, whatever its [`Supervision`](crate::Supervision). Of several
    /// deadlines the first holds. A handler that waits for the end of its own actor waits until it
    /// is cut short.
    ///
    /// # Errors
    /// The future says [`StopError`](crate::StopError); nothing was changed.
    pub fn stop_within<P: Protocol>(&self, actor: &Ref<P>, span: Duration) -> Ending {
        self.core.stop_within(actor.recipient, span, Rest::Bury)
    }

    /// The same behind all that this core sent to the actor before, and what waits in its mailbox
    /// then: it handles that first, within the same `span`. What comes behind it is dead letters.
    ///
    /// One that failed, and waits for its new state, handles what waits when it has it, and takes
    /// what comes until then. One that is being stopped already handles no more for this, and was
    /// cut short then if something waited.
    ///
    /// # Errors
    /// As [`stop_within`](Self::stop_within).
    pub fn drain_within<P: Protocol>(&self, actor: &Ref<P>, span: Duration) -> Ending {
        self.core.stop_within(actor.recipient, span, Rest::Handle)
    }

    /// Runs `future` on this core until it ends or the node stops.
    ///
    /// A panic in it is logged and counted, and ends it alone.
    ///
    /// # Errors
    /// [`SpawnError::TooManyTasks`] or [`SpawnError::Stopping`]; the future was dropped.
    pub fn spawn_task(&self, future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        self.core.spawn_task(future)
    }

    /// The ref of the actor at `path`, which reads `ringmesh://system@host:port/user/name`. Dials
    /// the node if needed, and retries until the `ask_timeout` of the settings has passed.
    ///
    /// # Errors
    /// [`ResolveError`]; nothing was executed.
    pub async fn resolve<P: Protocol>(&self, path: &str) -> Result<Ref<P>, ResolveError> {
        crate::resolve::resolve(&self.core, path).await
    }

    /// The actors whose paths match `path`, and that speak `P`: `?` in it stands for any one
    /// character, `*` for any number of them within a name, and `**`, as a name, for any number of
    /// names, none included. `ringmesh://system@host:port/user/shop/*/cart` are those of a node;
    /// without the address in front, as `/user/shop/**`, of this one. Nothing is asked before the
    /// selection is used.
    ///
    /// # Errors
    /// [`SelectError::Path`].
    pub fn select<P: Protocol>(&self, path: &str) -> Result<Selection<P>, SelectError> {
        Selection::new(&self.core, path)
    }

    /// Ends after `span`, rounded up to the tick of the core's timers (65.5 us).
    pub async fn sleep(&self, span: Duration) {
        let mut alarm = self.core.alarm(span);
        poll_fn(|context| alarm.poll(context)).await;
    }

    /// An actor whose messages are taken out of its mailbox.
    pub(crate) fn spawn_probe<P: Protocol>(
        &self,
        name: Option<&str>,
    ) -> Result<(Ref<P>, Probe), SpawnError> {
        self.core.spawn_probe(name)
    }

    /// The time that passes when a test says so, if that is what the node lives in.
    pub(crate) fn virtual_time(&self) -> Option<VirtualTime> {
        self.core.virtual_time()
    }

    /// What this core has counted so far.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// What all cores of the node have counted so far. A core that runs is read as it is: see
    /// [`Counters`].
    pub fn metrics(&self) -> Metrics {
        self.core.publish_counters();
        self.metrics_reader().metrics()
    }

    /// Reads what the cores count from any thread, while the node runs and after.
    pub fn metrics_reader(&self) -> MetricsReader {
        MetricsReader::of(&self.core.shared().pages)
    }

    /// How often this core closed connections, by the reason's name.
    pub fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.core.close_reasons()
    }

    /// Subscribes to the dead letters of all cores: the messages that reach nobody from now on,
    /// with the reason. They are counted and, now and then, logged without a subscription too.
    pub fn dead_letters(&self) -> DeadLetters {
        self.core.dead_letters()
    }

    /// Subscribes to what happens to the links of all cores, from now on. [`NodeEvent`] says of
    /// each event how sure it is to come.
    ///
    /// [`NodeEvent`]: crate::NodeEvent
    pub fn events(&self) -> Events {
        self.core.shared().subscribe_to_events()
    }

    /// The links of all cores to other nodes, and the dials under way, each as it is when its core
    /// is asked. A core answers between two turns, so one whose handler blocks has all wait.
    ///
    /// Looking has the time of round trips measured, by one ping on each link that waits for none.
    pub async fn links(&self) -> Vec<LinkReport> {
        self.core.links().await
    }

    /// The time of a round trip to the node at `address`: from the control core of this node to
    /// that of the other and back, between two turns of each, over the control lane. Dials the
    /// node if needed, and tries for the `ask_timeout` of the settings.
    ///
    /// That lane is served before all others and carries no messages, so this works while every
    /// other link with the node is full. Calls that come while a ping is under way share the
    /// next one.
    ///
    /// # Errors
    /// [`PingError`].
    pub async fn ping(&self, address: &Address) -> Result<Duration, PingError> {
        let timeout = self.core.settings().ask_timeout;
        self.core.ping(address, timeout).await
    }

    /// Has nothing to do with a process start any more, until it or this node ends: links with it
    /// close on all cores and lanes, it is told, its hellos are refused, and sends to it fail with
    /// `Quarantined`. What has been delivered, or waits in a mailbox, is handled; the rest is
    /// counted as what any link leaves. Watches on its actors end, and those it has here are
    /// forgotten. The next start at its address is another node, and talks at once;
    /// [`resolve`](Self::resolve) finds out whether it is there.
    ///
    /// Sends of this core fail from the end of its turn on, those of other cores from their next.
    /// A node keeps 1024 of them, and lets in whom it quarantined first when there is another.
    /// `cause` is for the log and [`NodeEvent::Quarantined`]. Says whether it is news.
    ///
    /// # Errors
    /// [`QuarantineError`]: it is this node, or no process start that was met here.
    ///
    /// [`NodeEvent::Quarantined`]: crate::NodeEvent::Quarantined
    pub fn quarantine(&self, node: &NodeId, cause: &str) -> Result<bool, QuarantineError> {
        self.core.quarantine(node, cause)
    }

    /// The cluster that this node takes part in; `None` when it was given no
    /// [`ClusterSettings`](crate::cluster::ClusterSettings).
    pub fn cluster(&self) -> Option<Cluster> {
        Cluster::new(Rc::clone(&self.core))
    }

    /// Lets clients reach an actor of this node, on whatever core: those that come with the role
    /// `client`, see `node.role` of the [`Settings`](crate::Settings). From now on they find it by
    /// its name, if it has one, and their messages arrive. Nothing else of the node exists for
    /// them, whatever refs they have, are given or guess. Says whether it is news.
    ///
    /// It ends with the actor: the next one of its name is registered anew or not at all. Of a node
    /// [`CLIENT_ACTORS_MAX`](ringmesh_proto::limits::CLIENT_ACTORS_MAX) actors (4096) may be
    /// registered at a time.
    ///
    /// [`Cx::is_from_client`] says of a message whether a client sent it. A ref in such a message
    /// may name whomever its sender likes, here and elsewhere: what is sent to that is sent by this
    /// node, with its rights.
    ///
    /// # Errors
    /// [`ClientAccessError`]; nothing was changed. Of an actor on another core that has ended, the
    /// registration just ends when that core hears of it.
    ///
    /// [`Cx::is_from_client`]: crate::Cx::is_from_client
    pub fn register_for_clients<P: Protocol>(
        &self,
        actor: &Ref<P>,
    ) -> Result<bool, ClientAccessError> {
        self.core.register_for_clients(actor.recipient)
    }

    /// Takes that back. What came from clients until the end of this core's turn, on another core
    /// until its next, is handled; what comes later finds nobody. Says whether it was registered.
    ///
    /// # Errors
    /// [`ClientAccessError::NotHere`]; nothing was changed.
    pub fn unregister_for_clients<P: Protocol>(
        &self,
        actor: &Ref<P>,
    ) -> Result<bool, ClientAccessError> {
        self.core.unregister_for_clients(actor.recipient)
    }

    /// Where the control port listens, with the port that was really bound; `None` when there is
    /// none. See `control.bind` of the [settings](crate::Settings).
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.core.shared().control.get().copied()
    }

    /// Ends when the node stops: behind the last of the [phases](crate::shutdown) that SIGTERM,
    /// SIGINT or [`Node::shutdown`] begin, or that its end as a member does.
    pub async fn until_shutdown(&self) {
        let seat = self.core.stop_seat();
        poll_fn(|context| self.core.poll_stopping(&seat, context)).await;
    }

    /// Begins to shut the node down, in [phases](crate::shutdown). The future given to `run` goes
    /// on until it ends by itself.
    pub fn shutdown(&self) {
        self.core.shared().ask_to_stop(ShutdownReason::Asked, 0);
    }

    /// The shutdown of the node: tasks may be added to its phases.
    pub fn coordinated_shutdown(&self) -> CoordinatedShutdown {
        CoordinatedShutdown::new(Rc::clone(&self.core))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", self.id())
            .finish_non_exhaustive()
    }
}
