//! What others say of the leases by which data centres decide.

use super::data_centres::{secs, two};
use super::world::World;
use crate::lease::Token;
use crate::membership::gossip::Warrant;
use crate::membership::message::Message;
use crate::membership::summary::Summary;
use crate::membership::testing::uid;

const LATER: Warrant = Warrant {
    token: Token(7),
    holder: None,
};

#[test]
fn a_member_is_believed_in_what_it_says_of_the_lease_of_its_own_data_centre_alone() {
    let mut world = two();
    let mut tells = |at: u64, from: u64, of: &str| {
        let mut view = world.view(from).clone();
        assert!(view.note_warrant(of, LATER));
        view.touch(uid(from));
        world.hear(at, from, &Message::Gossip(Box::new(view)));
        world.run_for(secs(2));
        let heard = |number| world.view(number).warrant(of);
        [1, 2, 3, 11, 12, 13].map(heard).map(|it| it.is_some())
    };
    assert_eq!(tells(1, 11, "east"), [false; 6], "of another one");
    assert_eq!(tells(12, 11, "east"), [false; 6], "nor is that passed on");
    world.with(2, |control, cx| {
        control.membership_mut().note_warrant(cx, LATER)
    });
    world.run_for(secs(2));
    let known = [1, 2, 3].map(|number| world.view(number).warrant("east"));
    assert_eq!(known, [Some(LATER); 3], "all that it is for know");
}

/// Another data centre hears of member 2, and member 1 of that one, whose word does not count. What
/// member 1 says of its view then would seem to member 2 as if it had all that belongs to it.
fn pass_on(world: &mut World) {
    let view = Message::Gossip(Box::new(world.view(2).clone()));
    world.hear(11, 2, &view);
    let view = Message::Gossip(Box::new(world.view(11).clone()));
    world.hear(1, 11, &view);
    assert_eq!(world.view(1).warrant("east"), None);
    let status = Message::Status(Summary::of(world.view(1)));
    world.hear(2, 1, &status);
}

/// It would seem to them that it has what belongs to the view, and never would anybody send it.
#[test]
fn what_another_data_centre_passes_on_is_asked_for_at_home() {
    let mut world = two();
    world.with(2, |control, cx| {
        control.membership_mut().note_warrant(cx, LATER)
    });
    pass_on(&mut world);
    world.run_for(secs(2));
    assert_eq!(world.view(1).warrant("east"), Some(LATER));
}

#[test]
fn what_is_passed_on_soon_after_that_is_asked_for_as_well() {
    let mut world = two();
    let warrant = |number| Warrant {
        token: Token(number),
        holder: None,
    };
    for number in [7, 8] {
        // Nobody hears what is asked about the first one.
        match number {
            7 => world.part(&[1], &[2, 3]),
            _ => world.cut.clear(),
        }
        world.with(2, |control, cx| {
            control.membership_mut().note_warrant(cx, warrant(number))
        });
        pass_on(&mut world);
    }
    world.run_for(secs(2));
    assert_eq!(world.view(1).warrant("east"), Some(warrant(8)));
}
