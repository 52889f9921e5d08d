//! Invariant 11: nobody knows more of whom a member cannot reach than the member itself.

use ringmesh_cluster::membership::Gossip;

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// The row of an observer that runs is nowhere further than its own, and where it is as far it is
/// the same, if both know of the same removals.
#[derive(Debug)]
pub struct Rows;

impl Invariant<Participant> for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let viewers = viewers(world);
        let mut checked = 0;
        for observer in &viewers {
            let own = observer.view.reachability().row(observer.uid);
            for other in &viewers {
                let row = other.view.reachability().row(observer.uid);
                let Some(row) = row.filter(|_| other.view.cluster() == observer.view.cluster())
                else {
                    continue;
                };
                checked += 1;
                let (node, of) = (other.node, observer.node);
                match own {
                    Some(own) if own.version > row.version => {}
                    // Where one knows of a removal that the other has not heard of, it has
                    // forgotten what was said of whoever was removed, or by it.
                    Some(own) if own.version == row.version => {
                        let [ours, theirs] = [observer.view, other.view].map(Gossip::tombstones);
                        let know_the_same = ours.map(|it| it.0).eq(theirs.map(|it| it.0));
                        if know_the_same && own != row {
                            return Err(format!("node {node} has another row of node {of}"));
                        }
                    }
                    _ => return Err(format!("node {node} has a later row of node {of}")),
                }
            }
        }
        Ok(checked)
    }
}
