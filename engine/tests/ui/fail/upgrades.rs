//! Older versions have the same id, a lower version, and a way to the current one.
use ringmesh::{Upgrade, message};

#[message(id = "ui.Add", v = 1)]
struct AddV1;

#[message(id = "ui.Sub", v = 1)]
struct SubV1;

#[message(id = "ui.Add", v = 1)]
struct AddAgainV1;

#[message(id = "ui.Add", v = 2, upgrades(AddV1, AddAgainV1))]
struct TwoOfOne;

#[message(id = "ui.Add", v = 2, upgrades(SubV1))]
struct OfAnother;

#[message(id = "ui.Add", v = 1, upgrades(AddV1))]
struct NotHigher;

#[message(id = "ui.Add", v = 2, upgrades(AddV1))]
struct NoWay;

#[message(id = "ui.Add", v = 2, upgrades(String))]
struct OfNoMessage;

#[message(id = "ui.Add", v = 2, upgrades())]
struct OfNothing;

macro_rules! ways {
    ($($old:ty => $new:ty),*) => { $(
        impl Upgrade<$old> for $new {
            fn upgrade(_: $old) -> Self {
                Self
            }
        }
    )* };
}

ways! { AddV1 => TwoOfOne, AddAgainV1 => TwoOfOne, SubV1 => OfAnother, AddV1 => NotHigher }

fn main() {}
