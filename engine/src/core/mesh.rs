//! From core to core: slabs of frames, and errands, over one ring per ordered pair of cores.
//!
//! A link to another core of the node is a link like any other: numbers, positions, grants. What
//! differs is how its slabs travel: they are handed over as they are, and parsed on the other core
//! in the memory they were written to. An errand is a piece of work for another core, such as
//! spawning an actor there or taking over a connection. Local messages go the same way, one in each
//! parcel ([`super::local`]).
//!
//! Nothing that a ring still holds when both its ends are gone is lost without a count or ends
//! anything: whichever core goes last drops it with the ring, in [`Core::close_mesh`].

use std::collections::VecDeque;
use std::fmt;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::limits::ERRANDS_WAITING_MAX;
use ringmesh_proto::slab::SlabSlice;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::contract::Piece;

use super::Core;
use super::budget::Budget;
use super::link::Link;
use super::local::{LocalLetter, Window};
use super::peers::PeerIndex;
use super::shared::core_id;
use super::tunnel::Passage;
use super::user_code::Contained;
use crate::config::MESH_SLOT_BYTES;
use crate::counters::Count;
use crate::mesh::sleep::Sleep;
use crate::mesh::{Consumer, Producer, ring};

/// Work for another core.
pub(crate) type Errand = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// What a ring of the mesh carries.
enum Parcel {
    /// Whole frames in the wire encoding.
    Frames(SlabSlice),
    /// The same, for the end of a tunnel.
    Passing(Passage, SlabSlice),
    /// Its drop is somebody's code, as is that of a local message.
    Errand(Contained<Errand>),
    /// What the core itself has to tell another one.
    Word(Errand),
    Local(LocalLetter),
}

const _: () = assert!(
    size_of::<Parcel>() as u64 <= MESH_SLOT_BYTES,
    "the memory budget counts a slot as that"
);

/// One core's ends of the mesh.
pub(crate) struct Mesh {
    /// By core; `None` at the core's own place.
    outboxes: Vec<Option<Outbox>>,
    inboxes: Vec<Option<Inbox>>,
    /// What this core may send of local messages, by core, itself included.
    pub(super) windows: Vec<Window>,
    /// How many of those of each core have left this one's hands, itself included.
    pub(super) handled: Vec<Arc<Count>>,
    sleep: Arc<Sleep>,
    /// Cores whose outbox holds something to publish, or to retry.
    touched: VecDeque<CoreId>,
    /// The core whose parcels are taken first: errands of all get their turn.
    first: usize,
}

struct Outbox {
    ring: Producer<Parcel>,
    /// What found no room in the ring, oldest first.
    waiting: VecDeque<Parcel>,
    errands_waiting: usize,
    sleep: Arc<Sleep>,
    touched: bool,
}

struct Inbox {
    ring: Consumer<Parcel>,
    /// The core at the other end may wait for room.
    sleep: Arc<Sleep>,
    /// An errand that found the turn's share spent; what is behind it waits in the ring.
    held: Option<Contained<Errand>>,
}

impl Inbox {
    /// The next parcel; none when it is an errand that `may_run` no more in this turn.
    fn next(&mut self, may_run: bool) -> Option<Parcel> {
        let parcel = match self.held.take() {
            Some(errand) => Parcel::Errand(errand),
            None => self.ring.pop()?,
        };
        match parcel {
            Parcel::Errand(errand) if !may_run => {
                self.held = Some(errand);
                None
            }
            parcel => Some(parcel),
        }
    }

    fn is_empty(&self) -> bool {
        self.held.is_none() && self.ring.is_empty()
    }
}

/// What became of the parcels for a core.
enum Left {
    /// All are in the ring.
    All,
    /// Some wait for room.
    Some,
    /// There is nobody to take them: that core has ended.
    Nobody,
}

/// An errand that found too many others before it.
#[derive(Debug)]
pub(crate) struct TooManyErrands;

