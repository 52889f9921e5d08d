use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ringmesh::message;
use ringmesh::message::WireSafe;

#[message(id = "ui.Maps", v = 1)]
struct Maps {
    sizes: HashMap<u32, u32>,
}

#[message(id = "ui.Sizes", v = 1)]
struct Sizes {
    length: usize,
}

fn part<T: WireSafe>() {}

fn main() {
    part::<BTreeMap<u32, u32>>();
    part::<Rc<u32>>();
    part::<Arc<str>>();
    part::<Vec<std::sync::Weak<u32>>>();
    part::<Box<u32>>();
    part::<Option<isize>>();
}
