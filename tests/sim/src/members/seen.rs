//! Invariant 2: who is said to have seen a version holds it, or a later one.

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// Whoever a member names among those that have seen its view, and still runs, knows all that is in
/// it.
#[derive(Debug)]
pub struct Seen;

impl Invariant<Participant> for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let viewers = viewers(world);
        let mut checked = 0;
        for one in &viewers {
            for other in &viewers {
                if !one.view.is_seen_by(other.uid) {
                    continue;
                }
                checked += 1;
                if !other.holds(one.view) {
                    let (by, of) = (other.node, one.node);
                    return Err(format!("node {by} has not seen the view of node {of}"));
                }
            }
        }
        Ok(checked)
    }
}
