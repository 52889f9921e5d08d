//! Data centres in random worlds: their names, and that none is out of reach, or back, without a
//! reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_cluster::membership::convergence::Part;
use ringmesh_cluster::membership::data_centres::speakers;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::roles::DATA_CENTRE_DEFAULT;
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::silence::concerns;
use super::views::{Viewer, viewers};
use crate::invariant::Invariant;
use crate::misfortune::Fault;
use crate::world::World;

/// The names of those of a plan.
pub(super) const NAMES: [&str; 3] = [DATA_CENTRE_DEFAULT, "east", "west"];

/// How long two that watch each other were well, and the path between them, for nobody to say that
/// there is no way from one data centre to the other: a link that was lost is made again, and a
/// heartbeat answered.
const WELL: Duration = Duration::from_secs(30);

/// How long all those paths are cut until both data centres know.
const CUT: Duration = Duration::from_secs(25);

/// How long nothing may have been wrong before that.
const USUAL: Duration = Duration::from_secs(60);

/// How long after the last that passed between two data centres nobody hears of it any more as of
/// something new: as long as it takes to notice a cut, and to tell the others.
const STALE: Duration = Duration::from_secs(20);

/// A member says that another data centre is out of reach only while no two that watch each other
/// over the border have been well for 30 s; and has said so when nothing but a cut of all paths
/// between the two has been wrong, for 25 s. It says so once, until it says that it is back; and it
/// says that only if something passed between the two in the last 20 s, or nobody is left there.
#[derive(Debug, Default)]
pub struct DataCentres {
    /// Since when a process start is known as a member in full.
    up: BTreeMap<Uid, Instant>,
    /// Which process start said of which data centre that it is out of reach, and not since then
    /// that it is back.
    dark: BTreeSet<(Uid, Box<str>)>,
}

/// Whether nothing has passed any path between two nodes for so long.
fn are_apart(world: &World<Participant>, one: usize, other: usize, span: Duration) -> bool {
    let paths = [(one, other), (other, one)];
    let mut cuts = world.faults_now().filter(|(fault, began)| {
        let are_cut = paths.iter().all(|path| fault.blocks(*path));
        are_cut && world.now() - *began >= span
    });
    cuts.next().is_some()
}

/// The nodes whose process is of a data centre.
fn nodes_of(world: &World<Participant>, name: &str) -> Vec<usize> {
    let is_there = |node: &usize| {
        let machine = world.machine(*node);
        machine.is_some_and(|it| it.control().topology().data_centre() == name)
    };
    world.running().filter(is_there).collect()
}

/// Who watches whom between the data centre of a member and another one: where they run.
fn pairs(world: &World<Participant>, viewer: &Viewer<'_>, name: &str) -> Vec<[(usize, Uid); 2]> {
    let places = |members: Vec<Uid>| -> Vec<(usize, Uid)> {
        let place = |uid: Uid| world.running().find(|it| world.uid(*it) == Some(uid));
        let known = members.into_iter();
        known.filter_map(|uid| Some((place(uid)?, uid))).collect()
    };
    let of = |name| speakers(Part::new(viewer.view, name).members());
    let [here, there] = [viewer.data_centre(), name].map(|name| {
        let speakers = of(name).into_iter().map(|it| it.uid());
        places(speakers.collect())
    });
    let pairs = here.iter().flat_map(|a| there.iter().map(|b| [*a, *b]));
    pairs.collect()
}

impl DataCentres {
    /// Whether two have been well for so long that they hear each other.
    fn are_well(
        &self,
        world: &World<Participant>,
        [(one, a), (other, b)]: [(usize, Uid); 2],
    ) -> bool {
        let since = |uid| self.up.get(&uid).copied();
        let are_old = [a, b].map(|uid| since(uid).is_some_and(|it| world.now() - it > WELL));
        are_old == [true; 2] && world.is_calm(WELL, |fault| concerns(fault, one, other))
    }

    fn judge_dark(
        &self,
        world: &World<Participant>,
        viewer: &Viewer<'_>,
        name: &str,
    ) -> Result<u64, String> {
        let node = viewer.node;
        let pairs = pairs(world, viewer, name);
        match pairs.iter().find(|pair| self.are_well(world, **pair)) {
            Some([(one, _), (other, _)]) => Err(format!(
                "{name} is out of reach for node {node}; nodes {one} and {other} are well"
            )),
            None => Ok(1),
        }
    }

