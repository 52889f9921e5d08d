//! The suite.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringmesh_lease::{
    Answer, Ask, Deed, LEASE_OWNER_BYTES_MAX, LeaseName, Store, TOKENS_LEFT_OUT, Token,
};

pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(12);

/// One store, and how several nodes see it.
pub(crate) trait Stage: Sync {
    type Store: Store;

    /// The store as another node sees it.
    fn store(&self) -> Self::Store;

    /// Lets time pass for all.
    fn pass(&self, time: Duration);

    /// Takes the record of a lease away, as a person might. `false`: this store has none.
    fn delete(&self, name: &LeaseName) -> bool;

    /// Whether tokens count on from one that the store is told.
    fn counts_on(&self) -> bool {
        true
    }
}

/// The tests of the suite, of one kind of stage.
macro_rules! contract {
    ($stage:expr) => {
        $crate::contract::contract!($stage,
            one_of_two_has_it_and_the_other_is_told_who,
            what_is_renewed_keeps_its_token_and_its_holder,
            whoever_is_silent_is_replaced_after_its_time_and_never_sooner,
            whoever_is_gone_is_replaced_within_the_time_that_the_store_says,
            what_was_given_to_another_is_neither_renewed_nor_released_by_who_had_it,
            what_is_released_is_free_at_once,
            a_token_of_another_or_from_before_renews_nothing,
            whoever_asks_again_for_its_own_keeps_it,
            leases_of_other_names_are_other_leases,
            what_is_looked_up_is_the_last_token_and_nothing_is_given,
            tokens_count_on_from_what_is_known_once_nobody_else_has_it,
            a_store_that_fell_behind_what_is_known_gives_none_that_it_may_have_given,
            tokens_grow_also_when_the_record_was_deleted,
            of_many_at_once_one_has_it_and_tokens_follow_in_order,
            one_over_the_lease_owner_bytes_max_fails,
        );
    };
    ($stage:expr, $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $crate::contract::$test(&$stage);
            }
        )*
    };
}

pub(crate) use contract;

/// A node and its view of the store.
pub(crate) struct Node<S> {
    store: S,
    owner: Box<str>,
    number: u64,
}

impl<S: Store> Node<S> {
    pub(crate) fn new(store: S, owner: &str) -> Self {
        let owner = owner.into();
        Self {
            store,
            owner,
            number: 0,
        }
    }

    pub(crate) fn ask(&mut self, name: &LeaseName, deed: Deed) -> Answer {
        self.number += 1;
        self.store.handle(&Ask {
            number: self.number,
            name: name.clone(),
            owner: self.owner.clone(),
            deed,
            time_to_live: TIME_TO_LIVE,
        })
    }

    /// The last token, as it is told to whoever knows that one.
    pub(crate) fn last(&mut self, name: &LeaseName, known: Token) -> Token {
        match self.ask(name, Deed::Look(known)) {
            Answer::Last { token } => token,
            other => panic!("{} does not know: {other:?}", self.owner),
        }
    }

    /// Has it, which nobody else has.
    pub(crate) fn has(&mut self, name: &LeaseName) -> Token {
        match self.ask(name, Deed::Acquire(Token(0))) {
            Answer::Held { token } => token,
            other => panic!("{} does not have {name}: {other:?}", self.owner),
        }
    }
}

pub(crate) fn name(text: &str) -> LeaseName {
    LeaseName::new(text).expect("it is a name")
}

fn held_by(owner: &str) -> Answer {
    let owner = owner.into();
    Answer::HeldBy { owner }
}

fn two<S: Stage>(stage: &S) -> (Node<S::Store>, Node<S::Store>) {
    let node = |owner| Node::new(stage.store(), owner);
    (node("ringmesh://demo@10.0.0.1:7400/0a"), node("b"))
}

pub(crate) fn one_of_two_has_it_and_the_other_is_told_who(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    a.has(&shop);
    assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
    assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
}

pub(crate) fn what_is_renewed_keeps_its_token_and_its_holder(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let token = a.has(&shop);
    for _ in 0..10 {
        stage.pass(TIME_TO_LIVE / 2);
        assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
        assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
    }
}

/// Lets time pass until `b` has what another had, and says how much, and with which token.
fn replaces<S: Stage>(stage: &S, b: &mut Node<S::Store>, name: &LeaseName) -> (Duration, Token) {
    let step = TIME_TO_LIVE / 4;
    for steps in 0..24 {
        if let Answer::Held { token } = b.ask(name, Deed::Acquire(Token(0))) {
            return (step * steps, token);
        }
        stage.pass(step);
    }
    panic!("nobody else gets it");
}

