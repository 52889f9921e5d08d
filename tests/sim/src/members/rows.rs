//! Invariant 11: nobody knows more of whom a member cannot reach than the member itself.

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// The row of an observer that runs is nowhere further than its own, and where it is as far it is
/// the same.
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
                    // Of whoever was removed either may have forgotten what was said.
                    Some(own) if own.version == row.version => {
                        let gone = |uid| {
                            let views = [observer.view, other.view];
                            views.iter().any(|it| it.tombstone(uid).is_some())
                        };
                        let here = row.records.iter().filter(|it| !gone(*it.0));
                        if !here.eq(own.records.iter().filter(|it| !gone(*it.0))) {
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
