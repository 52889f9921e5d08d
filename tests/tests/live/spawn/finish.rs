//! Actors elsewhere finish what they do when one above them is stopped with a deadline.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ringmesh::{
    AskError, CoreId, Deploy, Msg, Placement, Ref, Spawnable, Stopped, Supervision, message,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::super::actors::gate::{Gate, Keeper, KeeperApi, Knock};
use super::{Teacher, TeacherApi, boss, hire, holdings, until_holds, until_so};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// The gates of keepers that are made on request, by their numbers.
static GATES: Mutex<BTreeMap<u64, Gate>> = Mutex::new(BTreeMap::new());

/// Which gate a keeper keeps.
#[message(id = "tests.KeeperArgs", v = 1)]
pub(crate) struct KeeperArgs {
    gate: u64,
}

impl Spawnable for Keeper {
    const KEY: &'static str = "tests.keeper";
    type Args = KeeperArgs;

    fn make(args: Msg<KeeperArgs>) -> Result<Self, String> {
        let gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.get(&args.gate.to_native()).ok_or("no such gate")?;
        Ok(Self::new(gate.clone()))
    }
}

#[message(id = "tests.TeacherArgs", v = 1)]
pub(super) struct TeacherArgs;

impl Spawnable for Teacher {
    const KEY: &'static str = "tests.teacher";
    type Args = TeacherArgs;

    fn make(_: Msg<TeacherArgs>) -> Result<Self, String> {
        Ok(Self::default())
    }
}

/// A shut gate, and how a keeper of it is made.
fn keeper(supervision: Supervision) -> (Gate, Deploy<Keeper>) {
    let gate = Gate::default();
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    let number = gates.len() as u64;
    gates.insert(number, gate.clone());
    let deploy = Deploy::new(KeeperArgs { gate: number });
    (gate, deploy.named("keeper").supervised(supervision))
}

fn academy() -> LiveNode {
    LiveNode::start_with(|builder| {
        let builder = builder.cores(2);
        builder.spawnable::<Keeper>().spawnable::<Teacher>()
    })
}

fn at(node: &LiveNode) -> Placement {
    Placement::node(node.address().clone())
}

/// Has a keeper knock at its gate, and waits until it does. Gives the answer when it has come.
fn knock(
    node: &LiveNode,
    keeper: Ref<KeeperApi>,
    gate: &Gate,
    panics: bool,
) -> Pending<Option<AskError>> {
    let knock = Knock { number: 1, panics };
    let knocking = node.begin(move |_| async move {
        let asked = keeper.ask(knock).timeout(HOUR).await;
        asked.err()
    });
    let its = gate.clone();
    node.until_so("a handler at the gate", move |_| its.is_waited_at());
    knocking
}

fn stop(
    node: &LiveNode,
    boss: Ref<TeacherApi>,
    span: Duration,
) -> Pending<Result<Stopped, String>> {
    node.begin(move |node| async move {
        let ended = node.stop_within(&boss, span).await;
        ended.map_err(|error| error.to_string())
    })
}

/// Waits until the keeper of a node takes nothing new.
fn until_it_finishes(there: &LiveNode) {
    until_so(there, "the keeper finishes", || {
        there.run(|node| async move {
            let keepers = node
                .select::<KeeperApi>("/user/**/keeper")
                .expect("a pattern");
            keepers
                .resolve()
                .await
                .expect("they are counted")
                .is_empty()
        })
    });
}

#[test]
fn children_elsewhere_finish_what_they_do_before_their_parent_ends() {
    let (here, there) = (academy(), academy());
    let before = [&here, &there].map(holdings);
    let other_core = Placement::core(CoreId(1));
    for supervision in [Supervision::Stop, Supervision::Escalate] {
        for (home, placement) in [(&there, at(&there)), (&here, other_core.clone())] {
            let (teacher, _) = boss(&here, Supervision::Stop);
            let (gate, deploy) = keeper(supervision);
            let child = hire(&here, teacher, deploy.at(placement)).expect("room");
            let knocked = knock(&here, child, &gate, false);
            let ending = stop(&here, teacher, HOUR);
            until_it_finishes(home);
            assert_eq!(gate.ends(), (0, 0), "it is given its time");
            assert!(holdings(&here).0 > before[0].0, "its parent waits");
            gate.open();
            assert_eq!(ending.finish(), Ok(Stopped::InOrder));
            assert_eq!(knocked.finish(), None, "it was answered");
            assert_eq!(gate.ends(), (0, 1));
            until_holds(&there, before[1]);
            until_holds(&here, before[0]);
        }
    }
    assert_eq!(here.counters().failures, 0);
    assert_closed(&there.counters());
}

