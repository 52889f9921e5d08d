use std::collections::BTreeMap;

use super::*;
use crate::membership::Status;
use crate::membership::reachability::Witness;
use crate::membership::testing::{View, node, uid};

mod far;
mod hostile;
mod times;

const SECOND: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// What a member said of others, or of itself.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Accused(u64, Record),
    Cleared(u64),
    Stalled(Duration),
}

/// Monitors in virtual time; each message takes a millisecond.
struct World {
    now: u64,
    view: View,
    monitors: BTreeMap<u64, Monitor>,
    /// Members that do not run now.
    away: Vec<u64>,
    /// From whom nothing comes through to whom.
    cut: Vec<(u64, u64)>,
    wires: Vec<(u64, u64, u64, Vec<u8>)>,
    said: Vec<(u64, u64, Said)>,
    /// Who tried whom over another connection, and when.
    probed: Vec<(u64, u64, u64)>,
    bytes: usize,
}

impl World {
    fn of(members: u64) -> Self {
        let list: Vec<_> = (1..=members).map(|it| (it, Status::Up)).collect();
        let monitor = |it| (it, Monitor::new(MonitorSettings::default(), uid(it)));
        let mut world = Self {
            now: 10_000,
            view: View::of(&list),
            monitors: (1..=members).map(monitor).collect(),
            away: Vec::new(),
            cut: Vec::new(),
            wires: Vec::new(),
            said: Vec::new(),
            probed: Vec::new(),
            bytes: 0,
        };
        world.spread();
        world
    }

