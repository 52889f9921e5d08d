//! Local messages, as a user writes them.
#![allow(
    dead_code,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications
)]
#![deny(unused_variables, unused_mut, unreachable_code)]
#![forbid(unsafe_code)]

use std::net::TcpStream;

use ringmesh::{
    Actor, AsyncHandler, Cx, Handler, LocalHandler, LocalMessage, Msg, Protocol, Ref, SendError,
    async_handler, message, protocol,
};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

/// A local message as the macro makes it.
#[message(local)]
struct Job(Box<dyn FnOnce() + Send>);

/// One with a parameter, for two protocols.
#[message(local, crate = ::ringmesh)]
struct Batch<T: 'static>(Vec<T>);

/// One by hand.
struct Connection(TcpStream);

impl LocalMessage for Connection {}

/// A module, and a message, may be called like the marker.
mod local {
    #[ringmesh::message(id = "ui.Stop", v = 1)]
    pub struct Stop;
}

#[allow(non_camel_case_types)]
mod odd {
    #[ringmesh::message(id = "ui.local", v = 1)]
    pub struct local;

    ringmesh::protocol! { pub OddApi = "ui.odd" { local } }
}

protocol! { MixedApi = "ui.mixed" { local Job, Hello, local Batch<u8>, local::Stop } }

protocol! { LocalApi = "ui.local" { local Connection, local crate::Batch<String> } }

struct Mixed;

impl Actor for Mixed {
    type Api = MixedApi;
}

#[async_handler]
impl AsyncHandler<Hello> for Mixed {
    async fn handle(&mut self, _: Msg<Hello>, _: &mut Cx<'_, Self>) {}
}

impl Handler<local::Stop> for Mixed {
    fn handle(&mut self, _: Msg<local::Stop>, _: &mut Cx<'_, Self>) {}
}

impl LocalHandler<Job> for Mixed {
    fn handle(&mut self, Job(job): Job, _: &mut Cx<'_, Self>) {
        job();
    }
}

impl LocalHandler<Batch<u8>> for Mixed {
    fn handle(&mut self, Batch(bytes): Batch<u8>, _: &mut Cx<'_, Self>) {
        assert_eq!(bytes.len(), 1);
    }
}

struct Local;

impl Actor for Local {
    type Api = LocalApi;
}

impl LocalHandler<Connection> for Local {
    fn handle(&mut self, Connection(stream): Connection, _: &mut Cx<'_, Self>) {
        drop(stream);
    }
}

impl LocalHandler<Batch<String>> for Local {
    fn handle(&mut self, Batch(texts): Batch<String>, _: &mut Cx<'_, Self>) {
        drop(texts);
    }
}

fn send(to: Ref<MixedApi>) -> Result<(), SendError<Job>> {
    to.try_tell_local(Job(Box::new(|| ())))
}

fn main() {
    let _ = (send, Mixed, Local);
    // Nothing of them is on the wire.
    let names: Vec<_> = MixedApi::MESSAGES.iter().map(|info| info.name).collect();
    assert_eq!(names, ["ui.Hello", "ui.Stop"]);
    assert_eq!(MixedApi::SHAPES.len(), names.len());
    assert_eq!(odd::OddApi::MESSAGES[0].name, "ui.local");
    assert!(LocalApi::MESSAGES.is_empty() && LocalApi::SHAPES.is_empty());
}
