//! The end of a node, in order: told to stop, main future done, last bytes flushed, goodbyes said.

use std::rc::Rc;
use std::task::{Context, Poll};

use ringmesh_transport::contract::Transport;

use super::shared::Stop;
use super::shutdown::StopSeat;
use super::{Core, Token};

/// How far the node is on its way to its end.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// Everything goes on; these wait for the stop.
    #[default]
    Running,
    /// `until_shutdown` has ended; the main future has not.
    Stopping,
    /// The main future has ended: no new links, and no credit beyond what was granted. What has
    /// come is still handled.
    Leaving,
    /// That is done, or its time is over: goodbye is said behind the last bytes, and those leave.
    Flushing,
    /// It has nothing left to say. Other cores may have, and wait to hear what it took over.
    Quiet,
    /// The flush is over, or its time is.
    Flushed,
}

/// For whom a core of a stopping node still listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ears {
    /// For links of its own, if it has any that form.
    #[default]
    Needed,
    /// For those of other cores.
    OfOthers,
    Shut,
}

impl Core {
    /// Whether no new work is taken.
    pub(super) fn is_closing(&self) -> bool {
        !matches!(*self.phase.borrow(), Phase::Running | Phase::Stopping)
    }

    /// Whether the core handles nothing any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Flushed)
    }

    /// Does what the node's cores were told about its end.
    pub(super) fn follow_stop(self: &Rc<Self>) {
        self.hear_of_shutdown();
        match self.shared.stopping() {
            Stop::No => {}
            Stop::Asked => self.begin_phases(),
            Stop::Begun => self.begin_stopping(),
            Stop::Over => self.leave(),
            Stop::Failed => self.flush_overdue(),
        }
    }

    /// Ends every `until_shutdown` of this core.
    fn begin_stopping(&self) {
        let mut phase = self.phase.borrow_mut();
        if matches!(*phase, Phase::Running) {
            *phase = Phase::Stopping;
            drop(phase);
            tracing::info!("the node is stopping");
            self.wake_stop_waiters();
        }
    }

    /// Ready when the node has begun to stop.
    pub(crate) fn poll_stopping(&self, seat: &StopSeat, context: &Context<'_>) -> Poll<()> {
        if !matches!(*self.phase.borrow(), Phase::Running) {
            return Poll::Ready(());
        }
        seat.wait(context);
        Poll::Pending
    }

    /// The main future has ended: all cores stop.
    pub(super) fn main_ended(&self) {
        self.shared.stop(Stop::Over);
    }

    /// Lets no link in any more and grants no more, and handles what has come.
    fn leave(self: &Rc<Self>) {
        if self.is_closing() {
            return;
        }
        self.begin_stopping();
        *self.phase.borrow_mut() = Phase::Leaving;
        self.stop_listening_when_formed();
        let (now, time) = (self.clock.now(), self.settings.flush_timeout);
        self.set_timer(now + time / 2, Token::Goodbye);
        self.set_timer(now + time, Token::Flush);
        // So that there is an end to what comes.
        self.linked()
            .for_each(|link| link.inbound.borrow_mut().grant_no_more());
        let own = self.ends.iter().map(|end| &end.link);
        own.for_each(|link| link.outbound.borrow_mut().refuse_pushes());
        self.end_local_lines();
    }

    /// Stops listening when no core of the node has a link that waits for its first connection: the
    /// peer of such a one may ask here whether it was dialled in this node's name.
    fn stop_listening_when_formed(&self) {
        let ears = match self.inquiries.ears.get() {
            Ears::Needed if self.linked().any(|link| link.forming.get()) => Ears::Needed,
            Ears::Needed => {
                self.shared.core_formed();
                Ears::OfOthers
            }
            ears => ears,
        };
        self.inquiries.ears.set(ears);
        if ears == Ears::OfOthers && self.shared.all_formed() {
            self.inquiries.ears.set(Ears::Shut);
            self.io.borrow_mut().stop_listening();
        }
    }

    /// Says goodbye when all that had come is handled here, or on the core that it went on to.
    pub(super) fn depart_when_read(self: &Rc<Self>) {
        if matches!(*self.phase.borrow(), Phase::Leaving)
            && self.readable.borrow().is_empty()
            && self.urgent.borrow().is_empty()
            && self.tunnels_are_idle()
        {
            self.depart();
        }
    }

    /// Says goodbye to every peer, behind the last bytes and a last grant, unless that is done.
    pub(super) fn depart(self: &Rc<Self>) {
        let is_leaving = matches!(*self.phase.borrow(), Phase::Leaving);
        if is_leaving {
            *self.phase.borrow_mut() = Phase::Flushing;
            self.acknowledge_all();
            self.say_goodbye();
        }
    }

    /// The last bytes had their time.
    pub(super) fn flush_overdue(&self) {
        let left = self.unsent_bytes();
        if left > 0 {
            tracing::warn!(
                bytes = left,
                "stopping with bytes that could not be sent in time"
            );
        }
        let former = std::mem::replace(&mut *self.phase.borrow_mut(), Phase::Flushed);
        if matches!(former, Phase::Leaving | Phase::Flushing) {
            self.shared.core_quiet();
        }
    }

    /// Whether nothing is left to wait for. Cores end together: one that left before the others
    /// had heard what it took over would have them wait for that, and count as lost what was
    /// delivered.
    pub(super) fn stopped(self: &Rc<Self>) -> bool {
        if !self.is_closing() {
            return false;
        }
        self.stop_listening_when_formed();
        let is_flushing = matches!(*self.phase.borrow(), Phase::Flushing);
        // What is remembered of the cluster is to outlive the process, and no lease that is given
        // back is to, if disk and store are in time.
        let is_kept = || self.has_written_down() & self.has_asked_leases();
        if is_flushing && self.all_said() && is_kept() {
            *self.phase.borrow_mut() = Phase::Quiet;
            self.shared.core_quiet();
        }
        let is_quiet = matches!(*self.phase.borrow(), Phase::Quiet);
        if is_quiet && self.shared.all_quiet() && self.all_said() {
            *self.phase.borrow_mut() = Phase::Flushed;
        }
        matches!(*self.phase.borrow(), Phase::Flushed)
    }

    /// Drops tasks and actors, and accounts for what never left.
    pub(super) fn close(self: &Rc<Self>) {
        // A ring that failed ends a core in any phase: whatever drops now may spawn nothing.
        self.begin_stopping();
        *self.phase.borrow_mut() = Phase::Flushed;
        self.close_notebook();
        self.close_leases();
        self.tasks.clear();
        self.drop_phase_tasks();
        self.stop_all_actors();
        self.close_mesh();
        self.end_all_links();
        self.discard_all_unread();
        self.log_unsaid_letters();
        self.wake_event_readers();
        self.connections.borrow_mut().clear();
        self.draining.borrow_mut().clear();
        self.readable.borrow_mut().clear();
        self.sendable.borrow_mut().clear();
        self.urgent.borrow_mut().clear();
        self.pressing.borrow_mut().clear();
        self.granting.borrow_mut().clear();
    }
}
