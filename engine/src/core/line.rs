//! The line of sends that wait for room at one peer: first come, first served.
//!
//! All of them are woken when room may have come, oldest first. The first that still finds none
//! holds up those behind it, and sends that have not waited at all: so a large message gets its
//! room although small ones would fit into less, and a question its turn beside a stream. A send
//! whose task does not poll it holds up nobody, nor does one whose recipient alone has no room:
//! such sends stand aside until a recipient of the peer says that it has some.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_proto::slab_pool::SlabPool;

use super::peers::PeerIndex;
use super::{Core, Token};
use crate::reference::Recipient;

/// Time between two looks for memory while it is short.
const MEMORY_LOOKS: Duration = Duration::from_millis(1);

/// Who waits at one peer.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// In the order of their numbers. Kept between waits, so that waiting allocates nothing.
    waiting: Queue,
    next: u64,
    /// Numbers up to here are of lines that were here before, at other peers.
    former: u64,
    /// Places there are, whether they wait or not.
    places: usize,
    /// The first that found no room since the last wake.
    held_up_by: Option<Number>,
    /// Those whose recipient has no room, in the same order: they hold up nobody.
    aside: Queue,
}

/// Orders the sends at one peer by when they first found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

impl Line {
    /// Whether a send has to let an earlier one go first; `place` is its own, if it has one.
    #[inline]
    pub(super) fn is_held_up(&self, place: Option<&Place>) -> bool {
        match (self.held_up_by, place) {
            (None, _) => false,
            (Some(first), Some(place)) => first < place.number,
            (Some(_), None) => true,
        }
    }

    /// Whether nobody has a place.
    pub(super) fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// Whether everybody who has a place was woken, and is on the way to try again.
    pub(super) fn is_woken(&self) -> bool {
        self.waiting.is_empty() && self.aside.is_empty()
    }

    /// The line of the next peer in the place of this one's. Whoever has a place in this one has
    /// none there.
    pub(super) fn follower(&self) -> Self {
        Self {
            next: self.next,
            former: self.next,
            ..Self::default()
        }
    }

    /// Whether a place is one of this line.
    fn is_of(&self, number: Number) -> bool {
        number.0 > self.former
    }

    fn join(&mut self) -> Number {
        self.places += 1;
        self.next += 1;
        Number(self.next)
    }

    /// Whether a send stands in the line with `waker`, or one like it; then it waits again.
    fn waits_again(&mut self, number: Number, waker: &Waker) -> bool {
        let known = knows(&self.waiting, number, waker);
        if known {
            self.hold_up(number);
        }
        known
    }

    /// A send found no room, or one before it did. Gives back the waker it waited with before.
    fn wait(&mut self, number: Number, waker: Waker) -> Option<Waker> {
        self.hold_up(number);
        let aside = remove(&mut self.aside, number);
        put(&mut self.waiting, number, waker).or(aside)
    }

    /// A send found that its recipient has no room. Says whether it held up others, and gives back
    /// the waker it waited with before.
    fn wait_aside(&mut self, number: Number, waker: Waker) -> (bool, Option<Waker>) {
        let (held_up, former) = self.withdraw(number);
        put(&mut self.aside, number, waker);
        (held_up, former)
    }

    fn hold_up(&mut self, number: Number) {
        self.held_up_by = Some(self.held_up_by.map_or(number, |first| first.min(number)));
    }

    /// A send gives up its place. Says whether it held up others, and gives back its waker.
    fn leave(&mut self, number: Number) -> (bool, Option<Waker>) {
        self.places = self.places.saturating_sub(1);
        self.withdraw(number)
    }

    /// A send waits no longer where it stood. Says whether it held up others, and gives back its
    /// waker.
    fn withdraw(&mut self, number: Number) -> (bool, Option<Waker>) {
        let waker = remove(&mut self.waiting, number);
        let waker = waker.or_else(|| remove(&mut self.aside, number));
        let held_up = self.held_up_by.take_if(|first| *first == number).is_some();
        (held_up && !self.waiting.is_empty(), waker)
    }
}

/// Sends and their wakers, in the order of their numbers.
type Queue = Vec<(Number, Waker)>;

/// Where a send stands, or would.
fn index_of(queue: &Queue, number: Number) -> usize {
    queue.partition_point(|(earlier, _)| *earlier < number)
}

fn knows(queue: &Queue, number: Number, waker: &Waker) -> bool {
    let place = queue.get(index_of(queue, number));
    place.is_some_and(|(same, known)| *same == number && known.will_wake(waker))
}

