//! Pings of users: from control core to control core, over the control lane.
//!
//! A link has one of them under way at a time; whoever comes meanwhile waits for the next one, and
//! all of those share that. So a crowd of callers costs a link one ping each round trip.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_proto::address::Address;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::Ping;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::PINGS_WAITING_MAX;
use ringmesh_proto::quarantine::By;
use ringmesh_proto::time::Instant;

use super::{Alarm, CONTROL_CORE, Core, Link, PeerIndex, PeerState};
use crate::error::{ResolveError, SpawnError};
use crate::ping_error::PingError;

/// The pings of one link.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    under_way: RefCell<Option<UnderWay>>,
    /// Who waits for the next.
    next: RefCell<Vec<Rc<Caller>>>,
}

#[derive(Debug)]
struct UnderWay {
    nonce: u64,
    since: Instant,
    callers: Vec<Rc<Caller>>,
}

/// Who waits for an answer, and what came of it.
#[derive(Debug, Default)]
struct Caller {
    outcome: Cell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered(Duration),
    /// The connection went, and the ping or its answer with it.
    Lost,
}

impl Pings {
    /// Adds a caller, if there is room for one.
    fn join(&self) -> Option<Rc<Caller>> {
        let mut next = self.next.borrow_mut();
        if next.len() >= PINGS_WAITING_MAX {
            next.retain(is_awaited);
        }
        let caller = Rc::new(Caller::default());
        (next.len() < PINGS_WAITING_MAX).then(|| {
            next.push(Rc::clone(&caller));
            caller
        })
    }

    /// Begins the next ping, unless somebody waits for the one under way or nobody for a next.
    fn begin(&self, nonce: u64, now: Instant) -> bool {
        let mut under_way = self.under_way.borrow_mut();
        let is_busy = |ping: &UnderWay| ping.callers.iter().any(is_awaited);
        let callers = match &*under_way {
            Some(ping) if is_busy(ping) => return false,
            _ => self.next.take(),
        };
        let begins = callers.iter().any(is_awaited);
        *under_way = begins.then_some(UnderWay {
            nonce,
            since: now,
            callers,
        });
        begins
    }

    /// Takes out who waited for the ping of that number, and since when.
    fn answered(&self, nonce: u64) -> Option<(Instant, Vec<Rc<Caller>>)> {
        let mut under_way = self.under_way.borrow_mut();
        let ping = under_way.take_if(|ping| ping.nonce == nonce)?;
        Some((ping.since, ping.callers))
    }

    /// Whether somebody waits for an answer.
    pub(super) fn are_awaited(&self) -> bool {
        let under_way = self.under_way.borrow();
        let callers = under_way.iter().flat_map(|ping| &ping.callers);
        callers.chain(&*self.next.borrow()).any(is_awaited)
    }

    fn take_all(&self) -> Vec<Rc<Caller>> {
        let mut all = self.next.take();
        all.extend(self.under_way.take().into_iter().flat_map(|it| it.callers));
        all
    }
}

fn is_awaited(caller: &Rc<Caller>) -> bool {
    Rc::strong_count(caller) > 1
}

/// The last thing that went wrong on the way of a ping, for whoever waits on whatever core.
#[derive(Clone)]
struct Last(Arc<Mutex<String>>);

impl Last {
    fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.to_owned())))
    }

    fn set(&self, text: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn timeout(&self, after: Duration) -> PingError {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        PingError::Timeout {
            after,
            last: last.clone(),
        }
    }
}

impl Core {
    /// The time of a round trip to the control core of the node at `address`, dialled if need be.
    pub(crate) async fn ping(
        self: &Rc<Self>,
        address: &Address,
        timeout: Duration,
    ) -> Result<Duration, PingError> {
        if self.id == CONTROL_CORE && *address != self.identity().address {
            let last = Last::new("no link yet");
            return self.ping_from_here(address, timeout, &last).await;
        }
        // The time is up by this core's clock, whatever becomes of the other core.
        let last = Last::new("the control core of this node is busy");
        let mut pinging = pin!(self.ping_by_another(address, timeout, last.clone()));
        let mut alarm = self.alarm(timeout);
        poll_fn(|context| match pinging.as_mut().poll(context) {
            Poll::Pending => alarm.poll(context).map(|()| Err(last.timeout(timeout))),
            pinged => pinged,
        })
        .await
    }

