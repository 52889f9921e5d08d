//! Actors that are stopped with a deadline: they take nothing new, finish what they do, and end.
//!
//! An actor whose handler waits lingers: its future is polled on, and nothing else of it runs but
//! that, and what waits in its mailbox if it is to be emptied. Then its children are stopped in the
//! same way, and it ends behind them. At the deadline all that is left of it is stopped at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_proto::address::CoreId;
use ringmesh_proto::handshake::LocalNode;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::{RESOLUTION, TimerKey};

use super::notices::Word;
use super::watch::Place;
use super::{Core, Errand, NodeIndex, Token};
use crate::actor::ActorCell;
use crate::deploy::finish;
use crate::ending::{Ending, GRACE, Outcome, StopError, Stopped};
use crate::reference::Recipient;
use crate::watch::Ended;

/// Actors of one core that may be stopped with a deadline at one time: each has a timer.
pub(super) const STOPS_MAX: usize = 1 << 15;

/// Who may wait for the end of one actor.
pub(super) const STOPPERS_MAX: usize = 1 << 10;

/// How much of what waits for an actor is handled before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Only what is being handled.
    Bury,
    /// All that came before.
    Handle,
}

/// What is known of a stop with a deadline, until the actor has ended.
#[derive(Debug)]
pub(crate) struct Stops {
    deadline: Instant,
    timer: Option<TimerKey>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    /// Somebody wants all handled that waits.
    drains: bool,
}

/// How many actors are stopped with a deadline.
#[derive(Debug, Default)]
pub(super) struct Stopping(Cell<usize>);

impl Stopping {
    /// One more, if there is room for it.
    fn enter(&self) -> Result<(), StopError> {
        if self.0.get() >= STOPS_MAX {
            return Err(StopError::TooMany { limit: STOPS_MAX });
        }
        self.0.set(self.0.get() + 1);
        Ok(())
    }

