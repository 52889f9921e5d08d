//! The cluster in user code.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_cluster::context::Context;
use ringmesh_cluster::control::Control;
use ringmesh_cluster::lease::LeaseName;
use ringmesh_cluster::membership::command::Command;
use ringmesh_proto::address::Address;

use super::{
    AppVersion, ClusterCounters, ClusterEvents, CommandError, Lease, LeaseError, Member, Status,
    StopReason, Topology,
};
use super::{Decision, Explanation, WhyNotConverged};
use crate::core::{CONTROL_CORE, Core, TopologyWait};

/// The cluster of the node that the current core belongs to. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Cluster {
    core: Rc<Core>,
}

/// Why a command has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// It cannot be carried out as the cluster is.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The control core has too much to do. Nothing was changed: try again.
    #[error("the control core has too much to do: try again")]
    Overloaded,
    /// The node ends.
    #[error("the node ends")]
    Ended,
}

impl Cluster {
    pub(crate) fn new(core: Rc<Core>) -> Option<Self> {
        let takes_part = core.settings().cluster.take_part;
        takes_part.then_some(Self { core })
    }

    /// The cluster as this core knows it. The control core knows it first, the others with their
    /// next turn.
    pub fn state(&self) -> Arc<Topology> {
        let topology = self.core.topology();
        topology.unwrap_or_else(|| {
            // This core has not had its first turn.
            let data_centre = &self.core.settings().cluster.data_centre;
            Arc::new(Topology::empty(self.core.identity().clone(), data_centre))
        })
    }

    /// This node as a member, if it is one.
    pub fn self_member(&self) -> Option<Member> {
        self.state().self_member().cloned()
    }

    /// Who leads, as this node sees it.
    pub fn leader(&self) -> Option<Member> {
        self.state().leader().cloned()
    }

    /// Whether this node sees a quorum of its cluster. What must run only once stops without.
    pub fn has_quorum(&self) -> bool {
        self.state().has_quorum()
    }

    /// Follows what happens: a snapshot first, then each event behind it.
    pub fn events(&self) -> ClusterEvents {
        ClusterEvents::new(self.core.shared_handle())
    }

    /// A lease of that name, which this node may have alone, for so long at a time: 1 s to 1 h.
    /// Less asks the store more often, and loses the lease to shorter failures of it; more has
    /// others wait longer when this node dies. It is not wanted before [`Lease::acquire`] is
    /// called.
    ///
    /// # Errors
    /// [`LeaseError`]; nothing was asked.
    pub fn lease(&self, name: LeaseName, time_to_live: Duration) -> Result<Lease, LeaseError> {
        Lease::new(Rc::clone(&self.core), name, time_to_live)
    }

    /// Ends when this node is a member in full, at once if it is. Never, if it does not become one:
    /// wait for [`ended`](Self::ended) as well.
    pub async fn up(&self) {
        self.until(|topology| {
            let status = topology.own_status();
            status.is_some_and(|it| it >= Status::Up && it < Status::Down)
        })
        .await;
    }

    /// Ends when this node has no part in the cluster any more, and says why. A node that was never
    /// a member waits for ever, unless it cannot join.
    pub async fn ended(&self) -> StopReason {
        self.until(|_| self.end().is_some()).await;
        self.end().expect("that is what it waited for")
    }

    /// Why this node has no part in the cluster any more, if that is so.
    pub fn end(&self) -> Option<StopReason> {
        self.core.cluster_end()
    }

    /// Ends when the topology is as `is_so` says.
    pub(crate) async fn until(&self, is_so: impl Fn(&Topology) -> bool) {
        let mut wait = TopologyWait::new(&self.core);
        poll_fn(|context| {
            if is_so(&self.state()) {
                return Poll::Ready(());
            }
            wait.wake(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Joins the cluster that one of `seeds` is in, or has the first of them found it; see
    /// [`ClusterSettings::seeds`](super::ClusterSettings::seeds). The rest comes as events.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing changed. The same holds for the other commands.
    pub async fn join(&self, seeds: Vec<Address>) -> Result<(), ClusterError> {
        self.command(Command::Join { seeds }).await
    }

    /// Founds a cluster now, whatever is remembered and whoever is waited for.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn found(&self) -> Result<(), ClusterError> {
        self.command(Command::Found).await
    }

    /// Has this node leave in good order; [`ended`](Self::ended) says when it has.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn leave(&self) -> Result<(), ClusterError> {
        self.command(Command::Leave { address: None }).await
    }

    /// Has the member at an address leave in good order.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn have_leave(&self, address: Address) -> Result<(), ClusterError> {
        let address = Some(address);
        self.command(Command::Leave { address }).await
    }

    /// Gives the member at an address up: it is removed, and must be started anew to come back.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn down(&self, address: Address) -> Result<(), ClusterError> {
        self.command(Command::Down { address }).await
    }

    /// Has the whole cluster be ready to be shut down: nobody joins any more.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn prepare_for_full_shutdown(&self) -> Result<(), ClusterError> {
        self.command(Command::PrepareForFullShutdown).await
    }

    /// Sets the version of the program on this node, before it joins. It joins now if that was to
    /// [wait for this](super::ClusterSettings::app_version_later).
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn set_app_version(&self, version: AppVersion) -> Result<(), ClusterError> {
        self.command(Command::SetAppVersion(version)).await
    }

    /// What keeps the members from agreeing, as far as this node knows. `None` when it is in no
    /// cluster.
    ///
    /// # Errors
    /// [`ClusterError`]: it cannot be asked.
    pub async fn why_not_converged(&self) -> Result<Option<WhyNotConverged>, ClusterError> {
        self.ask(|machine, _| machine.membership().why_not_converged())
            .await
    }

    /// What this node would do now about members that are lost, and why.
    ///
    /// # Errors
    /// [`ClusterError`]: it cannot be asked.
    pub async fn explain(&self) -> Result<Explanation, ClusterError> {
        self.ask(|machine, cx| machine.explain(cx.now)).await
    }

    /// What this node decided last about members that were lost. `None` if it never had to.
    ///
    /// # Errors
    /// [`ClusterError`]: it cannot be asked.
    pub async fn last_decision(&self) -> Result<Option<Decision>, ClusterError> {
        self.ask(|machine, _| machine.last_decision().cloned())
            .await
    }

    /// What this node refused of what others told its membership, and why.
    ///
    /// # Errors
    /// [`ClusterError`]: it cannot be asked.
    pub async fn counters(&self) -> Result<ClusterCounters, ClusterError> {
        self.ask(|machine, _| ClusterCounters::of(machine)).await
    }

    async fn command(&self, command: Command) -> Result<(), ClusterError> {
        let done = self
            .ask(move |machine, cx| machine.handle_command(cx, command))
            .await?;
        Ok(done?)
    }

    /// Asks the machine, on the control core.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Control, &mut Context<'_>) -> R + Send + 'static,
    ) -> Result<R, ClusterError> {
        if self.core.id() == CONTROL_CORE {
            return self.core.tell_cluster(question).ok_or(ClusterError::Ended);
        }
        let (say, heard) = oneshot::channel();
        let errand = move |control: &Rc<Core>| {
            if let Some(answer) = control.tell_cluster(question) {
                // Whoever asked may wait no more.
                let _ = say.send(answer);
            }
        };
        let sent = self.core.send_errand(CONTROL_CORE, Box::new(errand));
        sent.map_err(|_| ClusterError::Overloaded)?;
        heard.await.map_err(|_| ClusterError::Ended)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
