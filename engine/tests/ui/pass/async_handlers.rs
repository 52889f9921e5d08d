//! Both kinds of handlers in one actor, generic actors, and the facade under another name.
#![allow(
    dead_code,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications
)]
#![forbid(unsafe_code)]

use ringmesh as engine;
use ringmesh::{Actor, AsyncHandler, Cx, Handler, Msg, async_handler, message, protocol};

#[message(id = "ui.Hello", v = 1, reply = Stop)]
struct Hello;

#[message(id = "ui.Stop", v = 1)]
struct Stop;

protocol! { GreeterApi = "ui.greeter" { Hello, Stop } }

struct Greeter<T> {
    seen: Option<T>,
}

impl<T: 'static> Actor for Greeter<T> {
    type Api = GreeterApi;
}

#[async_handler(crate = engine)]
impl<T> AsyncHandler<Hello> for Greeter<T>
where
    T: 'static,
{
    async fn handle(&mut self, _: Msg<Hello>, cx: &mut Cx<'_, Self>) -> Stop {
        let me = cx.me();
        let _ = me.tell(Stop).await;
        self.seen = None;
        Stop
    }
}

impl<T: 'static> Handler<Stop> for Greeter<T> {
    fn handle(&mut self, _: Msg<Stop>, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

fn main() {}
