//! Cores that do not turn for a second: user code holds them, or another program their CPU.
//!
//! The control core looks at the others twice a second, while any of them is awake: at the turns
//! that each counts anyway. A core that sleeps is held by nothing, and the first that wakes when
//! nobody looks any more rings the control core, so a node without work is not woken for this.
//!
//! Each core measures its own turns besides, by the readings of the clock that it makes anyway. So
//! it is a core itself that says that it turns again, and, if nobody has seen it, that it did not:
//! the control core, which nobody looks at, says both afterwards.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::time::Instant;

use super::{CONTROL_CORE, Core, Token};
use crate::event::NodeEvent;

/// A turn that takes longer is told of.
pub(super) const TURN_TIME_TOLD: Duration = Duration::from_secs(1);

/// How often the control core looks at the others, while one of them is awake.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A look that comes so late says nothing of others: the control core was away itself, and does not
/// know what they did meanwhile.
const LATE: Duration = TURN_TIME_TOLD;

/// What the cores of a node tell each other of this. The lock is taken for turns that are too long
/// alone, so that the two who may tell of one agree on who has.
#[derive(Debug)]
pub(crate) struct HeldCores {
    /// The control core looks, or is to.
    is_watched: AtomicBool,
    told: Mutex<Vec<Told>>,
}

/// What was told of a core.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// The turn that it was told to be held in, and that is not told to be over.
    held: Option<u64>,
    /// Its last turn that was too long and is over.
    over: Option<u64>,
}

impl HeldCores {
    /// Of a node of so many cores, which are looked at from the start.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            is_watched: AtomicBool::new(true),
            told: Mutex::new(vec![Told::default(); cores]),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// The control core found the core held in a turn. Says whether that is news.
    fn begin(&mut self, turn: u64) -> bool {
        let is_news = self.held != Some(turn) && self.over != Some(turn);
        if is_news {
            self.held = Some(turn);
        }
        is_news
    }

    /// The core has ended a turn that was too long. Says whether it was told to be held.
    fn end(&mut self, turn: u64) -> bool {
        self.over = Some(turn);
        // A core that was held between two turns was told to be in the one before.
        self.held.take().is_some()
    }

    /// The control core found the core in another turn, and it has not said so itself: the turn it
    /// was told to be held in was not that long by its own clock.
    fn clear(&mut self, turn: u64) -> bool {
        self.held.take_if(|held| *held == turn).is_some()
    }
}

/// What the control core has seen of the others.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// It looks at nobody, and would if one woke.
    rests: Cell<bool>,
    looked: Cell<Instant>,
    /// By core; `None` for one that slept, or has ended.
    seen: RefCell<Vec<Option<Seen>>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    turn: u64,
    since: Instant,
    told: bool,
}

/// What a look at a core comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// It is held in that turn, for so long.
    Held(u64, Duration),
    /// It is in another turn than that one, which it was held in for so long.
    Turns(u64, Duration),
}

impl Seen {
    /// What is seen of a core: the turn it is in, none if it sleeps. A look that is late goes by
    /// what was told before alone.
    fn look(
        before: Option<Self>,
        turn: Option<u64>,
        (now, is_late): (Instant, bool),
    ) -> (Option<Self>, Finding) {
        let fresh = turn.map(|turn| Self {
            turn,
            since: now,
            told: false,
        });
        let Some(mut seen) = before else {
            return (fresh, Finding::Nothing);
        };
        let span = now.saturating_since(seen.since);
        let finding = match (seen.told, turn == Some(seen.turn)) {
            (true, true) => Finding::Nothing,
            (true, false) => return (fresh, Finding::Turns(seen.turn, span)),
            (false, true) if !is_late => {
                seen.told = span >= TURN_TIME_TOLD;
                match seen.told {
                    true => Finding::Held(seen.turn, span),
                    false => Finding::Nothing,
                }
            }
            (false, _) => return (fresh, Finding::Nothing),
        };
        (Some(seen), finding)
    }
}

