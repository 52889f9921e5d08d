//! Invariant 6: the numbers of a converged view are given once.

use std::collections::BTreeMap;

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// No two members of a data centre are up by one number in a view of it that has converged. That it
/// never changes is what [`Courses`](super::Courses) looks at.
#[derive(Debug)]
pub struct Numbers;

impl Invariant<Participant> for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        for viewer in viewers(world).iter().filter(|it| it.is_converged()) {
            let mut owners = BTreeMap::new();
            for member in viewer.home().filter(|it| it.up_number().is_given()) {
                checked += 1;
                if let Some(other) = owners.insert(member.up_number(), member.uid()) {
                    let (node, uid) = (viewer.node, member.uid());
                    return Err(format!(
                        "node {node} sees {uid} and {other} up by one number"
                    ));
                }
            }
        }
        Ok(checked)
    }
}
