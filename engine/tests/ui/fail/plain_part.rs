use ringmesh::message;

struct Part {
    value: u8,
}

#[message(id = "ui.Whole", v = 1)]
struct Whole {
    part: Part,
}

fn main() {}