/// Gives back the waker that the send had there before.
fn put(queue: &mut Queue, number: Number, waker: Waker) -> Option<Waker> {
    let index = index_of(queue, number);
    match queue.get_mut(index) {
        Some((same, known)) if *same == number => Some(std::mem::replace(known, waker)),
        _ => {
            queue.insert(index, (number, waker));
            None
        }
    }
}

fn remove(queue: &mut Queue, number: Number) -> Option<Waker> {
    let index = index_of(queue, number);
    let stands = queue.get(index).is_some_and(|(same, _)| *same == number);
    stands.then(|| queue.remove(index).1)
}

/// A send's place in the line of a peer. Dropping it leaves the line.
pub(crate) struct Place {
    core: Rc<Core>,
    node: PeerIndex,
    number: Number,
    /// How often sends to the peer had waited in vain for its first link.
    given_up: u64,
}

impl Place {
    /// Wakes `waker` when room may have come.
    pub(crate) fn wait(&self, waker: &Waker) {
        let again = self.with_line(|line| line.waits_again(self.number, waker));
        if !again {
            let waker = waker.clone();
            let former = self.with_line(|line| line.wait(self.number, waker));
            drop(former);
        }
    }

    /// Wakes `waker` when a recipient of the peer has room again.
    pub(crate) fn wait_aside(&self, waker: &Waker) {
        if self.with_line(|line| knows(&line.aside, self.number, waker)) {
            return;
        }
        let waker = waker.clone();
        let (held_up, former) = self.with_line(|line| line.wait_aside(self.number, waker));
        drop(former);
        if held_up {
            self.core.room_came(self.node);
        }
    }

    /// How often sends to a peer had waited in vain when this one joined its line, if it did.
    pub(super) fn saw_given_up(&self, node: PeerIndex, line: &Line) -> Option<u64> {
        (self.node == node && line.is_of(self.number)).then_some(self.given_up)
    }