impl Mesh {
    /// The ends of `cores` cores, with `slots` in each ring.
    pub(crate) fn between(cores: usize, slots: usize) -> Vec<Self> {
        let sleeps: Vec<Arc<Sleep>> = (0..cores).map(|_| Arc::new(Sleep::new())).collect();
        let mut windows = Vec::with_capacity(cores);
        let mut ends: Vec<Self> = sleeps
            .iter()
            .map(|sleep| Self {
                outboxes: (0..cores).map(|_| None).collect(),
                inboxes: (0..cores).map(|_| None).collect(),
                windows: Vec::with_capacity(cores),
                handled: Vec::with_capacity(cores),
                sleep: Arc::clone(sleep),
                touched: VecDeque::with_capacity(cores),
                first: 0,
            })
            .collect();
        for from in 0..cores {
            for to in &mut ends {
                let handled = Arc::default();
                to.handled.push(Arc::clone(&handled));
                windows.push(Window::new(handled));
            }
            ends[from].windows = std::mem::take(&mut windows);
            for to in (0..cores).filter(|to| *to != from) {
                let (producer, consumer) = ring(slots);
                ends[from].outboxes[to] = Some(Outbox {
                    ring: producer,
                    waiting: VecDeque::new(),
                    errands_waiting: 0,
                    sleep: Arc::clone(&sleeps[to]),
                    touched: false,
                });
                ends[to].inboxes[from] = Some(Inbox {
                    ring: consumer,
                    sleep: Arc::clone(&sleeps[from]),
                    held: None,
                });
            }
        }
        ends
    }

    /// Whether a parcel waits to be taken, or room came for one that waits to leave.
    fn has_work(&mut self) -> bool {
        let inboxes = self.inboxes.iter().flatten();
        inboxes.into_iter().any(|inbox| !inbox.is_empty())
            || self.outboxes.iter_mut().flatten().any(Outbox::may_go_on)
    }

    /// Sends a local message to another core, unless that is [gone](Self::is_gone); it leaves with
    /// this turn.
    pub(super) fn put_local(&mut self, to: CoreId, letter: LocalLetter) -> Result<(), LocalLetter> {
        match self.outbox(to) {
            Some(outbox) => outbox.put(Parcel::Local(letter)),
            None => return Err(letter),
        }
        Ok(())
    }

    /// Whether a core takes nothing any more.
    pub(super) fn is_gone(&self, core: CoreId) -> bool {
        let outbox = self.outboxes.get(usize::from(core.0));
        let outbox = outbox.and_then(Option::as_ref);
        outbox.is_none_or(|outbox| outbox.ring.is_abandoned())
    }

    fn outbox(&mut self, core: CoreId) -> Option<&mut Outbox> {
        let outbox = self.outboxes.get_mut(usize::from(core.0))?.as_mut()?;
        if !std::mem::replace(&mut outbox.touched, true) {
            self.touched.push_back(core);
        }
        Some(outbox)
    }
}

impl Outbox {
    fn put(&mut self, parcel: Parcel) {
        if !self.waiting.is_empty() {
            return self.waiting.push_back(parcel);
        }
        if let Err(parcel) = self.ring.push(parcel) {
            self.waiting.push_back(parcel);
        }
    }

    fn put_errand(&mut self, errand: Errand) {
        let before = self.waiting.len();
        self.put(Parcel::Errand(Contained::new(errand)));
        self.errands_waiting += self.waiting.len() - before;
    }

    /// Moves what waits into the ring, as far as there is room, and shows all of it to the other
    /// core. Says whether that core has to be woken.
    fn publish(&mut self) -> bool {
        while let Some(parcel) = self.waiting.pop_front() {
            let errand = usize::from(matches!(parcel, Parcel::Errand(_)));
            if let Err(parcel) = self.ring.push(parcel) {
                self.waiting.push_front(parcel);
                break;
            }
            self.errands_waiting -= errand;
        }
        self.ring.publish() && self.sleep.wake_needed()
    }

    fn take_waiting(&mut self) -> VecDeque<Parcel> {
        self.errands_waiting = 0;
        std::mem::take(&mut self.waiting)
    }

    fn may_go_on(&mut self) -> bool {
        !self.waiting.is_empty() && self.ring.has_room()
    }
}

impl Core {
    /// Sends another core on an errand; it leaves with this turn.
    pub(crate) fn send_errand(&self, to: CoreId, errand: Errand) -> Result<(), TooManyErrands> {
        let mut mesh = self.mesh.borrow_mut();
        let Some(outbox) = mesh.outbox(to) else {
            return Err(TooManyErrands);
        };
        if outbox.errands_waiting >= ERRANDS_WAITING_MAX {
            return Err(TooManyErrands);
        }
        outbox.put_errand(errand);
        Ok(())
    }

    /// The same on whatever core, this one too: here it is done at once.
    pub(super) fn run_errand(
        self: &Rc<Self>,
        on: CoreId,
        errand: Errand,
    ) -> Result<(), TooManyErrands> {
        if on == self.id {
            errand(self);
            return Ok(());
        }
        self.send_errand(on, errand)
    }