    /// The same by way of the control core of this node, which has its own clock.
    async fn ping_by_another(
        self: &Rc<Self>,
        address: &Address,
        timeout: Duration,
        last: Last,
    ) -> Result<Duration, PingError> {
        if *address == self.identity().address {
            let begun = self.clock.peek();
            self.run_on(CONTROL_CORE, |_| Ok(()))
                .await
                .map_err(as_ping)?;
            return Ok(self.clock.peek().saturating_since(begun));
        }
        let (say, heard) = oneshot::channel();
        let address = address.clone();
        let begin = move |there: &Rc<Self>| {
            let core = Rc::clone(there);
            there.spawn_task(async move {
                last.set("no link yet");
                let pinged = core.ping_from_here(&address, timeout, &last).await;
                // Whoever asked may not wait any more.
                let _ = say.send(pinged);
            })
        };
        self.run_on(CONTROL_CORE, begin).await.map_err(as_ping)?;
        heard.await.unwrap_or(Err(PingError::Stopping))
    }

    async fn ping_from_here(
        self: &Rc<Self>,
        address: &Address,
        timeout: Duration,
        last: &Last,
    ) -> Result<Duration, PingError> {
        if self.is_client() {
            let reason = "a client has no control lane".to_owned();
            return Err(PingError::Refused { reason });
        }
        let mut alarm = self.alarm(timeout);
        loop {
            let link = self.control_link(address, &mut alarm, last);
            let Some(link) = link.await? else {
                return Err(last.timeout(timeout));
            };
            last.set("the peer does not answer");
            let limit = PINGS_WAITING_MAX;
            let caller = link.pings.join().ok_or(PingError::TooManyPings { limit })?;
            self.begin_ping(&link);
            let outcome = poll_fn(|context| {
                if let Some(outcome) = caller.outcome.get() {
                    return Poll::Ready(Some(outcome));
                }
                if alarm.poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                // The task's own waker: it runs nobody's code where it is dropped.
                let former = caller.waker.replace(Some(context.waker().clone()));
                self.release(former);
                Poll::Pending
            });
            match outcome.await {
                Some(Outcome::Answered(time)) => return Ok(time),
                Some(Outcome::Lost) => last.set("the connection was lost"),
                None => {
                    drop(caller);
                    // Whoever waits for the next one waits for nobody's answer.
                    self.begin_ping(&link);
                    return Err(last.timeout(timeout));
                }
            }
        }
    }

    /// The control core of the node at `address`. Looked up at each try: the index of one that was
    /// forgotten is another peer's.
    fn control_peer(self: &Rc<Self>, address: &Address) -> Result<PeerIndex, PingError> {
        self.peer_on(address, (CONTROL_CORE, Lane::Control))
            .map_err(|error| match error {
                ResolveError::TooManyPeers { limit } => PingError::TooManyPeers { limit },
                _ => PingError::Stopping,
            })
    }

    /// Waits for a link with a connection; `None` when the time is up.
    async fn control_link(
        self: &Rc<Self>,
        address: &Address,
        alarm: &mut Alarm,
        last: &Last,
    ) -> Result<Option<Rc<Link>>, PingError> {
        self.look_past_quarantine(self.control_peer(address)?);
        poll_fn(|context| {
            let peer = match self.control_peer(address) {
                Ok(peer) => peer,
                Err(error) => return Poll::Ready(Err(error)),
            };
            match self.peer_state(peer) {
                PeerState::Up(_) => {
                    let link = self.peers.borrow_mut().at(peer).link.clone();
                    if link.as_ref().is_some_and(|link| !link.is_lost()) {
                        return Poll::Ready(Ok(link));
                    }
                    self.associate(peer, |association, cx| association.handle_resume_wanted(cx));
                }
                PeerState::Refused(reason) => {
                    return Poll::Ready(Err(PingError::Refused { reason }));
                }
                PeerState::Quarantined(by) => {
                    let by_peer = by == By::Peer;
                    return Poll::Ready(Err(PingError::Quarantined { by_peer }));
                }
                PeerState::Stopping => return Poll::Ready(Err(PingError::Stopping)),
                PeerState::Unknown(why) => {
                    last.set(why);
                    self.want_link(peer);
                }
                PeerState::Down(why) => {
                    if let Some(why) = why {
                        last.set(why);
                    }
                    self.want_link(peer);
                }
            }
            if alarm.poll(context).is_ready() {
                return Poll::Ready(Ok(None));
            }
            self.watch(peer, context.waker());
            Poll::Pending
        })
        .await
    }

