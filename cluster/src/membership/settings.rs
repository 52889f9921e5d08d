//! The settings of a membership, and what they may be.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::Address;

use super::configuration::Configuration;
use super::gossip::MEMBERS_MAX;
use super::roles::{RoleError, check_role};

/// The most seeds.
pub const SEEDS_MAX: usize = 64;

/// The settings of a membership. All times have defaults that suit a cluster in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What has to be the same on all members.
    pub configuration: Configuration,
    /// Whether a node whose configuration differs keeps out: yes. If not, it joins nevertheless and
    /// says so, and asks that of nobody else: for as long as a cluster goes from one configuration
    /// to another, member by member. What its members decide by must not differ then either: with
    /// two strategies two sides may go on.
    pub enforces_configuration: bool,
    /// The time between two rounds in which views are compared, changed or not: 1 s. Shorter costs
    /// traffic; longer, what was lost on the way is found out later.
    pub gossip_interval: Duration,
    /// A changed view is passed on at once, but not more often than this in a cluster of up to 16;
    /// in proportion in larger ones: 40 ms. Shorter costs traffic while much changes.
    pub push_interval: Duration,
    /// To how many members a changed view is passed on: 3. Fewer slows its spread, more costs
    /// traffic.
    pub push_fanout: usize,
    /// The leader looks for what it has to do with each change, and this often besides: 1 s.
    pub leader_interval: Duration,
    /// The time between two questions to a seed: 200 ms, and five times as long after
    /// [`seed_timeout`](Self::seed_timeout).
    pub ask_interval: Duration,
    /// A seed of which this many dials were refused counts as not there: 3 ...
    pub refusals: u32,
    /// ... if there is this much time between the first and the last: 1 s. Too short, and a host
    /// that starts its nodes one after the other gets two clusters.
    pub refusals_span: Duration,
    /// The first seed founds a cluster when the others were silent for so long, unless it remembers
    /// one: 5 s. Too short, and seeds behind a slow network get two clusters.
    pub seed_timeout: Duration,
    /// Whoever was asked to let this node in is asked again after this time: 500 ms ...
    pub join_retry: Duration,
    /// ... and given up for another after this: 5 s.
    pub join_timeout: Duration,
    /// The time between two events that say whose answers are waited for: 10 s.
    pub waiting_interval: Duration,
    /// Nodes that join while not all members can be reached may work after this time: 7 s; `None`:
    /// never.
    pub weakly_up_after: Option<Duration>,
    /// So many nodes have to be there before any becomes a member in full: 1.
    pub members_min: usize,
    /// The same among those with a role. None.
    pub members_min_of_role: BTreeMap<Box<str>, usize>,
    /// How long the work of this node may go on after all know that it leaves: 10 s.
    pub exit_timeout: Duration,
    /// How long a node that has ended its work waits to be told that it was removed: 3 s.
    pub removal_timeout: Duration,
    /// A node that left is quarantined this long after: 5 s. What it had sent arrives until then.
    pub quarantine_delay: Duration,
    /// A node that was removed and does not know is told so this often at most: 1 s.
    pub removed_interval: Duration,
    /// Whether members are remembered over restarts: no.
    pub remembers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configuration: Configuration::default(),
            enforces_configuration: true,
            gossip_interval: Duration::from_secs(1),
            push_interval: Duration::from_millis(40),
            push_fanout: 3,
            leader_interval: Duration::from_secs(1),
            ask_interval: Duration::from_millis(200),
            refusals: 3,
            refusals_span: Duration::from_secs(1),
            seed_timeout: Duration::from_secs(5),
            join_retry: Duration::from_millis(500),
            join_timeout: Duration::from_secs(5),
            waiting_interval: Duration::from_secs(10),
            weakly_up_after: Some(Duration::from_secs(7)),
            members_min: 1,
            members_min_of_role: BTreeMap::new(),
            exit_timeout: Duration::from_secs(10),
            removal_timeout: Duration::from_secs(3),
            quarantine_delay: Duration::from_secs(5),
            removed_interval: Duration::from_secs(1),
            remembers: false,
        }
    }
}

/// Why settings are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A time is too short or too long.
    #[error("{name} is {value:?}, and may be from {least:?} to {most:?}")]
    Time {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A number is too low or too high.
    #[error("{name} is {value}, and may be from 1 to {most}")]
    Number {
        /// Which.
        name: &'static str,
        /// What it is.
        value: usize,
        /// The highest.
        most: usize,
    },
    /// A number with a fraction is too low, too high or none.
    #[error("{name} is {value}, and may be from {least} to {most}")]
    Fraction {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Box<str>,
        /// The lowest.
        least: Box<str>,
        /// The highest.
        most: Box<str>,
    },
    /// A text is no role.
    #[error("{name}: {error}")]
    Role {
        /// Where it stands.
        name: &'static str,
        /// What is wrong with it.
        error: RoleError,
    },
    /// A time has to be shorter than another.
    #[error("{shorter} has to be shorter than {longer}")]
    Order {
        /// Which.
        shorter: &'static str,
        /// Than which.
        longer: &'static str,
    },
}

/// The shortest time that any setting may be, unless it may be none at all.
pub(crate) const LEAST: Duration = Duration::from_millis(1);
/// The longest of most.
const MOST: Duration = Duration::from_secs(60 * 60);

impl Settings {
    /// What others may keep this node out by, and it them: nothing if that is not enforced.
    pub(super) fn compared(&self) -> Configuration {
        match self.enforces_configuration {
            true => self.configuration.clone(),
            false => Configuration::default(),
        }
    }

