//! Recipients without room, and what they leave of the link's credit.

use super::*;

fn push_to(outbound: &mut Outbound, slabs: &mut SlabPool, slot: u32) -> Result<u64, PushError> {
    let target = Target { slot, ..TARGET };
    let message = &message(1);
    outbound.push(slabs, SendHead::Tell { message, target }, &[1_u8][..])
}

#[test]
fn a_window_of_held_bytes_leaves_credit_and_one_and_a_half_leave_none() {
    let mut inbound = Inbound::new(WINDOW);
    let window = u64::from(WINDOW);
    inbound.accept(WINDOW as usize).unwrap();
    inbound.hold(WINDOW as usize);
    let limit = inbound.poll_grant(true).unwrap().limit;
    assert_eq!(limit, window + window / 4);
    // A peer that goes on all the same ends where nothing more is held for it.
    let mut held = window;
    while inbound.limit() > held {
        let most = inbound.limit() - held;
        inbound.accept(most as usize).unwrap();
        inbound.hold(most as usize);
        held += most;
        inbound.poll_grant(true);
    }
    assert!(held <= window + window / 2, "{held}");
    assert!(inbound.accept(1).is_err());
    inbound.release(held as usize);
    assert_eq!(inbound.poll_grant(true).unwrap().limit, held + window);
}

#[test]
fn a_tunnel_leaves_credit_behind_one_and_a_half_windows_of_held_bytes_and_none_behind_two() {
    let (mut inbound, window) = (Inbound::of_tunnel(WINDOW), u64::from(WINDOW));
    let mut held = 0;
    let mut left_behind = Vec::new();
    while inbound.limit() > held {
        let most = (inbound.limit() - held).min(window / 2);
        inbound.accept(most as usize).unwrap();
        inbound.hold(most as usize);
        held += most;
        inbound.poll_grant(true);
        left_behind.push((held, inbound.limit() - held));
    }
    // As much as a link leaves behind a window of them.
    assert!(left_behind.contains(&(window * 3 / 2, window / 4)));
    assert!(held > window * 3 / 2 && held <= 2 * window, "{held}");
    inbound.release(held as usize);
    assert_eq!(inbound.poll_grant(true).unwrap().limit, held + window);
}

#[test]
fn the_numbers_of_a_target_are_found() {
    let mut inbound = Inbound::new(WINDOW);
    let other = Target { slot: 99, ..TARGET };
    for (number, target) in [(1, other), (2, TARGET), (3, TARGET)] {
        let definition = DefineTarget { number, target };
        assert_eq!(inbound.define_target(&definition), Ok(Defined::New));
    }
    let numbers = |target| inbound.numbers_of(target).collect::<Vec<_>>();
    assert_eq!((numbers(TARGET), numbers(other)), (vec![2, 3], vec![1]));
    assert!(numbers(Target { slot: 98, ..TARGET }).is_empty());
}

#[test]
fn a_busy_recipient_is_refused_alone_until_it_is_ready() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let notice = |target_number, busy| Notice {
        target_number,
        busy,
    };
    let unknown = outbound.handle_notice(notice(1, true));
    assert_eq!(unknown, Err(Violation::UndefinedTarget(1)));
    for slot in [7, 8] {
        push_to(&mut outbound, &mut slabs, slot).unwrap();
    }
    let tail = outbound.positions().tail;
    for _ in 0..2 {
        outbound.handle_notice(notice(1, true)).unwrap();
        let refused = push_to(&mut outbound, &mut slabs, 7);
        assert_eq!(refused, Err(PushError::TargetBusy));
    }
    assert_eq!(outbound.positions().tail, tail);
    assert_eq!(outbound.busy_recipients(), 1);
    push_to(&mut outbound, &mut slabs, 8).unwrap();
    for _ in 0..2 {
        outbound.handle_notice(notice(1, false)).unwrap();
        push_to(&mut outbound, &mut slabs, 7).unwrap();
    }
    assert_eq!(
        (outbound.busy_recipients(), outbound.retained_messages()),
        (0, 5)
    );
}
