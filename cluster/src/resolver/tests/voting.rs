//! What a vote needs, and what it binds to.

use super::super::message::Message;
use super::*;

fn set(numbers: &[u64]) -> BTreeSet<Uid> {
    numbers.iter().copied().map(uid).collect()
}

/// What a member answers to a proposal of another one.
fn ask(
    cluster: &mut Cluster,
    voter: u64,
    from: u64,
    number: u32,
    base: &[u64],
    down: &[u64],
) -> Option<(Answer, BTreeSet<Uid>)> {
    let proposal = Message::Proposal {
        to: uid(voter),
        number,
        carried: 0,
        base: set(base),
        down: set(down),
    };
    say(cluster, voter, from, &proposal);
    let answer = cluster.sent.pop()?;
    match Message::from_bytes(&answer.2) {
        Ok(Message::Answer { answer, named, .. }) => Some((answer, named)),
        other => panic!("{other:?}"),
    }
}

fn say(cluster: &mut Cluster, to: u64, from: u64, message: &Message) {
    cluster.act(to, |now, (view, it), out| {
        let taken = it.handle_message(now, view, &node(from), &message.to_bytes(), out);
        assert_eq!(taken, Ok(()));
    });
}

const ALL: [u64; 5] = [1, 2, 3, 4, 5];

#[test]
fn a_member_agrees_only_to_whom_it_counts_itself_and_to_those_it_knows() {
    let mut cluster = Cluster::up(1..=5);
    let none = BTreeSet::new();
    let yes = Some((Answer::Yes, none.clone()));
    assert_eq!(ask(&mut cluster, 3, 1, 1, &ALL, &[5]), yes);
    assert_eq!(
        ask(&mut cluster, 3, 1, 1, &ALL, &[5]),
        yes,
        "the same again"
    );
    let differs = ask(&mut cluster, 3, 1, 2, &ALL[..4], &[5]);
    assert_eq!(differs, Some((Answer::Differs, none.clone())));
    let unknown = ask(&mut cluster, 3, 1, 3, &ALL, &[5, 9]);
    assert_eq!(unknown, Some((Answer::Unknown, none)));
    assert_eq!(
        ask(&mut cluster, 3, 1, 4, &ALL, &[3, 5]),
        None,
        "it is to go itself"
    );
    assert_eq!(
        ask(&mut cluster, 3, 77, 5, &ALL, &[5]),
        None,
        "of no member"
    );
    assert_eq!(cluster.resolver(3).ignored(), 2);
}

#[test]
fn whoever_asks_next_has_to_include_all_that_was_agreed_to() {
    let mut cluster = Cluster::up(1..=5);
    assert_eq!(
        ask(&mut cluster, 3, 1, 1, &ALL, &[4, 5]).unwrap().0,
        Answer::Yes
    );
    let named = ask(&mut cluster, 3, 2, 1, &ALL, &[5]);
    assert_eq!(named, Some((Answer::Named, set(&[4, 5]))));
    assert_eq!(
        ask(&mut cluster, 3, 2, 2, &ALL, &[1, 4, 5]).unwrap().0,
        Answer::Yes
    );
    let named = ask(&mut cluster, 3, 4, 1, &ALL, &[5]);
    assert_eq!(named, Some((Answer::Named, set(&[1, 4, 5]))));
}

#[test]
fn what_is_withdrawn_binds_nobody_and_is_not_agreed_to_when_it_comes_late() {
    let mut cluster = Cluster::up(1..=5);
    assert_eq!(
        ask(&mut cluster, 3, 1, 7, &ALL, &[4]).unwrap().0,
        Answer::Yes
    );
    let withdrawal = Message::Withdrawal {
        to: uid(3),
        number: 8,
        carried: 0,
    };
    say(&mut cluster, 3, 1, &withdrawal);
    let (to, number) = (uid(1), 8);
    let withdrawn = Message::Withdrawn { to, number }.to_bytes();
    assert_eq!(std::mem::take(&mut cluster.sent), [(3, 1, withdrawn)]);
    assert_eq!(
        ask(&mut cluster, 3, 1, 8, &ALL, &[4]),
        None,
        "it comes late"
    );
    assert_eq!(
        ask(&mut cluster, 3, 2, 1, &ALL, &[5]).unwrap().0,
        Answer::Yes
    );
}

