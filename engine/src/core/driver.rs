//! The loop of a core.
//!
//! One turn: take what other cores handed over, whose bytes come while completions are reaped (no
//! system call) and fed to the connections; serve the control lane; dispatch what waits, within a
//! budget; poll the tasks that are ready; run due timers; gather every link's pending bytes into
//! one send each; ONE `io_uring_enter` for all of it. When there is nothing to do the core spins or
//! sleeps, as its idle mode says, and the sleep is part of that one call.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::Transport;

use super::budget::Budget;
use super::held::TURN_TIME_TOLD;
use super::start::Failure;
use super::{Core, Seat, current};
use crate::config::IdleMode;
use crate::directory;
use crate::error::EngineError;
use crate::node::Node;
use crate::pubsub::mediator;

/// Runs the control core until the future that `main` makes has ended and the node has stopped.
pub(crate) fn run<F, Fut, T>(seat: Seat, main: F) -> Result<T, EngineError>
where
    F: FnOnce(Node) -> Fut + 'static,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    let begin = |core: &Rc<Core>| {
        directory::spawn(core).expect("an empty core has room for its directory");
        mediator::spawn(core).expect("an empty core has room for its mediator");
        core.spawn_main(main)
    };
    let outcome = live(seat, begin)?;
    outcome.take().ok_or(EngineError::Aborted)?
}

/// Runs another core until the node has stopped.
pub(crate) fn serve(seat: Seat) -> Result<(), EngineError> {
    live(seat, |core| {
        mediator::spawn(core).expect("an empty core has room for its mediator");
    })
}

/// A core from its start to its end; gives back what `begin` made once all cores were ready.
fn live<R>(mut seat: Seat, begin: impl FnOnce(&Rc<Core>) -> R) -> Result<R, EngineError> {
    let alarm = seat.failure.take();
    let core = Core::start(seat)?;
    if !core.shared().wait_for_all() {
        return Err(EngineError::Aborted);
    }
    let entered = current::enter(Rc::clone(&core));
    core.begin_cluster()?;
    core.begin_pubsub();
    core.begin_registry();
    core.begin_to_look();
    let begun = begin(&core);
    Driver::new(Rc::clone(&core)).run_to_the_end()?;
    core.close();
    core.publish_counters();
    drop(entered);
    alarm.into_iter().for_each(Failure::disarm);
    Ok(begun)
}

/// The loop's own state; everything that handlers can reach is in [`Core`].
struct Driver {
    core: Rc<Core>,
    /// When the core last had something to do.
    busy_until: Instant,
    /// The last turn had something to do, and its system call was not counted yet.
    was_busy: bool,
}

impl Driver {
    fn new(core: Rc<Core>) -> Self {
        Self {
            core,
            busy_until: Instant::ZERO,
            was_busy: false,
        }
    }

    fn run_to_the_end(&mut self) -> Result<(), EngineError> {
        loop {
            let busy = self.turn();
            let core = self.core.id().0;
            let failed = |error| EngineError::Core { core, error };
            if self.core.stopped() {
                // The last words may have been gathered in this very turn.
                return self.core.io.borrow_mut().submit().map_err(failed);
            }
            self.rest(busy).map_err(failed)?;
        }
    }

    /// One turn up to its system call. Says whether there was anything to do.
    fn turn(&mut self) -> bool {
        let core = &self.core;
        core.tally.turns.add(1);
        let began = core.clock.now();
        core.begin_turn();
        let parcels = core.receive_parcels();
        let mut busy = parcels;
        core.io.borrow_mut().poll(&mut core.events.borrow_mut());
        while let Some(event) = core.next_event() {
            core.handle_event(event);
            busy = true;
        }
        busy |= core.serve_control();
        let do_tasks_wait = core.tasks.any_ready();
        let mut budget = Budget::new(core.clock.now(), &core.settings, do_tasks_wait);
        busy |= core.dispatch(&mut budget);
        if parcels {
            core.answer_cores();
        }
        busy |= core.deliver_notices(&mut budget);
        busy |= core.poll_tasks(&budget);
        core.look_if_wanted();
        busy |= core.run_timers();
        core.end_doomed();
        core.part_all();
        busy |= core.look_far();
        busy |= core.look_at_registry();
        busy |= core.look_at_cluster();
        core.wake_event_readers();
        core.depart_when_read();
        core.say_local_room();
        busy |= core.send_pending();
        if parcels {
            core.give_room();
        }
        core.parsed.take();
        // Behind everything that somebody waits for. The next turn begins with this time: a core
        // that looks out does so for a microsecond, and one that slept reads the clock again.
        let now = core.look_at_clock();
        if now.saturating_since(began) >= TURN_TIME_TOLD {
            core.turn_was_too_long(now - began);
        }
        if busy {
            self.busy_until = now;
        }
        // The turn after has nothing new, but knows of this one's system call.
        if busy || self.was_busy {
            core.publish_counters();
        }
        self.was_busy = busy;
        busy
    }

    /// The turn's one system call, and the core's sleep if it may sleep.
    fn rest(&mut self, busy: bool) -> std::io::Result<()> {
        let core = &self.core;
        let patience = match core.settings.idle {
            _ if core.clock.is_virtual() => Some(Duration::ZERO),
            IdleMode::Spin => None,
            IdleMode::Hybrid(spin) => Some(spin),
            IdleMode::Park => Some(Duration::ZERO),
        };
        let idle = !busy && !core.has_work();
        let quiet = core.clock.now().saturating_since(self.busy_until);
        let sleepy = patience.is_some_and(|spin| quiet >= spin);
        if !(idle && sleepy) {
            core.io.borrow_mut().submit()?;
            if idle {
                core.look_out();
            }
            return Ok(());
        }
        if core.acknowledge_all() {
            core.send_pending();
            // A grant of the core to itself may be the room that somebody here waits for.
            if core.has_work() {
                return core.io.borrow_mut().submit();
            }
        }
        if !core.may_sleep() {
            return core.io.borrow_mut().submit();
        }
        core.publish_counters();
        let woken = self.sleep();
        core.look_at_clock();
        woken
    }

    /// Sleeps until something comes or a timer is due.
    fn sleep(&self) -> std::io::Result<()> {
        let core = &self.core;
        if core.clock.is_virtual() {
            // Before that time passes, what this core has given away has to be with its next owner.
            core.io.borrow_mut().submit()?;
            if core.io.borrow_mut().has_news() {
                core.is_awake();
                return Ok(());
            }
        }
        let timeout = core.clock.fall_asleep(core.next_deadline());
        // A task here may have waited for virtual time to pass.
        let woken = if core.tasks.any_ready() {
            core.io.borrow_mut().submit()
        } else {
            core.io.borrow_mut().park(timeout)
        };
        core.clock.wake_up();
        core.is_awake();
        woken
    }
}
