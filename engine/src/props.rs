//! How an actor is made, and made again.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use crate::actor::Actor;
use crate::error::SpawnError;
use crate::supervision::Supervision;

/// What makes the state of an actor, as often as it is needed.
pub(crate) type Factory<A, E> = Box<dyn Fn() -> Result<A, E>>;

/// Says how an actor is made, its name, and what becomes of it when it fails.
///
/// ```
/// use std::time::Duration;
/// use ringmesh::{Actor, Handler, Cx, Msg, Props, Supervision, message, protocol};
///
/// #[message(id = "demo.Job", v = 1)]
/// struct Job;
///
/// protocol! { WorkerApi = "demo.worker" { Job } }
///
/// #[derive(Default)]
/// struct Worker;
///
/// impl Actor for Worker {
///     type Api = WorkerApi;
/// }
///
/// impl Handler<Job> for Worker {
///     fn handle(&mut self, _: Msg<Job>, _: &mut Cx<'_, Self>) {}
/// }
///
/// let worker = Props::new(Worker::default)
///     .named("worker")
///     .supervised(Supervision::restart().at_most(5, Duration::from_secs(60)));
/// # let _ = worker;
/// ```
pub struct Props<A, E = Infallible> {
    pub(crate) factory: Factory<A, E>,
    pub(crate) name: Option<String>,
    pub(crate) supervision: Supervision,
}

impl<A: Actor> Props<A> {
    /// An actor that `factory` makes.
    pub fn new(factory: impl Fn() -> A + 'static) -> Self {
        Self::fallible(move || Ok(factory()))
    }
}

impl<A: Actor, E> Props<A, E> {
    /// An actor that `factory` makes, or says why it cannot. Of the first time whoever spawns is
    /// told; later it is one more failure of the actor.
    pub fn fallible(factory: impl Fn() -> Result<A, E> + 'static) -> Self {
        Self {
            factory: Box::new(factory),
            name: None,
            supervision: Supervision::Stop,
        }
    }

    /// With a name, which no sibling has.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What becomes of it when it fails, instead of [`Supervision::Stop`].
    #[must_use]
    pub fn supervised(mut self, supervision: impl Into<Supervision>) -> Self {
        self.supervision = supervision.into();
        self
    }
}

impl<A, E> fmt::Debug for Props<A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Props")
            .field("name", &self.name)
            .field("supervision", &self.supervision)
            .finish_non_exhaustive()
    }
}

/// Why an actor did not start. Nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError<E> {
    /// Its factory said so.
    Factory(E),
    /// It could not be spawned, or panicked while it started.
    Spawn(SpawnError),
}

impl<E> From<SpawnError> for StartError<E> {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factory(error) => write!(f, "the actor could not be made: {error}"),
            Self::Spawn(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for StartError<E> {}
