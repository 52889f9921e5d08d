use ringmesh::{Actor, Cx, Handler, Msg, async_handler, message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

protocol! { GreeterApi = "ui.greeter" { Hello } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

#[async_handler]
impl Handler<Hello> for Greeter {
    fn handle(&mut self, _: Msg<Hello>, _: &mut Cx<'_, Self>) {}
}

#[async_handler(at_once)]
impl Greeter {}

fn main() {}
