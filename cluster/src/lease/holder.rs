//! Whoever holds a lease, or wants to.
//!
//! ```text
//!   idle ──▶ acquiring ──▶ holding ──▶ idle       its time is over, or another has it
//!   │  ▲        ▲  │          │
//!   │  │        │  └──────────┤ given back
//!   │  ├─── releasing ◀───────┘
//!   └──┴▶ looking                                 the last token is known
//! ```
//!
//! - **Inputs:** what its user wants, answers, time. Each of them first ends what is over: a holder
//!   that stood still is told so before anything else.
//! - **Outputs:** [`HolderOutput`], appended to a list of the caller's.
//! - **Limits:** one ask at a time waits for an answer; whoever gives leases is asked again after
//!   pauses that grow to a sixth of the time to live.
//! - **Invariant:** of any number of holders at most one holds, by its own clock, as long as no
//!   clock runs slower by a [margin](Holder::margin) than that of whoever gives the lease; and no
//!   token is used again after it was lost or given back.
//!
//! # Why two never hold
//!
//! What is held ends a margin before the time to live is over, counted from before it was asked
//! for; whoever gives it counts from when it was asked. An answer counts for the ask that it names
//! alone. That the lease is held counts also if it comes late, when the same was asked again
//! meanwhile: for nothing was asked in between that would undo it, and its time is counted from the
//! ask that it answers. Anything else that comes late may not be so any more. A token that was
//! given back is never taken again, for the word by which it was may still be under way: it is
//! given back once more, and another one asked for. Nor is one taken that may have been given for
//! an ask whose answer nobody waited for: a store that has no clock gives that to its owner once
//! more much later, when others have long learned of it as one by which nobody did anything.

mod state;

use std::time::Duration;

use ringmesh_proto::time::Instant;

use self::state::{Request, State, Wish};
use super::{Answer, Ask, Deed, LeaseName, Token};

/// How often it is said that a lease is given back, if nobody answers: then its time runs out.
const RELEASES_MAX: u32 = 5;

/// What a [`Holder`] wants done, or says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolderOutput {
    /// Ask this of whoever gives leases.
    Ask(Ask),
    /// It holds the lease.
    Held {
        /// With this token, until it is lost.
        token: Token,
    },
    /// It does not hold it any more: what is done by it is over.
    Lost {
        /// The token, which is never held again.
        token: Token,
        /// Why.
        why: WhyLost,
    },
    /// The last token that was given out, as it was asked to find out.
    Last {
        /// It.
        token: Token,
    },
    /// Another has it. It goes on asking.
    HeldBy {
        /// Who, as that one named itself.
        owner: Box<str>,
    },
    /// It is not known who has it. It goes on asking.
    Failed {
        /// Why, for people.
        why: Box<str>,
    },
    /// It was given the lease, too late, after it had stopped to want it, or by a token that it may
    /// have been given then; so it gives it back, and never held it.
    Declined {
        /// The token, by which nothing is done.
        token: Token,
    },
}

/// Why a lease is not held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyLost {
    /// Its time was over before it was renewed.
    Expired,
    /// Whoever gives it says so.
    Taken,
}

impl WhyLost {
    /// The word for it in events and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Taken => "taken",
        }
    }
}

/// Gets a lease, keeps it and gives it back.
#[derive(Debug)]
pub struct Holder {
    name: LeaseName,
    owner: Box<str>,
    time_to_live: Duration,
    state: State,
    /// The number of the last ask.
    number: u64,
    /// Whatever asks up to this one bring is not wanted any more.
    abandoned: u64,
    /// If one of those may have brought the lease and nobody said so: the number of the last one
    /// that asked for it, and the token by which it did if that is known by now.
    doubt: Option<(u64, Option<Token>)>,
    /// Tokens up to this one were lost or given back.
    spent: Token,
    /// The last one that whoever gives it is told of.
    known: Token,
    ignored: u64,
}

impl Holder {
    /// One that wants nothing yet. Each process start is another `owner`; `time_to_live` is how
    /// long the lease is given at a time, and so how long others wait if this node dies: less asks
    /// more often, and loses the lease to shorter failures of whoever gives it.
    pub fn new(name: LeaseName, owner: &str, time_to_live: Duration) -> Self {
        Self {
            name,
            owner: owner.into(),
            time_to_live,
            state: State::Idle,
            number: 0,
            abandoned: 0,
            doubt: None,
            spent: Token(0),
            known: Token(0),
            ignored: 0,
        }
    }

    /// So much less than it was given it for it holds the lease: a fifth. So much slower than
    /// others its clock may run.
    pub fn margin(&self) -> Duration {
        self.time_to_live / 5
    }

    /// That token was given out, to whomever: whoever gives the lease is told so with the next ask
    /// for it, and gives a later one.
    pub fn know(&mut self, token: Token) {
        self.known = self.known.max(token);
    }

