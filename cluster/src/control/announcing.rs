//! What this node announces, and what all others do.

use ringmesh_proto::time::Instant;

use super::Control;

use crate::context::Context;
use crate::effect::{Class, Effect};
use crate::registry::{EntryId, RegisterError, Registration, Registry, RegistryOutput, Snapshot};

impl Control {
    /// Announces an entry to all nodes. Its number is its own for as long as the process runs.
    ///
    /// # Errors
    /// [`RegisterError`]: there is no room for it, or this node leaves.
    pub fn register(
        &mut self,
        cx: &mut Context<'_>,
        registration: Registration,
    ) -> Result<EntryId, RegisterError> {
        if self.membership.is_ended() {
            return Err(RegisterError::Leaving);
        }
        let (now, tables) = (cx.now, &mut self.tables);
        let registered = self.registry.register(now, registration, tables);
        self.follow(cx);
        registered
    }

    /// Changes how many an entry stands for. Says whether it is there.
    pub fn weigh(&mut self, cx: &mut Context<'_>, id: EntryId, weight: u32) -> bool {
        let is_there = self.registry.weigh(cx.now, id, weight, &mut self.tables);
        self.follow(cx);
        is_there
    }

    /// Takes an entry back. Says whether it was there.
    pub fn deregister(&mut self, cx: &mut Context<'_>, id: EntryId) -> bool {
        let was_there = self.registry.deregister(cx.now, id, &mut self.tables);
        self.follow(cx);
        was_there
    }

    /// Every core of this node reads that snapshot, or a later one.
    pub fn handle_applied(&mut self, cx: &mut Context<'_>, snapshot: &Snapshot) {
        let (now, tables) = (cx.now, &mut self.tables);
        self.registry.handle_applied(now, snapshot, tables);
        self.follow(cx);
    }

    /// Does something with the registry, and then what it wants done. `None` once this node has no
    /// part in the cluster any more.
    pub fn with_registry<R>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Registry, Instant, &mut Vec<RegistryOutput>) -> R,
    ) -> Option<R> {
        if self.membership.is_ended() {
            return None;
        }
        let acted = act(&mut self.registry, cx.now, &mut self.tables);
        self.follow(cx);
        Some(acted)
    }

    /// What all nodes announce, as this one knows.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Shows the registry the topology, if it changed, and does what it wants done. No other
    /// machine goes by what it does.
    pub(super) fn announce(&mut self, cx: &mut Context<'_>) {
        if self.membership.is_ended() {
            self.tables.clear();
            return;
        }
        let topology = self.membership.topology();
        if topology.version() != self.shown_topology {
            self.shown_topology = topology.version();
            let (now, tables) = (cx.now, &mut self.tables);
            self.registry.handle_topology(now, topology, tables);
        }
        for output in self.tables.drain(..) {
            match output {
                RegistryOutput::Send { to, body } => cx.out.send(&to, Class::Table, body),
                RegistryOutput::Publish(publication) => {
                    cx.out.push(Effect::Registry(publication));
                }
                RegistryOutput::Acknowledged(answer) => {
                    cx.out.push(Effect::Acknowledged(answer));
                }
            }
        }
    }
}
