use ringmesh::wire;

#[wire]
struct Ticks {
    ticks: Vec<()>,
}

fn main() {}
