//! Work that one core has done on another: spawning actors and tasks there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use futures_channel::oneshot;
use ringmesh_proto::address::CoreId;

use super::mesh::TooManyErrands;
use super::shared::core_id;
use super::user_code::panic_message;
use super::{CONTROL_CORE, Core, Errand};
use crate::actor::Actor;
use crate::error::SpawnError;
use crate::reference::Ref;

impl Core {
    /// Runs `work` on `core`, this one or another, and waits for its result.
    ///
    /// A panic in `work` is an error like any other, and the core goes on.
    pub(crate) async fn run_on<R: Send + 'static>(
        self: &Rc<Self>,
        core: CoreId,
        work: impl FnOnce(&Rc<Self>) -> Result<R, SpawnError> + Send + 'static,
    ) -> Result<R, SpawnError> {
        let cores = self.local().cores;
        if core.0 >= cores {
            return Err(SpawnError::NoSuchCore {
                core: core.0,
                cores,
            });
        }
        if self.is_closing() {
            return Err(SpawnError::Stopping);
        }
        if core == self.id {
            return guarded(self, work);
        }
        let (done, result) = oneshot::channel();
        let errand: Errand = Box::new(move |there| {
            // Whoever asked may not wait any more; what was spawned lives all the same.
            drop(done.send(guarded(there, work)));
        });
        self.send_errand(core, errand)
            .map_err(|TooManyErrands| SpawnError::CoreOverloaded { core: core.0 })?;
        // The errand is dropped unrun when the other core ends first.
        result.await.unwrap_or(Err(SpawnError::Stopping))
    }

    /// Spawns on `core` the actor that `factory` makes there.
    pub(crate) async fn spawn_on<A: Actor>(
        self: &Rc<Self>,
        core: CoreId,
        name: Option<String>,
        factory: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Ref<A::Api>, SpawnError> {
        self.takes_actors(core)?;
        self.run_on(core, move |there| there.spawn(name.as_deref(), factory()))
            .await
    }

    /// The numbers of the node's cores.
    pub(crate) fn cores(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        (0..self.settings.cores).map(core_id)
    }

    /// Those that actors of users may live on: all, or all but the control core, which is first.
    pub(crate) fn actor_cores(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        let first = usize::from(self.settings.reserve_control_core);
        (first..self.settings.cores).map(core_id)
    }

    /// Refuses a core that is kept free of actors of users.
    pub(crate) fn takes_actors(&self, core: CoreId) -> Result<(), SpawnError> {
        if core == CONTROL_CORE && self.settings.reserve_control_core {
            return Err(SpawnError::CoreReserved { core: core.0 });
        }
        Ok(())
    }

    /// The core for an actor that is to live on `wanted`, or that nobody wants anywhere: then this
    /// one, or, if it takes none, the one whose turn it is.
    pub(crate) fn core_for(&self, wanted: Option<CoreId>) -> Result<CoreId, SpawnError> {
        match wanted {
            Some(wanted) => self.takes_actors(wanted).map(|()| wanted),
            None if self.takes_actors(self.id).is_ok() => Ok(self.id),
            None => Ok(self.shared.nursery.next_core(self.actor_cores())),
        }
    }
}

fn guarded<R>(
    core: &Rc<Core>,
    work: impl FnOnce(&Rc<Core>) -> Result<R, SpawnError>,
) -> Result<R, SpawnError> {
    catch_unwind(AssertUnwindSafe(|| work(core))).unwrap_or_else(|payload| {
        core.tally.panics.add(1);
        Err(SpawnError::Panicked {
            message: panic_message(payload),
        })
    })
}
