//! Another process start at the address of a member.

use std::time::Duration;

use super::world::{World, at};
use crate::effect::StopReason;
use crate::membership::event::Event;
use crate::membership::reachability::Reason;
use crate::membership::status::Status;
use crate::membership::testing::uid;

#[test]
fn a_restarted_member_takes_the_place_of_its_former_self() {
    for restarted in 1..=3 {
        let mut world = World::new(restarted);
        world.form(&[1, 2, 3]);
        let others: Vec<u64> = (1..=3).filter(|it| *it != restarted).collect();
        world.kill(restarted);
        let new = 100 + restarted;
        world.start(new);
        world.join(new, &[at(others[0])]);
        let now = [others[0], others[1], new];
        world.run_until("back", 5, |world| world.are_up(&now));
        for number in others {
            let old = uid(restarted);
            let says = |it: &&Event| match it {
                Event::Unreachable { node, reason, .. } => {
                    node.uid == old && *reason == Reason::Restarted
                }
                Event::Removed { node, previous } => node.uid == old && *previous == Status::Down,
                _ => false,
            };
            assert!(world.events(number).any(|it| says(&it)));
            assert!(world.nodes[&number].quarantined.contains(&old));
        }
    }
}

#[test]
fn whoever_wants_the_address_of_a_member_that_answers_is_refused() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    // It can be heard, but whoever dials the address reaches the member.
    world.start(102);
    world.hide(102);
    world.join(102, &[at(1)]);
    world.run_until("refused", 5, |world| world.nodes[&102].stopped.is_some());
    assert_eq!(world.nodes[&102].stopped, Some(StopReason::AddressInUse));
    assert!(world.labels(102).contains(&"address_in_use"));
    assert!(world.are_up(&[1, 2]));
}

#[test]
fn a_member_is_not_given_up_for_a_claim_that_no_dial_bears_out() {
    let mut world = World::new(1);
    world.form(&[1, 2]);
    world.kill(2);
    world.start(102);
    world.hide(102);
    world.join(102, &[at(1)]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.status(2, 1), Some(Status::Up));
    assert_eq!(world.status(102, 1), None);
}

#[test]
fn one_over_the_most_claims_waits() {
    use crate::membership::machine::CLAIMS_MAX;
    use crate::membership::message::Message;
    let mut world = World::new(1);
    let numbers: Vec<u64> = (1..=CLAIMS_MAX as u64 + 2).collect();
    world.form(&numbers);
    let asked = world.identified;
    for number in &numbers[1..] {
        let profile = super::world::profile(100 + number, &[], "default");
        let configuration = Default::default();
        let join = Message::Join {
            profile,
            configuration,
        };
        world.hear(1, 100 + number, &join);
    }
    assert_eq!(world.identified - asked, CLAIMS_MAX);
}
