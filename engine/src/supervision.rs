//! Supervision: what becomes of an actor that fails, as whoever spawned it decided.
//!
//! A failure is a panic in a handler of the actor, in its `started` or `terminated`, or, when it
//! begins anew, in its factory. The machine that decides ([`Supervisor`]) owns no clock and no
//! random source: it gets the time and a number.

use std::collections::VecDeque;
use std::time::Duration;

use ringmesh_proto::time::Instant;

/// Restarts that are remembered of an actor whose number of them has no bound.
const REMEMBERED: usize = 64;

/// What becomes of an actor that fails: chosen by whoever spawns it, by
/// [`Props::supervised`](crate::Props::supervised).
///
/// The message that failed is not handled again; whoever asked is told that the handler
/// [`Failed`](crate::AskError::Failed).
///
/// The log of a core has room for a few failures a second, and counts the others. The panic hook of
/// the program knows no such bound: the standard one writes every panic to stderr, which costs more
/// than all else about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Supervision {
    /// It ends. Its later messages are dead letters.
    #[default]
    Stop,
    /// Its factory makes it anew, after a pause. See [`Restarts`].
    Restart(Restarts),
    /// It goes on as it is. A panic may have left its state half changed: only for actors that
    /// were written for that.
    Resume,
    /// It ends, and its parent fails of it. An actor without a parent only ends.
    Escalate,
}

impl Supervision {
    /// Restarts with their defaults: pauses of 10 ms to 10 s, at most ten within a minute, and
    /// then the end.
    pub const fn restart() -> Restarts {
        Restarts {
            pause_min: Duration::from_millis(10),
            pause_max: Duration::from_secs(10),
            at_most: Some(10),
            within: Duration::from_secs(60),
            escalates: false,
        }
    }
}

impl From<Restarts> for Supervision {
    fn from(restarts: Restarts) -> Self {
        Self::Restart(restarts)
    }
}

/// How an actor is restarted.
///
/// The ref stays the same, and so do the mailbox with what waits in it, the watches of the actor
/// and those of others on it. Its state is dropped when it fails, without `stopped`; its children
/// are stopped, and its timers and pipes end. After a pause the factory makes the new state, whose
/// `started` runs before the next message. Meanwhile messages wait in the mailbox, within its
/// bounds. The pause doubles with each restart within the window, and up to a fifth is added to it
/// at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    pub(crate) pause_min: Duration,
    pub(crate) pause_max: Duration,
    pub(crate) at_most: Option<u16>,
    pub(crate) within: Duration,
    pub(crate) escalates: bool,
}

impl Restarts {
    /// The first pause, and the longest, that aside which is added at random. A pause is rounded
    /// up to the tick of the core's timers (65.5 us). Too short a pause has an actor that cannot
    /// live take the core's time; too long a one has it idle after the cause is gone.
    #[must_use]
    pub const fn pauses(mut self, min: Duration, max: Duration) -> Self {
        self.pause_min = min;
        self.pause_max = max;
        self
    }

    /// How many restarts there may be within a time; the next failure ends the actor. Counted over
    /// a window that slides.
    #[must_use]
    pub const fn at_most(mut self, restarts: u16, within: Duration) -> Self {
        self.at_most = Some(restarts);
        self.within = within;
        self
    }

    /// There is no such bound.
    #[must_use]
    pub const fn for_ever(mut self) -> Self {
        self.at_most = None;
        self
    }

    /// When there were too many the actor ends, and its parent fails of it.
    #[must_use]
    pub const fn then_escalate(mut self) -> Self {
        self.escalates = true;
        self
    }
}

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stop,
    Restart { after: Duration },
    Resume,
    Escalate,
}

/// Decides for one actor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    strategy: Supervision,
    /// The restarts within the window, oldest first.
    restarts: VecDeque<Instant>,
}

impl Supervisor {
    pub(crate) fn new(strategy: Supervision) -> Self {
        Self {
            strategy,
            restarts: VecDeque::new(),
        }
    }

    /// The actor failed, `now`. The number is any number.
    pub(crate) fn handle_failure(&mut self, now: Instant, random: u64) -> Verdict {
        match self.strategy {
            Supervision::Stop => Verdict::Stop,
            Supervision::Resume => Verdict::Resume,
            Supervision::Escalate => Verdict::Escalate,
            Supervision::Restart(how) => self.restart(how, now, random),
        }
    }

