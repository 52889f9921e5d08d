//! A lease in user code.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_cluster::lease::{
    Answer, Holder, HolderOutput, LEASE_OWNER_BYTES_MAX, LeaseName, Token,
};
use ringmesh_proto::time::Instant;

use super::downing::is_reserved;
use crate::core::{Alarm, Core, LeaseUser};
use crate::error::SpawnError;

/// The shortest time to live of a lease: one that is given for less is about to be lost.
const TIME_TO_LIVE_MIN: Duration = Duration::from_secs(1);

/// The longest: if whoever has it dies, others wait so long.
const TIME_TO_LIVE_MAX: Duration = Duration::from_secs(3600);

/// Why a lease cannot be wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The node has nothing that gives leases: set
    /// [`ClusterSettings::lease_store`](super::ClusterSettings::lease_store).
    #[error("the node has no lease store: set cluster.lease_store")]
    NoStore,
    /// It is one of those by which clusters decide which side goes on.
    #[error("leases that are called `downing-..` or `..--downing` are those of clusters")]
    Reserved,
    /// The time to live is out of range.
    #[error("a lease is given for {TIME_TO_LIVE_MIN:?} at least and {TIME_TO_LIVE_MAX:?} at most")]
    TimeToLive,
    /// The core has no room for what keeps it, or the node ends.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A lease that this node has, or may have; from [`Cluster::lease`](super::Cluster::lease). It
/// stays on its core, and is given back when it drops.
///
/// Of all nodes that want a lease of that name one has it. That holds as long as clocks run equally
/// fast, up to a fifth of the time to live; for a node that stood still may find out late that its
/// time is over. So whatever the work is done to should be given the [`Token`] with it, and refuse
/// those that are smaller than the largest it has seen.
///
/// A node that ends waits for what is being given back by then. What is not dropped before, as in
/// an actor or a task, is free when its time is over.
pub struct Lease {
    state: Rc<State>,
}

struct State {
    core: Rc<Core>,
    user: LeaseUser,
    holder: RefCell<Holder>,
    /// What the holder wants done.
    out: RefCell<Vec<HolderOutput>>,
    is_dropped: Cell<bool>,
    keeper: RefCell<Option<Waker>>,
    /// Who waits for it to be held, or to be lost.
    waiting: RefCell<Vec<Waker>>,
    /// Why it was not given when it was asked for last.
    heard: RefCell<Option<Box<str>>>,
}

impl Lease {
    pub(super) fn new(
        core: Rc<Core>,
        name: LeaseName,
        time_to_live: Duration,
    ) -> Result<Self, LeaseError> {
        if !core.has_lease_store() {
            return Err(LeaseError::NoStore);
        }
        if is_reserved(&name) {
            return Err(LeaseError::Reserved);
        }
        if !(TIME_TO_LIVE_MIN..=TIME_TO_LIVE_MAX).contains(&time_to_live) {
            return Err(LeaseError::TimeToLive);
        }
        let user = core.next_lease();
        let owner = owner(&core, user);
        let state = Rc::new(State {
            core,
            user,
            holder: RefCell::new(Holder::new(name, &owner, time_to_live)),
            out: RefCell::default(),
            is_dropped: Cell::default(),
            keeper: RefCell::default(),
            waiting: RefCell::default(),
            heard: RefCell::default(),
        });
        let keeper = Keeper {
            state: Rc::clone(&state),
            asked: Vec::new(),
            alarm: None,
        };
        state.core.spawn_task(keeper)?;
        Ok(Self { state })
    }

    /// Wants the lease, and waits until it is held: for as long as others have it, or its store
    /// fails; see [`heard`](Self::heard). It is kept from then on, until it is lost or given back.
    ///
    /// It stays wanted when the future is dropped before it is ready, until it is
    /// [given back](Self::release).
    pub async fn acquire(&self) -> Token {
        poll_fn(|context| match self.token() {
            Some(token) => Poll::Ready(token),
            None => {
                self.state.with_holder(|holder, now, out| {
                    if !holder.is_wanting() {
                        holder.acquire(now, out);
                    }
                });
                self.state.wait(context)
            }
        })
        .await
    }

    /// The token, if the lease is held now. What follows from it has to be done before
    /// [it is over](Self::time_left).
    pub fn token(&self) -> Option<Token> {
        self.held().map(|(token, _)| token)
    }

    /// For how long it is held if nobody renews it any more. Zero: it is not.
    pub fn time_left(&self) -> Duration {
        let now = self.state.core.lease_time();
        let held = self.held();
        held.map_or(Duration::ZERO, |(_, until)| until.saturating_since(now))
    }

