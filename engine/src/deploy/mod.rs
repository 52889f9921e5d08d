//! Actors that are spawned from elsewhere: on another core, or on another node.
//!
//! No code travels. A type that may be made on request says so by [`Spawnable`] and is registered
//! with the builder of each node that is to make it; a request names its factory and carries
//! archived arguments, which its node keeps, so that the actor is made anew there when it fails.
//!
//! Three actors tie such a child to its parent, by death watch alone ([`guardian`]): so whatever
//! becomes of messages and links, neither side is left with a leak. The one thing that they are
//! asked is to give the child time to end ([`finish`](mod@finish)).
//!
//! ```text
//!   here                          there
//!   parent                        guardian ── watches ──▶ stand-in
//!     └─ stand-in ── watches ──▶    └─ child
//! ```

mod allow;
mod error;
mod factory;
mod finish;
mod guardian;
mod nursery;
mod placement;
mod serve;
mod spawn_at;
mod words;

pub(crate) use allow::AllowList;
pub use error::SpawnAtError;
pub(crate) use factory::{Factories, Factory};
pub(crate) use finish::{Tie, finish};
#[cfg(test)]
pub(crate) use guardian::GuardianApi;
pub(crate) use nursery::{Nursery, Offer};
pub use placement::Placement;
pub(crate) use placement::{Placements, Site, rule};
pub(crate) use serve::serve;
pub(crate) use spawn_at::spawn_at;
pub use words::{
    Finish, Finished, Made, Place, Spawn, SpawnVerdict, Spawned, Strategy, StrategyKind,
};

use std::fmt;
use std::time::Duration;

use ringmesh_proto::message::Message;

use crate::actor::Actor;
use crate::message::Msg;
use crate::supervision::Supervision;

/// An actor that may be spawned from elsewhere, by a [`Deploy`].
///
/// Every node that is to make it registers it with
/// [`NodeBuilder::spawnable`](crate::NodeBuilder::spawnable); `spawn.allow` of the
/// [settings](crate::Settings) narrows what other nodes may have made.
///
/// ```
/// use ringmesh::prelude::*;
///
/// #[message(id = "demo.Job", v = 1)]
/// struct Job;
/// #[message(id = "demo.WorkerArgs", v = 1)]
/// struct WorkerArgs { greeting: String }
///
/// protocol! { WorkerApi = "demo.worker" { Job } }
///
/// struct Worker { greeting: String }
///
/// impl Actor for Worker {
///     type Api = WorkerApi;
/// }
///
/// impl Spawnable for Worker {
///     const KEY: &'static str = "demo.worker";
///     type Args = WorkerArgs;
///
///     fn make(args: Msg<WorkerArgs>) -> Result<Self, String> {
///         Ok(Self { greeting: args.greeting.to_string() })
///     }
/// }
///
/// impl Handler<Job> for Worker {
///     fn handle(&mut self, _: Msg<Job>, _: &mut Cx<'_, Self>) {
///         println!("{}", self.greeting);
///     }
/// }
///
/// let node = Engine::node("demo").spawnable::<Worker>();
/// let args = WorkerArgs { greeting: "hello".to_owned() };
/// let elsewhere = Placement::node("ringmesh://demo@10.0.0.2:7400".parse()?);
/// let deploy = Deploy::<Worker>::new(args).named("worker").at(elsewhere);
/// # let _ = (node, deploy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be spawned elsewhere",
    label = "not spawnable",
    note = "add `impl Spawnable for {Self}`, with a key and what it is made of"
)]
pub trait Spawnable: Actor {
    /// Names the factory, on every node alike. No two types of a node have the same.
    const KEY: &'static str;

    /// What the actor is made of. A node takes it in its own version, and in those older ones that
    /// it [upgrades](crate::Upgrade), as messages.
    type Args: Message;

    /// Makes the actor, or says why it cannot: the first 1024 bytes of that reach whoever spawns.
    /// Called again, with the same arguments, when the actor begins anew.
    ///
    /// # Errors
    /// Whatever it says. Of the first time whoever spawns is told; later it is one more failure of
    /// the actor.
    fn make(args: Msg<Self::Args>) -> Result<Self, String>;
}

/// Says what is spawned by `spawn_at`, of which arguments, where, and what becomes of it when it
/// fails.
pub struct Deploy<W: Spawnable> {
    args: W::Args,
    name: Option<String>,
    supervision: Supervision,
    placement: Placement,
    within: Option<Duration>,
}

impl<W: Spawnable> Deploy<W> {
    /// A `W` made of `args`, [here](Placement::here): on the core of whoever spawns it, or under
    /// `/user/remote/` on another one if that is a control core that is kept free of actors.
    pub fn new(args: W::Args) -> Self {
        Self {
            args,
            name: None,
            supervision: Supervision::Stop,
            placement: Placement::here(),
            within: None,
        }
    }

    /// With a name that no sibling has, wherever that lives. Settings under `[placement]` go by it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What becomes of it when it fails, instead of [`Supervision::Stop`]. It is carried out where
    /// the actor lives; what escalates is a failure of the parent here.
    #[must_use]
    pub fn supervised(mut self, supervision: impl Into<Supervision>) -> Self {
        self.supervision = supervision.into();
        self
    }

    /// Where it is to live. The settings of this node win over that.
    #[must_use]
    pub fn at(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How long it may take to spawn it elsewhere, the dial of the node included; else the
    /// `ask_timeout` of the settings. What comes later is stopped.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.within = Some(deadline);
        self
    }
}

impl<W: Spawnable> fmt::Debug for Deploy<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deploy")
            .field("key", &W::KEY)
            .field("name", &self.name)
            .field("supervision", &self.supervision)
            .field("placement", &self.placement)
            .finish_non_exhaustive()
    }
}
