//! Sends to nodes that there is no link with: they wait for its first connection, and arrive in
//! order behind it or are accounted for.

mod ends;
mod first;
mod many;

use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use ringmesh::{
    Actor, Address, Cx, Handler, Msg, NodeBuilder, NodeId, Protocol, Ref, message, protocol, wire,
};
use ringmesh_proto::link::Target;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoer, Record, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::raw::frames::{archived, definitions, target_of, tell_bytes};

/// Refs of a node, handed to one that may never have met it.
#[message(id = "tests.Hand", v = 1)]
struct Hand {
    sink: Ref<SinkApi>,
    echo: Ref<EchoApi>,
}

/// The same as it is archived, made by hand.
#[message(id = "tests.HandMade", v = 1)]
struct HandMade {
    sink: Named,
    echo: Named,
}

#[wire]
struct Named {
    uid: u64,
    generation: u64,
    protocol: u64,
    slot: u32,
    core: u16,
    address: String,
}

protocol! { KeeperApi = "tests.keeper" { Hand } }

/// Gives the refs it is handed to the test.
struct Keeper(Sender<Refs>);

type Refs = (Ref<SinkApi>, Ref<EchoApi>);

impl Actor for Keeper {
    type Api = KeeperApi;
}

impl Handler<Hand> for Keeper {
    fn handle(&mut self, hand: Msg<Hand>, _: &mut Cx<'_, Self>) {
        let refs = (hand.sink.get(), hand.echo.get());
        self.0.send(refs).expect("the test waits");
    }
}

/// A sink and an echo somewhere.
#[derive(Clone, Debug)]
struct Spot {
    id: NodeId,
    core: u16,
    sink: Target,
    echo: Target,
}

impl Spot {
    /// One on the control core of `node`.
    fn on(node: &LiveNode) -> Self {
        let (sink, echo) = node.run(|node| async move {
            let sink = node.spawn_named(SINK, Sink::default());
            let echo = node.spawn_named(ECHO, Echoer::default());
            let echo = echo.expect("a free name");
            (target_of(&sink.expect("a free name")), target_of(&echo))
        });
        Self {
            id: node.id().clone(),
            core: 0,
            sink,
            echo,
        }
    }

    /// One that nobody ever was at.
    fn nowhere(address: Address) -> Self {
        let uid = ringmesh::Uid::new(address.port().into()).expect("not zero");
        let nobody = Target {
            slot: 1,
            generation: 1,
        };
        Self {
            id: NodeId { address, uid },
            core: 0,
            sink: nobody,
            echo: nobody,
        }
    }

    fn name(&self, of: Target, protocol: u64) -> Named {
        Named {
            uid: self.id.uid.as_u64(),
            generation: of.generation,
            protocol,
            slot: of.slot,
            core: self.core,
            address: self.id.address.to_string(),
        }
    }
}

/// Hands refs of all `spots` to `node`, which has not heard of them.
fn hand(node: &LiveNode, spots: &[Spot]) -> Vec<Refs> {
    let (said, heard) = channel();
    let keeper = node.run(move |node| async move {
        let keeper = node.spawn(Keeper(said)).expect("room");
        target_of(&keeper)
    });
    let mut peer = RawPeer::link(node.id());
    peer.send(&definitions::<Hand>(keeper));
    let given = spots.iter().map(|spot| {
        let made = HandMade {
            sink: spot.name(spot.sink, SinkApi::ID.as_u64()),
            echo: spot.name(spot.echo, EchoApi::ID.as_u64()),
        };
        peer.send(&tell_bytes(&archived(&made)));
        heard.recv_timeout(WAIT).expect("it is handed over")
    });
    given.collect()
}

/// A node that has never met the one that its refs name, which can be reached only while a cutter
/// lets it.
struct Apart {
    sender: LiveNode,
    cutter: Cutter,
    far: LiveNode,
    refs: Refs,
}

impl Apart {
    /// Nothing gets through at first.
    fn start(change: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let cutter = Cutter::start(&Cuts::none());
        let far = behind(&cutter, |builder| builder);
        let spot = Spot::on(&far);
        cutter.cut_all(true);
        let sender = LiveNode::start_with(change);
        let refs = hand(&sender, &[spot])[0];
        Self {
            sender,
            cutter,
            far,
            refs,
        }
    }

    /// Sends records `from..=to`, all of which find room.
    fn tell(&self, from: u64, to: u64) {
        let (sink, _) = self.refs;
        self.sender.run(move |_| async move {
            for number in from..=to {
                sink.try_tell(record(number)).expect("room");
            }
        });
    }
}

/// A node that says it listens where a cutter does.
fn behind(cutter: &Cutter, change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> LiveNode {
    LiveNode::start_with(|builder| {
        let port = cutter.address().port();
        change(builder.bind(cutter.behind()).advertise("127.0.0.1", port))
    })
}

fn record(number: u64) -> Record {
    sized(number, 64)
}

fn sized(number: u64, bytes: usize) -> Record {
    Record {
        number,
        body: vec![7; bytes].into(),
    }
}

fn question(number: u64) -> Echo {
    let body = Bytes::from_static(b"?");
    Echo { number, body }
}
