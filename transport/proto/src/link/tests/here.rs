//! Messages that need nothing but to be written behind the last one.

use super::*;

/// An outbound that has given the numbers of message 1 and the target.
fn begun(slabs: &mut SlabPool) -> Outbound {
    let mut outbound = outbound();
    let pushed = outbound.push(slabs, tell(&message(1)), &b"first"[..]);
    pushed.expect("there is credit");
    outbound
}

fn not_here(outbound: &mut Outbound, head: SendHead<'_>, payload: &dyn Payload) -> Option<usize> {
    let before = outbound.positions();
    let NotHere { needed } = outbound.push_here(head, payload).unwrap_err();
    assert_eq!(outbound.positions(), before, "nothing changed");
    needed
}

#[test]
fn what_is_written_here_is_what_a_push_writes() {
    let mut slabs = pool();
    let (mut here, mut whole) = (begun(&mut slabs), begun(&mut slabs));
    let (message, extension) = (&message(1), extension(7));
    let ask = SendHead::Ask {
        message,
        target: TARGET,
        extension,
    };
    for head in [tell(message), ask, tell(message)] {
        let position = here.push_here(head, &b"second"[..]).unwrap();
        let draft = Unmeasured(b"second");
        assert_eq!(whole.push(&mut slabs, head, &draft), Ok(position));
    }
    assert_eq!(here.retained_messages(), whole.retained_messages());
    assert_eq!(send(&mut here), send(&mut whole));
}

#[test]
fn what_needs_more_than_room_is_not_written_here() {
    let mut slabs = pool();
    let mut outbound = begun(&mut slabs);
    assert_eq!(not_here(&mut outbound, tell(&message(2)), &Broken), None);
    let target = Target { slot: 9, ..TARGET };
    let message = &message(1);
    let other = SendHead::Tell { message, target };
    assert_eq!(not_here(&mut outbound, other, &Unmeasured(b"?")), None);
    assert_eq!(not_here(&mut outbound, tell(message), &Broken), None);
    let busy = |busy| Notice {
        target_number: 1,
        busy,
    };
    outbound.handle_notice(busy(true)).unwrap();
    assert_eq!(
        not_here(&mut outbound, tell(message), &Unmeasured(b"?")),
        None
    );
    outbound.handle_notice(busy(false)).unwrap();
    outbound.push_here(tell(message), &b"!"[..]).unwrap();
    outbound.queue_bye(ByeReason::Stopping);
    assert_eq!(
        not_here(&mut outbound, tell(message), &Unmeasured(b"?")),
        None
    );
}

#[test]
fn the_length_that_does_not_fit_behind_the_last_one_is_said_once_it_is_known() {
    let mut slabs = pool();
    let mut outbound = begun(&mut slabs);
    let long = vec![7; 100 << 10];
    let needed = not_here(&mut outbound, tell(&message(1)), &Unmeasured(&long));
    assert_eq!(needed, Some(long.len()));
    let payload = &Measured {
        payload: &Unmeasured(&long),
        bytes: needed,
    };
    outbound
        .push(&mut slabs, tell(&message(1)), payload)
        .unwrap();
    assert_eq!(frames(&send(&mut outbound)).last().unwrap().payload, long);
}

#[test]
fn one_over_the_credit_or_the_cap_is_not_written_here() {
    let mut slabs = pool();
    let mut outbound = Outbound::new(CAP, 200, WINDOW);
    let message = &message(1);
    outbound.push(&mut slabs, tell(message), &b""[..]).unwrap();
    let left = 200 - outbound.positions().tail as usize - 16;
    let bytes = [0; 200];
    not_here(&mut outbound, tell(message), &Unmeasured(&bytes[..=left]));
    outbound.push_here(tell(message), &bytes[..left]).unwrap();
    assert_eq!(outbound.positions().tail, 200);
    not_here(&mut outbound, tell(message), &Unmeasured(b""));

    let mut outbound = Outbound::new(100, u64::from(WINDOW), WINDOW);
    outbound.push(&mut slabs, tell(message), &b""[..]).unwrap();
    not_here(&mut outbound, tell(message), &Unmeasured(&bytes[..101]));
    outbound.push_here(tell(message), &bytes[..100]).unwrap();
}
