use proptest::prelude::*;

use super::phi::phi;
use super::*;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

const SECOND: Duration = Duration::from_secs(1);

fn impatient() -> Patience {
    Patience {
        pause: Duration::ZERO,
        ..Patience::every(SECOND)
    }
}

/// The tail of the standard normal distribution, by Simpson's rule.
fn tail(y: f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let (steps, end) = (2000, y + 12.0);
    let width = (end - y) / f64::from(steps);
    let inner: f64 = (1..steps)
        .map(|step| {
            let weight = if step % 2 == 1 { 4.0 } else { 2.0 };
            weight * density(y + width * f64::from(step))
        })
        .sum();
    width / 3.0 * (density(y) + inner + density(end))
}

#[test]
fn phi_has_the_published_values() {
    let published = [
        (1.0, 0.3),
        (1.2, 1.64),
        (1.4, 4.74),
        (1.6, 10.8),
        (1.7, 15.4),
    ];
    for (silent, expected) in published {
        let found = phi(silent, 1.0, 0.1);
        assert!((found - expected).abs() < 0.05, "{silent}: {found}");
    }
}

#[test]
fn phi_is_the_logarithm_of_the_tail_of_the_normal_distribution() {
    for step in -30..=30 {
        let y = f64::from(step) / 10.0;
        let found = 10_f64.powf(-phi(1.0 + y / 10.0, 1.0, 0.1));
        assert!((found - tail(y)).abs() < 0.000_2, "{y}: {found}");
    }
}

#[test]
fn a_node_that_answers_is_available_and_one_that_stops_is_not_within_its_bounds() {
    let mut detector = PhiDetector::new(Patience::every(SECOND));
    assert!(detector.is_available(at(0)), "nothing is known of it");
    for second in 0..200 {
        detector.heard(at(second * 1000));
        assert!(detector.is_available(at(second * 1000)));
    }
    let last = 199_000;
    assert!(detector.is_available(at(last + 11_000)));
    // Its rhythm is steady by now, so the smallest deviation counts: 11 s and six tenths of one.
    assert!(detector.is_available(at(last + 11_550)));
    assert!(!detector.is_available(at(last + 11_650)));
    let mut fresh = PhiDetector::new(Patience::every(SECOND));
    fresh.heard(at(0));
    assert!(fresh.is_available(at(12_300)) && !fresh.is_available(at(12_600)));
}

#[test]
fn what_begins_a_watch_is_no_sample_of_its_rhythm() {
    let [mut one, mut other] = [(); 2].map(|()| PhiDetector::new(impatient()));
    assert_eq!(one.gone_at(), None, "nothing is known of it");
    one.begin(at(0));
    one.begin(at(20));
    other.begin(at(20));
    for detector in [&mut one, &mut other] {
        (1..50).for_each(|second| detector.heard(at(20 + second * 1000)));
    }
    assert_eq!(one.gone_at(), other.gone_at());
    // One that never answers is noticed.
    let mut silent = PhiDetector::new(Patience::every(SECOND));
    silent.begin(at(0));
    assert!(silent.is_available(at(12_300)) && !silent.is_available(at(12_600)));
}

#[test]
fn one_over_the_most_deviation_makes_no_silence_longer() {
    let [most, more] = [1_000, 4_000].map(|irregular| {
        let bounded = Patience {
            pause: SECOND * 3,
            deviation_max: Duration::from_millis(350),
            ..Patience::every(SECOND)
        };
        let mut detector = PhiDetector::new(bounded);
        let mut now = 0;
        detector.heard(at(now));
        for _ in 0..100 {
            for gap in [irregular, 2_000 - irregular.min(2_000)] {
                now += gap;
                detector.heard(at(now));
            }
        }
        let rhythm = (irregular + 2_000 - irregular.min(2_000)) / 2;
        let gone_at = detector.gone_at().expect("a time");
        gone_at - at(now + rhythm)
    });
    // Phi 10 is at 5.8 deviations.
    assert!(
        most < SECOND * 4 && more <= Duration::from_millis(3_000 + 2_050),
        "{more:?}"
    );
}

#[test]
fn a_silence_that_counted_as_an_end_is_no_sample() {
    let mut detector = PhiDetector::new(impatient());
    (0..50).for_each(|second| detector.heard(at(second * 1000)));
    let before = detector.phi(at(49_000 + 1_500));
    detector.heard(at(500_000));
    assert_eq!(detector.phi(at(501_500)), before);
}

#[test]
fn one_over_the_samples_drops_the_oldest() {
    let few = Patience {
        samples: 4,
        ..impatient()
    };
    let mut detector = PhiDetector::new(few);
    let mut now = 0;
    detector.heard(at(now));
    for gap in [3000, 3000, 100, 100, 100, 100] {
        now += gap;
        // Told to another one, too, that knows the last four alone.
        detector.heard(at(now));
    }
    let mut other = PhiDetector::new(few);
    other.heard(at(0));
    (1..=4).for_each(|step| other.heard(at(step * 100)));
    for silent in [0, 150, 300, 700] {
        assert_eq!(detector.phi(at(now + silent)), other.phi(at(400 + silent)));
    }
}