    /// All take the view as it is.
    fn spread(&mut self) {
        for number in self.numbers() {
            self.tell(number, |monitor, now, view, out| {
                monitor.handle_view(now, view, out)
            });
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.monitors.keys().copied().collect()
    }

    fn tell(
        &mut self,
        number: u64,
        input: impl FnOnce(&mut Monitor, Instant, &Gossip, &mut Vec<MonitorOutput>),
    ) {
        let mut out = Vec::new();
        let monitor = self.monitors.get_mut(&number).expect("a monitor");
        input(monitor, at(self.now), self.view.gossip(), &mut out);
        for output in out {
            let said = match output {
                MonitorOutput::Send { to, body } => {
                    self.bytes += body.len();
                    let to = to.uid.as_u64();
                    self.wires.push((self.now + 1, number, to, body));
                    continue;
                }
                MonitorOutput::Accuse { subject, record } => {
                    Said::Accused(subject.as_u64(), record)
                }
                MonitorOutput::Clear { subject } => Said::Cleared(subject.as_u64()),
                MonitorOutput::Stalled { gap } => Said::Stalled(gap),
                MonitorOutput::Probe { node } => {
                    let subject = node.uid.as_u64();
                    self.probed.push((self.now, number, subject));
                    continue;
                }
            };
            self.said.push((self.now, number, said));
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 1;
            let (due, later) = self.wires.drain(..).partition(|wire| wire.0 <= self.now);
            self.wires = later;
            for (_, from, to, body) in due {
                if self.cut.contains(&(from, to)) || !self.monitors.contains_key(&to) {
                    continue;
                }
                if self.away.contains(&to) {
                    self.wires.push((self.now + 1, from, to, body));
                    continue;
                }
                self.tell(to, |monitor, now, _, out| {
                    let taken = monitor.handle_message(now, &node(from), &body, out);
                    assert_eq!(taken, Ok(()));
                });
            }
            for number in self.numbers() {
                let due = self.monitors[&number].poll_timeout();
                if due.is_some_and(|due| due <= at(self.now)) && !self.away.contains(&number) {
                    self.tell(number, |monitor, now, _, out| {
                        monitor.handle_timeout(now, out)
                    });
                    let due = self.monitors[&number].poll_timeout();
                    assert!(due.is_none_or(|due| due > at(self.now)));
                }
            }
        }
    }

    /// What was said since this was last asked.
    fn said(&mut self) -> Vec<(u64, u64, Said)> {
        std::mem::take(&mut self.said)
    }

    /// Who accused whom for which reason, and when.
    fn accusations(&mut self) -> Vec<(u64, u64, u64, Reason)> {
        let said = self.said().into_iter();
        let accusations = said.map(|(when, by, said)| match said {
            Said::Accused(subject, record) => (when, by, subject, record.reason),
            other => panic!("{by} said {other:?} at {when}"),
        });
        accusations.collect()
    }
}

#[test]
fn nobody_is_accused_while_all_answer() {
    let mut world = World::of(5);
    world.run(120_000);
    assert_eq!(world.said(), []);
    let monitor = &world.monitors[&1];
    assert_eq!(monitor.round_trip(uid(2)), Some(Duration::from_millis(2)));
    assert!(monitor.suspicion(at(world.now), uid(2)) < Some(1.0));
    assert_eq!(monitor.ignored(), 0);
}

#[test]
fn a_member_that_stops_is_accused_by_all_in_three_and_a_half_to_six_and_a_half_seconds() {
    for phase in [0, 300, 600, 900] {
        let mut world = World::of(5);
        world.run(60_000 + phase);
        world.away = vec![5];
        let stopped = world.now;
        world.run(7_000);
        let accusations = world.accusations();
        let by: Vec<u64> = accusations.iter().map(|it| it.1).collect();
        assert_eq!(by.len(), 4, "{by:?}");
        for (when, _, subject, reason) in accusations {
            assert_eq!((subject, reason), (5, Reason::Silence));
            assert!(
                (3_500..=6_500).contains(&(when - stopped)),
                "{}",
                when - stopped
            );
        }
    }
}

#[test]
fn a_member_that_never_answers_is_accused_too() {
    let mut world = World::of(3);
    world.away = vec![3];
    world.run(8_000);
    let accusations = world.accusations();
    assert_eq!(accusations.len(), 2);
    assert!(accusations.iter().all(|it| it.2 == 3), "{accusations:?}");
}

#[test]
fn whoever_answers_again_is_cleared_by_each_that_accused_it() {
    let mut world = World::of(4);
    world.run(30_000);
    world.cut = (1..4).flat_map(|it| [(it, 4), (4, it)]).collect();
    world.run(10_000);
    let accused = world.accusations();
    assert_eq!(accused.len(), 6, "each side accuses the other");
    world.cut.clear();
    world.run(3_000);
    let cleared = world.said();
    assert_eq!(cleared.len(), 6);
    assert!(
        cleared.iter().all(|it| matches!(it.2, Said::Cleared(_))),
        "{cleared:?}"
    );
    world.run(60_000);
    assert_eq!(world.said(), []);
}

#[test]
fn others_that_hear_a_member_are_named_in_the_accusation_and_do_not_suppress_it() {
    let mut world = World::of(5);
    world.run(30_000);
    world.cut = vec![(5, 1)];
    world.run(8_000);
    let said = world.said();
    // Neither gets an answer of the other: one lacks the questions, one the answers.
    let [
        (_, 1, Said::Accused(5, record)),
        (_, 5, Said::Accused(1, _)),
    ] = &said[..]
    else {
        panic!("{said:?}");
    };
    let hears = |observer| Witness {
        observer: uid(observer),
        hears: true,
    };
    assert_eq!(record.witnesses, [hears(2), hears(3), hears(4)]);
    assert_eq!(record.reason, Reason::Silence);
}

#[test]
fn an_accusation_waits_for_no_witness_longer_than_it_may() {
    let when = |cut: Vec<(u64, u64)>| {
        let mut world = World::of(5);
        world.run(30_000);
        world.cut = cut;
        world.run(8_000);
        let said = world.accusations();
        said.iter()
            .find(|it| (it.1, it.2) == (1, 5))
            .expect("it is accused")
            .0
    };
    let with = when(vec![(5, 1)]);
    let without = when(vec![(5, 1), (2, 1), (3, 1), (4, 1)]);
    assert!(
        without >= with && without - with <= 750,
        "{with} and {without}"
    );
}

#[test]
fn evidence_of_a_crash_accuses_at_once_and_whatever_comes_takes_it_back() {
    let mut world = World::of(3);
    world.run(10_000);
    world.tell(1, |it, now, _, out| it.handle_crashed(now, uid(3), out));
    let refused = Record {
        reason: Reason::Refused,
        witnesses: Vec::new(),
    };
    assert_eq!(world.said(), [(20_000, 1, Said::Accused(3, refused))]);
    world.tell(1, |it, now, _, out| it.handle_heard(now, uid(3), out));
    assert_eq!(world.said(), [(20_000, 1, Said::Cleared(3))]);
    world.tell(1, |it, now, _, out| it.handle_heard(now, uid(3), out));
    world.run(5_000);
    assert_eq!(world.said(), []);
}

#[test]
fn who_leaves_is_not_accused_for_ending_its_connections() {
    for status in [Status::Leaving, Status::Exiting] {
        let mut world = World::of(3);
        world.run(10_000);
        world.tell(1, |it, now, _, out| it.handle_crashed(now, uid(3), out));
        assert_eq!(world.said().len(), 1);
        world.view.set(3, Status::Leaving);
        if status == Status::Exiting {
            world.view.set(3, Status::Exiting);
        }
        world.spread();
        assert_eq!(world.said(), [(20_000, 1, Said::Cleared(3))]);
        world.tell(2, |it, now, _, out| it.handle_crashed(now, uid(3), out));
        assert_eq!(world.said(), []);
        // Its silence is noticed as anybody's.
        world.away = vec![3];
        world.run(8_000);
        assert_eq!(world.accusations().len(), 2);
    }
}

#[test]
fn a_final_reason_is_never_taken_back() {
    let mut world = World::of(3);
    world.run(10_000);
    world.tell(1, |it, now, _, out| {
        it.handle_lost(now, uid(3), Reason::Quarantined, out)
    });
    world.tell(1, |it, now, _, out| {
        it.handle_lost(now, uid(3), Reason::Restarted, out)
    });
    world.run(5_000);
    let accusations = world.accusations();
    assert_eq!(accusations, [(20_000, 1, 3, Reason::Quarantined)]);
}

#[test]
fn a_node_that_was_away_says_so_and_accuses_nobody_for_it() {
    for away in [1_500, 5_000, 3_600_000] {
        let mut world = World::of(3);
        world.run(30_000);
        // The others do not run either, so that nobody is silent but by the clock.
        world.wires.clear();
        world.now += away;
        world.run(20_000);
        let said = world.said();
        assert_eq!(said.len(), 3, "{said:?}");
        for (_, _, said) in said {
            let Said::Stalled(gap) = said else {
                panic!("{said:?}");
            };
            assert!(gap > SECOND && gap <= Duration::from_millis(away));
        }
    }
}

#[test]
fn a_node_that_comes_back_accuses_nobody_though_it_was_accused() {
    let mut world = World::of(4);
    world.run(30_000);
    world.away = vec![4];
    world.run(20_000);
    assert_eq!(world.accusations().len(), 3);
    world.away.clear();
    world.run(10_000);
    let said = world.said();
    let cleared = said.iter().filter(|it| it.2 == Said::Cleared(4)).count();
    let stalled = said
        .iter()
        .filter(|it| it.1 == 4 && matches!(it.2, Said::Stalled(_)));
    assert_eq!(
        (cleared, stalled.count(), said.len()),
        (3, 1, 4),
        "{said:?}"
    );
}

#[test]
fn a_member_whose_node_stalls_often_says_so_and_others_watch_in_its_place() {
    let mut world = World::of(30);
    world.run(5_000);
    let observed = |world: &World, subject: u64| {
        let watches = |it: &&u64| world.monitors[it].subjects().any(|it| it == uid(subject));
        world.numbers().iter().filter(watches).count()
    };
    let subjects: Vec<u64> = world.monitors[&7].subjects().map(Uid::as_u64).collect();
    assert!(subjects.iter().all(|it| observed(&world, *it) == SUBJECTS));
    for _ in 0..=STALLS {
        world.away = vec![7];
        world.run(2_500);
        world.away.clear();
        world.run(2_000);
    }
    assert!(world.monitors[&7].is_stalling(at(world.now)));
    world.run(2_000);
    assert!(
        subjects
            .iter()
            .all(|it| observed(&world, *it) == SUBJECTS + 1)
    );
    world.run(61_000);
    assert!(
        subjects.iter().all(|it| observed(&world, *it) == SUBJECTS),
        "it recovered"
    );
    assert!(
        world
            .said()
            .iter()
            .all(|it| matches!(it.2, Said::Stalled(_)))
    );
}

#[test]
fn a_subject_that_moved_out_of_reach_of_the_ring_is_watched_until_it_answers() {
    let mut world = World::of(20);
    world.run(5_000);
    let subject = world.monitors[&1]
        .subjects()
        .next()
        .expect("somebody")
        .as_u64();
    world.cut = vec![(subject, 1)];
    world.run(8_000);
    assert!(
        world
            .accusations()
            .iter()
            .any(|it| (it.1, it.2) == (1, subject))
    );
    // So many come in between that it would be watched by others.
    (21..=400).for_each(|it| world.view.add_in("default", it, Status::Joining));
    world.tell(1, |it, now, view, out| it.handle_view(now, view, out));
    let watches = |world: &World| world.monitors[&1].subjects().any(|it| it == uid(subject));
    assert!(watches(&world));
    world.said();
    world.cut.clear();
    world.run(2_000);
    let said = world.said();
    assert!(
        said.iter().any(|it| it.2 == Said::Cleared(subject)),
        "{said:?}"
    );
    assert!(!watches(&world));
}

#[test]
fn an_idle_member_sends_less_than_three_hundred_bytes_a_second() {
    let mut world = World::of(9);
    world.run(2_000);
    world.bytes = 0;
    world.run(10_000);
    let each = world.bytes / 10 / 9;
    assert!((200..300).contains(&each), "{each}");
}

#[test]
fn heartbeats_begin_with_membership_and_end_with_it() {
    let mut monitor = Monitor::new(MonitorSettings::default(), uid(9));
    let mut out = Vec::new();
    let mut view = View::of(&[(1, Status::Up)]);
    monitor.handle_view(at(0), view.gossip(), &mut out);
    assert_eq!(monitor.poll_timeout(), None);
    view.add_in("default", 9, Status::Joining);
    monitor.handle_view(at(0), view.gossip(), &mut out);
    assert_eq!(monitor.poll_timeout(), Some(at(0)));
    view.gossip_mut().remove(at(0), uid(9));
    monitor.handle_view(at(0), view.gossip(), &mut out);
    assert_eq!(
        (monitor.poll_timeout(), monitor.subjects().len()),
        (None, 0)
    );
    assert_eq!(out, []);
}