    fn begin_ping(&self, link: &Rc<Link>) {
        let nonce = crate::random::number();
        if link.pings.begin(nonce, self.clock.peek()) {
            link.outbound.borrow_mut().queue_ping(nonce);
            self.enqueue(link);
        }
    }

    /// A pong may be the answer that callers wait for.
    pub(super) fn ping_answered(&self, link: &Rc<Link>, frame: &Frame<'_>) {
        if frame.header.kind != Kind::Pong {
            return;
        }
        // A pong has the body of a ping.
        let nonce = Ping::parse(frame).ok().map(|pong| pong.nonce);
        if let Some((since, callers)) = nonce.and_then(|nonce| link.pings.answered(nonce)) {
            let time = self.clock.peek().saturating_since(since);
            self.tell_callers(callers, Outcome::Answered(time));
            self.begin_ping(link);
        }
    }

    /// What a link was asked is answered no more.
    pub(super) fn pings_lost(&self, link: &Link) {
        self.tell_callers(link.pings.take_all(), Outcome::Lost);
    }

    fn tell_callers(&self, callers: Vec<Rc<Caller>>, outcome: Outcome) {
        for caller in callers {
            caller.outcome.set(Some(outcome));
            let waker = caller.waker.take();
            waker.into_iter().for_each(|waker| self.wake(waker));
        }
    }
}

/// Why another core did not take the errand.
fn as_ping(error: SpawnError) -> PingError {
    match error {
        SpawnError::TooManyTasks { limit } => PingError::TooManyPings { limit },
        SpawnError::CoreOverloaded { .. } => PingError::TooManyPings {
            limit: ringmesh_proto::limits::ERRANDS_WAITING_MAX,
        },
        _ => PingError::Stopping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn one_ping_is_under_way_and_whoever_comes_meanwhile_shares_the_next() {
        let pings = Pings::default();
        assert!(!pings.begin(1, at(0)), "nobody waits");
        let first = pings.join().unwrap();
        assert!(pings.begin(1, at(1)));
        let others = [pings.join().unwrap(), pings.join().unwrap()];
        assert!(!pings.begin(2, at(2)));
        assert!(pings.answered(2).is_none(), "that one is not under way");
        let (since, callers) = pings.answered(1).unwrap();
        assert!(since == at(1) && callers.len() == 1 && Rc::ptr_eq(&callers[0], &first));
        assert!(pings.begin(2, at(3)));
        assert_eq!(pings.answered(2).unwrap().1.len(), others.len());
    }

    #[test]
    fn a_ping_that_nobody_waits_for_any_more_makes_way() {
        let pings = Pings::default();
        let first = pings.join().unwrap();
        assert!(pings.begin(1, at(1)));
        let second = pings.join().unwrap();
        drop(first);
        assert!(pings.begin(2, at(2)));
        drop(second);
        assert!(!pings.begin(3, at(3)));
    }

    #[test]
    fn one_over_the_pings_that_may_wait_finds_room_when_somebody_left() {
        let pings = Pings::default();
        let mut callers: Vec<_> = (0..PINGS_WAITING_MAX).map(|_| pings.join()).collect();
        assert!(callers.iter().all(Option::is_some));
        assert!(pings.join().is_none());
        callers.pop();
        assert!(pings.join().is_some());
        assert!(pings.join().is_some(), "nobody waits for that one either");
        assert_eq!(pings.take_all().len(), PINGS_WAITING_MAX);
    }
}
