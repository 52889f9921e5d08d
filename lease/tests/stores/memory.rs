//! The suite on the store in memory.

use std::sync::Arc;
use std::time::Duration;

use ringmesh_lease::{Answer, Clock, Deed, LeaseName, ManualClock, MemoryStore, Token};

use crate::contract::{Node, Stage, TIME_TO_LIVE, contract, name};

struct Memory {
    store: MemoryStore,
    clock: Arc<ManualClock>,
}

fn stage() -> Memory {
    let clock = Arc::new(ManualClock::default());
    let store = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>);
    Memory { store, clock }
}

impl Stage for Memory {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    fn delete(&self, _: &LeaseName) -> bool {
        false
    }
}

contract!(stage());

#[test]
fn an_outage_changes_nothing_and_whoever_holds_it_is_seen() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    assert_eq!(stage.store.holder(&shop), None);
    let token = a.has(&shop);
    stage.store.set_outage(Some("the disk is full"));
    let why = "the disk is full".into();
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Failed { why });
    assert_eq!(stage.store.holder(&shop), Some(("a".into(), Token(1))));
    stage.store.set_outage(None);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    stage.pass(TIME_TO_LIVE);
    assert_eq!(stage.store.holder(&shop), None);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Lost);
    assert_eq!(stage.store.asks(), 4);
}