    /// The lease is wanted, from now on until it is held and lost, or given back.
    pub fn acquire(&mut self, now: Instant, out: &mut Vec<HolderOutput>) {
        self.expire(now, out);
        match &mut self.state {
            State::Idle | State::Looking { .. } => self.state = State::of(Wish::Lease, now),
            State::Releasing { next, .. } => *next = Wish::Lease,
            State::Acquiring(_) | State::Holding { .. } => {}
        }
        self.ask_if_due(now, out);
    }

    /// The last token is to be found out, and to be no smaller than `floor` from then on; unless
    /// the lease is wanted or held, which tells more.
    pub fn look(&mut self, now: Instant, floor: Token, out: &mut Vec<HolderOutput>) {
        self.expire(now, out);
        match &mut self.state {
            State::Idle => self.state = State::of(Wish::Last(floor), now),
            State::Releasing { next, .. } if *next != Wish::Lease => *next = Wish::Last(floor),
            _ => {}
        }
        self.ask_if_due(now, out);
    }

    /// Neither the lease nor its last token is wanted any more. What is done by it has to have
    /// ended before.
    pub fn release(&mut self, now: Instant, out: &mut Vec<HolderOutput>) {
        self.expire(now, out);
        match &mut self.state {
            State::Idle => {}
            State::Acquiring(request) => {
                let open = request.open().map(|number| (number, None));
                self.doubt = open.or(self.doubt);
                self.rest();
            }
            State::Looking { .. } => self.rest(),
            State::Holding { token, .. } => {
                let token = *token;
                self.give_back(now, token, Wish::Nothing);
            }
            State::Releasing { next, .. } => *next = Wish::Nothing,
        }
        self.ask_if_due(now, out);
    }

