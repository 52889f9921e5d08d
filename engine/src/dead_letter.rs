//! Messages that reach nobody, as a user sees them: one letter for each, or for all that were given
//! up with their link.
//!
//! The cores of a node put their letters into one ring, which keeps the last of them. Subscriptions
//! read it, each at its own place; one that is slow misses the oldest and knows how many. Without a
//! subscription nothing is kept, and a letter costs the look at a flag.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ringmesh_proto::address::{CoreId, NodeId};
use ringmesh_proto::message::MessageId;

/// Why a message reached nobody. Each reason has a counter of the same name in
/// [`Counters`](crate::Counters), with `dead_` in front; [local messages](crate::LocalMessage) are
/// counted in `local_dead`, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// It was given up with its link and never left this node.
    Unsent,
    /// It was given up with its link, and may or may not have been handled at the peer.
    Maybe,
    /// It arrived, and its recipient does not run, or not any more.
    NoRecipient,
    /// It arrived, and the recipient's protocol has no such message.
    UnknownMessage,
    /// It arrived, and is known here in another version or with other fields.
    SchemaMismatch,
    /// It arrived, and is a question whose deadline had passed when its turn came.
    Expired,
    /// It arrived, and is not a valid archive of the message or answer.
    Invalid,
    /// It answers a question that is no longer asked.
    LateAnswer,
    /// It came in an older version, and making the current one of it panicked or made it too long.
    NotUpgraded,
}

impl DeadLetterReason {
    /// All reasons there are.
    pub const ALL: [Self; 9] = [
        Self::Unsent,
        Self::Maybe,
        Self::NoRecipient,
        Self::UnknownMessage,
        Self::SchemaMismatch,
        Self::Expired,
        Self::Invalid,
        Self::LateAnswer,
        Self::NotUpgraded,
    ];

    /// A stable name for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Maybe => "maybe",
            Self::NoRecipient => "no_recipient",
            Self::UnknownMessage => "unknown_message",
            Self::SchemaMismatch => "schema_mismatch",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::LateAnswer => "late_answer",
            Self::NotUpgraded => "not_upgraded",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A message that reached nobody, or several that were given up together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Why.
    pub reason: DeadLetterReason,
    /// How many messages it stands for: 1, but for those that were given up with their link.
    pub count: u64,
    /// The core of this node that counted it.
    pub core: CoreId,
    /// The node that sent it or, of a message given up with its link, was to get it; this node
    /// itself between its cores.
    pub peer: NodeId,
    /// Which message. `None` of local ones, of those given up with their link, and of answers that
    /// are errors.
    pub message: Option<MessageId>,
    /// The name of the message, where this node knows it: from the protocol of its recipient.
    pub message_name: Option<&'static str>,
    /// The actor of this node that was to get it. `None` of answers, and of messages given up with
    /// their link.
    pub recipient: Option<DeadRecipient>,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x ", self.count)?;
        match (self.message_name, self.message) {
            (Some(name), _) => f.write_str(name)?,
            (None, Some(id)) => write!(f, "{id:?}")?,
            (None, None) => f.write_str("messages")?,
        }
        if let Some(recipient) = &self.recipient {
            write!(f, " for {recipient}")?;
        }
        let is_ours = matches!(
            self.reason,
            DeadLetterReason::Unsent | DeadLetterReason::Maybe
        );
        let way = if is_ours { "to" } else { "from" };
        write!(f, " {way} {}", self.peer)
    }
}

/// An actor that a message did not reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeadRecipient {
    /// Its name, if it has one and is still known here.
    pub name: Option<Box<str>>,
    /// Its slot on its core.
    pub slot: u32,
    /// Which owner of the slot it is.
    pub generation: u64,
}

impl fmt::Display for DeadRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "slot {}#{}", self.slot, self.generation),
        }
    }
}

/// A subscription to the dead letters of all cores of a node, from its making on. See
/// [`Node::dead_letters`](crate::Node::dead_letters).
///
/// It may be read on any thread. The node keeps the last `dead_letters_kept` of its
/// [`Settings`](crate::Settings) for all subscriptions together; one that is slower misses the
/// oldest, and [`missed`](Self::missed) counts them.
#[derive(Debug)]
pub struct DeadLetters {
    office: Arc<Office>,
    id: u64,
    /// The number of the letter to read next.
    next: u64,
    missed: u64,
}

