//! Invariant 3: what is said to be converged is.

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// Of whoever says that its view has converged, all that decide in its data centre, and still run,
/// are members and know all that is in it.
#[derive(Debug)]
pub struct Converged;

impl Invariant<Participant> for Converged {
    fn name(&self) -> &'static str {
        "converged"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let viewers = viewers(world);
        let mut checked = 0;
        for one in viewers.iter().filter(|it| it.is_converged()) {
            let decides = |uid| {
                let mut members = one.home().filter(|it| it.status().is_deciding());
                members.any(|it| it.uid() == uid)
            };
            for other in viewers.iter().filter(|it| decides(it.uid)) {
                checked += 1;
                let is_one_cluster = other.view.cluster() == one.view.cluster();
                if !is_one_cluster || !other.holds(one.view) {
                    let (is, not) = (one.node, other.node);
                    return Err(format!("node {is} has converged, and not with node {not}"));
                }
            }
        }
        Ok(checked)
    }
}
