//! The side that gets the lease goes on.

use super::*;
use crate::lease::TOKENS_LEFT_OUT;

fn strategy() -> LeaseMajority {
    LeaseMajority::new(LeaseName::new("some").expect("a name"))
}

/// Members that know the last token, and a store that nobody has a lease of.
fn leased(numbers: std::ops::RangeInclusive<u64>) -> Cluster {
    let members: Vec<_> = numbers.map(|it| (it, Status::Up)).collect();
    let mut cluster = Cluster::of(&members, strategy());
    cluster.store.token = 1;
    cluster.run(1_000);
    let tokens: Vec<_> = cluster
        .numbers()
        .iter()
        .map(|it| known(&cluster, *it))
        .collect();
    assert!(tokens.iter().all(|it| *it == Some(1)), "{tokens:?}");
    assert_eq!(cluster.store.token, 1, "it was not given out for that");
    cluster
}

fn known(cluster: &Cluster, number: u64) -> Option<u64> {
    let warrant = cluster.nodes[&number].0.warrant("default");
    warrant.map(|it| it.token.0)
}

/// Those that were given up are removed in all views.
fn bury(cluster: &mut Cluster) {
    let now = at(cluster.now);
    for number in cluster.numbers() {
        for gone in cluster.given_up(number) {
            let (view, _) = cluster.nodes.get_mut(&number).expect("a node");
            view.remove(now, uid(gone));
            view.touch(uid(number));
        }
    }
    cluster.share();
}

fn tokens(cluster: &Cluster) -> Vec<(u64, u64)> {
    let decided = cluster.decided.iter();
    decided
        .filter_map(|it| Some((it.1, it.2.token?.0)))
        .collect()
}

#[test]
fn the_larger_side_gets_the_lease_and_the_other_goes_when_it_is_refused() {
    let mut cluster = leased(1..=5);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(6_999);
    assert_eq!(cluster.decided.len(), 0, "too early for five members");
    cluster.run(2);
    assert_eq!(tokens(&cluster), [(3, 2)]);
    assert_eq!(cluster.numbers(), [1, 2, 3, 4, 5], "the others hesitate");
    cluster.run(2_000);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
    assert_eq!(cluster.given_up(4), [1, 2]);
    assert_eq!(cluster.reasons(), ["denied", "leased", "surrendered"]);
    assert_eq!(known(&cluster, 5), Some(2));
    let told = cluster.decided[0].2.to_string();
    assert!(
        told.contains("; token 2") && told.contains("held with 2"),
        "{told}"
    );
}

#[test]
fn the_smaller_side_gets_it_where_the_larger_one_is_gone_or_does_not_reach_the_store() {
    for is_gone in [true, false] {
        let mut cluster = leased(1..=5);
        cluster.away = vec![3, 4, 5];
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        if is_gone {
            (3..=5).for_each(|it| cluster.crash(it));
        }
        cluster.run(9_100);
        assert_eq!(tokens(&cluster), [(1, 2)]);
        assert_eq!(cluster.given_up(1), [3, 4, 5]);
        cluster.run(30_000);
        assert_eq!(cluster.numbers(), [1, 2]);
    }
}

