//! Invariant 5: those with one view name one leader.

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// Two members of a data centre whose views have converged, and are of one version, name one
/// leader.
#[derive(Debug)]
pub struct Leaders;

impl Invariant<Participant> for Leaders {
    fn name(&self) -> &'static str {
        "leaders"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let viewers = viewers(world);
        let converged: Vec<_> = viewers.iter().filter(|it| it.is_converged()).collect();
        let mut checked = 0;
        for (at, one) in converged.iter().enumerate() {
            for other in &converged[at + 1..] {
                let is_same = one.view.version() == other.view.version();
                let is_home = one.data_centre() == other.data_centre();
                if !is_same || !is_home || one.view.cluster() != other.view.cluster() {
                    continue;
                }
                checked += 1;
                let [here, there] = [one, other].map(|it| {
                    let leader = it.control.topology().leader();
                    leader.map(|it| it.uid())
                });
                if here != there {
                    let (one, other) = (one.node, other.node);
                    return Err(format!(
                        "node {one} is led by {here:?}, node {other} by {there:?}"
                    ));
                }
            }
        }
        Ok(checked)
    }
}