    fn leave(&self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The stop with a deadline that an actor is under, if it is.
#[derive(Debug, Default)]
pub(crate) struct UnderStop(RefCell<Option<Box<Stops>>>);

impl UnderStop {
    pub(super) fn is_under_way(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Whether somebody wanted all handled that waited.
    pub(super) fn drains(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|stops| stops.drains)
    }

    /// Room for one more who waits.
    fn check(&self) -> Result<(), StopError> {
        let mut stops = self.0.borrow_mut();
        let Some(stops) = &mut *stops else {
            return Ok(());
        };
        if stops.waiting.len() >= STOPPERS_MAX {
            // Those that were dropped wait no more.
            stops.waiting.retain(|said| !said.is_canceled());
        }
        if stops.waiting.len() >= STOPPERS_MAX {
            let limit = STOPPERS_MAX;
            return Err(StopError::TooMany { limit });
        }
        Ok(())
    }
}

impl Core {
    /// Stops an actor of this node, in order if that is done within `span`.
    pub(crate) fn stop_within(
        self: &Rc<Self>,
        actor: Recipient,
        span: Duration,
        rest: Rest,
    ) -> Ending {
        if let Err(known) = self.is_own(actor) {
            return Ending::known(known);
        }
        let (said, heard) = oneshot::channel();
        let place = Place {
            slot: actor.slot,
            generation: actor.generation,
        };
        let from = self.id;
        let position = self.position_towards(actor.core);
        if actor.core == self.id {
            self.be_stopped(place, span, (rest, from, position), said);
            return Ending::new(heard, None);
        }
        let core = actor.core.0;
        let errand: Errand =
            Box::new(move |there| there.be_stopped(place, span, (rest, from, position), said));
        if self.send_errand(actor.core, errand).is_err() {
            return Ending::known(Err(StopError::CoreOverloaded { core }));
        }
        let patience = self.alarm(span.saturating_add(GRACE));
        Ending::new(heard, Some((core, patience)))
    }

    /// The same for a child of an actor of this core.
    pub(crate) fn stop_child_within(
        self: &Rc<Self>,
        parent: Recipient,
        child: Recipient,
        span: Duration,
        rest: Rest,
    ) -> Ending {
        let place = |it: Recipient| Place {
            slot: it.slot,
            generation: it.generation,
        };
        if let Err(known) = self.is_own(child) {
            return Ending::known(known);
        }
        let is_another = |cell: &Rc<ActorCell>| cell.kin.parent != Some(place(parent));
        if child.core != self.id || self.cell_at(place(child)).as_ref().is_some_and(is_another) {
            return Ending::known(Err(StopError::NotAChild));
        }
        self.stop_within(child, span, rest)
    }

    /// Whether the actor may live on this node; if not, what is known of its end.
    fn is_own(&self, actor: Recipient) -> Result<(), Outcome> {
        if actor.table != self.shared.table {
            return Err(Err(StopError::OtherNode));
        }
        match actor.node {
            NodeIndex::SELF | NodeIndex::NOWHERE => {}
            _ => return Err(Err(StopError::Remote)),
        }
        let LocalNode { id, cores, .. } = self.local();
        if actor.uid != id.uid || actor.core.0 >= *cores {
            // It names nobody, or an actor of an earlier process here.
            return Err(Ok(Stopped::Gone));
        }
        if self.is_closing() {
            return Err(Err(StopError::Stopping));
        }
        Ok(())
    }

    /// Stops an actor of this core with a deadline, for somebody on the core `from` whose link to
    /// this one stood at that position then.
    fn be_stopped(
        self: &Rc<Self>,
        place: Place,
        span: Duration,
        (rest, from, position): (Rest, CoreId, u64),
        said: oneshot::Sender<Outcome>,
    ) {
        let Some(cell) = self.cell_at(place) else {
            return self.say(said, Ok(Stopped::Gone));
        };
        if let Err(error) = self.put_under_stop(&cell, span) {
            return self.say(said, Err(error));
        }
        if let Some(stops) = &mut *cell.kin.stops.0.borrow_mut() {
            stops.waiting.push(said);
            stops.drains |= rest == Rest::Handle;
        }
        match rest {
            Rest::Bury => self.linger(&cell, Rest::Bury),
            // Behind all that was sent before it.
            Rest::Handle => self.await_turn(from, position, place, Word::Drain),
        }
    }

    /// Sets the deadline of an actor, or brings it forward.
    fn put_under_stop(&self, cell: &ActorCell, span: Duration) -> Result<(), StopError> {
        cell.kin.stops.check()?;
        let deadline = self.clock.peek() + span.max(RESOLUTION);
        let (is_new, former) = match &*cell.kin.stops.0.borrow() {
            Some(stops) if stops.deadline <= deadline => return Ok(()),
            Some(stops) => (false, stops.timer),
            None => (true, None),
        };
        if is_new {
            self.lives.stopping.enter()?;
        }
        let Place { slot, generation } = cell.place();
        let timer = self.set_timer(deadline, Token::Stop { slot, generation });
        if timer.is_none() {
            // It would wait for ever.
            if is_new {
                self.lives.stopping.leave();
            }
            return Err(StopError::TooMany { limit: STOPS_MAX });
        }
        former
            .into_iter()
            .for_each(|timer| self.cancel_timer(timer));
        let mut stops = cell.kin.stops.0.borrow_mut();
        let (waiting, drains) = stops
            .take()
            .map_or_else(Default::default, |stops| (stops.waiting, stops.drains));
        *stops = Some(Box::new(Stops {
            deadline,
            timer,
            waiting,
            drains,
        }));
        Ok(())
    }

    /// An actor takes nothing new, and ends when what it does is done, and its children have ended.
    pub(super) fn linger(self: &Rc<Self>, cell: &Rc<ActorCell>, rest: Rest) {
        if cell.kin.ends_for().is_some() {
            return;
        }
        if self.waits_for_elsewhere(cell) {
            return;
        }
        let drains = rest == Rest::Handle;
        if cell.kin.is_parked.get() && drains {
            // It has no state that could handle what waits.
            return cell.kin.drains.set(true);
        }
        self.close_to_new(cell);
        // What they would say it takes no more.
        self.end_timers(cell.generation);
        if cell.port().is_some_and(|port| port.drains()) && !drains {
            cell.kin.is_cut.set(true);
        }
        match cell.port().filter(|port| cell.lingers_at(port, drains)) {
            Some(port) => {
                cell.kin.lingers.set(true);
                port.linger(drains);
            }
            None => self.end_softly(cell),
        }
    }

    /// Whether an actor stands for one elsewhere that finishes what it does, in the time that those
    /// above it have.
    fn waits_for_elsewhere(self: &Rc<Self>, cell: &Rc<ActorCell>) -> bool {
        let Some(tie) = cell.kin.tie.get() else {
            return false;
        };
        let deadline = self.deadline_above(cell);
        deadline.is_some_and(|deadline| finish(self, cell.place(), tie, self.time_to(deadline)))
    }

    /// The first of the deadlines of those above an actor.
    fn deadline_above(&self, cell: &ActorCell) -> Option<Instant> {
        let mut first: Option<Instant> = None;
        let mut above = cell.kin.parent;
        while let Some(cell) = above.and_then(|place| self.cell_at(place)) {
            if let Some(stops) = &*cell.kin.stops.0.borrow() {
                first = Some(first.map_or(stops.deadline, |first| first.min(stops.deadline)));
            }
            above = cell.kin.parent;
        }
        first
    }

    /// Stops the child of a guardian with a deadline; `None` if there is no room for that.
    pub(crate) fn finish_child(
        self: &Rc<Self>,
        guardian: Recipient,
        within: Duration,
    ) -> Option<Ending> {
        let Some(child) = self.cell_at(guardian.place())?.kin.children().pop() else {
            // It has ended, and the guardian is about to hear so.
            return Some(Ending::known(Ok(Stopped::Gone)));
        };
        let (said, heard) = oneshot::channel();
        self.be_stopped(child, within, (Rest::Bury, self.id, 0), said);
        let mut ending = Ending::new(heard, None);
        match ending.said() {
            Some(Err(_)) => None,
            Some(known) => Some(Ending::known(known)),
            None => Some(ending),
        }
    }

    /// What an actor lingered for is done, or it had nothing to do.
    pub(super) fn end_softly(self: &Rc<Self>, cell: &Rc<ActorCell>) {
        cell.kin.lingers.set(false);
        cell.kin.end_for(Ended::Stopped);
        for place in cell.kin.children() {
            if let Some(child) = self.cell_at(place) {
                self.linger(&child, Rest::Bury);
            }
        }
        self.conclude(cell);
    }

    /// The deadline of an actor that is being stopped has come.
    pub(super) fn stop_overdue(self: &Rc<Self>, place: Place) {
        let Some(cell) = self.cell_at(place) else {
            return;
        };
        if let Some(stops) = &mut *cell.kin.stops.0.borrow_mut() {
            stops.timer = None;
        }
        cell.kin.is_cut.set(true);
        self.bring_down(&cell, Ended::Stopped);
    }

    /// An actor is gone: whoever waited for that is told how it went.
    pub(super) fn stop_is_over(&self, cell: &ActorCell, why: Ended) {
        let stops = cell.kin.stops.0.borrow_mut().take();
        let Some(Stops { timer, waiting, .. }) = stops.map(|stops| *stops) else {
            return;
        };
        self.lives.stopping.leave();
        timer.into_iter().for_each(|timer| self.cancel_timer(timer));
        let stopped = match why {
            Ended::Failed => Stopped::Failed,
            _ if cell.kin.is_cut.get() => Stopped::CutShort,
            _ => Stopped::InOrder,
        };
        for said in waiting {
            self.say(said, Ok(stopped));
        }
    }

    /// Whoever waits may be woken by anybody's code.
    fn say(&self, said: oneshot::Sender<Outcome>, outcome: Outcome) {
        self.contain("a waker panicked", || {
            let _ = said.send(outcome);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_stops_of_a_core_is_refused_until_one_is_over() {
        let stopping = Stopping::default();
        assert!((0..STOPS_MAX).all(|_| stopping.enter().is_ok()));
        let limit = STOPS_MAX;
        assert_eq!(stopping.enter(), Err(StopError::TooMany { limit }));
        stopping.leave();
        assert_eq!(stopping.enter(), Ok(()));
        assert_eq!(stopping.enter(), Err(StopError::TooMany { limit }));
    }
}
