//! Whom an actor came from, who came from it, and how far it is on its way to its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ringmesh_transport::timer::TimerKey;

use crate::core::{ActorPlace, UnderStop};
use crate::deploy::Tie;
use crate::watch::Ended;

/// The kin of one actor. All of it lives on the same core.
#[derive(Debug)]
pub(crate) struct Kin {
    pub(crate) parent: Option<ActorPlace>,
    /// How many actors are above it.
    pub(crate) depth: u8,
    /// Their slots, by generation: in the order they were spawned.
    children: RefCell<BTreeMap<u64, u32>>,
    /// Why it ends, once it does.
    why: Cell<Option<Ended>>,
    /// It failed, and waits for its new state.
    pub(crate) is_parked: Cell<bool>,
    /// Ends that wait.
    pub(crate) pause: Cell<Option<TimerKey>>,
    /// How often something came for it, while that is counted.
    pub(crate) heard: RefCell<Option<Rc<Cell<u64>>>>,
    /// How often it lost its state.
    pub(crate) losses: Cell<u32>,
    /// The time of that has come, but not all children have ended.
    pub(crate) is_awaited: Cell<bool>,
    /// It takes nothing new, and has still something to do before it ends.
    pub(crate) lingers: Cell<bool>,
    /// It begins to when it has a state again.
    pub(crate) drains: Cell<bool>,
    /// It was stopped before that was done, or a child of it.
    pub(crate) is_cut: Cell<bool>,
    /// Who waits for its end, and until when it has to come.
    pub(crate) stops: UnderStop,
    /// If it stands for an actor elsewhere: that one.
    pub(crate) tie: OnceCell<Rc<Tie>>,
}

impl Kin {
    pub(crate) fn new(parent: Option<ActorPlace>, depth: u8) -> Self {
        Self {
            parent,
            depth,
            children: RefCell::default(),
            why: Cell::default(),
            is_parked: Cell::default(),
            pause: Cell::default(),
            heard: RefCell::default(),
            losses: Cell::default(),
            is_awaited: Cell::default(),
            lingers: Cell::default(),
            drains: Cell::default(),
            is_cut: Cell::default(),
            stops: UnderStop::default(),
            tie: OnceCell::default(),
        }
    }

    pub(crate) fn add(&self, child: ActorPlace) {
        let ActorPlace { slot, generation } = child;
        self.children.borrow_mut().insert(generation, slot);
    }

    pub(crate) fn remove(&self, child: ActorPlace) {
        self.children.borrow_mut().remove(&child.generation);
    }

    pub(crate) fn has_children(&self) -> bool {
        !self.children.borrow().is_empty()
    }

    /// The children, the youngest first.
    pub(crate) fn children(&self) -> Vec<ActorPlace> {
        let children = self.children.borrow();
        let places = children.iter().rev();
        places
            .map(|(&generation, &slot)| ActorPlace { slot, generation })
            .collect()
    }

    /// It ends from now on. What is said first holds, but for a failure.
    pub(crate) fn end_for(&self, why: Ended) {
        if self.why.get().is_none() || why == Ended::Failed {
            self.why.set(Some(why));
        }
    }

    /// Why it ends, if it does.
    pub(crate) fn ends_for(&self) -> Option<Ended> {
        self.why.get()
    }
}