    /// A member says that another data centre is back.
    fn judge_back(
        world: &World<Participant>,
        viewer: &Viewer<'_>,
        name: &str,
    ) -> Result<u64, String> {
        let is_left = !speakers(Part::new(viewer.view, name).members()).is_empty();
        // Whose clock is wrong may think that it has waited long enough.
        let is_of_time =
            |fault: &Fault| matches!(fault, Fault::ClockJump { .. } | Fault::Drift { .. });
        if !is_left || !world.is_calm(USUAL, is_of_time) {
            return Ok(0);
        }
        let [here, there] = [viewer.data_centre(), name].map(|name| nodes_of(world, name));
        let mut pairs = here.iter().flat_map(|a| there.iter().map(|b| (*a, *b)));
        match pairs.all(|(a, b)| are_apart(world, a, b, STALE)) {
            true => Err(format!(
                "{name} is back for node {}, and nothing passes",
                viewer.node
            )),
            false => Ok(1),
        }
    }

    /// Whether a member has said of a data centre by turns that it is out of reach and back.
    fn judge_turn(&mut self, uid: Uid, name: &str, is_dark: bool) -> Result<(), String> {
        let entry = (uid, Box::from(name));
        let is_turn = match is_dark {
            true => self.dark.insert(entry),
            false => self.dark.remove(&entry),
        };
        match is_turn {
            true => Ok(()),
            false => Err(format!("{uid} says of {name} twice what it said before")),
        }
    }

    /// Whether a member has to know by now that there is no way to a data centre.
    fn is_overdue(&self, world: &World<Participant>, viewer: &Viewer<'_>, name: &str) -> bool {
        let pairs = pairs(world, viewer, name);
        let are_old = pairs.iter().flatten().all(|(_, uid)| {
            let up = self.up.get(uid);
            up.is_some_and(|it| world.now() - *it > USUAL)
        });
        let of = |name| speakers(Part::new(viewer.view, name).members()).len();
        let are_all = pairs.len() == of(viewer.data_centre()) * of(name) && !pairs.is_empty();
        if !are_old || !are_all {
            return false;
        }
        // Whatever is wrong with anybody here may keep the news from coming.
        let mut faults = world.faults_now();
        let (Some((fault, began)), None) = (faults.next(), faults.next()) else {
            return false;
        };
        let are_cut = pairs
            .iter()
            .all(|[one, other]| fault.silences(other.0, one.0));
        are_cut && world.now() - began > CUT && world.was_calm(USUAL, |_| true)
    }
}

impl Invariant<Participant> for DataCentres {
    fn name(&self) -> &'static str {
        "data-centres"
    }

    fn observe_event(
        &mut self,
        world: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        match &event.event {
            Event::Member(member) if member.up_number().is_given() => {
                self.up.entry(member.uid()).or_insert_with(|| world.now());
                Ok(0)
            }
            Event::DataCentreUnreachable { name } | Event::DataCentreReachable { name } => {
                let is_dark = matches!(event.event, Event::DataCentreUnreachable { .. });
                let viewers = viewers(world);
                let Some(viewer) = viewers.iter().find(|it| it.node == node) else {
                    return Ok(0);
                };
                self.judge_turn(viewer.uid, name, is_dark)?;
                match is_dark {
                    true => self.judge_dark(world, viewer, name),
                    false => Self::judge_back(world, viewer, name),
                }
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        for viewer in viewers(world) {
            let topology = viewer.control.topology();
            let names = viewer.view.members().map(|it| it.roles().data_centre());
            let others = names.filter(|it| *it != viewer.data_centre());
            for name in others.collect::<BTreeSet<&str>>() {
                if !self.is_overdue(world, &viewer, name) {
                    continue;
                }
                checked += 1;
                if !topology.unreachable_data_centres().any(|it| it == name) {
                    let node = viewer.node;
                    return Err(format!(
                        "node {node} has not noticed that {name} is cut off"
                    ));
                }
            }
        }
        Ok(checked)
    }
}
