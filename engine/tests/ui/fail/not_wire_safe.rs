use std::collections::HashMap;
use std::sync::Arc;

use ringmesh::message;

#[message(id = "ui.Maps", v = 1)]
struct Maps {
    sizes: HashMap<u32, u32>,
}

#[message(id = "ui.Sizes", v = 1)]
struct Sizes {
    length: usize,
}

#[message(id = "ui.Shared", v = 1)]
struct Shared {
    name: Arc<str>,
}

fn main() {}
