//! A serving node that something is done to, while a bystander watches.

use ringmesh::{NodeBuilder, NodeId, Ref};
use ringmesh_proto::link::Target;

use super::bystander::Bystander;
use super::messages::{Account, ECHO, EchoApi, Recall, SINK, SinkApi};
use super::node::LiveNode;
use super::raw::frames::target_of;

/// A node with a sink, an echo and a bystander at it.
#[derive(Debug)]
pub struct Watched {
    /// The node.
    pub node: LiveNode,
    bystander: Bystander,
}

impl Watched {
    /// Starts the node and its bystander.
    pub fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// The same with other settings.
    pub fn start_with(change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let node = LiveNode::start_serving_with(change);
        let bystander = Bystander::of(&node.path(ECHO));
        Self { node, bystander }
    }

    /// Who the node is.
    pub fn id(&self) -> &NodeId {
        self.node.id()
    }

    /// Does something to the node that must end exactly one connection for a fault; returns what
    /// came of it, and the one line in the log that says so.
    ///
    /// # Panics
    /// If the fault was not counted once and logged once.
    pub fn one_fault<R>(&self, act: impl FnOnce() -> R) -> (R, String) {
        let counted = self.node.counters().closed_for_fault;
        let warned = self.node.log().with("WARN").len();
        let result = act();
        let counters = self.node.until("the fault to be counted", move |now| {
            now.closed_for_fault > counted
        });
        assert_eq!(
            counters.closed_for_fault,
            counted + 1,
            "counted more than once"
        );
        let warnings = self.node.log().with("WARN").split_off(warned);
        let [line] = &warnings[..] else {
            panic!("not logged once: {warnings:#?}")
        };
        (result, line.clone())
    }

    /// What the sink has seen so far.
    pub fn account(&self) -> Account {
        account(&self.node)
    }

    /// The place of the sink, as the wire knows it.
    pub fn sink(&self) -> Target {
        let path = self.node.path(SINK);
        self.node.run(|node| async move {
            let sink: Ref<SinkApi> = node.resolve(&path).await.expect("the sink is there");
            target_of(&sink)
        })
    }

    /// The place of the echo, as the wire knows it.
    pub fn echo(&self) -> Target {
        let path = self.node.path(ECHO);
        self.node.run(|node| async move {
            let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
            target_of(&echo)
        })
    }

    /// Checks that the bystander noticed nothing, and returns how often the echo answered it.
    pub fn saw_nothing(self) -> u64 {
        self.bystander.saw_nothing()
    }
}

/// What the sink of `node` has seen so far.
pub fn account(node: &LiveNode) -> Account {
    let path = node.path(SINK);
    node.run(|node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("the sink is there");
        sink.ask(Recall)
            .await
            .expect("the sink answers")
            .deserialize()
    })
}
