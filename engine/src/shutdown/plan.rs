//! Which phases a shutdown has, and in what order they run.

use std::time::Duration;

use super::phase;

/// The most phases of a shutdown, those that are built in among them.
pub const PHASES_MAX: usize = 64;

/// The longest name of a phase, in bytes.
pub const PHASE_NAME_BYTES_MAX: usize = 64;

/// The longest time of a phase.
pub const PHASE_TIME_MAX: Duration = Duration::from_secs(3600);

/// A phase as the settings have it: one of their own, or what is other in one that is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhaseSettings {
    /// Its name: letters, digits and `-`.
    pub name: String,
    /// Runs behind these.
    pub after: Vec<String>,
    /// Runs ahead of these.
    pub before: Vec<String>,
    /// How long it may take; `None`: as long as it does anyway, or as all phases may.
    pub timeout: Option<Duration>,
    /// Whether the shutdown goes on when a task of it fails or takes too long. `None`: it does.
    pub recover: Option<bool>,
    /// Whether its tasks run at all. `None`: they do.
    pub enabled: Option<bool>,
}

/// A phase in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) name: Box<str>,
    pub(crate) timeout: Duration,
    pub(crate) recover: bool,
    pub(crate) enabled: bool,
}

/// The phases of a shutdown in the order they run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    phases: Box<[Phase]>,
}

/// A phase, and those it runs behind, by their places in the list.
struct Node {
    phase: Phase,
    after: Vec<usize>,
}

impl Plan {
    /// The phases that are built in, with `changes`; those without a time of their own may take
    /// `timeout`.
    ///
    /// # Errors
    /// What cannot be: a name that is none or stands there twice, one that nobody has, a circle.
    pub(crate) fn new(timeout: Duration, changes: &[PhaseSettings]) -> Result<Self, String> {
        let mut nodes = built_in(timeout);
        for change in changes {
            add(&mut nodes, change, timeout)?;
        }
        for change in changes {
            connect(&mut nodes, change)?;
        }
        in_order(nodes).map(|phases| Self { phases })
    }

    pub(crate) fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The place of a phase.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.phases.iter().position(|it| &*it.name == name)
    }
}

/// The chain of those that are built in.
fn built_in(timeout: Duration) -> Vec<Node> {
    let chain = phase::ALL.iter().enumerate();
    let nodes = chain.map(|(index, (name, own))| Node {
        phase: Phase {
            name: Box::from(*name),
            timeout: own.unwrap_or(timeout),
            recover: true,
            enabled: true,
        },
        after: index.checked_sub(1).into_iter().collect(),
    });
    nodes.collect()
}

fn add(nodes: &mut Vec<Node>, change: &PhaseSettings, timeout: Duration) -> Result<(), String> {
    let name = check_name(&change.name)?;
    let most = PHASE_TIME_MAX;
    if change.timeout.is_some_and(|it| it.is_zero() || it > most) {
        return Err(format!(
            "the phase {name:?} takes from 1 ms to {} s",
            most.as_secs()
        ));
    }
    let index = match find(nodes, name) {
        Some(index) => index,
        None if nodes.len() == PHASES_MAX => {
            return Err(format!("there are more than {PHASES_MAX} phases"));
        }
        None => {
            let name = Box::from(name);
            let phase = Phase {
                name,
                timeout,
                recover: true,
                enabled: true,
            };
            let after = Vec::new();
            nodes.push(Node { phase, after });
            nodes.len() - 1
        }
    };
    let phase = &mut nodes[index].phase;
    phase.timeout = change.timeout.unwrap_or(phase.timeout);
    phase.recover = change.recover.unwrap_or(phase.recover);
    phase.enabled = change.enabled.unwrap_or(phase.enabled);
    Ok(())
}

fn connect(nodes: &mut [Node], change: &PhaseSettings) -> Result<(), String> {
    let place = |nodes: &[Node], name: &str| {
        find(nodes, name).ok_or_else(|| format!("there is no phase {name:?}"))
    };
    let own = place(nodes, &change.name)?;
    for name in &change.after {
        let after = place(nodes, name)?;
        nodes[own].after.push(after);
    }
    for name in &change.before {
        let before = place(nodes, name)?;
        nodes[before].after.push(own);
    }
    Ok(())
}

/// Each behind those it has to be behind, and no later than it has to: phases of the settings' own
/// ahead of those that are built in, in the order they were given. (Kahn, "Topological sorting of
/// large networks", 1962.)
fn in_order(nodes: Vec<Node>) -> Result<Box<[Phase]>, String> {
    let count = nodes.len();
    let (mut placed, mut order) = (vec![false; count], Vec::with_capacity(count));
    let by_rank = || (phase::ALL.len()..count).chain(0..phase::ALL.len());
    while order.len() < count {
        let is_next = |index: &usize| {
            let after = &nodes[*index].after;
            !placed[*index] && after.iter().all(|it| placed[*it])
        };
        let Some(next) = by_rank().find(is_next) else {
            let circle = (0..count).filter(|it| !placed[*it]);
            let names: Vec<&str> = circle.map(|it| &*nodes[it].phase.name).collect();
            return Err(format!(
                "these phases wait for each other: {}",
                names.join(", ")
            ));
        };
        placed[next] = true;
        order.push(next);
    }
    let mut phases: Vec<Option<Phase>> = nodes.into_iter().map(|it| Some(it.phase)).collect();
    let phases = order.into_iter().filter_map(|it| phases[it].take());
    Ok(phases.collect())
}

