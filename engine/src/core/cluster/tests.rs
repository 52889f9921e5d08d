//! How soon a topology of the machine reaches the other core of a real node, and in which order.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use ringmesh_cluster::detector::Judge;
use ringmesh_cluster::membership::configuration::Configuration;
use ringmesh_cluster::membership::message::Message;
use ringmesh_cluster::membership::{AppVersion, Profile, Roles};
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::time;

use super::super::{Core, current};
use super::TopologyWait;
use crate::cluster::ClusterSettings;
use crate::config::IdleMode;
use crate::engine::Engine;
use crate::node::Node;

/// Changes that are published to a core with nothing to do.
const CHANGES: usize = 600;

/// Changes that are published one behind the other.
const BURST: usize = 300;

/// What is meant of the slowest in a hundred. Of a host that others use besides, the median alone
/// says something, and twice as much at that.
const MEANT: Duration = Duration::from_millis(1);

/// Long enough for both cores to fall asleep.
const PAUSE: Duration = Duration::from_micros(500);

const WAIT: Duration = Duration::from_secs(20);

/// A version that a core read for the first time, and when.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    version: u64,
    at: Instant,
}

/// Founds a cluster alone, and never gives up whom it cannot reach.
fn alone() -> ClusterSettings {
    let hour = Duration::from_secs(3600);
    let mut settings = ClusterSettings {
        seeds: Some(Vec::new()),
        ..ClusterSettings::default()
    };
    settings.monitor.interval = hour;
    settings.monitor.judge = Judge::Deadline { silence: hour };
    settings.resolver.stable_after = Some(hour);
    settings.resolver.fast_stable_after = None;
    settings
}

/// Runs `job` on the control core of a node of two that sleep when there is nothing to do.
fn on_a_node<Fut: Future<Output = ()>>(job: impl FnOnce(Node, Rc<Core>) -> Fut + Send + 'static) {
    let node = Engine::node("slot").cores(2).idle(IdleMode::Park);
    let main = move |node: Node| async move {
        node.cluster().expect("it takes part").up().await;
        job(node, this_core()).await;
    };
    node.cluster(alone()).run(main).expect("it runs");
}

fn this_core() -> Rc<Core> {
    current::try_with(Rc::clone).expect("a core's thread")
}

async fn within<T>(node: &Node, future: impl Future<Output = T> + Unpin) -> T {
    match select(future, Box::pin(node.sleep(WAIT))).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("nothing came within {WAIT:?}"),
    }
}

/// Says each version that another core reads, as long as the node lives.
async fn sightings(node: &Node) -> Receiver<Sighting> {
    let (said, heard) = channel(CHANGES + BURST);
    let follow = move |_| follow(this_core(), said);
    let begun = node.spawn_task_on(CoreId(1), follow).await;
    begun.expect("room for a task");
    heard
}

async fn follow(core: Rc<Core>, mut said: Sender<Sighting>) {
    let mut wait = TopologyWait::new(&core);
    let mut last = None;
    poll_fn(|context| {
        wait.wake(context.waker());
        let version = core.topology().map(|it| it.version());
        if version != last
            && let Some(version) = version
        {
            let at = Instant::now();
            said.try_send(Sighting { version, at }).expect("room");
        }
        last = version;
        Poll::Pending
    })
    .await
}

/// A member that there is no process of, let in as one that asked for it.
fn let_in(core: &Core) -> NodeId {
    let node = NodeId {
        address: Address::new("slot", "127.0.0.1", 1).expect("an address"),
        uid: Uid::new(7).expect("not zero"),
    };
    let join = Message::Join {
        profile: Profile {
            node: node.clone(),
            roles: Roles::new([], "default").expect("no roles"),
            app_version: AppVersion::default(),
        },
        configuration: Configuration::default(),
    };
    let body = join.encode(Some(core.identity().uid), time::Instant::ZERO);
    core.tell_cluster(|machine, cx| machine.handle_message(cx, &node, &body));
    node
}

