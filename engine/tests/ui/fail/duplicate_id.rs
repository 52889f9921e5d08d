use ringmesh::{message, protocol};

#[message(id = "ui.Hello", v = 1)]
struct Hello;

#[message(id = "ui.Hello", v = 2)]
struct HelloAgain;

protocol! { GreeterApi = "ui.greeter" { Hello, HelloAgain } }

fn main() {}
