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

#[test]
fn the_goodbye_leaves_behind_the_last_bytes_and_a_last_grant_in_front_of_them() {
    let (mut outbound, mut slabs) = (outbound(), pool());
    let mut slices = Vec::new();
    for _ in 0..2 {
        outbound
            .push(&mut slabs, tell(&message(1)), &[7; 100_000][..])
            .unwrap();
    }
    outbound.queue_bye(ByeReason::Stopping);
    assert!(outbound.is_leaving() && !outbound.has_said_bye());
    // One slab at a time: the goodbye waits for the last.
    outbound.gather(1, &mut slices);
    outbound.handle_sent();
    assert!(outbound.is_leaving() && !outbound.has_said_bye());
    let grant = Grant {
        received_to: 5,
        limit: 6,
    };
    outbound.queue_grant(grant);
    slices.clear();
    while outbound.gather(usize::MAX, &mut slices) > 0 {
        outbound.handle_sent();
    }
    assert!(!outbound.is_leaving() && outbound.has_said_bye());
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
    let kinds: Vec<Kind> = frames(&bytes).iter().map(|it| it.header.kind).collect();
    assert_eq!(kinds.first(), Some(&Kind::Grant), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&Kind::Bye), "{kinds:?}");
}

#[test]
fn whoever_is_granted_no_more_is_told_what_arrived_all_the_same() {
    let mut inbound = Inbound::new(WINDOW);
    inbound.accept(1000).unwrap();
    let limit = inbound.poll_grant(true).unwrap().limit;
    inbound.grant_no_more();
    inbound.accept(500).unwrap();
    let grant = inbound.poll_grant(true).unwrap();
    assert_eq!((grant.received_to, grant.limit), (1500, limit));
    let beyond = usize::try_from(limit).unwrap() - 1500 + 1;
    assert!(inbound.accept(beyond).is_err(), "one over the credit");
    assert!(inbound.accept(beyond - 1).is_ok());
    assert_eq!(
        inbound.poll_grant(true).map(|grant| grant.limit),
        Some(limit)
    );
}