    /// Nothing is done when its peer was forgotten.
    fn with_line<R: Default>(&self, with: impl FnOnce(&mut Line) -> R) -> R {
        let mut peers = self.core.peers.borrow_mut();
        let line = &mut peers.at(self.node).line;
        if line.is_of(self.number) {
            with(line)
        } else {
            R::default()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (held_up, waker) = self.with_line(|line| line.leave(self.number));
        self.core.release(waker);
        if held_up {
            self.core.room_came(self.node);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The last place in the line of the peer that a recipient is sent to; none when this core does
    /// not know it.
    pub(crate) fn join_line(self: &Rc<Self>, to: Recipient) -> Option<Place> {
        let mut peers = self.peers.borrow_mut();
        let node = peers.awaited(to)?;
        let peer = peers.at(node);
        Some(Place {
            core: Rc::clone(self),
            node,
            number: peer.line.join(),
            given_up: peer.given_up,
        })
    }

    /// Whether a place is in the line of another peer than the one that a recipient is sent to: it
    /// was taken before that was known, or before its peer was forgotten.
    pub(crate) fn is_astray(&self, place: &Place, to: Recipient) -> bool {
        let mut peers = self.peers.borrow_mut();
        peers.awaited(to) != Some(place.node) || !peers.at(place.node).line.is_of(place.number)
    }

    /// Wakes the sends that wait for room at a peer.
    pub(super) fn room_came(&self, node: PeerIndex) {
        self.peers.borrow_mut().at(node).line.held_up_by = None;
        self.wake_all(node, |line| &mut line.waiting);
    }

    /// Wakes the sends that wait because their recipient at a peer has no room.
    pub(super) fn recipients_came(&self, node: PeerIndex) {
        self.wake_all(node, |line| &mut line.aside);
    }

    fn wake_all(&self, node: PeerIndex, queue: fn(&mut Line) -> &mut Queue) {
        let mut peers = self.peers.borrow_mut();
        let waiting = queue(&mut peers.at(node).line);
        if waiting.is_empty() {
            return;
        }
        let mut woken = std::mem::take(waiting);
        // A waker may be anybody's code, and find the table of peers free.
        drop(peers);
        woken.drain(..).for_each(|(_, waker)| self.wake(waker));
        let mut peers = self.peers.borrow_mut();
        let waiting = queue(&mut peers.at(node).line);
        woken.append(waiting);
        *waiting = woken;
    }

    /// While memory is short, looks now and then whether some came back: what leases of other cores
    /// held comes back without a word.
    pub(super) fn watch_memory(&self) {
        let is_short = self.slabs.iter().any(|slabs| slabs.borrow().is_short());
        if !is_short || self.watches_memory.replace(true) {
            return;
        }
        let at = self.clock.now() + MEMORY_LOOKS;
        let timer = self.set_timer(at, Token::Memory);
        self.watches_memory.set(timer.is_some());
    }

    /// It is time to look.
    pub(super) fn look_for_memory(&self) {
        self.watches_memory.set(false);
        self.memory_came();
    }

    /// Slabs may have come back. If one was refused since the last time, whoever waits for memory
    /// has another try, at whatever peer: the sends, and the answers that were put off.
    pub(super) fn memory_came(&self) {
        let short = |short, slabs: &RefCell<SlabPool>| slabs.borrow_mut().take_shortage() | short;
        if !self.slabs.iter().fold(false, short) {
            return;
        }
        self.cluster_memory_came();
        let own = self.ends.iter().map(|end| Rc::clone(&end.link));
        for link in self.linked().chain(own).chain(self.tunnel_links()) {
            if link.outbound.borrow().deferred() > 0 {
                self.enqueue(&link);
            }
        }
        let relays = self.relays();
        relays.iter().for_each(|relay| self.relay_moved(relay));
        let all = self.peers.borrow().all();
        all.for_each(|node| self.room_came(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_in_order(line: &mut Line, numbers: &[Number]) {
        numbers
            .iter()
            .for_each(|number| drop(line.wait(*number, Waker::noop().clone())));
    }

    fn numbers(line: &Line) -> Vec<Number> {
        line.waiting.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn whoever_came_first_stands_first_however_they_wait() {
        let mut line = Line::default();
        let [first, second, third] = [line.join(), line.join(), line.join()];
        wait_in_order(&mut line, &[second, third, first, second]);
        assert_eq!(numbers(&line), [first, second, third]);
        assert_eq!(line.held_up_by, Some(first));
    }

    #[test]
    fn a_line_has_somebody_in_it_until_the_last_place_is_given_up() {
        let mut line = Line::default();
        let [first, second] = [line.join(), line.join()];
        wait_in_order(&mut line, &[first]);
        // Woken, and not back yet.
        line.waiting.clear();
        assert!(!line.is_empty());
        line.leave(first);
        assert!(!line.is_empty());
        line.leave(second);
        assert!(line.is_empty());
    }

    #[test]
    fn whoever_stands_aside_keeps_its_place_however_often_it_does() {
        let mut line = Line::default();
        let number = line.join();
        for _ in 0..3 {
            drop(line.wait_aside(number, Waker::noop().clone()));
            assert!(!line.is_empty(), "its peer is not forgotten meanwhile");
            // Woken, and its recipient is busy again.
            line.aside.clear();
        }
        line.leave(number);
        assert!(line.is_empty());
    }

    #[test]
    fn whoever_stands_aside_holds_up_nobody_and_comes_back_to_its_place() {
        let mut line = Line::default();
        let [first, second] = [line.join(), line.join()];
        wait_in_order(&mut line, &[first, second]);
        let (held_up, former) = line.wait_aside(first, Waker::noop().clone());
        assert!(held_up && former.is_some());
        assert_eq!((line.held_up_by, numbers(&line)), (None, vec![second]));
        assert!(!line.is_empty() && knows(&line.aside, first, Waker::noop()));
        wait_in_order(&mut line, &[first]);
        assert!(line.aside.is_empty(), "it stands in one place");
        assert_eq!(numbers(&line), [first, second]);
        drop(line.wait_aside(second, Waker::noop().clone()));
        assert!(line.leave(second).1.is_some(), "it leaves from there too");
    }

    #[test]
    fn a_place_of_before_is_none_in_the_line_of_the_next_peer() {
        let mut line = Line::default();
        let old = [line.join(), line.join()];
        let mut next = line.follower();
        assert!(
            old.iter()
                .all(|number| line.is_of(*number) && !next.is_of(*number))
        );
        let new = next.join();
        assert!(next.is_of(new) && new > old[1] && next.is_woken());
        wait_in_order(&mut next, &[new]);
        assert!(!next.is_woken());
    }

    #[test]
    fn whoever_leaves_lets_the_others_go_if_it_held_them_up() {
        let mut line = Line::default();
        let [first, second] = [line.join(), line.join()];
        wait_in_order(&mut line, &[first, second]);
        let (held_up, waker) = line.leave(second);
        assert!(!held_up, "it held up nobody");
        assert!(waker.is_some());
        wait_in_order(&mut line, &[second]);
        assert!(line.leave(first).0);
        assert_eq!(line.held_up_by, None);
        let (held_up, waker) = line.leave(first);
        assert!(!held_up && waker.is_none(), "it left already");
    }
}
