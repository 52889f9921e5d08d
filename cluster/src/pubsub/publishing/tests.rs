use std::time::Duration;

use super::*;
use crate::membership::testing::uid;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn deadline() -> Instant {
    NOW + Duration::from_secs(1)
}

fn reached(publish: u64, cores: Option<u16>, subscribers: u32) -> Reached {
    Reached {
        publish,
        cores,
        subscribers,
    }
}

#[test]
fn a_publish_is_over_when_all_cores_of_all_nodes_have_answered() {
    let mut publishing = Publishing::default();
    let number = publishing.next().expect("room");
    let begun = publishing.begin(deadline(), uid(1), (2, 1), [uid(2), uid(3)]);
    assert_eq!(begun, number);
    publishing.handle_reached(uid(2), &reached(number, None, 4));
    publishing.handle_reached(uid(2), &reached(number, Some(1), 3));
    publishing.handle_reached(uid(3), &reached(number, Some(0), 0));
    assert_eq!(
        publishing.poll_outcome(NOW),
        None,
        "one core of the own node is to answer"
    );
    publishing.handle_reached(uid(1), &reached(number, None, 1));
    let (over, outcome) = publishing.poll_outcome(NOW).expect("it is over");
    assert_eq!((over, outcome.nodes, outcome.subscribers), (number, 2, 10));
    assert!(outcome.is_complete() && !outcome.is_dead_letter());
    publishing.handle_reached(uid(2), &reached(number, None, 4));
    assert_eq!(publishing.unwanted(), 1);
}

#[test]
fn who_does_not_answer_is_missing_at_the_deadline_and_who_is_lost_is_named() {
    let mut publishing = Publishing::default();
    let nodes = [uid(2), uid(3), uid(4)];
    let number = publishing.begin(deadline(), uid(1), (0, 0), nodes);
    publishing.handle_reached(uid(2), &reached(number, Some(1), 5));
    publishing.handle_lost(uid(3));
    assert_eq!(publishing.poll_outcome(NOW), None);
    assert_eq!(publishing.poll_timeout(), Some(deadline()));
    let (_, outcome) = publishing.poll_outcome(deadline()).expect("it is over");
    assert_eq!((outcome.nodes, outcome.subscribers), (1, 5));
    assert_eq!(
        (outcome.missing, outcome.lost),
        (vec![uid(2), uid(4)], vec![uid(3)])
    );
}

#[test]
fn a_publish_to_nobody_is_over_at_once() {
    let mut publishing = Publishing::default();
    publishing.begin(deadline(), uid(1), (0, 0), []);
    let (_, outcome) = publishing.poll_outcome(NOW).expect("it is over");
    assert!(outcome.is_complete() && outcome.is_dead_letter());
}

#[test]
fn one_over_the_publishes_max_is_refused_until_one_is_over() {
    let mut publishing = Publishing::default();
    for _ in 0..PUBLISHES_MAX {
        publishing.next().expect("room");
        publishing.begin(deadline(), uid(1), (0, 0), [uid(2)]);
    }
    assert_eq!(publishing.next(), Err(TooMany));
    publishing.handle_lost(uid(2));
    let over = std::iter::from_fn(|| publishing.poll_outcome(NOW)).count();
    assert_eq!((over, publishing.next().is_ok()), (PUBLISHES_MAX, true));
}

#[test]
fn a_publish_that_is_ended_has_what_was_answered_and_takes_no_more_answers() {
    let mut publishing = Publishing::default();
    let number = publishing.begin(deadline(), uid(1), (1, 0), [uid(2), uid(3)]);
    let other = publishing.begin(deadline(), uid(1), (0, 0), [uid(2)]);
    assert!(!publishing.handle_reached(uid(2), &reached(number, Some(0), 4)));
    // Who was not asked has nothing to say.
    assert!(!publishing.handle_reached(uid(9), &reached(number, Some(0), 9)));
    let outcome = publishing.end(number).expect("it waits");
    assert_eq!((outcome.nodes, outcome.subscribers), (2, 5));
    assert_eq!(outcome.missing, [uid(3)]);
    assert_eq!((publishing.end(number), publishing.len()), (None, 1));
    assert!(!publishing.handle_reached(uid(3), &reached(number, Some(0), 1)));
    assert_eq!(publishing.unwanted(), 2);
    assert!(publishing.handle_reached(uid(2), &reached(other, Some(0), 1)));
    assert!(publishing.is_over(other) && publishing.is_over(number));
}

#[test]
fn a_publish_is_over_when_the_last_node_that_has_not_answered_is_gone() {
    let mut publishing = Publishing::default();
    let first = publishing.begin(deadline(), uid(1), (0, 0), [uid(2), uid(3)]);
    let second = publishing.begin(deadline(), uid(1), (0, 0), [uid(2)]);
    publishing.handle_unsent(first, uid(3));
    let mut over: Vec<u64> = Vec::new();
    publishing.retain_nodes(|it| it != uid(4), |it| over.push(it));
    assert!(over.is_empty());
    publishing.retain_nodes(|it| it != uid(2), |it| over.push(it));
    assert_eq!(over, [first, second]);
    let outcome = publishing.end(first).expect("it waits");
    assert_eq!(outcome.lost, [uid(2), uid(3)]);
    assert!(outcome.is_dead_letter() && !outcome.is_complete());
}
