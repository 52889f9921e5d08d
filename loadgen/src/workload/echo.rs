//! The asking half of `echo`: closed loop with one ask in flight, or open loop on a schedule.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::Ask;
use ringmesh::prelude::*;

use super::message::{ARCHIVE_OVERHEAD_BYTES, Begin, EchoApi, Finish, Ping};
use super::{DRAIN_TIME_MAX, ECHO, NodeMeter, Seen, WorkloadError, outcome, path};
use crate::latency::Latencies;
use crate::pattern;
use crate::plan::{Outcome, Round};

/// Asks in flight at one time; above it the schedule waits, and its latencies show it.
const IN_FLIGHT_MAX: usize = 1024;

/// Bytes of them, so that large ones do not wait for one another on this side.
const IN_FLIGHT_BYTES_MAX: usize = 512 * 1024;

/// A timer may be late by its core's turn and sleep: within this of the next ask the clock is
/// polled.
const POLL_TIME: Duration = Duration::from_millis(3);

/// Asks the echo at `to` as `round` says.
pub(super) async fn ask(
    node: &Node,
    to: SocketAddr,
    round: &Round,
) -> Result<Outcome, WorkloadError> {
    let echo: Ref<EchoApi> = node.resolve(&path(to, ECHO)).await?;
    let mut asker = Asker::new(echo, round.payload_bytes);
    asker.ask_for(node, round, round.warm_up).await?;
    echo.ask(Begin).timeout(DRAIN_TIME_MAX).await?;
    asker.clear();
    let meter = NodeMeter::start(node);
    let begun = Instant::now();
    asker.ask_for(node, round, round.measured).await?;
    let elapsed = begun.elapsed();
    let cost = meter.so_far(node);
    let counts = echo.ask(Finish).timeout(DRAIN_TIME_MAX).await?;
    let from_schedule = round
        .rate_per_second
        .map(|_| asker.from_schedule.to_recorded());
    let seen = Seen {
        elapsed,
        sent: asker.next_number,
        cost,
        latency: Some(asker.from_send.to_recorded()),
        latency_from_schedule: from_schedule,
        corrupt: asker.corrupt,
    };
    Ok(outcome(seen, &counts))
}

/// What the asking half keeps of an interval.
struct Asker {
    echo: Ref<EchoApi>,
    body: &'static [u8],
    in_flight_max: usize,
    next_number: u64,
    corrupt: u64,
    from_send: Latencies,
    from_schedule: Latencies,
}

/// An ask on its way.
struct InFlight {
    ask: Ask<EchoApi, Ping>,
    number: u64,
    due: Instant,
    sent: Instant,
}

impl Asker {
    fn new(echo: Ref<EchoApi>, payload_bytes: usize) -> Self {
        Self {
            echo,
            body: pattern::first(payload_bytes - ARCHIVE_OVERHEAD_BYTES),
            in_flight_max: (IN_FLIGHT_BYTES_MAX / payload_bytes).min(IN_FLIGHT_MAX),
            next_number: 0,
            corrupt: 0,
            from_send: Latencies::new(),
            from_schedule: Latencies::new(),
        }
    }

    fn clear(&mut self) {
        self.next_number = 0;
        self.corrupt = 0;
        self.from_send.clear();
        self.from_schedule.clear();
    }

    async fn ask_for(
        &mut self,
        node: &Node,
        round: &Round,
        duration: Duration,
    ) -> Result<(), WorkloadError> {
        match round.rate_per_second {
            None => self.ask_in_turn(duration).await,
            Some(rate) => self.ask_on_schedule(node, rate, duration).await,
        }
    }

    /// The next ask goes when the answer came.
    async fn ask_in_turn(&mut self, duration: Duration) -> Result<(), WorkloadError> {
        let mut asked = Instant::now();
        let until = asked + duration;
        while asked < until {
            let number = self.next_number;
            let answer = self.next_ask().await?;
            self.check(number, &answer);
            let answered = Instant::now();
            self.from_send.record(answered - asked);
            asked = answered;
        }
        Ok(())
    }

    /// Ask number n goes n intervals after the start, whatever the earlier ones are doing.
    async fn ask_on_schedule(
        &mut self,
        node: &Node,
        rate_per_second: f64,
        duration: Duration,
    ) -> Result<(), WorkloadError> {
        let schedule = Schedule::new(self.next_number, rate_per_second, duration);
        let mut in_flight = VecDeque::with_capacity(self.in_flight_max);
        loop {
            let next = poll_fn(|cx| self.poll_schedule(&schedule, &mut in_flight, cx)).await?;
            let Some(due) = next else {
                return Ok(());
            };
            let gap = due.saturating_duration_since(Instant::now());
            node.sleep(gap.saturating_sub(POLL_TIME)).await;
        }
    }

