//! Peers that say what they like.

use proptest::prelude::*;

use super::*;

#[test]
fn one_over_the_heartbeats_that_may_be_answered_is_too_old() {
    let mut monitor = Monitor::new(MonitorSettings::default(), uid(1));
    let view = View::of(&[(1, Status::Up), (2, Status::Up)]);
    let mut out = Vec::new();
    monitor.handle_view(at(0), view.gossip(), &mut out);
    for second in 0..=BEATS_MAX as u64 {
        monitor.handle_timeout(at(second * 1000), &mut out);
    }
    let now = at(BEATS_MAX as u64 * 1000);
    let answer = |number| Message::Answer {
        to: uid(1),
        number,
        is_stalling: false,
    };
    for (number, ignored) in [(1, 1), (2, 1), (BEATS_MAX as u32 + 2, 2)] {
        let body = answer(number).to_bytes();
        let taken = monitor.handle_message(now, &node(2), &body, &mut out);
        assert_eq!((taken, monitor.ignored()), (Ok(()), ignored), "{number}");
    }
}

#[test]
fn what_is_for_another_start_of_the_process_is_ignored() {
    let mut monitor = Monitor::new(MonitorSettings::default(), uid(1));
    let mut out = Vec::new();
    let heartbeat = Message::Heartbeat {
        to: uid(3),
        number: 1,
        is_stalling: false,
    };
    let taken = monitor.handle_message(at(0), &node(2), &heartbeat.to_bytes(), &mut out);
    assert_eq!((taken, monitor.ignored()), (Ok(()), 1));
    assert_eq!(out, []);
}

#[test]
fn one_over_the_witnesses_is_not_asked_nor_heard() {
    let mut world = World::of(8);
    world.run(30_000);
    world.away = vec![8];
    let mut asked = Vec::new();
    while asked.is_empty() {
        world.run(1);
        let questions = world
            .wires
            .iter()
            .filter(|wire| wire.3[0] == 34 && wire.1 == 1);
        asked = questions.map(|wire| (wire.2, wire.3.clone())).collect();
    }
    assert_eq!(asked.len(), WITNESSES);
    let Ok(Message::Question { number, .. }) = Message::from_bytes(&asked[0].1) else {
        panic!("a question");
    };
    let testimony = Message::Testimony {
        to: uid(1),
        number,
        subject: uid(8),
        silence: Some(Duration::ZERO),
    };
    let strangers = (2..8).filter(|it| !asked.iter().any(|(to, _)| to == it));
    let twice = [asked[0].0, asked[0].0];
    for from in strangers.chain(twice) {
        world.tell(1, |monitor, now, _, out| {
            let taken = monitor.handle_message(now, &node(from), &testimony.to_bytes(), out);
            assert_eq!(taken, Ok(()));
        });
    }
    world.run(3_000);
    let record = world
        .said()
        .into_iter()
        .find_map(|(_, by, said)| match said {
            Said::Accused(8, record) if by == 1 => Some(record),
            _ => None,
        });
    let witnesses = record.expect("it is accused").witnesses;
    assert!(witnesses.len() <= WITNESSES);
    assert_eq!(
        witnesses.iter().filter(|it| it.hears).count(),
        1,
        "{witnesses:?}"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Bytes(u64, Vec<u8>),
    Say(u64, u8, u32, u64, u32),
    Crashed(u64),
    Lost(u64, bool),
    Time(u64),
    Join(u64),
    Leave(u64),
    Remove(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = || 1_u64..16;
    let bytes = proptest::collection::vec(any::<u8>(), 0..32);
    let step = prop_oneof![
        1 => (member(), bytes).prop_map(|(from, bytes)| Step::Bytes(from, bytes)),
        8 => (member(), 0_u8..4, 0_u32..20, member(), any::<u32>())
            .prop_map(|(from, kind, number, subject, n)| Step::Say(from, kind, number, subject, n)),
        1 => member().prop_map(Step::Crashed),
        1 => (member(), any::<bool>()).prop_map(|(it, restarted)| Step::Lost(it, restarted)),
        6 => (0_u64..2500).prop_map(Step::Time),
        1 => member().prop_map(Step::Join),
        1 => member().prop_map(Step::Leave),
        1 => (2_u64..16).prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..200)
}

fn message(kind: u8, number: u32, subject: u64, n: u32) -> Message {
    let (to, subject) = (uid(1), uid(subject));
    let is_stalling = n.is_multiple_of(2);
    match kind {
        0 => Message::Heartbeat {
            to,
            number,
            is_stalling,
        },
        1 => Message::Answer {
            to,
            number,
            is_stalling,
        },
        2 => Message::Question {
            to,
            number,
            subject,
        },
        _ => Message::Testimony {
            to,
            number,
            subject,
            silence: (n > 9).then(|| Duration::from_millis(n.into())),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_that_is_said_breaks_the_bounds(steps in steps()) {
        let mut monitor = Monitor::new(MonitorSettings::default(), uid(1));
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up)]);
        let mut now = 0;
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Bytes(from, bytes) => {
                    let _ = monitor.handle_message(at(now), &node(from), &bytes, &mut out);
                }
                Step::Say(from, kind, number, subject, n) => {
                    let body = message(kind, number, subject, n).to_bytes();
                    let taken = monitor.handle_message(at(now), &node(from), &body, &mut out);
                    prop_assert_eq!(taken, Ok(()));
                }
                Step::Crashed(it) => monitor.handle_crashed(at(now), uid(it), &mut out),
                Step::Lost(it, restarted) => {
                    let reason = if restarted { Reason::Restarted } else { Reason::Quarantined };
                    monitor.handle_lost(at(now), uid(it), reason, &mut out);
                }
                Step::Time(ms) => now += ms,
                Step::Join(it) => {
                    let joiner = crate::membership::testing::member(it, "default", Status::Joining);
                    let _ = view.gossip_mut().admit(joiner);
                }
                Step::Leave(it) => {
                    let member = view.gossip_mut().member_mut(uid(it));
                    if let Some(it) = member.filter(|it| it.status() < Status::Leaving) {
                        it.become_next(Status::Leaving);
                    }
                }
                Step::Remove(it) => {
                    view.gossip_mut().remove(at(now), uid(it));
                }
            }
            monitor.handle_view(at(now), view.gossip(), &mut out);
            monitor.handle_timeout(at(now), &mut out);
            prop_assert!(monitor.poll_timeout().is_some_and(|due| due > at(now)));
            prop_assert!(monitor.subjects().len() < view.gossip().members().len());
            prop_assert!(monitor.near.sent.len() <= BEATS_MAX);
            prop_assert!(monitor.stalling.len() <= view.gossip().members().len());
            for subject in monitor.subjects.values() {
                let doubt = subject.doubt.as_ref();
                let witnesses = doubt.map_or(0, |it| it.asked.len() + it.witnesses.len());
                prop_assert!(witnesses <= WITNESSES);
            }
            // What was said of a member changes what was said of it before.
            for output in out.drain(..) {
                match output {
                    MonitorOutput::Accuse { subject, record } => {
                        let table = view.gossip_mut().reachability_mut();
                        prop_assert!(table.accuse(uid(1), subject, record));
                    }
                    MonitorOutput::Clear { subject } => {
                        let table = view.gossip_mut().reachability_mut();
                        prop_assert!(table.clear(uid(1), subject));
                    }
                    MonitorOutput::Send { .. }
                    | MonitorOutput::Stalled { .. }
                    | MonitorOutput::Probe { .. } => {}
                }
            }
        }
    }
}
