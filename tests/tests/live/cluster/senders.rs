//! Who published: told to all who get it, wherever they are and whenever they look.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use ringmesh::pubsub::{GroupName, Level, Path, Policy, Publisher, Topic};
use ringmesh::{
    Actor, AsyncHandler, CoreId, Counters, Cx, Handler, LaterHandler, Msg, Node, NodeId, Props,
    Ref, ReplyTo, StashLimit, Supervision, async_handler, later_handler, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, on_core, run_on, total};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{Frozen, cluster_of, of, watchful};
use crate::actors::gate::Gate;

const RECORDS: Topic<Record> = Topic::new("tests.senders");
const DESK: Path<Record> = Path::new("tests/senders");

/// Has whoever is told it fail.
const FAILS: u64 = 1000;
/// Has whoever lays others aside take them back.
const OPENS: u64 = 1001;

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![7; 32].into(),
    }
}

fn publisher(node: &Node) -> Publisher<Record> {
    node.publisher(&RECORDS).expect("a topic")
}

protocol! { WitnessApi = "tests.witness" { Record } }

/// Who sent which record, as one who got it says.
type Seen = (u64, NodeId);

/// Says who sent what it is told.
#[derive(Clone)]
struct Witness(Sender<Seen>);

impl Witness {
    fn note<A: Actor>(&self, record: &Msg<Record>, cx: &Cx<'_, A>) {
        assert!(!cx.is_from_client() && cx.deadline().is_none());
        let sender = cx.sender().expect("it is told in a handler");
        let _ = self.0.send((record.number.to_native(), sender));
    }
}

impl Actor for Witness {
    type Api = WitnessApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        assert_eq!(cx.sender(), None);
    }
}

impl Handler<Record> for Witness {
    fn handle(&mut self, record: Msg<Record>, cx: &mut Cx<'_, Self>) {
        self.note(&record, cx);
        assert_ne!(record.number.to_native(), FAILS, "told to by a test");
    }
}

/// The same, with a gate before it that others wait at.
struct SlowWitness(Witness, Gate);

impl Actor for SlowWitness {
    type Api = WitnessApi;
}

#[async_handler]
impl AsyncHandler<Record> for SlowWitness {
    async fn handle(&mut self, record: Msg<Record>, cx: &mut Cx<'_, Self>) {
        let before = cx.sender();
        self.1.pass().await;
        // Others have come meanwhile.
        assert_eq!(cx.sender(), before);
        self.0.note(&record, cx);
    }
}

/// The same, which lays aside what comes before it may be handled.
struct PatientWitness {
    witness: Witness,
    is_open: bool,
}

impl Actor for PatientWitness {
    type Api = WitnessApi;

    const STASH: StashLimit = StashLimit::USUAL;
}

#[later_handler]
impl LaterHandler<Record> for PatientWitness {
    fn handle(&mut self, record: Msg<Record>, reply: ReplyTo<Record>, cx: &mut Cx<'_, Self>) {
        if record.number.to_native() == OPENS {
            self.is_open = true;
            cx.unstash_all();
        }
        match self.is_open {
            true => self.witness.note(&record, cx),
            false => assert!(cx.stash(record, reply).is_ok(), "room"),
        }
    }
}

fn witness() -> (Witness, Receiver<Seen>) {
    let (said, heard) = channel();
    (Witness(said), heard)
}

fn next(heard: &Receiver<Seen>) -> Seen {
    heard.recv_timeout(WAIT).expect("it comes")
}

