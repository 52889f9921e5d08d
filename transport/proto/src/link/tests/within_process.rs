//! Links between the cores of a node, where there are no lanes.

use super::*;
use crate::limits::SLAB_BYTES;
use crate::slab_pool::Reader;

#[test]
fn within_the_process_a_body_above_the_window_passes_one_at_a_time() {
    const LARGE: u32 = 4 * WINDOW;
    let mut pool = SlabPool::with_caps(8 << 20, &[CAP, LARGE]);
    let mut outbound =
        Outbound::within_process((LARGE, CAP), WINDOW.into(), WINDOW, Reader::OtherCore);
    let mut inbound = Inbound::within_process(WINDOW, LARGE + SLAB_BYTES);
    let large = vec![7u8; LARGE as usize];
    let (first, second) = (message(1), message(2));
    outbound.push(&mut pool, tell(&first), &large[..]).unwrap();
    let again = outbound.push(&mut pool, tell(&first), &large[..]);
    assert_eq!(again, Err(PushError::NoCredit), "it is one at a time");
    let small = outbound.push(&mut pool, tell(&second), &large[..1]);
    assert_eq!(small, Err(PushError::NoCredit), "and counts for others");
    let one_over = vec![7u8; LARGE as usize + 1];
    let refused = outbound.push(&mut pool, tell(&first), &one_over[..]);
    let (bytes, limit) = (one_over.len(), LARGE as usize);
    assert_eq!(refused, Err(PushError::TooLarge { bytes, limit }));
    let sent = send(&mut outbound).len();
    inbound.accept(sent).unwrap();
    assert!(
        inbound
            .accept(WINDOW as usize + SLAB_BYTES as usize)
            .is_err()
    );
    let grant = inbound.poll_grant(true).unwrap();
    outbound.handle_grant(grant, &mut pool).unwrap();
    assert!(outbound.is_idle());
    outbound.push(&mut pool, tell(&second), &large[..]).unwrap();
}