impl Core {
    /// The control core of a node with others looks at them from its first turn on. In a time that
    /// stands still while a core has something to do, none is held.
    pub(super) fn begin_to_look(&self) {
        let has_others = self.id == CONTROL_CORE && self.ends.len() > 1;
        self.lookout
            .rests
            .set(has_others && !self.clock.is_virtual());
        self.lookout.seen.replace(vec![None; self.ends.len()]);
    }

    /// Begins to look at the other cores, if one of them woke. Once a turn.
    #[inline]
    pub(super) fn look_if_wanted(&self) {
        if self.lookout.rests.get() && self.shared.held.is_watched.load(Ordering::Relaxed) {
            self.lookout.looked.set(self.clock.now());
            self.look_later();
        }
    }

    #[cold]
    fn look_later(&self) {
        let at = self.clock.now() + LOOK_EVERY;
        let timer = self.set_timer(at, Token::HeldCores);
        self.lookout.rests.set(timer.is_none());
    }

    /// Has the control core look at this one, which has woken.
    pub(super) fn want_to_be_looked_at(&self) {
        if self.id == CONTROL_CORE {
            return;
        }
        // Whoever ends its looks says so first and then looks whether one woke: one of the two
        // sees the other.
        fence(Ordering::SeqCst);
        let is_watched = &self.shared.held.is_watched;
        if !is_watched.load(Ordering::Relaxed) && !is_watched.swap(true, Ordering::Relaxed) {
            self.shared.ring(CONTROL_CORE);
        }
    }

    /// Looks at the other cores, and goes on with it while one of them is awake.
    pub(super) fn look_at_cores(&self) {
        if self.is_closing() {
            // They end one by one, and drop what they hold.
            return;
        }
        if self.look_at_each() {
            return self.look_later();
        }
        let is_watched = &self.shared.held.is_watched;
        is_watched.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.lookout.rests.set(true);
        if self.others().any(|core| self.is_core_awake(core)) {
            is_watched.store(true, Ordering::Relaxed);
        }
    }

    fn others(&self) -> impl Iterator<Item = CoreId> + use<> {
        let own = self.id;
        self.cores().filter(move |core| *core != own)
    }

    /// Says whether any of them is awake.
    fn look_at_each(&self) -> bool {
        let now = self.clock.now();
        let last = self.lookout.looked.replace(now);
        let is_late = now.saturating_since(last) >= LATE;
        let mut any_awake = false;
        for core in self.others() {
            let place = usize::from(core.0);
            let is_awake = self.is_core_awake(core);
            any_awake |= is_awake;
            let before = { self.lookout.seen.borrow()[place] };
            let turn = is_awake.then(|| self.shared.pages.turns_of(place));
            let (seen, finding) = Seen::look(before, turn, (now, is_late));
            match finding {
                Finding::Held(turn, span) => self.tell_of_held(core, turn, span),
                Finding::Turns(turn, span) => self.tell_of_turning(core, turn, span),
                Finding::Nothing => {}
            }
            self.lookout.seen.borrow_mut()[place] = seen;
        }
        any_awake
    }

    fn tell_of_held(&self, core: CoreId, turn: u64, span: Duration) {
        let mut told = self.shared.held.lock();
        // It may have come to its end just now.
        let turns = self.shared.pages.turns_of(usize::from(core.0)) == turn;
        if turns && told[usize::from(core.0)].begin(turn) {
            self.tell_of_core(NodeEvent::CoreStalled { core, span });
            drop(told);
            self.log_held(core, span, "a core does not turn");
        }
    }

    fn tell_of_turning(&self, core: CoreId, turn: u64, span: Duration) {
        if self.shared.held.lock()[usize::from(core.0)].clear(turn) {
            self.tell_of_core(NodeEvent::CoreTurns { core, span });
        }
    }

    /// A turn of this core took so long. At its end, when nothing is borrowed.
    #[cold]
    pub(super) fn turn_was_too_long(&self, span: Duration) {
        let (core, turn) = (self.id, self.tally.turns.total());
        if turn == 1 {
            // It began with the start of the core, which waits for the others.
            return;
        }
        self.tally.core_stalls.add(1);
        {
            let mut told = self.shared.held.lock();
            if !told[usize::from(core.0)].end(turn) {
                self.tell_of_core(NodeEvent::CoreStalled { core, span });
            }
            self.tell_of_core(NodeEvent::CoreTurns { core, span });
        }
        self.log_held(core, span, "a core did not turn, and turns again");
        self.wake_event_readers();
    }