/// Has an actor of a core subscribe, so that all know.
fn subscribe<A>(node: &LiveNode, core: u16, name: &'static str, actor: A) -> Ref<WitnessApi>
where
    A: Actor<Api = WitnessApi> + Send + 'static,
{
    run_on(node, core, move |node| async move {
        let actor = node.spawn_named(name, actor).expect("room");
        let subscribe = node.subscribe(&RECORDS).expect("a topic");
        let known = subscribe
            .begin_known_for(&actor, Level::AllReachable)
            .await
            .expect("room");
        assert!(known.is_some_and(|it| it.is_enough));
        actor
    })
}

/// Reads so many messages on a core and says who published them, as the queue of a subscription
/// does that loses the oldest, or one of its own.
fn read(node: &LiveNode, core: u16, (count, is_shared): (usize, bool), said: &Sender<Seen>) {
    let (said, (say, begun)) = (said.clone(), channel());
    let reading = move |node: Node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic");
        let subscribe = match is_shared {
            true => subscribe,
            false => subscribe.conflate(|it| it.number.to_native()),
        };
        let known = subscribe.begin_known(Level::AllReachable).await;
        let (mut subscription, _) = known.expect("room");
        say.send(()).expect("the test waits");
        for _ in 0..count {
            let received = subscription.recv().await.expect("no loss");
            let number = received.number.to_native();
            let _ = said.send((number, received.sender().clone()));
        }
    };
    run_on(node, core, move |node| async move {
        let task = reading(node.clone());
        node.spawn_task(task).expect("room");
    });
    begun.recv_timeout(WAIT).expect("it subscribes");
}

fn publish(node: &LiveNode, core: u16, number: u64) {
    run_on(node, core, move |node| async move {
        let reached = publisher(&node).publish(record(number)).await;
        reached.map(drop).expect("room");
    });
}

#[test]
fn queues_and_actors_of_all_cores_are_told_which_node_published() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (witness, heard) = witness();
    for node in &nodes {
        for core in [0, 1] {
            let name = ["first", "second"][usize::from(core)];
            subscribe(node, core, name, witness.clone());
            read(node, core, (8, true), &witness.0);
            read(node, core, (8, false), &witness.0);
        }
    }
    for (place, node) in nodes.iter().enumerate() {
        for core in [0, 1] {
            for round in [0, 1] {
                let number = place as u64 * 100 + u64::from(core) * 10 + round;
                publish(node, core, number);
            }
        }
    }
    let mut counts = [0; 2];
    // Eight messages, for twelve subscribers.
    for _ in 0..8 * 12 {
        let (number, sender) = next(&heard);
        let place = number as usize / 100;
        assert_eq!(&sender, nodes[place].id(), "{number}");
        counts[place] += 1;
    }
    assert_eq!(counts, [48, 48]);
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.published_malformed), 0);
}

/// Published and told ones take turns, and each keeps its own.
#[test]
fn what_waits_in_a_mailbox_keeps_its_publisher() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (witness, heard) = witness();
    let gate = Gate::default();
    let slow = SlowWitness(witness, gate.clone());
    subscribe(&nodes[1], 1, "slow", slow);
    let path = nodes[1].path("slow");
    let mut expected = Vec::new();
    for number in 0..12 {
        // By both nodes, on both cores, published or told.
        let (place, core) = (number as usize % 2, number as u16 / 2 % 2);
        match number / 4 {
            1 => {
                let path = path.clone();
                run_on(&nodes[place], core, move |node| async move {
                    let slow = node
                        .resolve::<WitnessApi>(&path)
                        .await
                        .expect("it is there");
                    slow.tell(record(number)).await.expect("room");
                });
            }
            _ => publish(&nodes[place], core, number),
        }
        expected.push((number, nodes[place].id().clone()));
    }
    // The first is in the handler.
    until_counted(&nodes[1], |it| it.waiting == 11);
    assert!(heard.try_recv().is_err() && gate.is_waited_at());
    gate.open();
    let mut all: Vec<Seen> = (0..12).map(|_| next(&heard)).collect();
    all.sort_unstable_by_key(|it| it.0);
    assert_eq!(all, expected);
    // What comes when it is idle again.
    publish(&nodes[0], 1, 20);
    assert_eq!(next(&heard), (20, nodes[0].id().clone()));
    publish(&nodes[1], 1, 21);
    assert_eq!(next(&heard), (21, nodes[1].id().clone()));
}