    /// Waits until the lease is not held, at once if it is not. What is done by it ends then.
    pub async fn lost(&self) {
        poll_fn(|context| match self.token() {
            Some(_) => self.state.wait(context),
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Gives the lease back, or wants it no more. What was done by it has to have ended before.
    pub fn release(&self) {
        self.state
            .with_holder(|holder, now, out| holder.release(now, out));
        self.state.wake_all();
    }

    /// Why the lease was not given when it was asked for last: who has it, or what failed. For
    /// people.
    pub fn heard(&self) -> Option<Box<str>> {
        self.state.heard.borrow().clone()
    }

    fn held(&self) -> Option<(Token, Instant)> {
        let now = self.state.core.lease_time();
        self.state.holder.borrow().held(now)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.is_dropped.set(true);
        self.state.core.lease_ends();
        self.release();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Lease");
        text.field("token", &self.token()).finish_non_exhaustive()
    }
}

/// By what name it is asked for: each has another one, on this node and in the world.
fn owner(core: &Core, user: LeaseUser) -> String {
    let place = match user {
        LeaseUser::Lease(core, number) => format!("{core}.{number}"),
        LeaseUser::Machine => String::new(),
    };
    let node = core.identity();
    let owner = format!("{node}/{place}");
    match owner.len() <= LEASE_OWNER_BYTES_MAX {
        true => owner,
        false => format!("{}/{place}", node.uid),
    }
}

impl State {
    /// Tells the holder something, and has what follows done.
    fn with_holder(&self, tell: impl FnOnce(&mut Holder, Instant, &mut Vec<HolderOutput>)) {
        let now = self.core.lease_time();
        {
            let (mut holder, mut out) = (self.holder.borrow_mut(), self.out.borrow_mut());
            tell(&mut holder, now, &mut out);
        }
        let keeper = { self.keeper.borrow_mut() }.take();
        keeper.into_iter().for_each(|waker| self.core.wake(waker));
    }

    fn wait<T>(&self, context: &Context<'_>) -> Poll<T> {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|it| it.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|waker| self.core.wake(waker));
    }
}

/// Asks and waits for a holder, until its lease is dropped and given back.
struct Keeper {
    state: Rc<State>,
    /// Asks, and their answers: of the one that the store carries out, and one that waits.
    asked: Vec<(u64, oneshot::Receiver<Answer>)>,
    alarm: Option<(Instant, Alarm)>,
}

impl Future for Keeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.state.keeper.replace(Some(context.waker().clone()));
        this.hear(context);
        while this.carry_out() {
            this.hear(context);
        }
        let due = this.state.holder.borrow().poll_timeout();
        this.wait_until(due, context);
        // It is neither wanted nor held, and nothing may come yet that is to be given back.
        let is_over = due.is_none() && this.asked.is_empty();
        if !is_over || !this.state.is_dropped.get() {
            return Poll::Pending;
        }
        this.state.core.lease_ended();
        Poll::Ready(())
    }
}

impl Keeper {
    /// Gives the holder its answer, if that came, and the time.
    fn hear(&mut self, context: &mut Context<'_>) {
        let now = self.state.core.lease_time();
        let mut holder = self.state.holder.borrow_mut();
        let mut out = self.state.out.borrow_mut();
        self.asked.retain_mut(|(number, answer)| {
            let answer = Pin::new(answer).poll(context);
            if let Poll::Ready(Ok(answer)) = answer {
                holder.handle_answer(now, *number, answer, &mut out);
                return false;
            }
            // Nobody answers what something newer is asked in place of.
            answer.is_pending()
        });
        if holder.poll_timeout().is_some_and(|due| due <= now) {
            holder.handle_timeout(now, &mut out);
        }
    }

    /// Does what the holder wants done. Says whether there was anything.
    fn carry_out(&mut self) -> bool {
        let outputs = std::mem::take(&mut *self.state.out.borrow_mut());
        let (is_any, mut is_news) = (!outputs.is_empty(), false);
        for output in outputs {
            match output {
                HolderOutput::Ask(ask) => {
                    let number = ask.number;
                    let answer = self.state.core.ask_for_lease(self.state.user, ask);
                    self.asked.push((number, answer));
                }
                HolderOutput::Held { .. } => {
                    self.state.heard.take();
                    is_news = true;
                }
                HolderOutput::Lost { .. } => is_news = true,
                HolderOutput::HeldBy { owner } => {
                    let text = format!("{owner} has it").into();
                    self.state.heard.replace(Some(text));
                }
                HolderOutput::Failed { why } => drop(self.state.heard.replace(Some(why))),
                // It was never held.
                _ => {}
            }
        }
        if is_news {
            self.state.wake_all();
        }
        is_any
    }

    /// Has this polled again at that time.
    fn wait_until(&mut self, due: Option<Instant>, context: &mut Context<'_>) {
        let Some(due) = due else {
            self.alarm = None;
            return;
        };
        if self.alarm.as_ref().is_none_or(|(at, _)| *at != due) {
            let left = due.saturating_since(self.state.core.lease_time());
            self.alarm = Some((due, self.state.core.alarm(left)));
        }
        let alarm = self.alarm.as_mut();
        if alarm.is_some_and(|(_, alarm)| alarm.poll(context).is_ready()) {
            // It rings once, or there was no timer for it.
            self.alarm = None;
            context.waker().wake_by_ref();
        }
    }
}