    fn log_held(&self, core: CoreId, span: Duration, text: &str) {
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!(core = core.0, ?span, "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn one_over_the_time_of_a_turn_is_told_once_and_the_next_turn_ends_it() {
        let look = |seen, turn, now| Seen::look(seen, Some(turn), (now, false));
        let (seen, finding) = look(None, 7, at(0));
        assert_eq!(finding, Finding::Nothing);
        let just = at(TURN_TIME_TOLD.as_millis() as u64 - 1);
        let (seen, finding) = look(seen, 7, just);
        assert_eq!(finding, Finding::Nothing);
        let (seen, finding) = look(seen, 7, at(0) + TURN_TIME_TOLD);
        assert_eq!(finding, Finding::Held(7, TURN_TIME_TOLD));
        let (seen, finding) = look(seen, 7, at(9000));
        assert_eq!(finding, Finding::Nothing, "once");
        let (seen, finding) = look(seen, 8, at(9500));
        assert_eq!(finding, Finding::Turns(7, Duration::from_millis(9500)));
        // Each turn has a time of its own.
        let (seen, finding) = look(seen, 9, at(10_400));
        assert_eq!(finding, Finding::Nothing);
        let (_, finding) = look(seen, 9, at(10_900));
        assert_eq!(finding, Finding::Nothing);
    }

    #[test]
    fn a_look_that_is_late_tells_of_nothing_new() {
        let (seen, _) = Seen::look(None, Some(7), (at(0), false));
        let (seen, finding) = Seen::look(seen, Some(7), (at(1500), true));
        assert_eq!(finding, Finding::Nothing);
        // The time of the turn counts from there.
        let (seen, finding) = Seen::look(seen, Some(7), (at(2000), false));
        assert_eq!(finding, Finding::Nothing);
        let (seen, finding) = Seen::look(seen, Some(7), (at(2500), false));
        assert_eq!(finding, Finding::Held(7, TURN_TIME_TOLD));
        // What was told holds on, until there is another turn.
        let (seen, finding) = Seen::look(seen, Some(7), (at(4000), true));
        assert_eq!(finding, Finding::Nothing);
        let (_, finding) = Seen::look(seen, Some(8), (at(6000), true));
        assert_eq!(finding, Finding::Turns(7, Duration::from_millis(4500)));
    }

    #[test]
    fn a_core_that_was_held_and_sleeps_has_turned() {
        let look = |seen, turn, ms| Seen::look(seen, turn, (at(ms), false));
        let (seen, _) = look(None, Some(7), 0);
        let (seen, finding) = look(seen, Some(7), 1000);
        assert_eq!(finding, Finding::Held(7, TURN_TIME_TOLD));
        let (seen, finding) = look(seen, None, 1500);
        assert_eq!(finding, Finding::Turns(7, Duration::from_millis(1500)));
        assert!(look(seen, None, 2000).0.is_none(), "it is told once");
        let (seen, _) = look(None, Some(9), 3000);
        assert_eq!(look(seen, None, 3500).1, Finding::Nothing);
    }

    #[test]
    fn of_the_two_who_may_tell_of_a_turn_one_does() {
        // The control core is first.
        let mut told = Told::default();
        assert!(told.begin(7) && !told.begin(7));
        assert!(told.end(7), "so the core itself need not say it");
        assert!(!told.begin(7), "it is over");
        assert!(!told.clear(7));
        // The core is first.
        assert!(!told.end(9));
        assert!(!told.begin(9));
        // It was held between two turns, and measured that with the second.
        assert!(told.begin(7) && told.end(8));
        // It does not say so, because by its own clock the turn was not that long.
        assert!(told.begin(11) && told.clear(11) && !told.clear(11));
    }
}
