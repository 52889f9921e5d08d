//! A running node: what its futures and handlers can ask of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId};

use crate::actor::{Actor, Protocol};
use crate::core::Core;
use crate::counters::Counters;
use crate::error::{ResolveError, SpawnError};
use crate::reference::Ref;

/// A handle on the node that the current core belongs to. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Node {
    core: Rc<Core>,
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

    /// Spawns an actor without a name; only its ref reaches it.
    ///
    /// # Errors
    /// [`SpawnError`]; the actor was dropped.
    pub fn spawn<A: Actor>(&self, actor: A) -> Result<Ref<A::Api>, SpawnError> {
        self.core.spawn(None, actor)
    }

    /// Spawns an actor that other nodes can resolve as `ringmesh://system@host:port/user/name`. The
    /// name is free again as soon as the actor stops.
    ///
    /// # Errors
    /// [`SpawnError`]; the actor was dropped.
    pub fn spawn_named<A: Actor>(&self, name: &str, actor: A) -> Result<Ref<A::Api>, SpawnError> {
        self.core.spawn(Some(name), actor)
    }

    /// Stops an actor of this node: its `stopped` runs now, and later messages to it become dead
    /// letters. Says whether it was running.
    pub fn stop<P: Protocol>(&self, actor: &Ref<P>) -> bool {
        self.core.stop_actor(actor)
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

    /// Ends after `span`, rounded up to the tick of the core's timers (1 ms).
    pub async fn sleep(&self, span: Duration) {
        let mut alarm = self.core.alarm(span);
        poll_fn(|context| alarm.poll(context)).await;
    }

    /// What this core has counted so far.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// How often connections were closed, by the reason's name.
    pub fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.core.close_reasons()
    }

    /// Ends when the node begins to stop: on SIGTERM or SIGINT, or after [`Node::shutdown`].
    pub async fn until_shutdown(&self) {
        poll_fn(|context| self.core.poll_stopping(context)).await;
    }

    /// Begins to stop the node. The future given to `run` goes on until it ends by itself.
    pub fn shutdown(&self) {
        self.core.begin_stopping();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", self.id())
            .finish_non_exhaustive()
    }
}
