//! How patient the resolver is.

use std::time::Duration;

use crate::membership::settings::{LEAST, SettingsError, check_number, check_time_within};

/// The longest wait: whoever would have none decided waits for ever in effect.
pub(super) const MOST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The most rounds that a vote may be given.
const ROUNDS_MAX: usize = 1000;

/// How patient a [`Resolver`](super::Resolver) is. All members should be equally so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverSettings {
    /// How long nothing may change before it decides; `None` takes a time that grows with the
    /// cluster, see [`stable_after`]. Less decides on news that have not reached all members yet;
    /// more leaves them without a decision.
    pub stable_after: Option<Duration>,
    /// The same where every lost member's host refuses connections, so that nobody waits for what
    /// cannot come. `None` never decides sooner.
    pub fast_stable_after: Option<Duration>,
    /// What happens if things keep changing for so long that nothing is decided.
    pub unstable_after: Unstable,
    /// The time between two rounds of a vote.
    pub round: Duration,
    /// Rounds of a vote, after which it is given up and the time above begins again.
    pub rounds_max: u32,
}

/// What happens while things keep changing and nothing is decided, with strategies that are not
/// voted.
///
/// Where what a side sees is enough, all members go down then: two sides that see different things
/// could both go on. With a lease they could not, whatever they see, and all sides have paused what
/// is done once in a cluster: so it is asked for then without waiting any longer, by what is seen
/// at that moment. At worst more are given up than would have had to. Only if that comes to nothing
/// either, for twice as long as the lease is asked for at a time, do all members go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstable {
    /// After three quarters of the time for a decision, 4 seconds at least, on top of that.
    DownAll,
    /// After this time on top of that for a decision.
    DownAllAfter(Duration),
    /// It is waited for as long as it takes.
    Wait,
}

impl Default for ResolverSettings {
    /// A time that grows with the cluster, 1.5 seconds where hosts refuse connections, and votes of
    /// ten rounds a second apart.
    fn default() -> Self {
        Self {
            stable_after: None,
            fast_stable_after: Some(Duration::from_millis(1500)),
            unstable_after: Unstable::DownAll,
            round: Duration::from_secs(1),
            rounds_max: 10,
        }
    }
}

impl ResolverSettings {
    /// How long nothing may change in a cluster of so many members.
    pub fn stable_after(&self, members: usize) -> Duration {
        self.stable_after.unwrap_or_else(|| stable_after(members))
    }

    /// Checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        let unstable = match self.unstable_after {
            Unstable::DownAllAfter(time) => Some(time),
            Unstable::DownAll | Unstable::Wait => None,
        };
        let times = [
            ("resolver.stable_after", self.stable_after),
            ("resolver.fast_stable_after", self.fast_stable_after),
            ("resolver.unstable_after", unstable),
            ("resolver.round", Some(self.round)),
        ];
        for (name, time) in times {
            check_time_within((name, time.unwrap_or(LEAST)), (LEAST, MOST))?;
        }
        check_number("resolver.rounds_max", self.rounds_max as usize, ROUNDS_MAX)
    }

    /// How long after the first loss things have kept changing for too long.
    pub(super) fn unstable_after(&self, members: usize) -> Option<Duration> {
        let stable_after = self.stable_after(members);
        match self.unstable_after {
            Unstable::DownAll => {
                Some(stable_after + (stable_after * 3 / 4).max(Duration::from_secs(4)))
            }
            Unstable::DownAllAfter(time) => Some(stable_after + time),
            Unstable::Wait => None,
        }
    }
}

/// How long nothing may change before a cluster of so many members decides: as long as news takes
/// to reach them all, with room.
///
/// Source: Akka's recommendation, from 7 seconds for 5 members to 30 for 1,000, each for all sizes
/// up to the one it names.
pub fn stable_after(members: usize) -> Duration {
    let seconds = match members {
        0..=5 => 7,
        6..=10 => 10,
        11..=20 => 13,
        21..=50 => 17,
        51..=100 => 20,
        _ => 30,
    };
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_grows_with_the_cluster_and_is_rounded_up() {
        let steps = [
            (1, 7),
            (5, 7),
            (6, 10),
            (10, 10),
            (11, 13),
            (50, 17),
            (51, 20),
            (1000, 30),
        ];
        for (members, seconds) in steps {
            assert_eq!(
                stable_after(members),
                Duration::from_secs(seconds),
                "{members}"
            );
        }
        assert!((1..2000).is_sorted_by_key(stable_after));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = ResolverSettings::default();
        assert_eq!(good.check(), Ok(()));
        let never = ResolverSettings {
            stable_after: None,
            fast_stable_after: None,
            unstable_after: Unstable::Wait,
            ..good
        };
        assert_eq!(never.check(), Ok(()));
        let zero = Some(Duration::ZERO);
        let wrong = [
            ResolverSettings {
                stable_after: zero,
                ..good
            },
            ResolverSettings {
                fast_stable_after: zero,
                ..good
            },
            ResolverSettings {
                unstable_after: Unstable::DownAllAfter(MOST + LEAST),
                ..good
            },
            ResolverSettings {
                round: Duration::ZERO,
                ..good
            },
            ResolverSettings {
                rounds_max: 0,
                ..good
            },
        ];
        let names = [
            "stable_after",
            "fast_stable_after",
            "unstable_after",
            "round",
            "rounds_max",
        ];
        for (settings, name) in wrong.iter().zip(names) {
            let text = settings.check().expect_err("it cannot be").to_string();
            assert!(text.starts_with(&format!("resolver.{name} is")), "{text}");
        }
    }

    #[test]
    fn all_go_down_after_three_quarters_more_but_not_within_four_seconds() {
        let settings = ResolverSettings::default();
        let after = |members| settings.unstable_after(members).expect("a time");
        assert_eq!(after(5), Duration::from_millis(7_000 + 5_250));
        let short = ResolverSettings {
            stable_after: Some(Duration::from_secs(2)),
            ..settings
        };
        assert_eq!(short.unstable_after(5), Some(Duration::from_secs(6)));
    }
}
