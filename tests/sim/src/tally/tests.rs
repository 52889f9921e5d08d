//! What many reports come to.

use super::*;
use crate::invariant::Checks;
use crate::outcome::{Fate, Outcome};

fn report(seed: u64, each: u64) -> Report {
    Report {
        seed,
        hash: seed * 3 + 1,
        events: 1,
        faults: [each; Class::ALL.len()],
        was_partitioned: each > 0,
        nodes: 3,
        data_centres: 1,
        borders_cut: 0,
        outcomes: None,
        exercises: Vec::new(),
        checks: vec![Checks {
            name: "some",
            checks: 2,
            violations: 0,
        }],
        violation: None,
    }
}

fn tally(seeds: u64, each: impl Fn(u64) -> u64) -> Tally {
    let mut tally = Tally::default();
    (0..seeds).for_each(|seed| tally.add(&report(seed, each(seed))));
    tally
}

#[test]
fn the_hash_is_that_of_all_seeds_in_whatever_order_they_came() {
    let mut backwards = Tally::default();
    for seed in (0..9).rev() {
        backwards.add(&report(seed, 2));
    }
    assert_eq!(backwards.hash(), tally(9, |_| 2).hash());
    assert_ne!(tally(8, |_| 2).hash(), tally(9, |_| 2).hash());
    assert_eq!((backwards.seeds(), backwards.faults()), (9, (28, 28)));
    assert_eq!(backwards.checks(), [("some", 18, 0)]);
}

#[test]
fn a_class_of_faults_that_too_few_seeds_had_is_a_gap() {
    assert_eq!(tally(500, |_| 2).gaps(&[]), [""; 0]);
    // All classes in one of three seeds: too few crashes and long partitions, and seeds
    // without any fault.
    let few = tally(500, |seed| u64::from(seed % 3 == 0) * 9);
    let gaps = few.gaps(&[]);
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    let none = tally(500, |_| 0).gaps(&[Class::Delay]);
    assert_eq!(none.len(), 2, "{none:?}");
    assert_eq!(tally(499, |_| 0).gaps(&[]), [""; 0], "too few to judge");
}

#[test]
fn data_centres_that_too_few_seeds_had_or_cut_off_are_a_gap() {
    let gaps = |several: u64, cut: u64| {
        let mut all = Tally::default();
        for seed in 0..1000 {
            // Of half of them nothing is asked: they are too small.
            let (is_large, number) = (seed % 2 == 0, seed / 2);
            let is_several = is_large && number < several;
            all.add(&Report {
                nodes: if is_large { SEVERAL_FROM } else { 3 },
                data_centres: if is_several { 3 } else { 1 },
                borders_cut: u64::from(is_several && number < cut) * 2,
                ..report(seed, 2)
            });
        }
        (
            all.gaps(&[]),
            all.gaps(&Class::ALL[..1]),
            all.data_centres(),
        )
    };
    let (enough, of_some, [several, borders]) = gaps(150, 15);
    assert_eq!((enough, of_some), (Vec::new(), Vec::new()));
    let tally = |injected, seeds| ClassTally { injected, seeds };
    assert_eq!(several, ("data-centres", tally(300, 150)));
    assert_eq!(borders, ("border", tally(30, 15)));
    let (few, of_some, _) = gaps(149, 14);
    assert_eq!((few.len(), of_some.len()), (2, 0), "{few:?}");
    assert!(few[1].starts_with("a cut between data centres in 14 of 149 "));
    assert_eq!(gaps(200, 19).0.len(), 1);
}

#[test]
fn clusters_of_which_most_decided_nothing_are_a_gap() {
    let decided = |often| {
        let mut all = Tally::default();
        for seed in 0..600 {
            let mut outcomes = Outcomes::default();
            outcomes.expect("some");
            let (strategy, fate) = ("some", Fate::Kept);
            let outcome = Outcome { strategy, fate };
            (0..u64::from(seed % 10 < often)).for_each(|_| outcomes.count(outcome));
            // Every other seed has no cluster, of which nothing is asked.
            let outcomes = (seed % 2 == 0).then_some(outcomes);
            all.add(&Report {
                outcomes,
                ..report(seed, 2)
            });
        }
        all
    };
    assert_eq!(decided(5).gaps(&[]), [""; 0]);
    assert_eq!(decided(4).gaps(&[]).len(), 1);
    assert!(decided(4).outcomes().iter().eq([("some", [120, 0, 0])]));
    let none = decided(0);
    assert!(
        none.outcomes().iter().eq([("some", [0; 3])]),
        "it is named all the same"
    );
}

#[test]
fn what_users_did_in_too_few_seeds_is_a_gap() {
    let gaps = |often: u64| {
        let mut all = Tally::default();
        for seed in 0..1000 {
            // Every other seed has no users, of whom nothing is asked.
            let rare = u64::from(seed % 2 == 0 && seed < often * 2) * 3;
            let exercises = match seed % 2 {
                0 => vec![("usual", 7), ("rare", rare)],
                _ => Vec::new(),
            };
            all.add(&Report {
                exercises,
                ..report(seed, 2)
            });
        }
        (all.gaps(&[]), all.gaps(&Class::ALL[..1]), all.exercises())
    };
    let (enough, _, exercises) = gaps(50);
    assert_eq!(enough, [""; 0]);
    let tally = |injected, seeds| ClassTally { injected, seeds };
    let [rare, usual] = [tally(150, 50), tally(3500, 500)];
    assert_eq!(exercises, [("rare", rare), ("usual", usual)]);
    let (few, of_some, _) = gaps(49);
    assert_eq!((few.len(), of_some.len()), (1, 0), "{few:?}");
    assert!(few[0].starts_with("rare in 49 of 500 "), "{few:?}");
}

#[test]
fn what_is_broken_or_differs_counts() {
    let mut tally = tally(3, |_| 2);
    let mut bad = report(3, 2);
    bad.violation = Some(Violation {
        invariant: "some",
        at: Instant::ZERO,
        message: String::new(),
    });
    tally.add(&bad);
    assert_eq!(tally.violations(), 1);
    assert_eq!(tally.compare(&bad, &bad.clone()), Ok(()));
    assert!(tally.compare(&bad, &report(3, 2)).is_err());
    assert_eq!(tally.violations(), 2);
    assert!(tally.checks().contains(&(SAME_HASH, 2, 1)));
}
