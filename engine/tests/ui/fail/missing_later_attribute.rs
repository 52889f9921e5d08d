use ringmesh::{Actor, Cx, LaterHandler, Msg, ReplyTo, message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

protocol! { GreeterApi = "ui.greeter" { Hello } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl LaterHandler<Hello> for Greeter {
    fn handle(&mut self, _: Msg<Hello>, _: ReplyTo<Hello>, _: &mut Cx<'_, Self>) {}
}

fn main() {}