    /// Checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.times()
            .into_iter()
            .try_for_each(|it| check_time(it, LEAST))?;
        check_number("push_fanout", self.push_fanout, 16)?;
        check_number("refusals", self.refusals as usize, 100)?;
        check_number("members_min", self.members_min, MEMBERS_MAX)?;
        for (role, least) in &self.members_min_of_role {
            let name = "members_min_of_role";
            check_number(name, *least, MEMBERS_MAX)?;
            check_role(role).map_err(|error| SettingsError::Role { name, error })?;
        }
        let order = |shorter, a: Duration, longer, b: Duration| {
            let error = SettingsError::Order { shorter, longer };
            (a < b).then_some(()).ok_or(error)
        };
        let asks = self.ask_interval;
        order("ask_interval", asks, "seed_timeout", self.seed_timeout)?;
        let retry = self.join_retry;
        order("join_retry", retry, "join_timeout", self.join_timeout)
    }

    fn times(&self) -> [(&'static str, Duration); 14] {
        [
            ("gossip_interval", self.gossip_interval),
            ("push_interval", self.push_interval),
            ("leader_interval", self.leader_interval),
            ("ask_interval", self.ask_interval),
            ("refusals_span", self.refusals_span),
            ("seed_timeout", self.seed_timeout),
            ("join_retry", self.join_retry),
            ("join_timeout", self.join_timeout),
            ("waiting_interval", self.waiting_interval),
            ("weakly_up_after", self.weakly_up_after.unwrap_or(MOST)),
            ("exit_timeout", self.exit_timeout),
            ("removal_timeout", self.removal_timeout),
            ("quarantine_delay", self.quarantine_delay),
            ("removed_interval", self.removed_interval),
        ]
    }
}

/// Checks a time that may be no less than `least`, and an hour at most.
pub(crate) fn check_time(
    named: (&'static str, Duration),
    least: Duration,
) -> Result<(), SettingsError> {
    check_time_within(named, (least, MOST))
}

/// Checks a time against its range.
pub(crate) fn check_time_within(
    (name, value): (&'static str, Duration),
    (least, most): (Duration, Duration),
) -> Result<(), SettingsError> {
    let error = SettingsError::Time {
        name,
        value,
        least,
        most,
    };
    let is_good = (least..=most).contains(&value);
    is_good.then_some(()).ok_or(error)
}

/// Checks a number that may be from 1 on.
pub(crate) fn check_number(
    name: &'static str,
    value: usize,
    most: usize,
) -> Result<(), SettingsError> {
    let is_good = (1..=most).contains(&value);
    let error = SettingsError::Number { name, value, most };
    is_good.then_some(()).ok_or(error)
}

/// Checks a number with a fraction.
pub(crate) fn check_fraction(
    name: &'static str,
    value: f64,
    (least, most): (f64, f64),
) -> Result<(), SettingsError> {
    // What is no number is in no range.
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let text = |number: f64| number.to_string().into();
    Err(SettingsError::Fraction {
        name,
        value: text(value),
        least: text(least),
        most: text(most),
    })
}

/// Checks that there are not too many seeds.
///
/// # Errors
/// [`SettingsError::Number`] if there are.
pub fn check_seeds(seeds: &[Address]) -> Result<(), SettingsError> {
    let (name, value, most) = ("seeds", seeds.len(), SEEDS_MAX);
    let error = SettingsError::Number { name, value, most };
    (value <= most).then_some(()).ok_or(error)
}

/// Seeds, each once, without this node itself; and whether it is the first, and so may found a
/// cluster. Without any it is alone, and may.
///
/// # Errors
/// [`SettingsError::Number`] if there are too many.
pub(super) fn seeds(
    own: &Address,
    seeds: &[Address],
) -> Result<(Vec<Address>, bool), SettingsError> {
    check_seeds(seeds)?;
    let is_first = seeds.first().is_none_or(|first| first == own);
    let mut others: Vec<Address> = Vec::new();
    for seed in seeds {
        if seed != own && !others.contains(seed) {
            others.push(seed.clone());
        }
    }
    Ok((others, is_first))
}

#[cfg(test)]
mod tests {
    use super::super::testing::node;
    use super::*;

    #[test]
    fn the_defaults_are_good_and_what_cannot_be_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let never = Settings {
            gossip_interval: Duration::ZERO,
            ..Settings::default()
        };
        let text = never.check().unwrap_err().to_string();
        assert!(text.starts_with("gossip_interval is 0ns"), "{text}");
        let late = Settings {
            ask_interval: Duration::from_secs(5),
            ..Settings::default()
        };
        assert!(matches!(late.check(), Err(SettingsError::Order { .. })));
        let most = Settings {
            members_min: MEMBERS_MAX + 1,
            ..Settings::default()
        };
        assert!(matches!(most.check(), Err(SettingsError::Number { .. })));
    }

    #[test]
    fn each_seed_counts_once_and_the_first_may_found() {
        let at = |number| node(number).address;
        let list = [at(1), at(2), at(1), at(2), at(3)];
        assert_eq!(seeds(&at(1), &list), Ok((vec![at(2), at(3)], true)));
        assert_eq!(seeds(&at(2), &list), Ok((vec![at(1), at(3)], false)));
        assert_eq!(seeds(&at(9), &[]), Ok((vec![], true)));
        assert_eq!(seeds(&at(9), &[at(9)]), Ok((vec![], true)));
    }

    #[test]
    fn one_over_the_seeds_max_is_refused() {
        let at: Vec<Address> = (1..=SEEDS_MAX as u64 + 1)
            .map(|it| node(it).address)
            .collect();
        assert!(seeds(&at[0], &at[1..]).is_ok());
        assert!(seeds(&at[0], &at).is_err());
    }
}