#[test]
fn who_was_away_itself_accuses_later_by_as_much() {
    for judge in [
        Judge::Phi(impatient()),
        Judge::Deadline {
            silence: SECOND * 3,
        },
    ] {
        let [mut one, mut other] = [judge.detector(), judge.detector()];
        one.heard(at(0));
        other.heard(at(0));
        other.excuse(Duration::from_millis(2500));
        for ms in (0..10_000).step_by(100) {
            let excused = other.suspicion(at(ms + 2500));
            assert!(
                (one.suspicion(at(ms)) - excused).abs() < 1e-9 || one.suspicion(at(ms)) == excused
            );
        }
    }
}

#[test]
fn one_over_the_deadline_is_not_available() {
    let silence = SECOND * 3;
    let mut detector = DeadlineDetector::new(silence);
    assert!(detector.is_available(at(100_000)), "nothing is known of it");
    detector.heard(at(1000));
    assert!(detector.is_available(at(4000)) && !detector.is_available(at(4001)));
    assert_eq!(detector.suspicion(at(4000)), 1.0);
    detector.heard(at(4001));
    detector.heard(at(2000));
    assert!(detector.is_available(at(7000)), "old news change nothing");
}

#[test]
fn the_least_doubt_and_the_highest_phi_have_their_times() {
    for judge in [
        Judge::Phi(impatient()),
        Judge::Phi(Patience::every(SECOND)),
        Judge::Deadline { silence: SECOND },
    ] {
        let mut detector = judge.detector();
        (0..50).for_each(|second| detector.heard(at(second * 1000)));
        let last = at(49_000);
        let mut before = last;
        for suspicion in [1e-3, 0.01, 1.0, 299.0, 300.0] {
            let suspects_at = detector.suspects_at(suspicion).expect("a time");
            assert!(suspects_at > before, "{suspicion} of {judge:?}");
            assert!(detector.suspicion(suspects_at) >= suspicion);
            let earlier = Instant::from_nanos(suspects_at.as_nanos() - 10_000);
            assert!(earlier < last || detector.suspicion(earlier) < suspicion);
            before = suspects_at;
        }
    }
}

proptest! {
    #[test]
    fn suspicion_never_falls_in_silence(
        gaps in proptest::collection::vec(0_u64..5_000, 1..300),
        looks in proptest::collection::vec(0_u64..100_000, 2..50),
        pause in 0_u64..12_000,
        deviation_min in 1_u64..1_000,
    ) {
        let patience = Patience {
            pause: Duration::from_millis(pause),
            deviation_min: Duration::from_millis(deviation_min),
            ..Patience::every(SECOND)
        };
        for judge in [Judge::Phi(patience), Judge::Deadline { silence: SECOND * 4 }] {
            let mut detector = judge.detector();
            let mut now = 0;
            for gap in &gaps {
                now += gap;
                detector.heard(at(now));
            }
            let gone_at = detector.gone_at().expect("a time");
            prop_assert!(!detector.is_available(gone_at));
            let before = Instant::from_nanos(gone_at.as_nanos().saturating_sub(10_000));
            prop_assert!(before < at(now) || detector.is_available(before));
            for suspicion in [0.1, 1.0, 3.0] {
                let suspects_at = detector.suspects_at(suspicion).expect("a time");
                prop_assert!(detector.suspicion(suspects_at) >= suspicion);
                let before = Instant::from_nanos(suspects_at.as_nanos().saturating_sub(10_000));
                prop_assert!(before < at(now) || detector.suspicion(before) < suspicion);
            }
            let mut looks = looks.clone();
            looks.sort_unstable();
            let (mut last, mut was_available) = (0.0, true);
            for look in looks {
                let found = detector.suspicion(at(now + look));
                let available = detector.is_available(at(now + look));
                prop_assert!(found >= last && !found.is_nan(), "{last} then {found}");
                prop_assert!(was_available || !available, "gone stays gone in silence");
                (last, was_available) = (found, available);
            }
            prop_assert!(!detector.is_available(at(now + 10_000_000)));
        }
    }

    #[test]
    fn an_answer_makes_a_node_available_again(silence in 1_u64..10_000_000) {
        for judge in [
            Judge::Phi(Patience::every(SECOND)),
            Judge::Deadline { silence: SECOND * 4 },
        ] {
            let mut detector = judge.detector();
            detector.heard(at(0));
            detector.heard(at(silence));
            prop_assert!(detector.is_available(at(silence)));
        }
    }
}
