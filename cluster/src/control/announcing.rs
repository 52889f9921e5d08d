//! What this node announces, and what all others do.

use ringmesh_proto::time::Instant;

use super::Control;
use crate::context::Context;
use crate::effect::Effect;
use crate::registry::{Registry, RegistryOutput};

impl Control {
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
                RegistryOutput::Send { to, class, body } => cx.out.send(&to, class, body),
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
