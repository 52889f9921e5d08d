//! The accounts of a core.

use ringmesh::{Counters, Metrics};

/// Checks that the accounts of a core close: what was sent and what was received is each somewhere,
/// and every dead letter has a reason.
///
/// # Panics
/// If they do not.
pub fn assert_closed(books: &Counters) {
    assert_eq!(
        books.sent,
        books.acknowledged + books.dead_sent + books.in_flight,
        "{books:#?}"
    );
    assert_eq!(
        books.dead_sent,
        books.dead_unsent + books.dead_maybe,
        "{books:#?}"
    );
    assert_eq!(
        books.received,
        books.delivered + books.dead_received + books.waiting + books.hopped,
        "{books:#?}"
    );
    let by_reason = books.dead_no_recipient
        + books.dead_unknown_message
        + books.dead_schema_mismatch
        + books.dead_expired
        + books.dead_invalid
        + books.dead_late_answer
        + books.dead_not_upgraded
        + books.dead_not_for_clients;
    assert_eq!(books.dead_received, by_reason, "{books:#?}");
    assert_eq!(
        books.stashed,
        books.unstashed + books.dead_stashed + books.stash_waiting,
        "{books:#?}"
    );
    assert_eq!(
        books.local_received,
        books.local_delivered + books.local_dead + books.local_waiting,
        "{books:#?}"
    );
}

/// Checks that the accounts of a node that has ended close, its local messages among them: none is
/// on its way any more.
///
/// # Panics
/// If they do not.
pub fn assert_closed_at_the_end(metrics: &Metrics) {
    metrics.cores.iter().for_each(assert_closed);
    let total = &metrics.total;
    assert_eq!(
        (total.local_sent, total.local_waiting),
        (total.local_received, 0),
        "{metrics:#?}"
    );
}
