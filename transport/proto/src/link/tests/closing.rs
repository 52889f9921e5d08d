//! What a link says when it closes.

use super::*;

#[test]
fn what_a_closing_link_still_has_to_say_goes_behind_the_send_under_way() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    assert!(outbound.gather_control().is_none(), "nothing to say");
    outbound
        .push(&mut slabs, tell(&message(1)), &[7; 100][..])
        .unwrap();
    let mut slices = Vec::new();
    outbound.gather(usize::MAX, &mut slices);
    let grant = Grant {
        received_to: 5,
        limit: 6,
    };
    outbound.queue_grant(grant);
    assert_eq!(
        outbound.gather(usize::MAX, &mut slices),
        0,
        "a send is under way"
    );
    let last = outbound.gather_control().unwrap();
    let found = frames(&last);
    assert_eq!(Grant::parse(&found[0]).unwrap(), grant);
    assert_eq!(found.len(), 1);
    assert!(outbound.gather_control().is_none(), "it is said once");
}
