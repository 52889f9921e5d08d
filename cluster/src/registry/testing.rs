//! Entries for tests.

use std::sync::Arc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::link::Target;

use super::{Entry, EntryId, Key, Kind, Place, Registration};

pub(crate) fn registration(name: &str, is_acknowledged: bool) -> Registration {
    let target = Target {
        slot: 7,
        generation: 9,
    };
    Registration {
        key: Key::new(Kind::SERVICE, name, 5).expect("a key"),
        place: Place {
            core: CoreId(3),
            target,
        },
        weight: 1,
        is_acknowledged,
    }
}

pub(crate) fn entry(id: u64, name: &str) -> Arc<Entry> {
    let Registration {
        key, place, weight, ..
    } = registration(name, false);
    let id = EntryId(id);
    Arc::new(Entry {
        id,
        key,
        place,
        weight,
    })
}