pub(crate) fn whoever_is_silent_is_replaced_after_its_time_and_never_sooner(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let first = a.has(&shop);
    // b has watched for a while when a is heard of for the last time.
    b.ask(&shop, Deed::Acquire(Token(0)));
    stage.pass(TIME_TO_LIVE * 3 / 4);
    let token = first;
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    let (after, second) = replaces(stage, &mut b, &shop);
    assert!(after >= TIME_TO_LIVE, "after {after:?}");
    assert_eq!(second.0, first.0 + 1);
    assert_eq!(a.ask(&shop, Deed::Renew(first)), Answer::Lost);
    assert_eq!(a.ask(&shop, Deed::Acquire(Token(0))), held_by("b"));
}

pub(crate) fn whoever_is_gone_is_replaced_within_the_time_that_the_store_says(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    a.has(&shop);
    let step = TIME_TO_LIVE / 4;
    let (after, _) = replaces(stage, &mut b, &shop);
    let most = stage.store().free_after(TIME_TO_LIVE);
    assert!(after <= most, "after {after:?}, not {most:?}");
    assert!(after + step >= most, "after {after:?} of {most:?} already");
}

pub(crate) fn what_was_given_to_another_is_neither_renewed_nor_released_by_who_had_it(
    stage: &impl Stage,
) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let first = a.has(&shop);
    let (_, token) = replaces(stage, &mut b, &shop);
    assert_eq!(a.ask(&shop, Deed::Release(first)), Answer::Released);
    assert_eq!(a.ask(&shop, Deed::Renew(first)), Answer::Lost);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Lost);
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Released);
    assert_eq!(b.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(a.ask(&shop, Deed::Acquire(Token(0))), held_by("b"));
}

pub(crate) fn what_is_released_is_free_at_once(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let first = a.has(&shop);
    assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
    for _ in 0..2 {
        assert_eq!(a.ask(&shop, Deed::Release(first)), Answer::Released);
    }
    assert_eq!(a.ask(&shop, Deed::Renew(first)), Answer::Lost);
    let second = b.has(&shop);
    assert_eq!(second.0, first.0 + 1);
    assert_eq!(b.ask(&shop, Deed::Release(second)), Answer::Released);
    assert_eq!(b.has(&shop).0, second.0 + 1);
}

pub(crate) fn a_token_of_another_or_from_before_renews_nothing(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    assert_eq!(a.ask(&shop, Deed::Renew(Token(1))), Answer::Lost);
    assert_eq!(a.ask(&shop, Deed::Release(Token(1))), Answer::Released);
    let token = a.has(&shop);
    for wrong in [
        Token(token.0 - 1),
        Token(token.0 + 1),
        Token(0),
        Token(u64::MAX),
    ] {
        assert_eq!(a.ask(&shop, Deed::Renew(wrong)), Answer::Lost);
    }
    assert_eq!(b.ask(&shop, Deed::Renew(token)), Answer::Lost);
    assert_eq!(b.ask(&shop, Deed::Release(token)), Answer::Released);
    assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
}

pub(crate) fn whoever_asks_again_for_its_own_keeps_it(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let token = a.has(&shop);
    for _ in 0..10 {
        stage.pass(TIME_TO_LIVE / 2);
        assert_eq!(a.has(&shop), token);
        assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
    }
    assert_eq!(b.ask(&shop, Deed::Acquire(Token(0))), held_by(&a.owner));
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
}

pub(crate) fn leases_of_other_names_are_other_leases(stage: &impl Stage) {
    let ((mut a, mut b), names) = (two(stage), ["shop", "shop-2", "2"].map(name));
    let first = a.has(&names[0]);
    let second = b.has(&names[1]);
    a.has(&names[2]);
    assert_eq!(a.ask(&names[0], Deed::Release(first)), Answer::Released);
    assert_eq!(a.ask(&names[1], Deed::Acquire(Token(0))), held_by("b"));
    let token = second;
    assert_eq!(b.ask(&names[1], Deed::Renew(token)), Answer::Held { token });
    assert_eq!(b.ask(&names[2], Deed::Acquire(Token(0))), held_by(&a.owner));
}

pub(crate) fn what_is_looked_up_is_the_last_token_and_nothing_is_given(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let none = b.last(&shop, Token(0));
    assert_eq!(b.last(&shop, none), none);
    let token = a.has(&shop);
    assert_eq!(token.0, none.0 + 1);
    assert_eq!(b.last(&shop, none), token);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Released);
    assert_eq!(b.last(&shop, Token(0)), token);
    assert_eq!(b.has(&shop).0, token.0 + 1);
}