#[test]
fn who_published_is_known_when_it_has_left() {
    let mut nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (witness, heard) = witness();
    let gate = Gate::default();
    for core in [0, 1] {
        let name = ["first", "second"][usize::from(core)];
        let slow = SlowWitness(witness.clone(), gate.clone());
        subscribe(&nodes[1], core, name, slow);
    }
    let read = read_behind(&nodes[1], &gate, &witness.0);
    let publisher = nodes[0].id().clone();
    (0..3).for_each(|number| publish(&nodes[0], 1, number));
    until_counted(&nodes[1], |it| it.waiting == 2);
    nodes[0].run(|node| async move {
        of(&node).leave().await.expect("it is a member");
        of(&node).ended().await;
    });
    drop(nodes.remove(0));
    nodes[0].until_so("it has left", |node| of(node).state().members().len() == 1);
    gate.open();
    for _ in 0..3 * 3 {
        assert_eq!(next(&heard).1, publisher);
    }
    read.finish();
}

/// Reads three messages on the other core, when a gate is open.
fn read_behind(node: &LiveNode, gate: &Gate, said: &Sender<Seen>) -> Pending<()> {
    let (said, gate, (say, begun)) = (said.clone(), gate.clone(), channel());
    let reading = node.begin(move |node| async move {
        let reading = move |node: Node| async move {
            let subscribe = node.subscribe(&RECORDS).expect("a topic");
            let known = subscribe.begin_known(Level::AllReachable).await;
            let (mut subscription, _) = known.expect("room");
            say.send(()).expect("the test waits");
            gate.pass().await;
            for _ in 0..3 {
                let received = subscription.recv().await.expect("no loss");
                let number = received.number.to_native();
                let _ = said.send((number, received.sender().clone()));
            }
        };
        on_core(&node, CoreId(1), reading).await;
    });
    begun.recv_timeout(WAIT).expect("it subscribes");
    reading
}

#[test]
fn what_is_laid_aside_and_what_a_restarted_actor_is_told_keeps_its_publisher() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let [first, second] = [0, 1].map(|place: usize| nodes[place].id().clone());
    let (witness, heard) = witness();
    let patient = PatientWitness {
        witness,
        is_open: false,
    };
    let patient = subscribe(&nodes[1], 1, "patient", patient);
    publish(&nodes[0], 0, 1);
    publish(&nodes[1], 0, 2);
    publish(&nodes[0], 1, 3);
    until_counted(&nodes[1], |it| it.stashed == 3);
    run_on(&nodes[1], 1, move |_| async move {
        patient.tell(record(OPENS)).await.expect("room");
    });
    let mut all: Vec<Seen> = (0..4).map(|_| next(&heard)).collect();
    all.sort_unstable_by_key(|it| it.0);
    let (one, two) = (&first, &second);
    let expected = [(1, one), (2, two), (3, one), (OPENS, two)];
    assert_eq!(all, expected.map(|(number, node)| (number, node.clone())));
    assert!(run_on(&nodes[1], 1, move |node| async move {
        node.stop(&patient)
    }));
    restart(&nodes);
}

fn restart(nodes: &[LiveNode]) {
    let [first, second] = [0, 1].map(|place: usize| nodes[place].id().clone());
    let (witness, heard) = witness();
    run_on(&nodes[1], 1, move |node| async move {
        let anew = Supervision::restart().pauses(Duration::ZERO, Duration::ZERO);
        let make = move || Ok::<_, String>(witness.clone());
        let actor = node.spawn_props(Props::fallible(make).supervised(anew));
        let actor = actor.expect("room");
        let subscribe = node.subscribe(&RECORDS).expect("a topic");
        let known = subscribe.begin_known_for(&actor, Level::AllReachable);
        known.await.expect("room");
        // Told behind one that fails: nothing of that is left.
        publisher(&node).publish(record(0)).await.expect("room");
    });
    assert_eq!(next(&heard), (0, second.clone()));
    for round in 0..3 {
        publish(&nodes[0], 1, FAILS);
        assert_eq!(next(&heard), (FAILS, first.clone()));
        publish(&nodes[1], 1, round);
        assert_eq!(next(&heard), (round, second.clone()));
        publish(&nodes[0], 0, round);
        assert_eq!(next(&heard), (round, first.clone()));
    }
}

