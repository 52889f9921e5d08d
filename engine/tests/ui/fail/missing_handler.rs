use ringmesh::{Actor, Cx, Handler, Msg, message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

#[message(id = "ui.Stop", v = 1)]
struct Stop;

protocol! { GreeterApi = "ui.greeter" { Hello, Stop } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl Handler<Hello> for Greeter {
    fn handle(&mut self, _: Msg<Hello>, _: &mut Cx<'_, Self>) {}
}

fn main() {}