    /// Sends what the core itself has to tell another one, behind all that it handed over.
    /// It waits for room in any case: a tunnel has three such errands in its life.
    pub(super) fn send_word(&self, to: CoreId, errand: Errand) {
        if let Some(outbox) = self.mesh.borrow_mut().outbox(to) {
            outbox.put(Parcel::Word(errand));
        }
    }

    /// Hands what a link gathered over to the core at its other end, slabs alone: other bytes have
    /// counts of this thread. Its next slices follow when these are in the ring.
    pub(super) fn hand_over(&self, link: &Rc<Link>, pieces: &mut Vec<Piece>) {
        let mut mesh = self.mesh.borrow_mut();
        let Some(outbox) = mesh.outbox(link.to_core) else {
            return pieces.clear();
        };
        link.sending.set(true);
        let slices = pieces.drain(..).map(Piece::into_slab);
        match link.passage.map(Passage::other_end) {
            None => slices.for_each(|slice| outbox.put(Parcel::Frames(slice))),
            Some(end) => {
                slices.for_each(|slice| outbox.put(Parcel::Passing(end, slice)));
                self.note_leaving(link);
            }
        }
    }

    /// Takes what other cores handed over: frames are parsed later in this turn, and errands run
    /// now, as far as their share of the turn goes. Says whether there was anything.
    pub(super) fn receive_parcels(self: &Rc<Self>) -> bool {
        let mut any = false;
        let cores = self.ends.len();
        if cores == 1 {
            return any;
        }
        let mut share = Budget::for_errands(self.clock.now(), &self.settings);
        let first = self.mesh.borrow().first;
        for index in (first..cores).chain(0..first) {
            any |= self.receive_parcels_from(index, &mut share);
        }
        any
    }

    fn receive_parcels_from(self: &Rc<Self>, index: usize, share: &mut Budget) -> bool {
        let mut any = false;
        loop {
            let may_run = share.stride() > 0;
            let parcel = match &mut self.mesh.borrow_mut().inboxes[index] {
                Some(inbox) => inbox.next(may_run),
                None => return false,
            };
            match parcel {
                Some(Parcel::Frames(slice)) => self.receive_slice(index, slice),
                Some(Parcel::Passing(end, slice)) => {
                    self.receive_passing(core_id(index), end, slice);
                }
                // The errand may hand something over itself, and finds the mesh free.
                Some(Parcel::Errand(errand)) => {
                    errand.take().into_iter().for_each(|errand| errand(self));
                    share.spend(1);
                    // It may have been an actor's start: no handler behind it is slow for that.
                    share.look(self.look_at_clock());
                    // Those of the next core go first in the next turn.
                    self.mesh.borrow_mut().first = (index + 1) % self.ends.len();
                }
                Some(Parcel::Word(word)) => word(self),
                Some(Parcel::Local(letter)) => self.locals.put(core_id(index), letter),
                None => break,
            }
            any = true;
        }
        any
    }

    fn receive_slice(&self, index: usize, slice: SlabSlice) {
        let connection = &self.ends[index].connection;
        // Has the cache ask the other core for the first bytes, which are parsed a little later.
        black_box(slice.first());
        connection.intake.borrow_mut().push(Chunk::of_slab(slice));
        self.make_readable(connection);
    }

    /// Gives the room of what was taken in this turn back. Behind all that the turn sends: a core
    /// that waits for room has a ring full of others, and whoever waits for an answer does not wait
    /// for this one's fence.
    pub(super) fn give_room(&self) {
        (0..self.ends.len()).for_each(|index| self.give_room_to(index));
    }

    fn give_room_to(&self, index: usize) {
        let wake = match &mut self.mesh.borrow_mut().inboxes[index] {
            Some(inbox) => inbox.ring.release() && inbox.sleep.wake_needed(),
            None => false,
        };
        if wake {
            self.shared.ring(core_id(index));
        }
    }

    /// Shows the other cores what was put into their rings, once a turn. What found no room is
    /// tried again in the next.
    pub(super) fn publish_parcels(&self) {
        let count = self.mesh.borrow().touched.len();
        for _ in 0..count {
            let Some(core) = self.mesh.borrow_mut().touched.pop_front() else {
                return;
            };
            let left = self.publish_to(core);
            let link = &self.ends[usize::from(core.0)].link;
            match left {
                Left::All => {
                    if link.sending.get() {
                        self.handle_sent(link);
                    }
                    self.passed_on(core);
                }
                Left::Some => {}
                Left::Nobody => self.lose_core(core),
            }
        }
    }

