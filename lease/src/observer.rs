//! Since when something has stayed as it is, as far as one observer saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_cluster::lease::LeaseName;

use crate::LEASES_MAX;
use crate::clock::Clock;

/// Finds out that a holder is gone, without trusting that two clocks agree: a holder that is there
/// changes its record within its time to live, and whoever watches counts that time itself, from
/// when it first saw the record as it is. That is never before the holder counts from, who begins
/// before it asks.
///
/// The method of Kubernetes' own leader election.
#[derive(Debug)]
pub(crate) struct Observer {
    clock: Arc<dyn Clock>,
    seen: BTreeMap<LeaseName, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// What changes whenever its holder does anything.
    mark: String,
    at: Duration,
}

impl Observer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            seen: BTreeMap::new(),
        }
    }

    /// Whether a record has stayed as `mark` shows for `time`. It has been read before this is
    /// called.
    pub(crate) fn has_stayed(&mut self, name: &LeaseName, mark: String, time: Duration) -> bool {
        let now = self.clock.now();
        match self.seen.get_mut(name) {
            Some(seen) if seen.mark == mark => now.saturating_sub(seen.at) >= time,
            Some(seen) => {
                *seen = Seen { mark, at: now };
                false
            }
            None => {
                self.make_room();
                let name = name.clone();
                self.seen.insert(name, Seen { mark, at: now });
                false
            }
        }
    }

    /// What is held by whoever watches, or by nobody, is not watched.
    pub(crate) fn forget(&mut self, name: &LeaseName) {
        self.seen.remove(name);
    }

    /// Forgets what changed last longest ago, if there is no room: it is watched anew when somebody
    /// asks for it again, and so is taken over later, never sooner.
    fn make_room(&mut self) {
        if self.seen.len() < LEASES_MAX {
            return;
        }
        let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.at);
        let oldest = oldest.map(|(name, _)| name.clone());
        if let Some(name) = oldest {
            self.seen.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const TIME: Duration = Duration::from_secs(10);

    fn observer() -> (Observer, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Observer::new(Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn name(text: &str) -> LeaseName {
        LeaseName::new(text).unwrap()
    }

    #[test]
    fn the_time_runs_from_the_last_change_that_was_seen() {
        let (mut observer, clock) = observer();
        let shop = name("shop");
        let mut looks = |mark: &str| observer.has_stayed(&shop, mark.to_owned(), TIME);
        assert!(!looks("a"));
        clock.pass(TIME - Duration::from_nanos(1));
        assert!(!looks("a"));
        clock.pass(Duration::from_nanos(1));
        assert!(looks("a"));
        assert!(!looks("b"), "it was renewed after all");
        clock.pass(TIME);
        assert!(looks("b"));
        assert!(!looks("a"), "back is a change too");
    }

    #[test]
    fn what_was_forgotten_is_watched_anew() {
        let (mut observer, clock) = observer();
        let shop = name("shop");
        assert!(!observer.has_stayed(&shop, "a".to_owned(), TIME));
        clock.pass(TIME);
        observer.forget(&shop);
        assert!(!observer.has_stayed(&shop, "a".to_owned(), TIME));
    }

    #[test]
    fn one_over_the_leases_max_costs_the_one_that_was_seen_first() {
        let (mut observer, clock) = observer();
        for number in 0..=LEASES_MAX {
            let each = name(&format!("shop-{number}"));
            assert!(!observer.has_stayed(&each, "a".to_owned(), TIME));
            clock.pass(Duration::from_nanos(1));
        }
        assert_eq!(observer.seen.len(), LEASES_MAX);
        clock.pass(TIME);
        assert!(!observer.has_stayed(&name("shop-0"), "a".to_owned(), TIME));
        assert!(observer.has_stayed(&name("shop-2"), "a".to_owned(), TIME));
    }
}
