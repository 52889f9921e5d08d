//! A serving node in a process of its own.

use std::time::Duration;

use ringmesh::{Address, NodeId, Protocol, Ref, Uid};
use ringmesh_proto::link::Target;

use super::inspector::{INSPECTOR, Inspect, Inspection, InspectorApi};
use super::messages::{SINK, SinkApi};
use super::node::LiveNode;
use super::process::Process;
use super::raw::frames::target_of;

/// A process that hosts a sink, an echo, an inspector and a hoarder.
#[derive(Debug)]
pub struct Serving {
    /// The process.
    pub process: Process,
    /// The node in it.
    pub id: NodeId,
}

impl Serving {
    /// Starts `program`, the tests' `live-node`, with more `arguments` for its task.
    ///
    /// # Panics
    /// If it does not say where it listens.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::of(Process::start(program, &[&["serve"], arguments].concat()))
    }

    /// The node of a process that was started to serve.
    ///
    /// # Panics
    /// If it does not say where it listens.
    pub fn of(process: Process) -> Self {
        let listening = process.value("listening");
        let (address, uid) = listening.split_once('#').expect("a node's id");
        let address: Address = address.parse().expect("a node's address");
        let uid = u64::from_str_radix(uid, 16)
            .ok()
            .and_then(Uid::new)
            .expect("a node's uid");
        Self {
            process,
            id: NodeId { address, uid },
        }
    }

    /// The path of its actor `name`.
    pub fn path(&self, name: &str) -> String {
        format!("{}/user/{name}", self.id.address)
    }

    /// The place of its sink, as the wire knows it.
    pub fn sink(&self, client: &LiveNode) -> Target {
        self.place::<SinkApi>(client, SINK)
    }

    /// The place of its actor `name`, as the wire knows it.
    pub fn place<P: Protocol>(&self, client: &LiveNode, name: &str) -> Target {
        let path = self.path(name);
        client.run(move |node| async move {
            let actor: Ref<P> = node.resolve(&path).await.expect("the actor is there");
            target_of(&actor)
        })
    }

    /// What it counted, once that is as `wanted`.
    ///
    /// # Panics
    /// If that does not come about in time.
    pub fn inspect(
        &self,
        client: &LiveNode,
        wanted: impl Fn(&Inspection) -> bool + Send + 'static,
    ) -> Inspection {
        let path = self.path(INSPECTOR);
        client.run(move |node| async move {
            let inspector: Ref<InspectorApi> = node.resolve(&path).await.expect("it is there");
            loop {
                let seen = inspector
                    .ask(Inspect)
                    .await
                    .expect("an answer")
                    .deserialize();
                if wanted(&seen) {
                    return seen;
                }
                node.sleep(Duration::from_millis(5)).await;
            }
        })
    }
}