    /// An ask was answered. Late answers, and such to what was never asked, change nothing.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        number: u64,
        answer: Answer,
        out: &mut Vec<HolderOutput>,
    ) {
        self.expire(now, out);
        let request = self.state.request();
        let asked = request.and_then(|it| it.asked);
        let was_asked = request.and_then(|it| it.was_asked(number));
        match (asked, was_asked) {
            (Some((asked, at)), _) if asked == number => self.take(now, at, answer, out),
            (_, Some(at)) if self.is_still_good(now, at, &answer) => {
                let others = request.map_or_else(Vec::new, |it| it.asked_after(number));
                self.take(now, at, answer, out);
                if let State::Holding { request, .. } = &mut self.state {
                    request.follow(others);
                }
            }
            _ => self.take_late(now, number, answer, out),
        }
        self.ask_if_due(now, out);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<HolderOutput>) {
        self.expire(now, out);
        let time_to_live = self.time_to_live;
        if let Some(request) = self.state.request_mut()
            && request.asked.is_some()
            && request.due <= now
        {
            request.fail(now, time_to_live);
            let why = "no answer came".into();
            out.push(HolderOutput::Failed { why });
            self.give_up_releasing(now);
        }
        self.ask_if_due(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Holding { until, request, .. } => Some(request.due.min(*until)),
            state => state.request().map(|it| it.due),
        }
    }

    /// The token, if it holds the lease at that time, and when it holds it no more if it is not
    /// renewed.
    pub fn held(&self, now: Instant) -> Option<(Token, Instant)> {
        match self.state {
            State::Holding { token, until, .. } if now < until => Some((token, until)),
            _ => None,
        }
    }

    /// Whether it wants the lease or has it.
    pub fn is_wanting(&self) -> bool {
        matches!(self.state, State::Holding { .. }) || self.state.wish() == Wish::Lease
    }

    /// Answers that came too late, or to what was never asked.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The answer to the ask that waits for it, which was made at that time.
    fn take(&mut self, now: Instant, at: Instant, answer: Answer, out: &mut Vec<HolderOutput>) {
        let time_to_live = self.time_to_live;
        match (&mut self.state, answer) {
            (State::Acquiring(_), Answer::Held { token }) => self.begin(now, at, token, out),
            (
                State::Acquiring(request) | State::Looking { request, .. },
                Answer::HeldBy { owner },
            ) => {
                *request = Request::at(now + time_to_live / 12);
                out.push(HolderOutput::HeldBy { owner });
            }
            (
                State::Holding {
                    token,
                    until,
                    request,
                },
                Answer::Held { token: kept },
            ) if *token == kept => {
                *until = (at + (time_to_live - time_to_live / 5)).max(*until);
                *request = Request::at(at + time_to_live / 3);
            }
            (State::Holding { token, .. }, Answer::Held { token: other }) => {
                let lost = *token;
                self.lose(lost, WhyLost::Taken, out);
                self.decline(now, other, Wish::Nothing, out);
            }
            (State::Holding { token, .. }, Answer::Lost | Answer::HeldBy { .. }) => {
                let lost = *token;
                self.lose(lost, WhyLost::Taken, out);
            }
            (
                State::Releasing { next, .. },
                Answer::Released | Answer::Lost | Answer::HeldBy { .. },
            ) => {
                let next = *next;
                self.begin_anew(now, next);
            }
            (State::Looking { .. }, Answer::Last { token }) => {
                self.rest();
                out.push(HolderOutput::Last { token });
            }
            (State::Idle, _) => {}
            (_, answer) => self.fail(now, answer, out),
        }
    }

    /// It is not known what came of the ask, or makes no sense.
    fn fail(&mut self, now: Instant, answer: Answer, out: &mut Vec<HolderOutput>) {
        let time_to_live = self.time_to_live;
        let why = match answer {
            Answer::Failed { why } => why,
            _ => "the answer was one to something else".into(),
        };
        out.push(HolderOutput::Failed { why });
        if let Some(request) = self.state.request_mut() {
            request.fail(now, time_to_live);
        }
        self.give_up_releasing(now);
    }

    /// It was given the lease.
    fn begin(&mut self, now: Instant, at: Instant, token: Token, out: &mut Vec<HolderOutput>) {
        let until = at + (self.time_to_live - self.margin());
        let is_spent = token <= self.spent;
        let doubt = self.doubt.take_if(|_| !is_spent);
        let in_doubt = doubt.is_some_and(|(_, known)| known.is_none_or(|it| token <= it));
        if is_spent || until <= now || in_doubt {
            return self.decline(now, token, Wish::Lease, out);
        }
        self.state = State::Holding {
            token,
            until,
            request: Request::at(at + self.time_to_live / 3),
        };
        out.push(HolderOutput::Held { token });
    }

    /// Whether what was asked then and is answered late is as good as if it came in time: what the
    /// last token was, or that the lease is held, and for long enough to do something by it.
    fn is_still_good(&self, now: Instant, at: Instant, answer: &Answer) -> bool {
        let until = at + (self.time_to_live - self.margin());
        match (&self.state, answer) {
            (State::Looking { .. }, Answer::Last { .. }) => true,
            (State::Acquiring(_), Answer::Held { token }) => {
                *token > self.spent && now + self.margin() <= until
            }
            (State::Holding { token, .. }, Answer::Held { token: kept }) => {
                token == kept && now < until
            }
            _ => false,
        }
    }

    /// An answer to an ask that is not waited for.
    fn take_late(
        &mut self,
        now: Instant,
        number: u64,
        answer: Answer,
        out: &mut Vec<HolderOutput>,
    ) {
        // It was asked behind all others that are in doubt.
        if let Some((_, known)) = self.doubt.as_mut().filter(|it| it.0 == number) {
            match answer {
                Answer::Held { token } => *known = Some(token),
                Answer::HeldBy { .. } => self.doubt = None,
                _ => {}
            }
        }
        match (&self.state, answer) {
            (State::Idle | State::Looking { .. }, Answer::Held { token })
                if number <= self.abandoned && token > self.spent =>
            {
                self.decline(now, token, self.state.wish(), out);
            }
            _ => self.ignored += 1,
        }
    }

    /// Gives back what was given, and not used.
    fn decline(&mut self, now: Instant, token: Token, next: Wish, out: &mut Vec<HolderOutput>) {
        if token > self.spent {
            out.push(HolderOutput::Declined { token });
        }
        self.give_back(now, token, next);
    }

    fn give_back(&mut self, now: Instant, token: Token, next: Wish) {
        self.spent = self.spent.max(token);
        self.abandoned = self.number;
        self.state = State::Releasing {
            token,
            request: Request::at(now),
            next,
        };
    }

    /// Nobody says that the lease was given back: its time will run out.
    fn give_up_releasing(&mut self, now: Instant) {
        if let State::Releasing { request, next, .. } = &self.state
            && request.failures >= RELEASES_MAX
        {
            let next = *next;
            self.begin_anew(now, next);
        }
    }

    fn begin_anew(&mut self, now: Instant, next: Wish) {
        self.rest();
        self.state = State::of(next, now);
    }

    fn rest(&mut self) {
        self.abandoned = self.number;
        self.state = State::Idle;
    }

    fn lose(&mut self, token: Token, why: WhyLost, out: &mut Vec<HolderOutput>) {
        self.spent = self.spent.max(token);
        self.rest();
        out.push(HolderOutput::Lost { token, why });
    }

    /// Ends what is over.
    fn expire(&mut self, now: Instant, out: &mut Vec<HolderOutput>) {
        if let State::Holding { token, until, .. } = self.state
            && until <= now
        {
            self.lose(token, WhyLost::Expired, out);
        }
    }

    fn ask_if_due(&mut self, now: Instant, out: &mut Vec<HolderOutput>) {
        let deed = match self.state {
            State::Idle => return,
            State::Looking { floor, .. } => Deed::Look(floor),
            State::Acquiring(_) => Deed::Acquire(self.known.max(self.spent)),
            State::Holding { token, .. } => Deed::Renew(token),
            State::Releasing { token, .. } => Deed::Release(token),
        };
        let (number, patience) = (self.number + 1, self.time_to_live / 4);
        let Some(request) = self.state.request_mut() else {
            return;
        };
        if request.asked.is_some() || request.due > now {
            return;
        }
        request.asked = Some((number, now));
        request.due = now + patience;
        self.number = number;
        out.push(HolderOutput::Ask(Ask {
            number,
            name: self.name.clone(),
            owner: self.owner.clone(),
            deed,
            time_to_live: self.time_to_live,
        }));
    }
}
