//! Seeds that are in no cluster, that rest, and whose address two process starts want.

use std::time::{Duration, Instant};

use ringmesh::cluster::{AppVersion, ClusterSettings, Roles, Status};
use ringmesh::{Actor, Cx, Ref, Terminated, Uid, protocol};
use ringmesh_cluster::detector::Judge;
use ringmesh_cluster::membership::Profile;
use ringmesh_cluster::membership::configuration::Configuration;
use ringmesh_cluster::membership::message::{Message, Refusal};
use ringmesh_proto::address::NodeId;
use ringmesh_proto::frame::Head;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::time;
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::raw::frames::frame;

use super::{Frozen, cluster_of, of, until_up, watchful};

protocol! { pub(super) KeeperApi = "tests.keeper" {} }

/// Watches another actor, and is not told that it ended.
struct Keeper(Ref<SinkApi>);

impl Actor for Keeper {
    type Api = KeeperApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.watch(&self.0).expect("room");
    }

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        panic!("{who:?}");
    }
}

#[test]
fn a_seed_that_is_in_no_cluster_is_asked_and_its_link_carries_on() {
    let seed = LiveNode::start_serving();
    let asks = LiveNode::start_with(|builder| builder.cluster(ClusterSettings::default()));
    let path = seed.path(SINK);
    asks.run(move |node| async move {
        let sink = node.resolve(&path).await.expect("it is there");
        node.spawn(Keeper(sink)).expect("room");
    });
    seed.until("a watch", |books| books.watches_far == 1);
    let seeds = vec![seed.address().clone()];
    let joins = asks.run(|node| async move { of(&node).join(seeds).await });
    joins.expect("it is in no cluster");
    seed.until("questions", |books| books.cluster_ignored >= 3);
    for node in [&seed, &asks] {
        let books = node.counters();
        assert_eq!(
            (books.closed_for_fault, books.resumed),
            (0, 0),
            "{books:#?}"
        );
        assert_eq!((books.watches_far, books.panics), (1, 0), "{books:#?}");
        assert_closed(&books);
    }
}

#[test]
fn a_seed_whose_link_rests_is_asked_as_soon_as_it_is_back() {
    /// Long after the first question.
    const SECOND: Duration = Duration::from_secs(20);
    let mut settings = ClusterSettings::default();
    settings.membership.ask_interval = SECOND;
    settings.membership.seed_timeout = 2 * SECOND;
    let start = |seeds| {
        let mut settings = settings.clone();
        settings.seeds = seeds;
        LiveNode::start_with(|builder| {
            let builder = builder.cluster(settings);
            builder.settings(|it| it.idle_timeout = Duration::from_millis(100))
        })
    };
    let (seed, asks) = (start(Some(vec![])), start(None));
    until_up(&seed, 1);
    let address = seed.address().clone();
    let pings = asks.run(move |node| async move { node.ping(&address).await });
    pings.expect("it is there");
    asks.until("a link at rest", |books| books.links_rested == 1);
    seed.until("a link at rest", |books| books.links_rested == 1);
    let begun = Instant::now();
    let seeds = vec![seed.address().clone()];
    let joins = asks.run(|node| async move { of(&node).join(seeds).await });
    joins.expect("it is in no cluster");
    until_up(&asks, 2);
    let took = begun.elapsed();
    assert!(took < SECOND / 2, "{took:?}: it was asked again");
    assert!(asks.counters().resumed > 0);
}

/// A peer that says it is a later start at the address of a member.
struct Claimant(RawPeer);

impl Claimant {
    fn of(member: &LiveNode, towards: &LiveNode) -> Self {
        let mut peer = RawPeer::connect(towards.id());
        peer.lane = Lane::Control;
        peer.me = NodeId {
            address: member.address().clone(),
            // Lower than any that is drawn: it goes first should the node dial as well.
            uid: Uid::new(fastrand::u64(1..1 << 16)).expect("not zero"),
        };
        peer.send(&peer.opening());
        peer.accepted();
        Self(peer)
    }

    fn asks_to_join(&mut self) {
        let profile = Profile {
            node: self.0.me.clone(),
            roles: Roles::new([], "default").expect("roles"),
            app_version: AppVersion::default(),
        };
        let join = Message::Join {
            profile,
            configuration: Configuration::default(),
        };
        let body = join.encode(Some(self.0.peer.uid), time::Instant::ZERO);
        self.0.send(&frame(&Head::plain(Kind::Cluster), &body));
    }

    fn next_refusal(&mut self) -> Refusal {
        loop {
            let frame = self.0.frame_of(Kind::Cluster);
            let read = Message::decode(&frame.payload, SYSTEM, time::Instant::ZERO);
            if let Ok((_, Message::JoinRefused(refusal))) = read {
                return refusal;
            }
        }
    }
}

#[test]
fn whoever_took_the_link_of_a_member_does_not_take_its_place_while_that_answers() {
    // Nobody misses it meanwhile: its own dial would go before that of the claimant.
    let mut patient = watchful();
    patient.monitor.judge = Judge::Deadline {
        silence: Duration::from_secs(60),
    };
    let nodes = cluster_of(2, &patient, |builder| builder);
    let [node, member] = &nodes[..] else {
        panic!("two nodes");
    };
    // It shows no life for as long as its link is in doubt.
    let frozen = Frozen::freeze(member);
    // What it sent before is read.
    node.counters();
    let mut claimant = Claimant::of(member, node);
    claimant.asks_to_join();
    assert_eq!(claimant.next_refusal(), Refusal::Wait);
    frozen.thaw();
    // Whoever is dialled there is the member.
    let refusal = loop {
        match claimant.next_refusal() {
            Refusal::Wait => claimant.asks_to_join(),
            refusal => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::AddressInUse);
    let uid = member.id().uid;
    let status = node.run(move |node| async move {
        let state = of(&node).state();
        state.member(uid).map(|it| it.status())
    });
    assert_eq!(status, Some(Status::Up), "it was not given up");
}
