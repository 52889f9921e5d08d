use ringmesh::{Actor, AsyncHandler, Cx, Msg, message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

protocol! { GreeterApi = "ui.greeter" { Hello } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl AsyncHandler<Hello> for Greeter {
    async fn handle(&mut self, _: Msg<Hello>, _: &mut Cx<'_, Self>) {}
}

fn main() {}
