//! Sends of local messages that wait for a place on the way to their core.
//!
//! The places of a pair of cores are counted by both, without a word. So a core whose sends wait
//! says so to the other one, once, with how many it has sent; and hears back with the turn in which
//! a place came free. All who wait are woken then, oldest first; whoever still finds none waits
//! again where it stood.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;

use super::Core;
use crate::reference::Recipient;

/// Who waits for places, here and elsewhere.
#[derive(Debug, Default)]
pub(super) struct LocalLines {
    by_core: RefCell<BTreeMap<CoreId, LocalLine>>,
    /// Other cores whose sends to this one wait, each once, with how many they have sent.
    wanted: RefCell<Vec<(CoreId, u64)>>,
    /// Somebody waits for a place that this core gives back.
    any: Cell<bool>,
    next: Cell<u64>,
}

/// Those who wait for the places of one core.
#[derive(Debug, Default)]
struct LocalLine {
    /// By when they first found none.
    waiting: BTreeMap<u64, Waker>,
    /// The other core was told.
    asked: bool,
}

/// A send's place in the line. Dropping it leaves the line.
pub(crate) struct LocalPlace {
    core: Rc<Core>,
    to: CoreId,
    number: u64,
}

impl LocalPlace {
    /// Wakes `waker` when there may be room.
    pub(crate) fn wait(&self, waker: &Waker) {
        let Self { core, to, number } = self;
        let mut lines = core.locals.lines.by_core.borrow_mut();
        let line = lines.entry(*to).or_default();
        let is_known = |known: &Waker| known.will_wake(waker);
        let asks = *to != core.id && !std::mem::replace(&mut line.asked, true);
        if !line.waiting.get(number).is_some_and(is_known) {
            drop(lines);
            let waker = waker.clone();
            let mut lines = core.locals.lines.by_core.borrow_mut();
            let former = lines.entry(*to).or_default().waiting.insert(*number, waker);
            drop(lines);
            core.release(former);
        }
        if asks {
            core.want_local_room(*to);
        } else if *to == core.id {
            core.locals.lines.any.set(true);
        }
    }
}

impl Drop for LocalPlace {
    fn drop(&mut self) {
        let waker = {
            let mut lines = self.core.locals.lines.by_core.borrow_mut();
            let line = lines.get_mut(&self.to);
            line.and_then(|line| line.waiting.remove(&self.number))
        };
        self.core.release(waker);
    }
}

impl fmt::Debug for LocalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPlace")
            .field("to", &self.to)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The last place in the line for a local message to `to`.
    pub(crate) fn join_local_line(self: &Rc<Self>, to: Recipient) -> LocalPlace {
        let number = self.locals.lines.next.get();
        self.locals.lines.next.set(number + 1);
        LocalPlace {
            core: Rc::clone(self),
            to: to.core,
            number,
        }
    }

    /// Asks another core to say when it has given a place back.
    fn want_local_room(&self, to: CoreId) {
        let from = self.id;
        let sent = self.mesh.borrow().windows[usize::from(to.0)].sent();
        let ask = move |there: &Rc<Self>| {
            there.locals.lines.wanted.borrow_mut().push((from, sent));
            there.locals.lines.any.set(true);
        };
        self.send_word(to, Box::new(ask));
    }

    /// Says, once a turn, that places came free: to whoever waits here, and to other cores.
    pub(super) fn say_local_room(&self) {
        if !self.locals.lines.any.get() {
            return;
        }
        let me = self.id;
        let has_room = {
            let mut mesh = self.mesh.borrow_mut();
            mesh.windows[usize::from(me.0)].has_room()
        };
        if has_room {
            self.local_room_came(me);
        }
        let told: Vec<CoreId> = {
            let mesh = self.mesh.borrow();
            let mut wanted = self.locals.lines.wanted.borrow_mut();
            // More may have been handled than had been sent when the word was: others, that did not
            // wait, found room meanwhile.
            let is_free = |(core, sent): &mut (CoreId, u64)| {
                let handled = mesh.handled[usize::from(core.0)].total();
                sent.saturating_sub(handled) < LOCAL_MESSAGES_MAX
            };
            let free = wanted.extract_if(.., is_free);
            free.map(|(core, _)| core).collect()
        };
        for core in told {
            self.send_word(core, Box::new(move |there| there.local_room_came(me)));
        }
        let lines = self.locals.lines.by_core.borrow();
        let own = lines.get(&me).is_some_and(|line| !line.waiting.is_empty());
        let others = !self.locals.lines.wanted.borrow().is_empty();
        self.locals.lines.any.set(own || others);
    }

    /// There may be places on the way to `core`: wakes whoever waits for one.
    fn local_room_came(&self, core: CoreId) {
        let woken = {
            let mut lines = self.locals.lines.by_core.borrow_mut();
            let Some(line) = lines.get_mut(&core) else {
                return;
            };
            line.asked = false;
            std::mem::take(&mut line.waiting)
        };
        // A waker may be anybody's code, and finds the lines free.
        woken.into_values().for_each(|waker| self.wake(waker));
    }

    /// Wakes all, when nothing more is sent.
    pub(super) fn end_local_lines(&self) {
        let cores: Vec<CoreId> = self.locals.lines.by_core.borrow().keys().copied().collect();
        cores
            .into_iter()
            .for_each(|core| self.local_room_came(core));
    }
}
