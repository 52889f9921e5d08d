//! The phases of a shutdown one by one, on the control core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_cluster::membership::Status;
use ringmesh_proto::address::CoreId;

use super::super::shared::Stop;
use super::super::user_code::panic_message;
use super::super::{CONTROL_CORE, Core};
use super::together::{Ended, Failure, PhaseTask, together};
use crate::cluster::Cluster;
use crate::shutdown::{Phase, ShutdownError, phase};

/// So much longer than a phase its cores have to say what came of their tasks.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// A phase without tasks is told of if it took so long.
const TOLD_FROM: Duration = Duration::from_millis(1);

/// What failed of a phase on a core.
type Failures = Vec<Failure>;

/// Runs all phases from the one that was asked for.
pub(super) async fn phases(core: Rc<Core>) {
    let from = core.shared.first_phase().unwrap_or_default();
    let began = core.clock.now();
    if let Some(reason) = core.shared.stop_reason() {
        tracing::info!(%reason, "the node shuts down");
    }
    (0..from).for_each(|number| core.begin_phase(number));
    let phases: Vec<Phase> = core.shutdown.plan.phases().to_vec();
    for (number, phase) in phases.iter().enumerate().skip(from) {
        core.begin_phase(number);
        if !phase.enabled {
            tracing::info!(phase = &*phase.name, "passed over: it is switched off");
            continue;
        }
        if !run(&core, number, phase).await && !phase.recover {
            return give_up(&core, phase);
        }
    }
    let took = core.clock.now().saturating_since(began);
    tracing::info!(?took, "the phases of the shutdown are over");
    core.shared.stop(Stop::Begun);
    core.shared.phases_ended(Ok(()));
}

/// The node goes on, unless it is no member any more; what only the phases would have said of its
/// membership is said.
fn give_up(core: &Rc<Core>, phase: &Phase) {
    let phase = phase.name.to_string();
    tracing::error!(phase, "the shutdown is given up: the node goes on");
    let how = ShutdownError::GivenUp { phase };
    core.shared.phases_ended(Err(how));
    core.shutdown.runs.set(false);
    core.say_exited();
    if core.cluster_end().is_some() {
        core.shared.stop(Stop::Begun);
    }
}

/// Runs a phase. Says whether nothing failed.
async fn run(core: &Rc<Core>, number: usize, phase: &Phase) -> bool {
    let began = core.clock.now();
    let mut parts = vec![(Box::from("ringmesh"), built_in(core, &phase.name))];
    for other in core.shared.shutdown.cores(number) {
        let name = format!("the tasks of core {}", other.0);
        let part = match other {
            CONTROL_CORE => own(core, number, phase.timeout),
            _ => elsewhere(core, other, number, phase.timeout),
        };
        parts.push((name.into_boxed_str(), part));
    }
    let has_tasks = parts.len() > 1;
    // What is built in has the time of the phase, and the cores a little longer to answer.
    let Ended { done, mut failed } = together(core, parts, phase.timeout + GRACE).await;
    failed.extend(done.into_iter().flatten());
    let took = core.clock.now().saturating_since(began);
    if has_tasks || took >= TOLD_FROM {
        let phase = &*phase.name;
        tracing::info!(phase, ?took, "a phase of the shutdown is over");
    }
    for Failure { task, why } in &failed {
        tracing::warn!(phase = &*phase.name, task = &**task, why, "a task failed");
    }
    failed.is_empty()
}

/// The tasks of this core.
fn own(core: &Rc<Core>, number: usize, span: Duration) -> PhaseTask<Failures> {
    let core = Rc::clone(core);
    PhaseTask::boxed(async move { Ok(core.run_phase_tasks(number, span).await) })
}

/// Those of another.
fn elsewhere(core: &Rc<Core>, to: CoreId, number: usize, span: Duration) -> PhaseTask<Failures> {
    let (say, heard) = oneshot::channel();
    let errand = move |there: &Rc<Core>| {
        let own = Rc::clone(there);
        there.tasks.spawn(async move {
            // The control core waits no longer than it must.
            let _ = say.send(own.run_phase_tasks(number, span).await);
        });
    };
    core.send_word(to, Box::new(errand));
    PhaseTask::boxed(async move { heard.await.map_err(|_| "the core has ended".to_owned()) })
}

/// What the node itself does in a phase.
fn built_in(core: &Rc<Core>, name: &str) -> PhaseTask<Failures> {
    let cluster = Cluster::new(Rc::clone(core));
    match (name, cluster) {
        (phase::CLUSTER_LEAVE, Some(cluster)) => PhaseTask::boxed(async move {
            leave(&cluster).await;
            Ok(Vec::new())
        }),
        (phase::CLUSTER_SHUTDOWN, Some(cluster)) => PhaseTask::boxed(async move {
            if cluster.self_member().is_some() {
                cluster.ended().await;
            }
            Ok(Vec::new())
        }),
        _ => nothing(),
    }
}

fn nothing() -> PhaseTask<Failures> {
    PhaseTask::boxed(std::future::ready(Ok(Vec::new())))
}

/// Leaves, and waits until the members have agreed to it.
async fn leave(cluster: &Cluster) {
    // It fails when the node leaves already, or never joined. A search for the cluster it ends.
    let _ = cluster.leave().await;
    let is_let_go = |status: Option<Status>| status.is_none_or(|it| it >= Status::Exiting);
    let may_go = cluster.until(|it| cluster.end().is_some() || is_let_go(it.own_status()));
    may_go.await;
}

impl Core {
    /// A phase begins, or is passed over. Behind those that may have work the node says so.
    fn begin_phase(&self, number: usize) {
        self.shared.shutdown.begin(number);
        if !self.phases_say_exited() {
            self.say_exited();
        }
    }

    /// Runs the tasks that wait here for a phase. Gives back what failed.
    async fn run_phase_tasks(self: &Rc<Self>, number: usize, span: Duration) -> Failures {
        let tasks = self.take_phase_tasks(number).into_iter();
        let tasks = tasks.map(|(name, make)| {
            let made = catch_unwind(AssertUnwindSafe(make));
            let task = made.unwrap_or_else(|payload| {
                PhaseTask::failed(format!("it panicked: {}", panic_message(payload)))
            });
            (name, task)
        });
        together(self, tasks.collect(), span).await.failed
    }
}
