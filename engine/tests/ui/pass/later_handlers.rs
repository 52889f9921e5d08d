//! Handlers that answer later, as a user writes them.
#![allow(
    dead_code,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications
)]

use ringmesh::{Actor, Cx, Handler, LaterHandler, Msg, ReplyTo, later_handler, message, protocol};

#[message(id = "ui.Hello", v = 1, reply = Greeting)]
struct Hello;

#[message(id = "ui.Greeting", v = 1)]
struct Greeting;

#[message(id = "ui.Stop", v = 1)]
struct Stop;

protocol! { GreeterApi = "ui.greeter" { Hello, Stop } }

struct Greeter<T> {
    waiting: Vec<(T, ReplyTo<Hello>)>,
}

impl<T: Default + 'static> Actor for Greeter<T> {
    type Api = GreeterApi;
}

#[later_handler]
impl<T: Default + 'static> LaterHandler<Hello> for Greeter<T> {
    fn handle(&mut self, _: Msg<Hello>, reply: ReplyTo<Hello>, _: &mut Cx<'_, Self>) {
        self.waiting.push((T::default(), reply));
    }
}

impl<T: Default + 'static> Handler<Stop> for Greeter<T> {
    fn handle(&mut self, _: Msg<Stop>, _: &mut Cx<'_, Self>) {
        self.waiting
            .drain(..)
            .for_each(|(_, reply)| reply.send(Greeting));
    }
}

fn main() {
    let _ = Greeter::<u8> {
        waiting: Vec::new(),
    };
}
