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
        came: cores.map_or(Came::Shared, |cores| Came::Sent { cores }),
        sent_on: 0,
        subscribers,
    }
}

/// A publish to those nodes, which so many subscribers of its own core have, and so many other
/// cores of that node were given.
fn begun(
    publishing: &mut Publishing,
    (here, cores): (u32, u16),
    nodes: impl IntoIterator<Item = Uid>,
) -> u64 {
    let number = publishing.reserve().expect("room");
    publishing.begin((number, Policy::Random), deadline(), uid(1), nodes);
    publishing.handle_reached(uid(1), &reached(number, Some(cores), here));
    number
}

#[test]
fn a_publish_is_over_when_all_cores_of_all_nodes_have_answered() {
    let mut publishing = Publishing::default();
    let number = begun(&mut publishing, (2, 1), [uid(2), uid(3)]);
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
    let number = begun(&mut publishing, (0, 0), nodes);
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
    begun(&mut publishing, (0, 0), []);
    let (_, outcome) = publishing.poll_outcome(NOW).expect("it is over");
    assert!(outcome.is_complete() && outcome.is_dead_letter());
}

#[test]
fn one_over_the_publishes_max_is_refused_until_one_is_over() {
    let mut publishing = Publishing::default();
    for _ in 0..PUBLISHES_MAX {
        begun(&mut publishing, (0, 0), [uid(2)]);
    }
    assert_eq!(publishing.reserve(), Err(TooMany));
    publishing.handle_lost(uid(2));
    let over = std::iter::from_fn(|| publishing.poll_outcome(NOW)).count();
    assert_eq!((over, publishing.reserve().is_ok()), (PUBLISHES_MAX, true));
}

#[test]
fn a_publish_that_is_ended_has_what_was_answered_and_takes_no_more_answers() {
    let mut publishing = Publishing::default();
    let number = begun(&mut publishing, (1, 0), [uid(2), uid(3)]);
    let other = begun(&mut publishing, (0, 0), [uid(2)]);
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
    let first = begun(&mut publishing, (0, 0), [uid(2), uid(3)]);
    let second = begun(&mut publishing, (0, 0), [uid(2)]);
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

#[test]
fn no_two_publishes_have_one_number_whenever_they_begin() {
    let mut publishing = Publishing::default();
    let outer = publishing.reserve().expect("room");
    // What the outer one sets off publishes as well, before it has begun.
    let inner = begun(&mut publishing, (0, 0), [uid(2)]);
    assert_ne!(outer, inner);
    publishing.begin((outer, Policy::Random), deadline(), uid(1), [uid(2)]);
    assert!(publishing.handle_reached(uid(2), &reached(inner, Some(0), 7)));
    publishing.handle_reached(uid(2), &reached(outer, Some(0), 1));
    // It is not over before its own core has answered.
    assert!(!publishing.is_over(outer));
    assert!(publishing.handle_reached(uid(1), &reached(outer, Some(0), 1)));
    let outcomes = [inner, outer].map(|it| publishing.end(it).expect("it waits").subscribers);
    assert_eq!(outcomes, [7, 2]);
}

#[test]
fn what_is_sent_on_within_a_node_is_waited_for_and_what_another_sent_on_is_not() {
    let mut publishing = Publishing::default();
    let number = begun(&mut publishing, (0, 0), [uid(2), uid(3)]);
    let answer = |came, sent_on, subscribers| Reached {
        publish: number,
        came,
        sent_on,
        subscribers,
    };
    // A member of a group was looked for at 2, and then at 3, which has it itself as well.
    assert!(!publishing.handle_reached(uid(3), &answer(Came::Besides, 0, 1)));
    assert!(!publishing.handle_reached(uid(3), &reached(number, Some(1), 1)));
    assert!(!publishing.handle_reached(uid(2), &reached(number, Some(1), 0)));
    // What is sent on may be there before it is said that it was.
    assert!(!publishing.handle_reached(uid(2), &answer(Came::SentOn, 0, 1)));
    assert!(!publishing.handle_reached(uid(2), &answer(Came::Shared, 2, 0)));
    assert!(!publishing.handle_reached(uid(3), &reached(number, None, 1)));
    assert!(publishing.handle_reached(uid(2), &answer(Came::SentOn, 0, 1)));
    let outcome = publishing.end(number).expect("it waits");
    assert!(outcome.is_complete());
    assert_eq!((outcome.nodes, outcome.subscribers), (2, 5));
}

#[test]
fn what_goes_to_all_members_is_over_when_all_cores_have_answered() {
    let mut publishing = Publishing::default();
    let number = publishing.reserve().expect("room");
    let publish = (number, Policy::Broadcast);
    publishing.begin(publish, deadline(), uid(1), [uid(2)]);
    let mut say = |node, came| {
        let reached = Reached {
            publish: number,
            came,
            sent_on: 0,
            subscribers: 1,
        };
        publishing.handle_reached(uid(node), &reached)
    };
    // As nobody sends it on, the other cores take it for one that was.
    assert!(!say(1, Came::Sent { cores: 1 }) && !say(1, Came::SentOn));
    assert!(!say(2, Came::SentOn) && say(2, Came::Sent { cores: 1 }));
    let (_, outcome) = publishing.poll_outcome(NOW).expect("it is over");
    assert_eq!((outcome.nodes, outcome.subscribers), (2, 4));
    assert!(outcome.is_complete());
}
