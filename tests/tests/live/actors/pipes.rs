//! Futures whose results actors are told.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AsyncHandler, Cx, Handler, Msg, Node, Ref, SpawnError, async_handler, message,
    protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

use super::gate::{Gate, Keeper, List};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

/// What a future came to.
#[message(id = "tests.Outcome", v = 1)]
struct Outcome {
    number: u64,
    ballast: Vec<u8>,
}

/// Has a pipe begin.
#[message(id = "tests.Lay", v = 1, reply = Laid)]
struct Lay;

#[message(id = "tests.Laid", v = 1)]
struct Laid {
    done: bool,
}

protocol! { PlumberApi = "tests.plumber" { Lay, Outcome } }

type Laying = Box<dyn FnMut(&mut Cx<'_, Plumber>) -> bool>;

struct Plumber {
    laying: Laying,
    outcomes: Outcomes,
    gate: Option<Gate>,
}

type Outcomes = Rc<RefCell<Vec<u64>>>;

impl Actor for Plumber {
    type Api = PlumberApi;
}

impl Handler<Lay> for Plumber {
    fn handle(&mut self, _: Msg<Lay>, cx: &mut Cx<'_, Self>) -> Laid {
        let done = (self.laying)(cx);
        Laid { done }
    }
}

#[async_handler]
impl AsyncHandler<Outcome> for Plumber {
    async fn handle(&mut self, outcome: Msg<Outcome>, _: &mut Cx<'_, Self>) {
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        self.outcomes.borrow_mut().push(outcome.number.to_native());
    }
}

fn outcome(number: u64) -> Outcome {
    let ballast = Vec::new();
    Outcome { number, ballast }
}

fn plumber(
    node: &Node,
    laying: impl FnMut(&mut Cx<'_, Plumber>) -> bool + 'static,
) -> (Ref<PlumberApi>, Outcomes) {
    behind(node, None, laying)
}

fn behind(
    node: &Node,
    gate: Option<Gate>,
    laying: impl FnMut(&mut Cx<'_, Plumber>) -> bool + 'static,
) -> (Ref<PlumberApi>, Outcomes) {
    let outcomes = Outcomes::default();
    let plumber = Plumber {
        laying: Box::new(laying),
        outcomes: Rc::clone(&outcomes),
        gate,
    };
    (node.spawn(plumber).expect("room"), outcomes)
}

async fn lay(plumber: Ref<PlumberApi>) -> bool {
    plumber.ask(Lay).await.expect("an answer").done
}

async fn until(node: &Node, is_so: impl Fn() -> bool) {
    while !is_so() {
        node.sleep(Duration::from_millis(1)).await;
    }
}

/// Says when it drops, and may panic then.
struct Guard(Rc<RefCell<u32>>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.borrow_mut() += 1;
        assert!(!self.1, "a future that panics in its drop");
    }
}

#[test]
fn an_actor_is_told_what_others_answered() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let (plumber, outcomes) = plumber(&node, move |cx| {
            for number in 1..=3 {
                let body = Default::default();
                let asking = echo.ask(Echo { number, body });
                let map = |answer: Result<Msg<_>, AskError>| {
                    let answer: Msg<ringmesh_tests::live::messages::Echoed> =
                        answer.expect("an answer");
                    outcome(answer.number.to_native())
                };
                cx.pipe(asking, map).expect("room");
            }
            true
        });
        assert!(lay(plumber).await);
        until(&node, || outcomes.borrow().len() == 3).await;
        outcomes.borrow_mut().sort_unstable();
        assert_eq!(*outcomes.borrow(), [1, 2, 3]);
    });
    for node in [&server, &client] {
        assert_closed(&node.until("quiet", |now| now.in_flight == 0));
    }
}

#[test]
fn a_question_in_a_piped_future_inherits_the_deadline() {
    let node = LiveNode::start_with(|it| it.settings(|s| s.ask_timeout = HOUR));
    node.run(|node| async move {
        let keeper = node.spawn(Keeper::new(Gate::default())).expect("room");
        let knock = super::gate::Knock {
            number: 0,
            panics: false,
        };
        keeper.try_tell(knock).expect("room");
        let (plumber, outcomes) = plumber(&node, move |cx| {
            let asking = async move { keeper.ask(List).await.err() };
            let map = |fate| match fate {
                Some(AskError::Timeout { after, .. }) => outcome(u64::from(after <= SHORT)),
                other => panic!("expected a timeout: {other:?}"),
            };
            cx.pipe(asking, map).is_ok()
        });
        let laid = plumber.ask(Lay).timeout(SHORT).await;
        assert!(laid.expect("an answer").done);
        until(&node, || !outcomes.borrow().is_empty()).await;
        assert_eq!(*outcomes.borrow(), [1]);
    });
}

