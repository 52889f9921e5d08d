//! When a silence is noticed, exactly: over each phase of the heartbeats in which it may begin.

use super::*;

/// What must not be exceeded from the stop of a member to the first accusation, which the others
/// hear of within milliseconds; and what an accusation never comes before.
const BOUNDS: std::ops::RangeInclusive<u64> = 3_500..=6_500;

/// Stops a member of five that know each other for so long. Says after how long the others accuse
/// it.
fn accused_after(known_for: u64) -> Vec<u64> {
    let mut world = World::of(5);
    world.run(known_for);
    world.away = vec![5];
    let stopped = world.now;
    world.run(7_000);
    let accusations = world.accusations();
    assert!(
        accusations
            .iter()
            .all(|it| (it.2, it.3) == (5, Reason::Silence))
    );
    let times: Vec<u64> = accusations.iter().map(|it| it.0 - stopped).collect();
    assert_eq!(times.len(), 4, "stopped after {known_for} ms: {times:?}");
    times
}

fn bounds(times: impl Iterator<Item = u64> + Clone) -> (u64, u64) {
    let (least, most) = (times.clone().min(), times.max());
    (least.expect("some"), most.expect("some"))
}

#[test]
fn a_steady_rhythm_is_missed_in_the_times_that_the_settings_say() {
    let times = (30_000..31_000).step_by(25).flat_map(accused_after);
    let (least, most) = bounds(times.collect::<Vec<_>>().into_iter());
    // An interval, the pause, and 5.22 of the least deviation make phi 8; of that an interval may
    // have passed when the member stops. And what the rhythm was before there was one.
    assert!((3_750..=3_850).contains(&least), "{least}");
    assert!((4_750..=4_850).contains(&most), "{most}");
}

#[test]
fn a_rhythm_that_has_hardly_begun_is_missed_in_time_too() {
    let times: Vec<u64> = (0..5_000).step_by(50).flat_map(accused_after).collect();
    let (least, most) = bounds(times.into_iter());
    assert!(
        BOUNDS.contains(&least) && BOUNDS.contains(&most),
        "{least} to {most}"
    );
}

/// Whoever comes in between two heartbeats is watched from then on, and not from the next one on.
#[test]
fn a_newcomer_is_missed_in_time_whenever_it_came_and_stopped() {
    for phase in (0..1_000).step_by(100) {
        for known_for in (0..2_500).step_by(250) {
            let mut world = World::of(4);
            world.run(20_000 + phase);
            world.view.add_in("default", 5, Status::Joining);
            let newcomer = Monitor::new(MonitorSettings::default(), uid(5));
            world.monitors.insert(5, newcomer);
            world.spread();
            world.run(known_for);
            world.away = vec![5];
            let stopped = world.now;
            world.run(7_000);
            let accusations = world.accusations();
            let took = accusations.iter().map(|it| it.0 - stopped);
            assert_eq!(took.len(), 4, "{phase} and {known_for}: {accusations:?}");
            assert!(
                took.clone().all(|it| BOUNDS.contains(&it)),
                "{phase} and {known_for}"
            );
        }
    }
}

/// However irregular its answers were, as long as none was missed.
#[test]
fn whoever_answered_irregularly_is_missed_in_time_too() {
    for delays in [[1, 900, 1, 900], [1, 600, 300, 900], [900, 1, 1, 1]] {
        let mut monitor = Monitor::new(MonitorSettings::default(), uid(1));
        let view = View::of(&[(1, Status::Up), (2, Status::Up)]);
        let mut out = Vec::new();
        monitor.handle_view(at(0), view.gossip(), &mut out);
        let mut last = 0;
        for beat in 0..40_u32 {
            let sent = u64::from(beat) * 1_000;
            monitor.handle_timeout(at(sent), &mut out);
            last = sent + delays[beat as usize % delays.len()];
            let answer = Message::Answer {
                to: uid(1),
                number: beat + 1,
                is_stalling: false,
            };
            let heard = monitor.handle_message(at(last), &node(2), &answer.to_bytes(), &mut out);
            assert_eq!(heard, Ok(()));
        }
        assert!(
            !out.iter()
                .any(|it| matches!(it, MonitorOutput::Accuse { .. }))
        );
        out.clear();
        let accused_at = loop {
            let due = monitor.poll_timeout().expect("it looks");
            monitor.handle_timeout(due, &mut out);
            if out
                .iter()
                .any(|it| matches!(it, MonitorOutput::Accuse { .. }))
            {
                break due;
            }
        };
        let took = accused_at - at(last);
        assert!(took <= Duration::from_millis(6_500), "{delays:?}: {took:?}");
    }
}