    /// Shows a core what is in the ring for it, in the middle of a turn. All that is left to do at
    /// the end of one is done there.
    pub(super) fn publish_early(&self, link: &Rc<Link>) {
        let mut mesh = self.mesh.borrow_mut();
        let Some(outbox) = mesh.outbox(link.to_core) else {
            return;
        };
        if outbox.publish() {
            self.shared.ring(link.to_core);
        }
        let is_through = outbox.waiting.is_empty() && !outbox.ring.is_abandoned();
        drop(mesh);
        if is_through && link.sending.get() {
            self.handle_sent(link);
        }
    }

    fn publish_to(&self, core: CoreId) -> Left {
        let mut mesh = self.mesh.borrow_mut();
        let Some(outbox) = &mut mesh.outboxes[usize::from(core.0)] else {
            return Left::Nobody;
        };
        if outbox.publish() {
            self.shared.ring(core);
        }
        outbox.ring.warm();
        outbox.touched = false;
        if outbox.waiting.is_empty() {
            return Left::All;
        }
        if outbox.ring.is_abandoned() {
            return Left::Nobody;
        }
        outbox.touched = true;
        mesh.touched.push_back(core);
        Left::Some
    }

    /// A core of this node has ended before this one.
    fn lose_core(&self, core: CoreId) {
        let index = PeerIndex::of_core(core);
        let link = self.peers.borrow_mut().at(index).link.take();
        if let Some(link) = link {
            self.end_link(&link, false);
        }
        self.lose_tunnels(core);
        let waiting = match &mut self.mesh.borrow_mut().outboxes[usize::from(core.0)] {
            Some(outbox) => outbox.take_waiting(),
            None => VecDeque::new(),
        };
        // No cell is borrowed any more: somebody's code runs here.
        drop(waiting);
    }

    /// Drops what is still on its way from this core and to it, when it ends, and its ends of the
    /// rings: with the last end of a ring goes what it holds.
    pub(super) fn close_mesh(&self) {
        for index in 0..self.ends.len() {
            let mut mesh = self.mesh.borrow_mut();
            let (outbox, inbox) = (mesh.outboxes[index].take(), mesh.inboxes[index].take());
            drop(mesh);
            if let Some(mut inbox) = inbox {
                while inbox.ring.pop().is_some() {}
            }
            drop(outbox);
        }
        self.locals.clear();
    }

    /// Whether another core handed something over, or has taken what waits to leave.
    #[inline]
    pub(super) fn mesh_has_work(&self) -> bool {
        self.ends.len() > 1 && self.mesh.borrow_mut().has_work()
    }

    /// Says that this core is about to sleep. When something came for it meanwhile it says false
    /// and takes it back.
    pub(super) fn may_sleep(&self) -> bool {
        let mut mesh = self.mesh.borrow_mut();
        if mesh.inboxes.len() == 1 {
            return true;
        }
        mesh.sleep.prepare();
        let may_sleep = !mesh.has_work();
        if !may_sleep {
            mesh.sleep.cancel();
        }
        may_sleep
    }

    /// Says that this core looks by itself again.
    pub(super) fn is_awake(&self) {
        self.mesh.borrow().sleep.cancel();
        self.want_to_be_looked_at();
    }

    /// Whether another core has not ended, and is not parked.
    pub(super) fn is_core_awake(&self, core: CoreId) -> bool {
        let mesh = self.mesh.borrow();
        let outbox = mesh.outboxes.get(usize::from(core.0));
        let outbox = outbox.and_then(Option::as_ref);
        outbox.is_some_and(|it| !it.ring.is_abandoned() && !it.sleep.is_asleep())
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    /// Counts its drop and panics in it.
    struct Bomb(Arc<AtomicU64>);

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(thread::panicking(), "a bomb");
        }
    }

    #[test]
    fn errands_that_panic_in_their_drop_go_with_their_ring_each_by_itself() {
        for sender_first in [false, true] {
            let dropped = Arc::new(AtomicU64::new(0));
            let mut ends = Mesh::between(2, 4);
            let outbox = ends[0].outbox(CoreId(1)).expect("there are two cores");
            // More than the ring holds.
            for _ in 0..6 {
                let bomb = Bomb(Arc::clone(&dropped));
                let errand: Errand = Box::new(move |_| std::mem::forget(bomb));
                outbox.put_errand(errand);
            }
            outbox.publish();
            let last = ends.swap_remove(usize::from(sender_first));
            drop(ends);
            drop(last);
            assert_eq!(dropped.load(Ordering::Relaxed), 6);
        }
    }
}
