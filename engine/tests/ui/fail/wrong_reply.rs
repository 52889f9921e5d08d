use ringmesh::{Actor, Cx, Handler, Msg, message, protocol};

#[message(id = "ui.Hello", v = 1, reply = Greeting)]
struct Hello;

struct Greeting;

#[message(id = "ui.Stop", v = 1)]
struct Stop;

protocol! { GreeterApi = "ui.greeter" { Stop } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl Handler<Stop> for Greeter {
    fn handle(&mut self, _: Msg<Stop>, _: &mut Cx<'_, Self>) -> Stop {
        Stop
    }
}

fn main() {}