/// Loses the member and finds it again, in turn: the version that follows at the end of this turn,
/// and when that was known.
fn change(core: &Core, member: &NodeId, number: usize) -> Sighting {
    let version = core.tell_cluster(|machine, cx| {
        match number % 2 {
            0 => machine.handle_crashed(cx, member.uid),
            // Anything at all came from it.
            _ => machine.handle_message(cx, member, &[]),
        }
        machine.topology().version()
    });
    Sighting {
        version: version.expect("it takes part"),
        at: Instant::now(),
    }
}

/// The first sighting that is not before `told`. All of them rise, from the `last` one on.
async fn sighting_of(
    node: &Node,
    told: Sighting,
    (heard, last): (&mut Receiver<Sighting>, &mut Option<u64>),
) -> Sighting {
    loop {
        let seen = within(node, heard.next()).await.expect("the node lives");
        assert!(Some(seen.version) > *last, "{seen:?} after {last:?}");
        *last = Some(seen.version);
        if seen.version >= told.version {
            return seen;
        }
    }
}

#[test]
fn a_core_with_nothing_to_do_has_each_topology_at_once_and_the_last_of_many() {
    on_a_node(|node, core| async move {
        let (mut heard, mut last) = (sightings(&node).await, None);
        let member = let_in(&core);
        let mut told = change(&core, &member, 0);
        let mut delays = Vec::new();
        for number in 1..=CHANGES {
            node.sleep(PAUSE).await;
            let before = std::mem::replace(&mut told, change(&core, &member, number));
            assert!(told.version > before.version, "change {number} is one");
            let seen = sighting_of(&node, told, (&mut heard, &mut last)).await;
            delays.push(seen.at.saturating_duration_since(told.at));
        }
        delays.sort_unstable();
        let part = |percent: usize| delays[delays.len() * percent / 100];
        let [median, late, longest] = [part(50), part(99), delays[delays.len() - 1]];
        println!(
            "a topology is with an idle core after {median:?}, p99 {late:?}, {longest:?} at most"
        );
        println!("{MEANT:?} are meant at p99; of {CHANGES} versions");
        assert!(median <= 2 * MEANT, "{median:?}");
        // One behind the other, and nobody waits for any.
        for number in 1..=BURST {
            told = change(&core, &member, number + CHANGES);
            node.sleep(Duration::ZERO).await;
        }
        let seen = sighting_of(&node, told, (&mut heard, &mut last)).await;
        let own = core.topology().map(|it| it.version());
        assert_eq!(Some(seen.version), own, "the last of all");
    });
}

#[test]
fn a_core_that_is_busy_has_each_topology_in_its_next_turn() {
    on_a_node(|node, core| async move {
        let (said, mut heard) = channel(1);
        let labour = move |_| labour(this_core(), said);
        let begun = node.spawn_task_on(CoreId(1), labour).await;
        begun.expect("room for a task");
        let member = let_in(&core);
        let before = core.topology().map_or(0, |it| it.version());
        for number in 0..BURST {
            change(&core, &member, number);
            node.sleep(Duration::ZERO).await;
        }
        let last = core.topology().map_or(0, |it| it.version());
        assert!(last >= before + BURST as u64, "{last} after {before}");
        while within(&node, heard.next()).await.expect("it works on") < last {}
    });
}

/// Has its core turn without rest, and says what that knows.
async fn labour(core: Rc<Core>, mut said: Sender<u64>) {
    let (mut turn, mut published) = (0, 0);
    poll_fn(|context| {
        let now = core.tally.turns.total();
        if now > turn {
            let read = core.cluster.stamp.get();
            assert!(read >= published, "{read} of {published} a turn ago");
            published = core.shared.topology.stamp();
            turn = now;
            // Who is told may be behind: what it is told later is newer.
            let _ = said.try_send(core.topology().map_or(0, |it| it.version()));
        }
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await
}
