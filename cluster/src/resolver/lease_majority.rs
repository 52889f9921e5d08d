//! The side goes on that gets a lease.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_proto::address::Uid;

use super::settings::MOST;
use super::split::{Party, Split};
use super::strategy::{Authority, LeaseTerms, Strategy, Verdict};
use crate::lease::LeaseName;
use crate::membership::memory::Electorate;
use crate::membership::settings::{SettingsError, check_time_within};

/// The shortest time to live: whoever has a lease for less is about to lose it.
const TIME_TO_LIVE_MIN: Duration = Duration::from_secs(1);

/// The longest: if whoever has it dies, the others wait so long.
const TIME_TO_LIVE_MAX: Duration = Duration::from_secs(3600);

/// The side goes on that gets a lease from a store outside the cluster: the one with more members,
/// or of two equal halves that with the first by address, as a rule, for it asks first. Any other
/// side may, and does where the larger one is gone or does not reach the store.
///
/// Of two sides one goes on at most, whatever stands still, is late or fails, the store as well;
/// see [the room](super) for why. While the store is out of reach *no* side goes on: each asks for
/// as long as the store keeps what a dead member has, and a little more, and then goes down. Nor
/// does one if the lease passed through the hands of a member that is gone and told nobody what
/// came of it, which takes its death in the moment between being given the lease and giving up the
/// others.
///
/// Nobody knows which side it will be until one has the lease: so what may be done once in a
/// cluster [is done on none](super::Resolver::has_quorum) from when somebody is lost until that is
/// decided. For that reason it is not waited for ever that [things stop to
/// change](super::Unstable).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseMajority {
    /// Which lease. All members of a data centre name the same one, and those of others another.
    pub lease: LeaseTerms,
    /// How long a side that is not the larger one leaves the lease to that: 2 s. Less makes it a
    /// race; more has the smaller side wait longer where the larger one is gone.
    pub minority_delay: Duration,
    /// Only members with this role make a side the larger one; others go with the side they are
    /// on. If none has it, no side goes on.
    pub role: Option<Box<str>>,
}

impl LeaseMajority {
    /// One by the lease of that name, which is given for 15 s at a time and kept for 40 s.
    pub const fn new(name: LeaseName) -> Self {
        Self {
            lease: LeaseTerms {
                name,
                time_to_live: Duration::from_secs(15),
                release_after: Duration::from_secs(40),
            },
            minority_delay: Duration::from_secs(2),
            role: None,
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        let lease = &self.lease;
        let within = (TIME_TO_LIVE_MIN, TIME_TO_LIVE_MAX);
        check_time_within(("lease.time_to_live", lease.time_to_live), within)?;
        let within = (Duration::ZERO, MOST);
        check_time_within(("lease.release_after", lease.release_after), within)?;
        check_time_within(("lease.minority_delay", self.minority_delay), within)
    }

    fn takes_part(&self, party: &Party) -> bool {
        let role = self.role.as_deref();
        role.is_none_or(|role| party.member.roles().has(role))
    }

    /// Whether more are here than not, or half of them, the first by address among them.
    fn is_larger(&self, split: &Split) -> bool {
        let mut counted = split.counted().filter(|it| self.takes_part(it)).peekable();
        let has_first = counted.peek().is_some_and(|it| it.stays());
        let (here, there): (Vec<&Party>, Vec<&Party>) = counted.partition(|it| it.stays());
        here.len() > there.len() || (here.len() == there.len() && has_first)
    }
}

impl Strategy for LeaseMajority {
    fn name(&self) -> &'static str {
        "lease-majority"
    }

    fn authority(&self) -> Authority<'_> {
        Authority::Lease(&self.lease)
    }

    fn hesitation(&self, split: &Split) -> Duration {
        match self.is_larger(split) {
            true => Duration::ZERO,
            false => self.minority_delay,
        }
    }

    fn decide(&self, split: &Split, _: &BTreeSet<Uid>) -> Verdict {
        if !self.is_viable(split) {
            Verdict::Leave("no member has the role")
        } else if split.speaker().is_none() {
            Verdict::Leave("no member in full is here")
        } else {
            Verdict::Stay
        }
    }

    fn is_viable(&self, split: &Split) -> bool {
        split.counted().any(|it| self.takes_part(it))
    }

    /// Fewer than half may have gone on, by the lease, so all that are remembered have to agree to
    /// another cluster. The lease itself says nothing of that: it is held for a while only, and
    /// whoever went on by it goes on without.
    fn electorate(&self) -> Electorate {
        Electorate::Anybody
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Status;
    use crate::membership::reachability::Reason;
    use crate::membership::testing::{View, uid};

    fn keep(role: Option<&str>) -> LeaseMajority {
        let name = LeaseName::new("some").expect("a name");
        LeaseMajority {
            role: role.map(Into::into),
            ..LeaseMajority::new(name)
        }
    }

    #[test]
    fn the_larger_side_asks_first_and_of_two_halves_that_with_the_first_by_address() {
        let hesitates = |lost: &[u64], role: Option<&str>| {
            let members = [1, 2, 3, 4].map(|number| (number, Status::Up));
            let mut view = View::of(&members);
            let here = (1..=4).find(|it| !lost.contains(it)).expect("somebody");
            for number in lost {
                view.accuse(here, *number, Reason::Silence);
            }
            view.gossip_mut().touch(uid(here));
            let split = Split::of(view.gossip(), uid(here)).expect("a member");
            let strategy = keep(role);
            let stays = strategy.decide(&split, &BTreeSet::new()) == Verdict::Stay;
            (stays, !strategy.hesitation(&split).is_zero())
        };
        assert_eq!(hesitates(&[3, 4], None), (true, false));
        assert_eq!(hesitates(&[1, 2], None), (true, true));
        assert_eq!(hesitates(&[1], None), (true, false));
        assert_eq!(hesitates(&[1, 2, 3], None), (true, true));
        assert!(!hesitates(&[4], Some("back")).0, "nobody has it");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(keep(None).check(), Ok(()));
        let short = Duration::from_millis(999);
        let mut wrong = [keep(None), keep(None), keep(None)];
        wrong[0].lease.time_to_live = short;
        wrong[1].lease.release_after = MOST + short;
        wrong[2].minority_delay = MOST + short;
        let names = ["time_to_live", "release_after", "minority_delay"];
        for (strategy, name) in wrong.iter().zip(names) {
            let text = strategy.check().expect_err("it cannot be").to_string();
            assert!(text.starts_with(&format!("lease.{name} is")), "{text}");
        }
    }
}
