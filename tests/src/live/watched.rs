//! A serving node that something is done to, while a bystander watches.

use std::collections::BTreeMap;

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

    /// Does something to the node that must make it close exactly one connection, for the reason of
    /// this name, and say so in exactly one line of its log, beside those about messages that were
    /// given up with it.
    ///
    /// # Panics
    /// If nothing was closed, or more, or for another reason, or the log says less or more.
    pub fn closes_one<R>(&self, reason: &'static str, act: impl FnOnce() -> R) -> R {
        let warned = self.closing_lines().len();
        let result = self.closes_one_quietly(reason, act);
        let warnings = self.closing_lines().split_off(warned);
        let named = format!("label=\"{reason}\"");
        let is_named = warnings.len() == 1 && warnings[0].contains(&named);
        assert!(is_named, "expected one line with {named}: {warnings:#?}");
        result
    }

    /// The same for a reason that is no fault, whatever the log says.
    ///
    /// # Panics
    /// If nothing was closed, or more, or for another reason.
    pub fn closes_one_quietly<R>(&self, reason: &'static str, act: impl FnOnce() -> R) -> R {
        let mut expected = self.close_reasons();
        let result = act();
        let count = expected.entry(reason).or_default();
        *count += 1;
        let count = *count;
        self.node
            .until_so(&format!("a close for {reason}"), move |node| {
                node.close_reasons()
                    .get(reason)
                    .is_some_and(|now| *now >= count)
            });
        assert_eq!(self.close_reasons(), expected, "counted for {reason}");
        result
    }

    /// Warnings that are not about dead letters.
    fn closing_lines(&self) -> Vec<String> {
        let mut lines = self.node.log().warnings();
        lines.retain(|line| !line.contains("dead letters"));
        lines
    }

    /// How often connections of the node were closed, by the reason's name.
    pub fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.node.run(|node| async move { node.close_reasons() })
    }

    /// What the sink has seen so far.
    pub fn account(&self) -> Account {
        account(&self.node)
    }

    /// The place of the sink, as the wire knows it.
    pub fn sink(&self) -> Target {
        place_of_sink(&self.node)
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

/// The place of the sink of `node`, as the wire knows it.
pub fn place_of_sink(node: &LiveNode) -> Target {
    let path = node.path(SINK);
    node.run(|node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("the sink is there");
        target_of(&sink)
    })
}
