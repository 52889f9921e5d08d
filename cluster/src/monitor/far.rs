//! Who watches whom between data centres: those who speak for one those who speak for every other.
//!
//! They are more patient than the ring, and what they say keeps nobody waiting: it tells whether a
//! data centre is there at all. So no node has more than [`SPEAKERS`] links for this with each of
//! the others. Source: Akka Cluster, whose members once active here never rest again, and stop
//! watching the wrong ones.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_proto::address::NodeId;

use super::subject::Subject;
use super::{Monitor, MonitorOutput};
use crate::detector::Judge;
use crate::membership::convergence::Part;
#[cfg(doc)]
use crate::membership::data_centres::SPEAKERS;
use crate::membership::data_centres::speakers;
use crate::membership::settings::{LEAST, SettingsError, check_time};
use crate::membership::{Gossip, Member};

/// How closely those who speak for a data centre watch those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarSettings {
    /// The time between two heartbeats: 3 s. Less notices sooner that a data centre is cut off, and
    /// costs traffic on lines that are dear.
    pub interval: Duration,
    /// How long one may be silent on top of that: 10 s. Too little, and a line that is slow for a
    /// moment counts as cut.
    pub pause: Duration,
    /// One that has never answered is given this much more, for a link has to be made first: 1 s.
    pub first_answer: Duration,
}

impl Default for FarSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            pause: Duration::from_secs(10),
            first_answer: Duration::from_secs(1),
        }
    }
}

impl FarSettings {
    /// Checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_time(("monitor.far.interval", self.interval), LEAST)?;
        check_time(("monitor.far.pause", self.pause), Duration::ZERO)?;
        check_time(
            ("monitor.far.first_answer", self.first_answer),
            Duration::ZERO,
        )
    }

    /// How long one may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.interval + self.pause
    }

    /// How long after a member began to watch, or to be watched, all have heard of what was found:
    /// twice as long as it takes to find it.
    pub fn settling(&self) -> Duration {
        2 * (self.silence() + self.first_answer)
    }

    pub(super) fn subject(&self, node: NodeId) -> Subject {
        let silence = self.silence();
        let mut subject = Subject::new(node, &Judge::Deadline { silence });
        subject.is_far = true;
        subject.first_answer = self.first_answer;
        subject
    }
}

/// Whom `own` watches in other data centres.
pub(super) fn subjects_of(view: &Gossip, own: &Member) -> Vec<NodeId> {
    let home = own.roles().data_centre();
    let names = view.members().map(|it| it.roles().data_centre());
    let others: BTreeSet<&str> = names.filter(|name| *name != home).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let speaks = |it: &&Member| it.uid() == own.uid();
    if !speakers(Part::new(view, home).members()).iter().any(speaks) {
        return Vec::new();
    }
    let there = others
        .into_iter()
        .flat_map(|name| speakers(Part::new(view, name).members()));
    there.map(|it| it.node().clone()).collect()
}

impl Monitor {
    /// Whoever is not to be watched from here any more is not, and nothing is said of it: who
    /// speaks now is watched by those who do.
    pub(super) fn rest(&mut self, out: &mut Vec<MonitorOutput>) {
        let statuses = &self.statuses;
        self.subjects.retain(|uid, it| {
            let rests = it.is_far && !it.is_in_ring;
            if rests && it.is_accused() && statuses.contains_key(uid) {
                out.push(MonitorOutput::Clear { subject: *uid });
            }
            !rests
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Status;
    use crate::membership::testing::{View, uid};

    /// Eight members here, and seven in the east.
    fn view() -> View {
        let here: Vec<_> = (1..=8).map(|it| (it, Status::Up)).collect();
        let mut view = View::of(&here);
        (11..=17).for_each(|it| view.add_in("east", it, Status::Up));
        view
    }

    fn subjects(view: &View, own: u64) -> Vec<u64> {
        let own = view.gossip().member(uid(own)).expect("a member");
        let subjects = subjects_of(view.gossip(), own);
        subjects.into_iter().map(|it| it.uid.as_u64()).collect()
    }

    #[test]
    fn one_over_the_speakers_neither_watches_nor_is_watched() {
        let view = view();
        for own in 1..=8 {
            let expected: &[u64] = if own <= 5 { &[11, 12, 13, 14, 15] } else { &[] };
            assert_eq!(subjects(&view, own), expected);
        }
    }

    #[test]
    fn who_goes_is_followed_by_the_next_oldest_on_both_sides() {
        let mut view = view();
        view.set(2, Status::Down);
        view.set(13, Status::Down);
        assert_eq!(subjects(&view, 6), [11, 12, 14, 15, 16]);
        assert_eq!(subjects(&view, 16), [1, 3, 4, 5, 6]);
    }

    #[test]
    fn who_was_never_up_speaks_for_nobody() {
        let mut view = View::of(&[(1, Status::Up)]);
        view.add_in("east", 11, Status::Joining);
        view.add_in("west", 12, Status::Up);
        assert_eq!(subjects(&view, 1), [12]);
        assert_eq!(subjects(&view, 11), [] as [u64; 0]);
    }

    #[test]
    fn each_time_between_data_centres_has_a_range() {
        let good = FarSettings::default();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.settling(), Duration::from_secs(28));
        let long = Duration::from_secs(3601);
        let wrong = [
            FarSettings {
                interval: Duration::ZERO,
                ..good
            },
            FarSettings {
                pause: long,
                ..good
            },
            FarSettings {
                first_answer: long,
                ..good
            },
        ];
        for (settings, name) in wrong.iter().zip(["interval", "pause", "first_answer"]) {
            let text = settings.check().expect_err("it cannot be").to_string();
            assert!(
                text.starts_with(&format!("monitor.far.{name} is")),
                "{text}"
            );
        }
    }
}