impl DeadLetters {
    /// The next letter; waits for it. `None` once the node has ended and all its letters are read.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<DeadLetter> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next letter, if there is one now.
    pub fn try_next(&mut self) -> Option<DeadLetter> {
        let office = Arc::clone(&self.office);
        let kept = office.lock();
        self.read(&kept)
    }

    /// How many letters were dropped before this subscription read them.
    pub fn missed(&self) -> u64 {
        self.missed + self.office.lock().first.saturating_sub(self.next)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<DeadLetter>> {
        // The clone and the drop of a waker are somebody's code: neither runs behind the lock.
        let mut waker = Some(context.waker().clone());
        let office = Arc::clone(&self.office);
        let mut kept = office.lock();
        let read = self.read(&kept);
        if read.is_some() || kept.is_closed {
            return Poll::Ready(read);
        }
        let known = kept.waiting.iter_mut().find(|(id, _)| *id == self.id);
        match (known, waker.take()) {
            (Some((_, known)), Some(new)) => waker = Some(std::mem::replace(known, new)),
            (None, Some(new)) => kept.waiting.push((self.id, new)),
            (_, None) => {}
        }
        drop(kept);
        drop(waker);
        Poll::Pending
    }

    fn read(&mut self, kept: &Kept) -> Option<DeadLetter> {
        let behind = kept.first.saturating_sub(self.next);
        self.missed += behind;
        self.next += behind;
        let place = usize::try_from(self.next - kept.first).ok()?;
        let letter = kept.letters.get(place)?.clone();
        self.next += 1;
        Some(letter)
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        // Its waker is somebody's code, and the letters may be many: they drop here.
        drop(self.office.leave(self.id));
    }
}

/// Where the cores of a node put their dead letters.
#[derive(Debug)]
pub(crate) struct Office {
    /// Somebody has subscribed.
    is_read: AtomicBool,
    kept_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    letters: VecDeque<DeadLetter>,
    /// The number of the oldest that is kept; they count up.
    first: u64,
    subscribers: usize,
    next_id: u64,
    /// Subscriptions that wait for the next letter, by id.
    waiting: Vec<(u64, Waker)>,
    /// The node has ended.
    is_closed: bool,
}

impl Office {
    /// Keeps `kept_max` letters, while somebody reads them.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            is_read: AtomicBool::new(false),
            kept_max,
            kept: Mutex::default(),
        }
    }

    /// Whether anybody wants a letter. A subscription that another thread has just made may begin
    /// one letter later.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    /// Puts a letter behind the others, in the place of the oldest if there is no room. Gives back
    /// whom to wake; nothing of the core may be borrowed then.
    #[must_use = "who waits is to be woken"]
    pub(crate) fn post(&self, letter: DeadLetter) -> Vec<(u64, Waker)> {
        let mut kept = self.lock();
        if kept.subscribers == 0 {
            return Vec::new();
        }
        if kept.letters.len() >= self.kept_max {
            kept.letters.pop_front();
            kept.first += 1;
        }
        kept.letters.push_back(letter);
        std::mem::take(&mut kept.waiting)
    }

    /// Subscribes to the letters that are posted from now on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> DeadLetters {
        let mut kept = self.lock();
        kept.subscribers += 1;
        kept.next_id += 1;
        self.is_read.store(true, Ordering::Relaxed);
        DeadLetters {
            office: Arc::clone(self),
            id: kept.next_id,
            next: kept.first + kept.letters.len() as u64,
            missed: 0,
        }
    }

    /// Ends a subscription; gives back what it leaves behind.
    fn leave(&self, id: u64) -> (Option<Waker>, VecDeque<DeadLetter>) {
        let mut kept = self.lock();
        let mut unread = VecDeque::new();
        kept.subscribers -= 1;
        if kept.subscribers == 0 {
            self.is_read.store(false, Ordering::Relaxed);
            kept.first += kept.letters.len() as u64;
            unread = std::mem::take(&mut kept.letters);
        }
        let place = kept.waiting.iter().position(|(known, _)| *known == id);
        let waker = place.map(|place| kept.waiting.swap_remove(place).1);
        (waker, unread)
    }

    /// The node has ended: nothing is posted any more.
    #[must_use = "who waits is to be woken"]
    pub(crate) fn close(&self) -> Vec<(u64, Waker)> {
        let mut kept = self.lock();
        kept.is_closed = true;
        std::mem::take(&mut kept.waiting)
    }

    /// Nothing of anybody else runs behind the lock.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use ringmesh_proto::address::{Address, Uid};

    use super::*;

    fn letter(count: u64) -> DeadLetter {
        DeadLetter {
            reason: DeadLetterReason::Maybe,
            count,
            core: CoreId(0),
            peer: NodeId {
                address: Address::new("demo", "127.0.0.1", 1).unwrap(),
                uid: Uid::new(1).unwrap(),
            },
            message: None,
            message_name: None,
            recipient: None,
        }
    }

    fn post(office: &Office, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let woken = office.post(letter(number));
            woken.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    fn read(letters: &mut DeadLetters) -> Vec<u64> {
        std::iter::from_fn(|| letters.try_next())
            .map(|letter| letter.count)
            .collect()
    }

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_subscription_reads_by_itself_and_misses_the_oldest() {
        let office = Arc::new(Office::new(3));
        let (mut quick, mut slow) = (office.subscribe(), office.subscribe());
        post(&office, [1, 2]);
        assert_eq!(read(&mut quick), [1, 2]);
        post(&office, [3, 4, 5]);
        let mut late = office.subscribe();
        assert_eq!((quick.missed(), slow.missed(), late.missed()), (0, 2, 0));
        assert_eq!(read(&mut quick), [3, 4, 5]);
        assert_eq!(read(&mut slow), [3, 4, 5]);
        assert_eq!(read(&mut late), [0; 0]);
        post(&office, 6..106);
        assert_eq!(read(&mut slow), [103, 104, 105]);
        assert_eq!((slow.missed(), quick.missed()), (2 + 97, 97));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let office = Arc::new(Office::new(3));
        post(&office, [1]);
        assert!(!office.is_read());
        let (first, second) = (office.subscribe(), office.subscribe());
        post(&office, [2]);
        drop(first);
        assert!(office.is_read());
        drop(second);
        assert!(!office.is_read());
        assert_eq!(office.lock().letters.capacity(), 0);
        let mut third = office.subscribe();
        post(&office, [3]);
        assert_eq!(read(&mut third), [3]);
        assert_eq!(third.missed(), 0);
    }

    #[test]
    fn a_letter_wakes_who_waits_once_and_the_end_wakes_too() {
        let office = Arc::new(Office::new(3));
        let mut letters = office.subscribe();
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let mut context = Context::from_waker(&waker);
        assert!(letters.poll_next(&mut context).is_pending());
        assert!(pin!(letters.next()).poll(&mut context).is_pending());
        assert_eq!(office.lock().waiting.len(), 1, "one entry for each");
        post(&office, [1, 2]);
        assert_eq!(calls.0.load(Ordering::Relaxed), 1);
        let next = |letters: &mut DeadLetters, context: &mut Context<'_>| {
            letters.poll_next(context).map(|it| it.map(|it| it.count))
        };
        assert_eq!(next(&mut letters, &mut context), Poll::Ready(Some(1)));
        assert_eq!(next(&mut letters, &mut context), Poll::Ready(Some(2)));
        assert_eq!(next(&mut letters, &mut context), Poll::Pending);
        let woken = office.close();
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        assert_eq!(calls.0.load(Ordering::Relaxed), 2);
        assert_eq!(next(&mut letters, &mut context), Poll::Ready(None));
        drop(letters);
        assert_eq!(Arc::strong_count(&calls), 2, "no waker is left behind");
    }

    #[test]
    fn reasons_are_in_order_and_named_once_each() {
        for (place, reason) in DeadLetterReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "the log keeps a pace at that place");
            let others = DeadLetterReason::ALL.into_iter().filter(|it| *it != reason);
            assert!(others.into_iter().all(|it| it.label() != reason.label()));
        }
    }
}