    /// Sends what is due and takes what is answered. Ready with the next due time when there is
    /// time to sleep before it, with `None` when all is answered. Until then it asks to be polled
    /// again in the core's next turn: the schedule is finer than the node's timers.
    fn poll_schedule(
        &mut self,
        schedule: &Schedule,
        in_flight: &mut VecDeque<InFlight>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Instant>, WorkloadError>> {
        let next = self.queue_due(schedule, in_flight);
        if let Err(error) = self.poll_in_flight(in_flight, cx) {
            return Poll::Ready(Err(error.into()));
        }
        let is_far = |due: Instant| due > Instant::now() + POLL_TIME;
        if in_flight.is_empty() && next.is_none_or(is_far) {
            return Poll::Ready(Ok(next));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts the asks that are due in flight, and says when the next is; `None` behind the last.
    fn queue_due(
        &mut self,
        schedule: &Schedule,
        in_flight: &mut VecDeque<InFlight>,
    ) -> Option<Instant> {
        loop {
            let due = schedule.due(self.next_number)?;
            let now = Instant::now();
            if now < due || in_flight.len() == self.in_flight_max {
                return Some(due);
            }
            let number = self.next_number;
            let ask = self.next_ask();
            in_flight.push_back(InFlight {
                ask,
                number,
                due,
                sent: now,
            });
        }
    }

    /// Polls all asks in their order: one that found no room the last time is sent before any
    /// later one, so the asks leave in the order of their numbers.
    fn poll_in_flight(
        &mut self,
        in_flight: &mut VecDeque<InFlight>,
        cx: &mut Context<'_>,
    ) -> Result<(), AskError> {
        let mut failed = Ok(());
        in_flight.retain_mut(|asked| match Pin::new(&mut asked.ask).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(answer)) => {
                let answered = Instant::now();
                self.from_send.record(answered - asked.sent);
                self.from_schedule.record(answered - asked.due);
                self.check(asked.number, &answer);
                false
            }
            Poll::Ready(Err(error)) => {
                failed = Err(error);
                false
            }
        });
        failed
    }

    fn next_ask(&mut self) -> Ask<EchoApi, Ping> {
        let ping = Ping {
            number: self.next_number,
            body: Bytes::from_static(self.body),
        };
        self.next_number += 1;
        self.echo.ask(ping).timeout(DRAIN_TIME_MAX)
    }

    #[inline]
    fn check(&mut self, number: u64, answer: &Msg<Ping>) {
        let same = answer.number.to_native() == number
            && answer.body.len() == self.body.len()
            && pattern::begins(&answer.body);
        self.corrupt += u64::from(!same);
    }
}

/// When each ask is due.
struct Schedule {
    start: Instant,
    interval_ns: f64,
    /// Numbers of its asks.
    numbers: Range<u64>,
}

impl Schedule {
    /// A schedule that starts now, with the ask `first`.
    fn new(first: u64, rate_per_second: f64, duration: Duration) -> Self {
        let asks = (rate_per_second * duration.as_secs_f64()).ceil() as u64;
        Self {
            start: Instant::now(),
            interval_ns: 1e9 / rate_per_second,
            numbers: first..first + asks,
        }
    }

    /// `None` behind the last ask.
    fn due(&self, number: u64) -> Option<Instant> {
        // Multiplied, not added up: rounding does not accumulate.
        let index = number - self.numbers.start;
        let offset = Duration::from_nanos((index as f64 * self.interval_ns) as u64);
        self.numbers.contains(&number).then(|| self.start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_covers_its_time_evenly() {
        let schedule = Schedule::new(7, 1000.0, Duration::from_millis(10));
        let due: Vec<Duration> = (7..)
            .map_while(|number| schedule.due(number))
            .map(|due| due - schedule.start)
            .collect();
        assert_eq!(due, (0..10).map(Duration::from_millis).collect::<Vec<_>>());
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let schedule = Schedule::new(0, 3.0, Duration::from_secs(3600));
        assert_eq!(schedule.due(10_800), None);
        let last = schedule.due(10_799).unwrap() - schedule.start;
        let exact = Duration::from_secs_f64(10_799.0 / 3.0);
        assert!(last.abs_diff(exact) < Duration::from_micros(1), "{last:?}");
    }
}
