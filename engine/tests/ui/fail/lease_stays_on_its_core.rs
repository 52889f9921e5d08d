use ringmesh::{Msg, message};

#[message(id = "ui.Hello", v = 1)]
struct Hello {
    name: String,
}

fn elsewhere(lease: Msg<Hello>) {
    std::thread::spawn(move || lease.name.len());
}

fn main() {}
