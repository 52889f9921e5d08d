use ringmesh::{message, wire};

#[message(id = "ui.Tick", v = 1, pod)]
struct Tick {
    price: i64,
    live: bool,
}

#[wire(pod)]
struct Named {
    name: String,
}

#[wire(pod)]
enum Side {
    Buy,
    Sell,
}

fn main() {}
