use ringmesh::{Actor, Cx, LaterHandler, Msg, ReplyTo, later_handler, message, protocol};

#[message(id = "ui.Hello", v = 1, reply = Greeting)]
struct Hello;

#[message(id = "ui.Greeting", v = 1)]
struct Greeting;

#[message(id = "ui.Farewell", v = 1)]
struct Farewell;

protocol! { GreeterApi = "ui.greeter" { Hello } }

struct Greeter;

impl Actor for Greeter {
    type Api = GreeterApi;
}

#[later_handler]
impl LaterHandler<Hello> for Greeter {
    fn handle(&mut self, _: Msg<Hello>, reply: ReplyTo<Hello>, cx: &mut Cx<'_, Self>) {
        // The answer to another question.
        reply.send(Farewell);
        // A message that the protocol does not have.
        let _ = cx.after(std::time::Duration::ZERO, Farewell);
    }
}

#[later_handler]
impl ringmesh::Handler<Hello> for Greeter {
    fn handle(&mut self, _: Msg<Hello>, _: &mut Cx<'_, Self>) -> Greeting {
        Greeting
    }
}

fn main() {}
