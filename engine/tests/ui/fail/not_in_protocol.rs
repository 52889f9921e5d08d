use ringmesh::{Accepts, Message, message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

#[message(id = "ui.Stop", v = 1)]
struct Stop;

#[message(id = "ui.Greet", v = 1)]
struct Greet;

protocol! { GreeterApi = "ui.greeter" { Hello, Greet } }

fn send<P: Accepts<M>, M: Message>(_: P, _: M) {}

fn main() {
    send(GreeterApi, Hello);
    send(GreeterApi, Stop);
}
