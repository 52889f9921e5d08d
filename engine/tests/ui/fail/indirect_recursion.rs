use ringmesh::wire;

#[wire]
struct Folder {
    entries: Vec<Entry>,
}

#[wire]
enum Entry {
    File(String),
    Folder(Folder),
}

fn main() {}
