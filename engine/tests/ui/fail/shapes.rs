use ringmesh::{message, wire};

#[wire]
struct Tree {
    children: Vec<Tree>,
}

#[wire]
enum Never {}

#[wire]
enum Numbered {
    One = 1,
    Two = 2,
}

#[wire]
union Either {
    signed: i32,
    unsigned: u32,
}

#[wire]
struct Custom {
    #[rkyv(with = Skip)]
    value: u32,
    #[cfg(unix)]
    extra: u32,
}

#[message(id = "ui.Function", v = 1)]
fn function() {}

fn main() {}