fn find(nodes: &[Node], name: &str) -> Option<usize> {
    nodes.iter().position(|it| &*it.phase.name == name)
}

fn check_name(name: &str) -> Result<&str, String> {
    let is_good = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
    if name.is_empty() || name.len() > PHASE_NAME_BYTES_MAX || !name.bytes().all(is_good) {
        return Err(format!(
            "{name:?} is no phase: 1 to {PHASE_NAME_BYTES_MAX} letters, digits and '-'"
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn named(name: &str) -> PhaseSettings {
        PhaseSettings {
            name: name.to_owned(),
            ..PhaseSettings::default()
        }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.phases().iter().map(|it| &*it.name).collect()
    }

    #[test]
    fn a_phase_of_ones_own_runs_as_soon_as_it_may() {
        let mut flush = named("flush");
        flush.after = vec![phase::SERVICE_STOP.to_owned()];
        let mut gate = named("gate");
        gate.before = vec![phase::SERVICE_UNBIND.to_owned()];
        gate.after = vec![phase::BEFORE_SERVICE_UNBIND.to_owned()];
        let plan = Plan::new(SECOND, &[flush, gate, named("first")]).expect("a plan");
        let mut expected: Vec<&str> = phase::ALL.iter().map(|(name, _)| *name).collect();
        expected.insert(4, "flush");
        expected.insert(1, "gate");
        expected.insert(0, "first");
        assert_eq!(names(&plan), expected);
    }

    #[test]
    fn what_is_said_of_a_built_in_phase_is_all_that_changes() {
        let mut change = named(phase::CLUSTER_EXITING);
        change.timeout = Some(20 * SECOND);
        change.recover = Some(false);
        let plan = Plan::new(SECOND, &[change]).expect("a plan");
        let at = |name| &plan.phases()[plan.find(name).expect("a phase")];
        let changed = at(phase::CLUSTER_EXITING);
        assert_eq!((changed.timeout, changed.recover), (20 * SECOND, false));
        assert!(changed.enabled);
        assert_eq!(at(phase::SERVICE_STOP).timeout, SECOND);
    }

    #[test]
    fn circles_and_names_that_nobody_has_are_refused() {
        let mut circle = named("a");
        circle.after = vec![phase::NODE_STOP.to_owned()];
        circle.before = vec![phase::SERVICE_STOP.to_owned()];
        let error = Plan::new(SECOND, &[circle]).expect_err("a circle");
        assert!(error.contains("service-stop"), "{error}");
        let mut own = named("a");
        own.after = vec!["a".to_owned()];
        assert!(Plan::new(SECOND, &[own]).is_err());
        let mut lost = named("a");
        lost.after = vec!["b".to_owned()];
        let error = Plan::new(SECOND, &[lost]).expect_err("nobody");
        assert!(error.contains("no phase \"b\""), "{error}");
        let mut hasty = named("a");
        hasty.timeout = Some(Duration::ZERO);
        assert!(Plan::new(SECOND, &[hasty]).is_err());
    }

    #[test]
    fn one_over_the_phases_max_and_the_phase_name_bytes_max_is_refused() {
        let own = PHASES_MAX - phase::ALL.len();
        let mut changes: Vec<_> = (0..own).map(|it| named(&format!("p{it}"))).collect();
        assert!(Plan::new(SECOND, &changes).is_ok());
        changes.push(named("over"));
        assert!(Plan::new(SECOND, &changes).is_err());
        let longest = "p".repeat(PHASE_NAME_BYTES_MAX);
        assert!(Plan::new(SECOND, &[named(&longest)]).is_ok());
        for bad in [&format!("{longest}p"), "", "a b", "a=b"] {
            assert!(Plan::new(SECOND, &[named(bad)]).is_err(), "{bad}");
        }
        let mut slow = named("slow");
        slow.timeout = Some(PHASE_TIME_MAX + SECOND);
        assert!(
            Plan::new(SECOND, &[slow]).is_err(),
            "one over the PHASE_TIME_MAX"
        );
    }

    proptest! {
        #[test]
        fn every_phase_has_one_place_behind_those_it_waits_for(
            edges in prop::collection::vec((0_usize..20, 0_usize..20), 0..24),
        ) {
            let name = |it: usize| match phase::ALL.get(it) {
                Some((name, _)) => (*name).to_owned(),
                None => format!("own-{it}"),
            };
            let changes: Vec<_> = (0..20).map(|it| {
                let mut change = named(&name(it));
                let after = edges.iter().filter(|(own, _)| *own == it);
                change.after = after.map(|(_, other)| name(*other)).collect();
                change
            }).collect();
            let Ok(plan) = Plan::new(SECOND, &changes) else {
                return Ok(());
            };
            prop_assert_eq!(plan.phases().len(), 20);
            let place = |it| plan.find(&name(it)).expect("each has one");
            for (own, other) in edges {
                prop_assert!(place(own) > place(other));
            }
            for built_in in 1..phase::ALL.len() {
                prop_assert!(place(built_in) > place(built_in - 1));
            }
        }
    }
}