#[test]
fn a_vote_that_heals_before_it_is_won_binds_nobody() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    // One agrees, and the other is not heard.
    cluster.mute = vec![3];
    cluster.run(7_500);
    assert!(cluster.resolver(1).proposal.is_some());
    assert!(cluster.resolver(2).ballot.named(uid(9)).contains(&uid(4)));
    cluster.mute.clear();
    reunite(&mut cluster);
    cluster.run(500);
    for number in [1, 2, 3] {
        assert_eq!(
            cluster.resolver(number).ballot.named(uid(9)),
            set(&[]),
            "{number}"
        );
    }
    assert!(cluster.decided.iter().all(|it| it.1 > 3));
}

/// 1, 2 and 3 reach 4 and 5 again, which say nothing.
fn reunite(cluster: &mut Cluster) {
    cluster.sides = vec![vec![1, 2, 3, 4, 5]];
    cluster.nodes.retain(|it, _| *it < 4);
    for observer in [1, 2, 3] {
        cluster.clear(observer, 4);
        cluster.clear(observer, 5);
    }
    cluster.share();
}

/// A vote of 1 that 2 agrees to, and that is withdrawn while nothing of 1 is heard.
fn with_a_lost_withdrawal() -> Cluster {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.mute = vec![3];
    cluster.run(7_500);
    assert!(cluster.resolver(2).ballot.named(uid(9)).contains(&uid(4)));
    cluster.mute = vec![1];
    reunite(&mut cluster);
    cluster.run(2_500);
    assert!(cluster.resolver(2).ballot.named(uid(9)).contains(&uid(4)));
    cluster
}

#[test]
fn a_withdrawal_that_is_lost_is_said_again_until_it_is_answered() {
    let mut cluster = with_a_lost_withdrawal();
    let due = |it: &Cluster| it.resolver(1).poll_timeout();
    assert!(due(&cluster).is_some());
    cluster.mute = vec![2];
    cluster.run(1_000);
    assert_eq!(cluster.resolver(2).ballot.named(uid(9)), set(&[]));
    assert!(due(&cluster).is_some(), "it was not answered");
    cluster.mute.clear();
    cluster.run(1_000);
    assert_eq!(due(&cluster), None);
    assert!(cluster.decided.iter().all(|it| it.1 > 3));
}

#[test]
fn a_withdrawal_from_whoever_is_no_member_any_more_is_not_said_again() {
    let mut cluster = with_a_lost_withdrawal();
    for gone in [2, 3] {
        cluster.set(1, gone, Status::Down);
    }
    assert_eq!(cluster.resolver(1).withdrawals.poll_timeout(), None);
}

#[test]
fn a_withdrawal_waits_while_whoever_is_to_hear_it_cannot_be_reached() {
    let mut cluster = with_a_lost_withdrawal();
    cluster.part(&[&[1, 3], &[2]]);
    cluster.mute.clear();
    let told = |it: &mut Cluster| {
        let mut told: Vec<u64> = Vec::new();
        it.now += 1_000;
        let now = at(it.now);
        let (_, resolver) = it.nodes.get_mut(&1).expect("it is there");
        let mut out = Vec::new();
        resolver.repeat_withdrawals(now, &mut out);
        for output in out {
            if let ResolverOutput::Send { to, .. } = output {
                told.push(to.uid.as_u64());
            }
        }
        told
    };
    assert_eq!(told(&mut cluster), [3]);
    cluster.heal();
    assert_eq!(told(&mut cluster), [2, 3]);
}