#[test]
fn a_future_ends_with_its_actor() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let ended = Rc::new(RefCell::new(0));
        let pipe = |ended: &Rc<RefCell<u32>>, cx: &mut Cx<'_, Plumber>, panics| {
            let guard = Guard(Rc::clone(ended), panics);
            let endless = async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            };
            cx.pipe(endless, |()| outcome(0)).expect("room");
        };
        for (panics, in_drop) in [(false, false), (true, false), (false, true)] {
            let before = *ended.borrow();
            let kept = Rc::clone(&ended);
            let (plumber, _) = plumber(&node, move |cx| {
                pipe(&kept, cx, in_drop);
                assert!(!panics, "told to by a test");
                true
            });
            let laid = plumber.ask(Lay).await;
            assert_eq!(laid.is_ok(), !panics);
            if !panics {
                // The future waits by now: what was spawned in the handler was polled.
                lay(plumber).await;
                assert_eq!(*ended.borrow(), before);
                assert!(node.stop(&plumber));
            }
            let pipes = if panics { 1 } else { 2 };
            until(&node, || *ended.borrow() == before + pipes).await;
        }
        // One of a handler, two of drops.
        assert_eq!(node.counters().panics, 3);
    });
    assert_closed(&node.counters());
}

#[test]
fn a_future_that_ends_its_own_actor_tells_nobody() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let ended = Rc::new(RefCell::new(0));
        let guarded = Rc::clone(&ended);
        let (plumber, outcomes) = plumber(&node, move |cx| {
            let (node, me, guard) = (cx.node(), cx.me(), Guard(Rc::clone(&guarded), false));
            let ending = async move {
                let _guard = guard;
                assert!(node.stop(&me), "it runs");
                std::future::pending::<()>().await;
            };
            cx.pipe(ending, |()| outcome(0)).is_ok()
        });
        assert!(lay(plumber).await);
        until(&node, || *ended.borrow() == 1).await;
        assert!(outcomes.borrow().is_empty());
    });
    assert_closed(&node.counters());
}

#[test]
fn a_panic_in_a_future_or_in_what_maps_its_result_ends_it_alone() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let mut lays = 0;
        let (plumber, outcomes) = plumber(&node, move |cx| {
            lays += 1;
            let panics: Pin<Box<dyn Future<Output = ()>>> = match lays {
                1 => Box::pin(async { panic!("a future that panics") }),
                _ => Box::pin(async {}),
            };
            let map = move |()| {
                assert_ne!(lays, 2, "a map that panics");
                outcome(lays)
            };
            cx.pipe(panics, map).is_ok()
        });
        for _ in 0..3 {
            assert!(lay(plumber).await);
        }
        until(&node, || !outcomes.borrow().is_empty()).await;
        assert_eq!(*outcomes.borrow(), [3]);
        assert_eq!(node.counters().panics, 2);
    });
    assert_closed(&node.counters());
}

#[test]
fn one_over_the_tasks_of_a_core_is_refused() {
    // One is the node's main future, and one the job that asks.
    let node = LiveNode::start_with(|it| it.settings(|s| s.tasks_max = 8));
    let refused = node.run(|node| async move {
        let refused = Rc::new(RefCell::new(None));
        let noted = Rc::clone(&refused);
        let (plumber, _) = plumber(&node, move |cx| {
            for _ in 0..8 {
                let endless = std::future::pending::<()>();
                if let Err(error) = cx.pipe(endless, |()| outcome(0)) {
                    *noted.borrow_mut() = Some(error);
                }
            }
            true
        });
        assert!(lay(plumber).await);
        assert!(node.stop(&plumber), "which ends its pipes");
        refused.take()
    });
    assert_eq!(refused, Some(SpawnError::TooManyTasks { limit: 8 }));
    assert_closed(&node.counters());
}

#[test]
fn a_result_that_finds_no_room_in_time_or_cannot_be_sent_is_counted() {
    const MAILBOX: usize = 16;
    let node = LiveNode::start_with(|it| {
        it.settings(|s| {
            s.mailbox_messages_max = MAILBOX;
            s.send_timeout = SHORT;
        })
    });
    let gate = Gate::default();
    let closed = gate.clone();
    node.run(|node| async move {
        let full = Gate::default();
        let (mut lays, filled) = (0, full.clone());
        let (plumber, _) = behind(&node, Some(closed), move |cx| {
            lays += 1;
            if lays == 1 {
                let ballast = vec![0; 3 << 20];
                let map = move |()| Outcome { number: 1, ballast };
                return cx.pipe(std::future::ready(()), map).is_ok();
            }
            let full = full.clone();
            cx.pipe(async move { full.pass().await }, |()| outcome(2))
                .is_ok()
        });
        assert!(lay(plumber).await);
        until(&node, || node.counters().pipes_lost == 1).await;
        assert!(lay(plumber).await);
        // Until there is no room that comes back with a grant.
        let mut refused = 0;
        while refused < 20 {
            match plumber.try_tell(outcome(0)) {
                Ok(()) => refused = 0,
                Err(_) => {
                    refused += 1;
                    node.sleep(Duration::from_millis(2)).await;
                }
            }
        }
        filled.open();
        until(&node, || node.counters().pipes_lost == 2).await;
    });
    gate.open();
    let books = node.until("all to pass", |now| now.waiting == 0);
    assert_closed(&books);
}