#[test]
fn no_side_goes_on_while_the_store_is_out_of_reach_and_none_waits_for_ever() {
    let mut cluster = leased(1..=5);
    cluster.away = vec![1, 2, 3, 4, 5];
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(26_000);
    assert_eq!(cluster.numbers(), [1, 2, 3, 4, 5]);
    let said = cluster.resolver(3).explain(at(cluster.now)).to_string();
    assert!(said.contains("not given: out of reach"), "{said}");
    cluster.run(4_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(cluster.reasons(), ["denied", "surrendered"]);
}

#[test]
fn what_is_done_once_is_done_nowhere_until_it_is_decided() {
    let mut cluster = leased(1..=5);
    assert!((1..=5).all(|it| cluster.has_quorum(it)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    assert!(!(1..=5).any(|it| cluster.has_quorum(it)));
    cluster.run(7_001);
    assert!((3..=5).all(|it| cluster.has_quorum(it)));
    assert!(!(1..=2).any(|it| cluster.has_quorum(it)));
}

#[test]
fn the_lease_is_kept_until_those_that_went_are_gone_for_a_while() {
    let mut cluster = leased(1..=5);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(60_000);
    assert!(cluster.store.holder.is_some(), "they are not removed");
    bury(&mut cluster);
    cluster.run(39_999);
    assert!(cluster.store.holder.is_some(), "not for long enough");
    cluster.run(2);
    assert_eq!(cluster.store.holder, None);
    assert_eq!(cluster.store.token, 2, "it was renewed");
}

#[test]
fn a_lease_that_a_dead_member_has_from_before_is_waited_for() {
    let mut cluster = leased(1..=5);
    for gone in [1, 2] {
        let others: Vec<u64> = cluster
            .numbers()
            .into_iter()
            .filter(|it| *it != gone)
            .collect();
        cluster.crash(gone);
        cluster.part(&[&others]);
        for observer in &others {
            cluster.accuse(*observer, gone, Reason::Silence);
        }
        cluster.share();
        cluster.run(8_000);
        bury(&mut cluster);
    }
    assert_eq!(tokens(&cluster), [(2, 2)], "the second one still has it");
    cluster.run(15_000);
    assert_eq!(tokens(&cluster), [(2, 2), (3, 3)]);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
}

#[test]
fn whoever_has_it_gives_it_back_when_somebody_is_lost_and_asks_for_another_one() {
    let mut cluster = leased(1..=6);
    cluster.part(&[&[1, 2, 3, 4], &[5, 6]]);
    cluster.run(13_000);
    assert_eq!(cluster.numbers(), [1, 2, 3, 4]);
    bury(&mut cluster);
    cluster.part(&[&[1], &[2, 3, 4]]);
    cluster.run(13_000);
    assert_eq!(tokens(&cluster), [(1, 2), (2, 3)]);
    assert_eq!(cluster.numbers(), [2, 3, 4]);
}

/// It would be given the lease, which the other side gave back long ago.
#[test]
fn a_side_that_notices_late_does_not_go_on() {
    let mut cluster = leased(1..=5);
    cluster.sides = vec![vec![1, 2], vec![3, 4, 5]];
    for (observer, subject) in [(3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2)] {
        cluster.accuse(observer, subject, Reason::Silence);
    }
    cluster.share();
    cluster.run(8_000);
    bury(&mut cluster);
    cluster.run(41_000);
    assert_eq!(
        (cluster.store.holder.clone(), tokens(&cluster)),
        (None, vec![(3, 2)])
    );
    assert_eq!(cluster.numbers(), [1, 2, 3, 4, 5]);
    cluster.part(&[&[1, 2], &[]]);
    cluster.run(10_000);
    assert_eq!(tokens(&cluster), [(3, 2)]);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
}

/// Somebody was given it and died: nobody can know what came of that.
#[test]
fn a_token_that_was_left_out_is_made_up_for_while_nobody_is_lost() {
    let mut cluster = leased(1..=5);
    cluster.store.token += 1;
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(3_000);
    cluster.heal();
    cluster.run(1_000);
    assert!((1..=5).all(|it| known(&cluster, it) == Some(2)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(10_000);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
    cluster.store.token += 1;
    cluster.store.holder = None;
    cluster.part(&[&[3, 4], &[5]]);
    cluster.run(10_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
}

#[test]
fn a_claim_ends_with_what_it_was_for_and_its_lease_is_noted() {
    let mut cluster = leased(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.run(6_000);
    // It asks, and all hear each other again before it is answered.
    cluster.now += 1_000;
    cluster.act(1, |now, (_, it), out| it.handle_timeout(now, out));
    assert_eq!(cluster.asked.len(), 1);
    cluster.heal();
    cluster.run(1_000);
    assert_eq!(
        (tokens(&cluster), cluster.store.holder.clone()),
        (vec![], None)
    );
    assert!((1..=5).all(|it| known(&cluster, it) == Some(cluster.store.token)));
    assert_eq!(cluster.numbers(), [1, 2, 3, 4, 5]);
}

/// What is looked up is not given out: a cut in between leaves both sides what they knew.
#[test]
fn a_cut_while_the_last_token_is_looked_up_has_one_side_go_on_as_ever() {
    for is_answered in [false, true] {
        let mut cluster = leased(1..=5);
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        cluster.run(3_000);
        cluster.heal();
        assert_eq!(cluster.asked.len(), 1, "it looks");
        if is_answered {
            cluster.answer();
        }
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        cluster.run(10_000);
        assert_eq!(cluster.numbers(), [3, 4, 5], "answered: {is_answered}");
        assert_eq!(tokens(&cluster), [(3, 2)]);
    }
}

/// It was given the lease when all heard each other again, and what was before it is not known yet.
#[test]
fn a_token_that_was_not_used_is_noted_once_what_was_before_it_is_known() {
    let mut cluster = leased(1..=5);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(6_000);
    cluster.now += 1_000;
    cluster.act(3, |now, (_, it), out| it.handle_timeout(now, out));
    cluster.store.token += 1;
    cluster.heal();
    let asked: Vec<u64> = cluster.asked.iter().map(|it| it.0).collect();
    assert_eq!(asked, [3, 1]);
    cluster.asked.reverse();
    cluster.run(1_000);
    assert_eq!(cluster.store.token, 3);
    assert!((1..=5).all(|it| known(&cluster, it) == Some(3)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(10_000);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
}

/// The answer to an ask was lost, and what it brought is known to all as a token by which nobody
/// went on, before whoever asked is given it once more.
#[test]
fn what_was_given_to_a_claim_that_ended_is_not_gone_on_by_later() {
    let mut cluster = leased(1..=5);
    cluster.store.lingers = true;
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(6_000);
    cluster.now += 1_000;
    cluster.act(3, |now, (_, it), out| it.handle_timeout(now, out));
    let (_, ask) = cluster.asked.pop().expect("it asks");
    cluster.store.handle(cluster.now, &ask);
    cluster.heal();
    cluster.run(30_000);
    assert!((1..=5).all(|it| known(&cluster, it) == Some(2)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(10_000);
    assert_eq!((tokens(&cluster), cluster.fallen.len()), (vec![(3, 3)], 0));
    assert_eq!(cluster.numbers(), [3, 4, 5]);
}

/// The store is another one, or was restored from a copy.
#[test]
fn tokens_that_fell_are_told_and_count_on_from_what_is_known_if_the_store_can() {
    for is_rigid in [false, true] {
        let mut cluster = leased(1..=5);
        cluster.store.token = 7;
        cluster.run(61_000);
        assert!((1..=5).all(|it| known(&cluster, it) == Some(7)), "it looks");
        (cluster.store.token, cluster.store.is_rigid) = (3, is_rigid);
        cluster.run(121_000);
        let said = cluster.resolver(1).explain(at(cluster.now)).to_string();
        assert_eq!(said.contains("fell back to 3"), is_rigid, "{said}");
        let told = if is_rigid { vec![(7, 3)] } else { vec![] };
        assert_eq!(cluster.fallen, told, "once");
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        cluster.run(12_000);
        let goes_on: &[u64] = if is_rigid { &[] } else { &[3, 4, 5] };
        assert_eq!(cluster.numbers(), goes_on);
    }
}

/// What those that went on were given the copy knows nothing of, and would be given once more.
#[test]
fn a_store_that_falls_by_a_few_tokens_while_sides_are_apart_lets_no_second_one_go_on() {
    let mut cluster = leased(1..=7);
    cluster.store.token = 7;
    cluster.run(61_000);
    cluster.away = vec![1, 2, 3, 4];
    cluster.part(&[&[5, 6, 7], &[1, 2], &[3, 4]]);
    cluster.run(14_000);
    assert_eq!(tokens(&cluster), [(5, 8)]);
    (cluster.store.token, cluster.store.holder) = (6, None);
    cluster.away = Vec::new();
    cluster.run(20_000);
    assert_eq!(cluster.numbers(), [5, 6, 7]);
}

/// The first that is decided behind it is decided by another token than the last one before.
#[test]
fn what_a_store_counts_on_from_that_fell_by_a_few_is_none_that_it_may_have_given() {
    let mut cluster = leased(1..=5);
    cluster.store.token = 7;
    cluster.run(61_000);
    cluster.store.token = 6;
    cluster.run(61_000);
    let far = 7 + TOKENS_LEFT_OUT;
    assert!((1..=5).all(|it| known(&cluster, it) == Some(far)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(10_000);
    assert_eq!(tokens(&cluster), [(3, far + 1)]);
}

/// It is known only when the lease is wanted.
#[test]
fn a_side_that_is_given_a_smaller_token_than_before_says_why_it_goes_down() {
    let mut cluster = leased(1..=5);
    cluster.store.token = 7;
    cluster.run(61_000);
    (cluster.store.token, cluster.store.is_rigid) = (3, true);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(12_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(cluster.fallen, [(7, 4), (7, 5)]);
    let told = cluster.decided[0].2.to_string();
    assert!(told.contains("smaller tokens than before"), "{told}");
}

/// The larger side cannot agree whether it hears its own last member; the other does not reach the
/// store.
fn flap(cluster: &mut Cluster, seconds: u64) {
    for second in 0..seconds {
        match second % 2 {
            0 => cluster.accuse(3, 5, Reason::Silence),
            _ => cluster.clear(3, 5),
        }
        cluster.share();
        cluster.run(1_000);
    }
}

#[test]
fn the_lease_is_asked_for_though_things_keep_changing() {
    let mut cluster = leased(1..=5);
    cluster.away = vec![1, 2];
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    flap(&mut cluster, 12);
    assert_eq!(tokens(&cluster), [], "it waits for calm");
    flap(&mut cluster, 2);
    assert_eq!(tokens(&cluster), [(3, 2)]);
    assert!(cluster.nodes.contains_key(&4));
}

#[test]
fn all_go_down_when_things_keep_changing_and_the_lease_is_not_to_be_had() {
    let flapped = |unstable_after, seconds| {
        let members: Vec<_> = (1..=5).map(|it| (it, Status::Up)).collect();
        let settings = ResolverSettings {
            unstable_after,
            ..ResolverSettings::default()
        };
        let mut cluster = Cluster::with(&members, strategy(), settings);
        cluster.run(1_000);
        cluster.away = vec![1, 2, 3, 4, 5];
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        flap(&mut cluster, seconds);
        cluster
    };
    // 7 s and three quarters of that, and twice the 20 s for which it is asked for at a time.
    assert!(flapped(Unstable::DownAll, 52).nodes.contains_key(&3));
    let cluster = flapped(Unstable::DownAll, 54);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(cluster.reasons(), ["denied", "surrendered", "unstable"]);
    assert!(flapped(Unstable::Wait, 90).nodes.contains_key(&3));
}

#[test]
fn a_side_asks_for_as_long_as_the_store_keeps_what_a_dead_member_has() {
    let goes_down_after = |free_after: Option<u64>| {
        let mut cluster = leased(1..=5);
        for (_, resolver) in cluster.nodes.values_mut() {
            let time = free_after.map(Duration::from_secs);
            time.into_iter()
                .for_each(|it| resolver.set_lease_free_after(it));
        }
        cluster.away = vec![1, 2, 3, 4, 5];
        cluster.part(&[&[3, 4, 5], &[1, 2]]);
        let begun = cluster.now;
        while cluster.nodes.contains_key(&3) {
            cluster.run(500);
        }
        (cluster.now - begun) / 1_000
    };
    assert_eq!(goes_down_after(None), 7 + 15 + 5);
    assert_eq!(goes_down_after(Some(1)), 7 + 15 + 5, "never less");
    assert_eq!(goes_down_after(Some(45)), 7 + 45 + 5);
}