/// Whoever agrees to a later proposal has let go of the one before.
#[test]
fn a_withdrawal_from_whoever_agreed_to_a_later_proposal_is_not_said_again() {
    let mut cluster = with_a_lost_withdrawal();
    let withdrawals = |it: &mut Cluster, voter, number| {
        let known = &mut it.nodes.get_mut(&1).expect("it is there").1.withdrawals;
        known.settle(uid(voter), number);
        let again = known.round(at(1_000_000), Duration::from_secs(1), |_| true);
        again.len()
    };
    assert_eq!(withdrawals(&mut cluster, 2, 0), 2, "an earlier one");
    assert_eq!(withdrawals(&mut cluster, 77, 1), 0, "not due again yet");
    let next = at(2_000_000);
    let known = &mut cluster
        .nodes
        .get_mut(&1)
        .expect("it is there")
        .1
        .withdrawals;
    known.settle(uid(2), 1);
    let again = known.round(next, Duration::from_secs(1), |_| true);
    assert_eq!(again.len(), 1);
}

#[test]
fn one_over_the_rounds_is_not_asked_and_the_time_begins_again() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.mute = vec![2, 3];
    cluster.run(7_000);
    let rounds = |it: &Cluster| it.resolver(1).proposal.as_ref().map(|it| it.rounds);
    let max = ResolverSettings::default().rounds_max;
    assert_eq!(rounds(&cluster), Some(1));
    cluster.run(9_000);
    assert_eq!(rounds(&cluster), Some(max));
    cluster.run(1_000);
    assert_eq!(rounds(&cluster), None);
    cluster.mute.clear();
    cluster.run(6_999);
    assert_eq!(cluster.given_up(1), [] as [u64; 0]);
    cluster.run(2);
    assert_eq!(cluster.given_up(1), [4, 5]);
}

#[test]
fn what_the_last_leader_was_agreed_to_the_next_one_proposes_too() {
    let mut cluster = Cluster::up(1..=7);
    cluster.part(&[&[1, 2, 3, 4, 5], &[6, 7]]);
    cluster.mute = vec![3, 4, 5];
    cluster.run(10_500);
    assert!(cluster.resolver(1).proposal.is_some());
    cluster.mute.clear();
    // It crashes, and those it wanted to give up are heard again.
    cluster.part(&[&[2, 3, 4, 5], &[1]]);
    cluster.crash(1);
    for observer in 2..=5 {
        cluster.clear(observer, 6);
        cluster.clear(observer, 7);
    }
    cluster.share();
    cluster.run(12_000);
    assert_eq!(cluster.given_up(2), [1, 6, 7]);
    assert_eq!(cluster.numbers(), [2, 3, 4, 5]);
}

#[test]
fn if_too_many_were_agreed_to_before_this_side_goes_down() {
    let mut cluster = Cluster::up(1..=5);
    // Somebody they do not hear any more had them agree to this.
    for voter in [2, 3] {
        assert_eq!(
            ask(&mut cluster, voter, 5, 1, &ALL, &[1, 4]).unwrap().0,
            Answer::Yes
        );
    }
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(
        cluster.reasons(),
        ["outvoted", "surrendered", "too_many_named"]
    );
}

#[test]
fn a_surrender_is_heeded_only_by_whoever_counts_the_same() {
    let mut cluster = Cluster::up(1..=5);
    let surrender = |base: &[u64]| Message::Surrender {
        to: uid(3),
        base: set(base),
    };
    say(&mut cluster, 3, 77, &surrender(&ALL));
    say(&mut cluster, 3, 1, &surrender(&ALL[..4]));
    assert_eq!(cluster.decided.len(), 0);
    say(&mut cluster, 3, 1, &surrender(&ALL));
    assert_eq!(cluster.numbers(), [1, 2, 4, 5]);
}

#[test]
fn a_late_consent_is_answered_by_a_withdrawal() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.mute = vec![2, 3];
    cluster.run(7_000);
    assert!(cluster.resolver(1).proposal.is_some());
    for observer in [1, 2, 3] {
        cluster.clear(observer, 4);
        cluster.clear(observer, 5);
    }
    cluster.share();
    cluster.sent.clear();
    let consent = Message::Answer {
        to: uid(1),
        number: 1,
        answer: Answer::Yes,
        named: BTreeSet::new(),
    };
    say(&mut cluster, 1, 2, &consent);
    let withdrawal = Message::Withdrawal {
        to: uid(2),
        number: 1,
        carried: 0,
    };
    assert_eq!(cluster.sent, [(1, 2, withdrawal.to_bytes())]);
}