#[test]
fn at_the_deadline_children_elsewhere_are_cut_short_and_leave_nothing() {
    let (here, there) = (academy(), academy());
    let before = [&here, &there].map(holdings);
    for placement in [at(&there), Placement::core(CoreId(1))] {
        let (teacher, _) = boss(&here, Supervision::Stop);
        let (gate, deploy) = keeper(Supervision::Stop);
        let child = hire(&here, teacher, deploy.at(placement)).expect("room");
        let knocked = knock(&here, child, &gate, false);
        assert_eq!(stop(&here, teacher, SOON).finish(), Ok(Stopped::CutShort));
        assert_eq!(knocked.finish(), Some(AskError::Failed));
        until_holds(&there, before[1]);
        until_holds(&here, before[0]);
        assert_eq!(gate.ends(), (1, 1));
    }
}

#[test]
fn a_child_elsewhere_that_fails_while_it_finishes_is_told_as_cut_short_and_fails_nobody() {
    let (here, there) = (academy(), academy());
    let before = [&here, &there].map(holdings);
    let (teacher, _) = boss(&here, Supervision::Stop);
    let (gate, deploy) = keeper(Supervision::Escalate);
    let child = hire(&here, teacher, deploy.at(at(&there))).expect("room");
    let knocked = knock(&here, child, &gate, true);
    let ending = stop(&here, teacher, HOUR);
    until_it_finishes(&there);
    gate.open();
    assert_eq!(ending.finish(), Ok(Stopped::CutShort));
    assert_eq!(knocked.finish(), Some(AskError::Failed));
    until_holds(&there, before[1]);
    until_holds(&here, before[0]);
    assert_eq!(here.counters().failures, 0, "as of a child that lives here");
}

#[test]
fn a_deadline_goes_on_to_children_of_children_elsewhere() {
    let nodes = [academy(), academy(), academy()];
    let before = nodes.each_ref().map(holdings);
    let [here, there, beyond] = &nodes;
    for (span, wanted) in [(HOUR, Stopped::InOrder), (SOON, Stopped::CutShort)] {
        let (teacher, _) = boss(here, Supervision::Stop);
        let deputy = Deploy::<Teacher>::new(TeacherArgs).named("deputy");
        hire(here, teacher, deputy.at(at(there))).expect("room");
        // It is told what to do at home, where values need not be archived.
        let deputy = there.run(|node| async move {
            let found = node.select::<TeacherApi>("/user/**/deputy");
            found.expect("a pattern").resolve_one().await
        });
        let (gate, deploy) = keeper(Supervision::Stop);
        let child = hire(there, deputy.expect("one"), deploy.at(at(beyond)));
        let knocked = knock(there, child.expect("room"), &gate, false);
        let ending = stop(here, teacher, span);
        if wanted == Stopped::InOrder {
            until_it_finishes(beyond);
            assert_eq!(gate.ends(), (0, 0));
            gate.open();
        }
        assert_eq!(ending.finish(), Ok(wanted));
        let is_answered = knocked.finish().is_none();
        assert_eq!(is_answered, wanted == Stopped::InOrder);
        for (node, before) in nodes.iter().zip(before) {
            until_holds(node, before);
        }
        assert_eq!(gate.ends().1, 1, "it stopped in order in the end");
    }
}

#[test]
fn a_parent_does_not_wait_for_the_deadline_when_the_node_of_its_child_is_gone() {
    let (here, there) = (academy(), academy());
    let before = holdings(&here);
    let (teacher, _) = boss(&here, Supervision::Stop);
    let (gate, deploy) = keeper(Supervision::Escalate);
    let child = hire(&here, teacher, deploy.at(at(&there))).expect("room");
    let _knocked = knock(&here, child, &gate, false);
    let ending = stop(&here, teacher, HOUR);
    until_it_finishes(&there);
    there.stop();
    assert_eq!(
        ending.finish(),
        Ok(Stopped::CutShort),
        "nobody knows better"
    );
    until_holds(&here, before);
    assert_eq!(here.counters().failures, 0);
}
