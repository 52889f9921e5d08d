use std::rc::Rc;

use ringmesh::{Actor, Cx, LocalHandler, LocalMessage, Ref, message, protocol};

#[message(local)]
struct Job(Box<dyn FnOnce() + Send>);

#[message(local)]
struct Shared(Rc<u8>);

#[message(local)]
struct Elsewhere;

struct Unmarked;

#[message(local, id = "ui.Both", v = 1)]
struct Both;

protocol! { WorkerApi = "ui.worker" { local Job, local Shared } }

struct Worker;

impl Actor for Worker {
    type Api = WorkerApi;
}

impl LocalHandler<Shared> for Worker {
    fn handle(&mut self, _: Shared, _: &mut Cx<'_, Self>) {}
}

fn is_local<M: LocalMessage>(_: M) {}

fn send(to: Ref<WorkerApi>) {
    is_local(Unmarked);
    let _ = to.try_tell_local(Shared(Rc::new(1)));
    let _ = to.try_tell_local(Elsewhere);
    let _ = to.try_tell(Job(Box::new(|| ())));
}

fn main() {}
