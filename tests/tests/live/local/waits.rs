//! Local messages to actors whose handlers wait.

use ringmesh::{
    Actor, AsyncHandler, CoreId, Cx, Handler, LocalHandler, Msg, Node, Ref, SendError,
    async_handler, message, protocol,
};
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;
use ringmesh_tests::live::node::LiveNode;

use super::{Alive, Numbered, send, settled, turn};
use crate::actors::gate::Gate;

/// Has a [`Waiter`] wait for its gate.
#[message(id = "tests.Await", v = 1)]
struct Await;

/// A number that came as an archive.
#[message(id = "tests.Mark", v = 1)]
struct Mark {
    number: u64,
}

/// Asks for the numbers that came, in order.
#[message(id = "tests.Marks", v = 1, reply = Marked)]
struct Marks;

#[message(id = "tests.Marked", v = 1)]
struct Marked {
    numbers: Vec<u64>,
}

/// Stops it, behind what came before.
#[message(local)]
struct Stop;

/// Panics.
#[message(local)]
struct Ignite;

protocol! {
    WaiterApi = "tests.waiter" { Await, local Numbered, Mark, local Stop, Marks, local Ignite }
}

struct Waiter {
    gate: Gate,
    numbers: Vec<u64>,
}

impl Actor for Waiter {
    type Api = WaiterApi;
}

#[async_handler]
impl AsyncHandler<Await> for Waiter {
    async fn handle(&mut self, _: Msg<Await>, _: &mut Cx<'_, Self>) {
        self.gate.pass().await;
    }
}

impl Handler<Mark> for Waiter {
    fn handle(&mut self, mark: Msg<Mark>, _: &mut Cx<'_, Self>) {
        self.numbers.push(mark.number.to_native());
    }
}

impl Handler<Marks> for Waiter {
    fn handle(&mut self, _: Msg<Marks>, _: &mut Cx<'_, Self>) -> Marked {
        let numbers = self.numbers.clone();
        Marked { numbers }
    }
}

impl LocalHandler<Numbered> for Waiter {
    fn handle(&mut self, numbered: Numbered, cx: &mut Cx<'_, Self>) {
        assert_eq!(cx.sender().as_ref(), Some(cx.node().id()));
        self.numbers.push(numbered.number);
    }
}

impl LocalHandler<Stop> for Waiter {
    fn handle(&mut self, _: Stop, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

impl LocalHandler<Ignite> for Waiter {
    fn handle(&mut self, _: Ignite, _: &mut Cx<'_, Self>) {
        panic!("told to by a test");
    }
}

/// The first waiter on that core, which waits for the gate.
async fn waiting_on(node: &Node, core: CoreId, gate: &Gate) -> Ref<WaiterApi> {
    let gate = gate.clone();
    let waiter = move || Waiter {
        gate,
        numbers: Vec::new(),
    };
    let waiter = node.spawn_on(core, waiter).await.expect("room");
    waiter.try_tell(Await).expect("room");
    // Local messages may overtake it.
    while node.metrics().cores[usize::from(core.0)].delivered == 0 {
        turn().await;
    }
    waiter
}

async fn until_waiting(node: &Node, local: u64) {
    while settled(node).await.total.local_waiting != local {
        turn().await;
    }
}

async fn numbers_of(waiter: Ref<WaiterApi>) -> Vec<u64> {
    let marked = waiter.ask(Marks).await.expect("an answer");
    marked.deserialize().numbers
}

#[test]
fn they_wait_in_the_mailbox_between_the_others_and_are_handled_in_their_order() {
    for core in [0, 1].map(CoreId) {
        let node = LiveNode::of_cores(2);
        node.run(move |node| async move {
            let (gate, alive) = (Gate::default(), Alive::default());
            let waiter = waiting_on(&node, core, &gate).await;
            for number in 0..10 {
                if number % 2 == 0 {
                    let numbered = Numbered::new(number, &alive);
                    waiter.try_tell_local(numbered).expect("room");
                    until_waiting(&node, number / 2 + 1).await;
                } else {
                    waiter.try_tell(Mark { number }).expect("room");
                    while node.metrics().total.waiting < number.div_ceil(2) {
                        turn().await;
                    }
                }
            }
            assert_eq!(alive.count(), 5);
            gate.open();
            assert_eq!(numbers_of(waiter).await, (0..10).collect::<Vec<_>>());
            assert_eq!(alive.count(), 0);
            // Nothing is in front of it any more: it is handled at once.
            send(waiter, Numbered::new(10, &alive)).await;
            while numbers_of(waiter).await.len() < 11 {}
            until_waiting(&node, 0).await;
        });
    }
}

#[test]
fn what_waits_beyond_the_mailbox_takes_the_places_between_the_two_cores() {
    const MAILBOX: usize = 8;
    for core in [0, 1].map(CoreId) {
        let node = LiveNode::start_with(|builder| {
            builder.settings(|settings| {
                settings.cores = 2;
                settings.mailbox_messages_max = MAILBOX;
            })
        });
        node.run(move |node| async move {
            let (gate, alive) = (Gate::default(), Alive::default());
            let waiter = waiting_on(&node, core, &gate).await;
            let most = MAILBOX as u64 + LOCAL_MESSAGES_MAX;
            for number in 0..most {
                send(waiter, Numbered::new(number, &alive)).await;
            }
            until_waiting(&node, most).await;
            let refused = waiter.try_tell_local(Numbered::new(0, &alive));
            assert!(matches!(refused, Err(SendError::Full(_))), "{refused:?}");
            drop(refused);
            gate.open();
            while alive.count() > 0 {
                turn().await;
            }
            assert_eq!(numbers_of(waiter).await, (0..most).collect::<Vec<_>>());
            // Every place came back.
            for number in 0..LOCAL_MESSAGES_MAX {
                let numbered = Numbered::new(number, &alive);
                waiter.try_tell_local(numbered).expect("room");
            }
        });
    }
}

#[test]
fn what_waits_for_an_actor_that_ends_is_dead() {
    const WAITING: u64 = 20;
    for panics in [false, true] {
        let node = LiveNode::of_cores(2);
        let books = node.run(move |node| async move {
            let (gate, alive) = (Gate::default(), Alive::default());
            let waiter = waiting_on(&node, CoreId(1), &gate).await;
            // It ends behind the first of them.
            send(waiter, Numbered::new(0, &alive)).await;
            if panics {
                send(waiter, Ignite).await;
            } else {
                send(waiter, Stop).await;
            }
            for number in 1..=WAITING {
                send(waiter, Numbered::new(number, &alive)).await;
            }
            until_waiting(&node, WAITING + 2).await;
            let mut letters = node.dead_letters();
            gate.open();
            for _ in 0..WAITING {
                let letter = letters.next().await.expect("the node runs");
                let name = letter.message_name.expect("the protocol knows it");
                assert!(name.ends_with("Numbered"), "{name}");
            }
            while alive.count() > 0 {
                turn().await;
            }
            until_waiting(&node, 0).await;
            settled(&node).await.cores[1]
        });
        assert_eq!((books.local_delivered, books.local_dead), (2, WAITING));
        assert_eq!(books.panics, u64::from(panics));
    }
}