#[test]
fn what_is_sent_to_a_path_comes_from_who_sent_it() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (witness, heard) = witness();
    for node in &nodes {
        for core in [0, 1] {
            let witness = witness.clone();
            node.run(move |node| async move {
                let spawned = node.spawn_on(CoreId(core), move || witness).await;
                let known = node.put_everywhere(&DESK, &spawned.expect("room")).await;
                assert!(known.expect("room").is_enough);
            });
        }
    }
    for (number, node) in (0..).zip(&nodes) {
        for core in [0, 1] {
            run_on(node, core, move |node| async move {
                let desk = node.path_sender(&DESK).expect("a path").in_turn();
                for _ in 0..4 {
                    desk.send(record(number)).await.expect("room");
                    desk.try_send(record(number)).expect("room");
                }
                let sent = desk.send_to_all(record(number)).await.expect("room");
                assert_eq!(sent.told, 4);
            });
        }
        for _ in 0..2 * (8 + 4) {
            assert_eq!(next(&heard), (number, node.id().clone()));
        }
    }
}

/// The control core of the publisher stands still, so it does not learn that the member has gone
/// to whose node it sends every other message.
#[test]
fn what_is_sent_on_for_a_group_that_has_emptied_names_its_publisher() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    let (witness, heard) = witness();
    let end = Gate::default();
    let gone = end.clone();
    let left = join_group(&nodes[1], &witness.0, end);
    let _stays = join_group(&nodes[2], &witness.0, Gate::default());
    let gate = Gate::default();
    let opened = gate.clone();
    let publishing = nodes[0].begin(move |node| async move {
        let publishing = move |node: Node| async move {
            let publisher = publisher(&node).policy(Policy::RoundRobin);
            for number in 0..4 {
                publisher.publish(record(number)).await.expect("room");
            }
            opened.pass().await;
            for number in 4..8 {
                publisher.publish(record(number)).await.expect("room");
            }
        };
        on_core(&node, CoreId(1), publishing).await;
    });
    let mut numbers: BTreeSet<u64> = (0..4).map(|_| next(&heard).0).collect();
    let frozen = Frozen::freeze(&nodes[0]);
    gone.open();
    left.recv_timeout(WAIT).expect("it ends");
    gate.open();
    for _ in 0..4 {
        let (number, sender) = next(&heard);
        assert_eq!(&sender, nodes[0].id(), "{number}");
        numbers.insert(number);
    }
    frozen.thaw();
    publishing.finish();
    assert_eq!(numbers, (0..8).collect());
    let books = books_of(&nodes[1]);
    assert_eq!(total(&books, |it| it.published_groups_passed_on), 2);
}

/// Joins the group on the other core, until a gate opens. Says when it has left.
fn join_group(node: &LiveNode, said: &Sender<Seen>, end: Gate) -> Receiver<()> {
    let (said, (leave, left)) = (said.clone(), channel());
    run_on(node, 1, |node| async move {
        let group = GroupName::new("readers").expect("a name");
        let subscribe = node.subscribe(&RECORDS).expect("a topic").group(group);
        let known = subscribe.begin_known(Level::AllReachable).await;
        let (mut subscription, _) = known.expect("room");
        let reading = async move {
            let mut end = pin!(end.pass());
            loop {
                let mut next = pin!(subscription.recv());
                let received = poll_fn(|context| match end.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => next.as_mut().poll(context).map(Result::ok),
                });
                let Some(received) = received.await else {
                    break;
                };
                let number = received.number.to_native();
                let _ = said.send((number, received.sender().clone()));
            }
            drop(subscription);
            let _ = leave.send(());
        };
        node.spawn_task(reading).expect("room");
    });
    left
}

/// Waits until the other core has counted something.
fn until_counted(node: &LiveNode, is_so: impl Fn(&Counters) -> bool + Send + 'static) {
    run_on(node, 1, |node| async move {
        let begun = Instant::now();
        while !is_so(&node.counters()) {
            assert!(begun.elapsed() < WAIT, "{:#?}", node.counters());
            node.sleep(Duration::from_millis(1)).await;
        }
    });
}