/// A doubt that no clock can name the time of, as no settings may have it, costs a turn in a
/// millisecond and no more.
#[test]
fn no_look_is_due_at_once_whatever_counts_as_doubt() {
    for doubt in [1e-17, 0.01, 300.0] {
        let settings = MonitorSettings {
            doubt,
            ..MonitorSettings::default()
        };
        let mut monitor = Monitor::new(settings, uid(1));
        let mut out = Vec::new();
        let view = View::of(&[(1, Status::Up), (2, Status::Up)]);
        monitor.handle_view(at(0), view.gossip(), &mut out);
        let (mut now, mut turns) = (at(0), 0);
        while now < at(8_000) {
            monitor.handle_timeout(now, &mut out);
            let due = monitor.poll_timeout().expect("it looks");
            assert!(due > now, "doubt {doubt} at {now:?}");
            (now, turns) = (due, turns + 1);
        }
        assert!(turns < 8_000, "doubt {doubt}: {turns}");
        let accuses = |it: &MonitorOutput| matches!(it, MonitorOutput::Accuse { .. });
        assert_eq!(out.iter().filter(|it| accuses(it)).count(), 1, "{doubt}");
    }
}

/// Whether a network was mended is found out by new connections, with each heartbeat, as long as
/// nothing comes.
#[test]
fn whoever_is_mute_is_tried_over_another_connection_until_anything_comes() {
    let mut world = World::of(3);
    world.run(20_000);
    assert_eq!(world.probed, []);
    world.cut = vec![(3, 1)];
    let cut = world.now;
    world.run(10_000);
    let probes: Vec<u64> = world.probed.iter().map(|it| it.0).collect();
    assert!(
        world.probed.iter().all(|it| (it.1, it.2) == (1, 3)),
        "{:?}",
        world.probed
    );
    assert!((3_000..=4_000).contains(&(probes[0] - cut)), "{probes:?}");
    assert!(
        probes.windows(2).all(|it| it[1] - it[0] == 1_000),
        "{probes:?}"
    );
    world.cut.clear();
    world.run(1_000);
    world.probed.clear();
    world.run(10_000);
    assert_eq!(world.probed, []);
    // Nothing gets through to whoever is gone for good, or was killed.
    world.tell(1, |it, now, _, out| it.handle_crashed(now, uid(3), out));
    world.tell(2, |it, now, _, out| {
        it.handle_lost(now, uid(3), Reason::Restarted, out)
    });
    world.away = vec![3];
    world.run(10_000);
    assert_eq!(world.probed, []);
}

#[test]
fn one_over_the_probes_of_a_heartbeat_is_tried_with_the_next() {
    let count = PROBES_MAX as u64 + 1;
    let mut world = World::of(count + 1);
    world.run(20_000);
    world.away = (2..=count + 1).collect();
    world.run(20_000);
    let mut by_beat: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (when, _, subject) in &world.probed {
        by_beat.entry(*when).or_default().push(*subject);
    }
    let full = by_beat.values().filter(|it| it.len() == PROBES_MAX).count();
    assert!(
        full > 10 && by_beat.values().all(|it| it.len() <= PROBES_MAX),
        "{by_beat:?}"
    );
    let tried = |subject: u64| world.probed.iter().filter(|it| it.2 == subject).count();
    let each = (2..=count + 1).map(tried);
    let (least, most) = (each.clone().min(), each.max());
    assert!(most <= least.map(|it| it + 2), "{least:?} and {most:?}");
}
