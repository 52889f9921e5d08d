//! Which actor under a path gets what is sent to it.

use ringmesh_proto::address::Uid;

use super::Mediator;
use crate::context::Random;
use crate::pubsub::cache::{Basis, Cache};
use crate::pubsub::choice::{Candidate, Candidates, Nodes, Policy};
use crate::pubsub::name::Path;
use crate::pubsub::topics::Topics;
use crate::registry::Standing;

/// Who under a path gets what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Each actor on every node, or on every other node.
    All {
        /// Whether those on this node get nothing.
        is_self_excluded: bool,
    },
    /// One of them.
    One {
        /// Which.
        policy: Policy,
        /// Whether it is one of this node, if there is one.
        is_local_preferred: bool,
    },
}

/// Why something is sent to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There are actors under that path, and no room on the way to any. Try again later.
    #[error("there is no room on the way to any actor under the path")]
    Full,
    /// There is no actor under that path on a node that can be reached: a dead letter.
    #[error("there is no actor under the path on any node that can be reached")]
    Nobody,
}

impl Mediator {
    /// Says which actors that were put under a path, for messages of that type, get one that is
    /// sent to it.
    ///
    /// # Errors
    /// [`SendError`]: nobody gets it.
    pub fn send(
        &mut self,
        (path, protocol): (&Path, u64),
        whom: Whom,
        nodes: &impl Nodes,
        random: &mut Random,
    ) -> Result<&[Candidate], SendError> {
        let own = self.topics.own();
        let number = candidates_of(&mut self.paths, &self.topics, (path, protocol));
        let chosen = &mut self.selection.candidates;
        chosen.clear();
        let takes_part =
            |it: Candidate| (it.node == own || nodes.is_in_role(it.node)) && nodes.is_there(it);
        let Some(known) = self.paths.value_mut(number) else {
            return Err(SendError::Nobody);
        };
        let mut is_any = known.iter().any(takes_part);
        match whom {
            Whom::One {
                policy,
                is_local_preferred,
            } if policy != Policy::Broadcast => {
                let is_own = |it: Candidate| it.node == own && takes_part(it);
                let is_near = is_local_preferred && known.iter().any(is_own);
                let at = known.choose(policy, random, |it| {
                    takes_part(it) && nodes.has_room(it) && (!is_near || it.node == own)
                });
                chosen.extend(at.and_then(|at| known.get(at)));
            }
            _ => {
                let is_elsewhere = whom
                    == Whom::All {
                        is_self_excluded: true,
                    };
                let is_for = |it: &Candidate| takes_part(*it) && !(is_elsewhere && it.node == own);
                is_any = known.iter().any(|it| is_for(&it));
                chosen.extend(known.iter().filter(is_for));
                let all = chosen.len();
                chosen.retain(|it| nodes.has_room(*it));
                self.counters.without_credit += (all - chosen.len()) as u64;
            }
        }
        if !self.selection.candidates.is_empty() {
            return Ok(&self.selection.candidates);
        }
        self.counters.dead_letters += u64::from(!is_any);
        Err(if is_any {
            SendError::Full
        } else {
            SendError::Nobody
        })
    }
}

/// The number of what is known of a path, as it is now.
fn candidates_of(
    paths: &mut Cache<Candidates>,
    topics: &Topics,
    (path, protocol): (&Path, u64),
) -> u32 {
    let text = path.as_text();
    let known = paths.find(text, protocol);
    if let Some(number) = known
        && let Some(basis) = paths.basis(number)
        && topics.is_current(basis)
    {
        return number;
    }
    let before = known.map(|number| paths.take(number));
    let (mut candidates, basis) = find(topics, path, protocol);
    candidates.finish(before.as_ref());
    let cost = 1 + candidates.len();
    paths.put(text, protocol, (candidates, basis), cost)
}

fn find(topics: &Topics, path: &Path, protocol: u64) -> (Candidates, Basis) {
    let mut candidates = Candidates::default();
    let basis = topics.visit_path(path.as_str(), |owner, entry| {
        let counts = owner.standing == Standing::Reachable;
        if counts && entry.key.protocol() == protocol {
            let node: Uid = owner.uid;
            candidates.add(Candidate {
                node,
                place: entry.place,
                weight: entry.weight,
            });
        }
    });
    (candidates, basis)
}
