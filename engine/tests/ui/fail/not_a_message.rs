use ringmesh::{protocol, wire};

#[wire]
struct Part {
    value: u8,
}

protocol! { PartApi = "ui.part" { Part } }

fn main() {}