    fn restart(&mut self, how: Restarts, now: Instant, random: u64) -> Verdict {
        let is_old = |then: &Instant| now.saturating_since(*then) >= how.within;
        while self.restarts.front().is_some_and(is_old) {
            self.restarts.pop_front();
        }
        let count = self.restarts.len();
        let most = how.at_most.map_or(REMEMBERED, usize::from);
        if count >= most {
            match how.at_most {
                Some(_) if how.escalates => return Verdict::Escalate,
                Some(_) => return Verdict::Stop,
                None => {
                    self.restarts.pop_front();
                }
            }
        }
        self.restarts.push_back(now);
        let after = jittered(pause(how, count), random);
        Verdict::Restart { after }
    }
}

/// The pause after so many restarts.
fn pause(how: Restarts, count: usize) -> Duration {
    let doublings = u32::try_from(count).unwrap_or(u32::MAX).min(31);
    let pause = how.pause_min.saturating_mul(1 << doublings);
    pause.min(how.pause_max.max(how.pause_min))
}

/// The same and up to a fifth of it.
fn jittered(pause: Duration, random: u64) -> Duration {
    let parts = u32::try_from(random % 1024).unwrap_or_default();
    pause.saturating_add((pause / 5 / 1024).saturating_mul(parts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn what_needs_no_memory_is_decided_the_same_each_time() {
        for (strategy, verdict) in [
            (Supervision::Stop, Verdict::Stop),
            (Supervision::Resume, Verdict::Resume),
            (Supervision::Escalate, Verdict::Escalate),
        ] {
            let mut supervisor = Supervisor::new(strategy);
            (0..100).for_each(|ms| assert_eq!(supervisor.handle_failure(at(ms), ms), verdict));
        }
        assert_eq!(Supervision::default(), Supervision::Stop);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_behind_the_window() {
        let how = Supervision::restart()
            .pauses(SECOND, 5 * SECOND)
            .at_most(4, 60 * SECOND)
            .then_escalate();
        let mut supervisor = Supervisor::new(how.into());
        let mut pause = |s: u64| supervisor.handle_failure(at(s * 1000), 0);
        let restart = |s: u32| Verdict::Restart { after: s * SECOND };
        assert_eq!([0, 1, 2, 3].map(&mut pause), [1, 2, 4, 5].map(restart));
        assert_eq!(pause(4), Verdict::Escalate, "the window has four");
        assert_eq!(pause(60), restart(5), "the first is out of it");
        assert_eq!(pause(200), restart(1), "so are all");
    }

    #[test]
    fn one_over_the_restarts_ends_and_none_is_too_many_for_ever() {
        let how = Supervision::restart().at_most(3, SECOND);
        let mut bounded = Supervisor::new(how.into());
        let mut endless = Supervisor::new(how.for_ever().into());
        for _ in 0..3 {
            assert!(matches!(
                bounded.handle_failure(at(1), 1),
                Verdict::Restart { .. }
            ));
        }
        assert_eq!(bounded.handle_failure(at(1), 1), Verdict::Stop);
        for _ in 0..10_000 {
            assert!(matches!(
                endless.handle_failure(at(1), 1),
                Verdict::Restart { .. }
            ));
        }
        assert!(endless.restarts.len() <= REMEMBERED);
        let mut never = Supervisor::new(Supervision::restart().at_most(0, SECOND).into());
        assert_eq!(never.handle_failure(at(1), 1), Verdict::Stop);
    }

    proptest! {
        #[test]
        fn restarts_stay_within_their_bounds_whenever_failures_come(
            at_most in 0_u16..20,
            within in 1_u64..5000,
            (min, max) in (0_u64..1000, 0_u64..10_000),
            steps in prop::collection::vec((0_u64..1000, any::<u64>()), 1..200),
        ) {
            let how = Supervision::restart()
                .pauses(Duration::from_millis(min), Duration::from_millis(max))
                .at_most(at_most, Duration::from_millis(within));
            let mut supervisor = Supervisor::new(how.into());
            let (mut now, mut restarts) = (0, Vec::new());
            for (step, random) in steps {
                now += step;
                let recent = restarts.iter().filter(|then| now - **then < within).count();
                match supervisor.handle_failure(at(now), random) {
                    Verdict::Restart { after } => {
                        prop_assert!(recent < usize::from(at_most));
                        let longest = Duration::from_millis(max.max(min));
                        prop_assert!(after >= Duration::from_millis(min));
                        prop_assert!(after <= longest + longest / 5);
                        restarts.push(now);
                    }
                    Verdict::Stop => prop_assert_eq!(recent, usize::from(at_most)),
                    other => prop_assert!(false, "{:?}", other),
                }
                prop_assert!(supervisor.restarts.len() <= usize::from(at_most));
            }
        }
    }
}