pub(crate) fn tokens_count_on_from_what_is_known_once_nobody_else_has_it(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let token = a.has(&shop);
    let known = Token(token.0 + 7);
    if !stage.counts_on() {
        assert_eq!(b.last(&shop, known), token);
        return;
    }
    assert_eq!(b.ask(&shop, Deed::Look(known)), held_by(&a.owner));
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Released);
    let last = Token(known.0 + TOKENS_LEFT_OUT);
    assert_eq!(b.last(&shop, known), last);
    assert_eq!(b.last(&shop, known), last, "once");
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Lost);
    assert_eq!(a.has(&shop).0, last.0 + 1);
}

/// It was restored from a copy: some of those that it would give next it has given before.
pub(crate) fn a_store_that_fell_behind_what_is_known_gives_none_that_it_may_have_given(
    stage: &impl Stage,
) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let token = a.has(&shop);
    let (given, known) = (Token(token.0 + 1), Token(token.0 + 3));
    assert_eq!(b.ask(&shop, Deed::Acquire(known)), held_by(&a.owner));
    assert_eq!(a.ask(&shop, Deed::Acquire(token)), Answer::Held { token });
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Released);
    if !stage.counts_on() {
        assert_eq!(
            b.ask(&shop, Deed::Acquire(known)),
            Answer::Held { token: given }
        );
        return;
    }
    let token = Token(known.0 + TOKENS_LEFT_OUT + 1);
    assert_eq!(b.ask(&shop, Deed::Acquire(known)), Answer::Held { token });
    assert_eq!(b.ask(&shop, Deed::Acquire(known)), Answer::Held { token });
    assert_eq!(a.last(&shop, known), token);
    assert_eq!(b.ask(&shop, Deed::Release(token)), Answer::Released);
    assert_eq!(
        a.ask(&shop, Deed::Acquire(known)),
        Answer::Held {
            token: Token(token.0 + 1)
        }
    );
}

pub(crate) fn tokens_grow_also_when_the_record_was_deleted(stage: &impl Stage) {
    let ((mut a, mut b), shop) = (two(stage), name("shop"));
    let mut last = a.has(&shop);
    for _ in 0..5 {
        assert_eq!(a.ask(&shop, Deed::Release(last)), Answer::Released);
        last = a.has(&shop);
    }
    stage.pass(Duration::from_secs(1));
    if !stage.delete(&shop) {
        return;
    }
    assert_eq!(a.ask(&shop, Deed::Renew(last)), Answer::Lost);
    let token = b.has(&shop);
    assert!(token > last, "{token} after {last}");
}

pub(crate) fn of_many_at_once_one_has_it_and_tokens_follow_in_order<S: Stage>(stage: &S) {
    let shop = name("shop");
    let held: Arc<Mutex<Vec<Token>>> = Arc::default();
    let work = |owner: &str, store: S::Store| {
        let mut node = Node::new(store, owner);
        let mut turns = 0;
        for _ in 0..10_000 {
            if turns == 5 {
                return;
            }
            match node.ask(&shop, Deed::Acquire(Token(0))) {
                Answer::Held { token } => {
                    // Whoever has it is alone here.
                    let mut all = held.try_lock().expect("another has it too");
                    let last = all.last().map_or(token.0 - 1, |last| last.0);
                    assert_eq!(token.0, last + 1, "{all:?}");
                    all.push(token);
                    drop(all);
                    turns += 1;
                    assert_eq!(node.ask(&shop, Deed::Release(token)), Answer::Released);
                }
                Answer::HeldBy { .. } | Answer::Failed { .. } => thread::yield_now(),
                other => panic!("{other:?}"),
            }
        }
        panic!("{owner} had it {turns} times");
    };
    thread::scope(|scope| {
        for owner in ["a", "b", "c", "d"] {
            let (work, store) = (&work, stage.store());
            scope.spawn(move || work(owner, store));
        }
    });
    assert_eq!(held.lock().expect("nobody panicked").len(), 20);
}

pub(crate) fn one_over_the_lease_owner_bytes_max_fails(stage: &impl Stage) {
    let shop = name("shop");
    let longest = "\u{e4}".repeat(LEASE_OWNER_BYTES_MAX / 2);
    let mut over = Node::new(stage.store(), &format!("{longest}a"));
    assert!(matches!(
        over.ask(&shop, Deed::Acquire(Token(0))),
        Answer::Failed { .. }
    ));
    Node::new(stage.store(), &longest).has(&shop);
    let mut other = Node::new(stage.store(), "b");
    assert_eq!(other.ask(&shop, Deed::Acquire(Token(0))), held_by(&longest));
}
