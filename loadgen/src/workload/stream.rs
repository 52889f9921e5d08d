//! The sending half of `stream`: a `try_tell` per message, a waiting `tell` when there is no room.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringmesh::prelude::*;
use ringmesh::{Accepts, CoreId};

use super::message::{
    Begin, Begun, Counts, Finish, Numbered, Pod32, Pod64, Pod128, Pod256, Pod1024, Pod4096, Probe,
    Record, SinkApi,
};
use super::{DRAIN_TIME_MAX, NodeMeter, Seen, WorkloadError, monotonic_ns, outcome, path, sink_on};
use crate::latency::Recorded;
use crate::plan::{Outcome, Round};

/// Messages between two looks at the clock.
const MESSAGES_PER_LOOK: u64 = 256;

/// With `--hgrm`, a probe follows every message whose number this divides.
const MESSAGES_PER_PROBE: u64 = 1024;

/// How long a connection that is cut on purpose may be away when its stream is over.
const CUT_TIME_MAX: Duration = Duration::from_secs(30);

/// Between two questions while it is.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// Streams to the sink on core `there` of the node at `to`, as `round` says.
pub(super) async fn send(
    node: &Node,
    to: SocketAddr,
    there: CoreId,
    round: &Round,
) -> Result<Outcome, WorkloadError> {
    let sink: Ref<SinkApi> = node.resolve(&path(to, &sink_on(there))).await?;
    match (round.pod, round.payload_bytes) {
        (true, 32) => stream::<Pod32>(node, sink, round).await,
        (true, 64) => stream::<Pod64>(node, sink, round).await,
        (true, 128) => stream::<Pod128>(node, sink, round).await,
        (true, 256) => stream::<Pod256>(node, sink, round).await,
        (true, 1024) => stream::<Pod1024>(node, sink, round).await,
        (true, 4096) => stream::<Pod4096>(node, sink, round).await,
        // The command line lets no other size pass with fixed layouts.
        _ => stream::<Record>(node, sink, round).await,
    }
}

/// Sends to `sink` as `round` says, and asks it what arrived.
pub(super) async fn stream<M: Numbered>(
    node: &Node,
    sink: Ref<SinkApi>,
    round: &Round,
) -> Result<Outcome, WorkloadError>
where
    SinkApi: Accepts<M>,
{
    send_for::<M>(sink, round, round.warm_up).await?;
    begin(node, sink, round).await?;
    let meter = NodeMeter::start(node);
    let begun = Instant::now();
    let sent = send_for::<M>(sink, round, round.measured).await?;
    let counts = finish(node, sink, round).await?;
    let elapsed = begun.elapsed();
    let cost = meter.so_far(node);
    let one_way = (!counts.one_way.is_empty()).then(|| Recorded::new(counts.one_way.to_vec()));
    let seen = Seen {
        elapsed,
        sent,
        cost,
        latency: one_way,
        latency_from_schedule: None,
        corrupt: 0,
    };
    Ok(outcome(seen, &counts))
}

// Apart from the generic code: there, `SinkApi: Accepts<M>` hides what else it accepts.

async fn begin(node: &Node, sink: Ref<SinkApi>, round: &Round) -> Result<Msg<Begun>, AskError> {
    let ask = || sink.ask(Begin).timeout(DRAIN_TIME_MAX);
    ride_out(node, round, ask).await
}

async fn finish(node: &Node, sink: Ref<SinkApi>, round: &Round) -> Result<Msg<Counts>, AskError> {
    let ask = || sink.ask(Finish).timeout(DRAIN_TIME_MAX);
    ride_out(node, round, ask).await
}

/// Asks again while the connection is away, if it is cut on purpose. Both questions may be asked
/// twice.
async fn ride_out<R, F>(node: &Node, round: &Round, ask: impl Fn() -> F) -> Result<R, AskError>
where
    F: IntoFuture<Output = Result<R, AskError>>,
{
    let until = Instant::now() + CUT_TIME_MAX;
    loop {
        match ask().await {
            Err(AskError::Timeout { .. } | AskError::Unreachable { .. })
                if round.is_cut && Instant::now() < until =>
            {
                node.sleep(CUT_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Sends a message when the connection is back, if that is before the stream ends. Says whether it
/// was sent.
async fn tell_when_back<M>(
    sink: Ref<SinkApi>,
    error: SendError<M>,
    until: Instant,
) -> Result<bool, WorkloadError>
where
    M: Numbered,
    SinkApi: Accepts<M>,
{
    let mut error = error;
    loop {
        let message = match error {
            SendError::Full(message)
            | SendError::TimedOut { message, .. }
            | SendError::Unreachable(message) => message,
            error => return Err(error.into()),
        };
        if Instant::now() >= until {
            return Ok(false);
        }
        match sink.tell(message).await {
            Ok(()) => return Ok(true),
            Err(failed) => error = failed,
        }
    }
}

async fn push_probe(sink: Ref<SinkApi>) -> Result<(), WorkloadError> {
    let sent_ns = monotonic_ns();
    Ok(sink.tell(Probe { sent_ns }).await?)
}

/// Sends the messages 0, 1, 2 ... for `duration`, and says how many.
async fn send_for<M: Numbered>(
    sink: Ref<SinkApi>,
    round: &Round,
    duration: Duration,
) -> Result<u64, WorkloadError>
where
    SinkApi: Accepts<M>,
{
    let until = Instant::now() + duration;
    let mut number = 0;
    while !number_is_due(number, MESSAGES_PER_LOOK) || Instant::now() < until {
        if round.sample_one_way && number_is_due(number, MESSAGES_PER_PROBE) {
            push_probe(sink).await?;
        }
        match sink.try_tell(M::new(number, round.payload_bytes)) {
            Ok(()) => {}
            Err(SendError::Full(message)) if !round.is_cut => sink.tell(message).await?,
            Err(error) if round.is_cut => {
                if !Box::pin(tell_when_back(sink, error, until)).await? {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
        number += 1;
    }
    Ok(number)
}

#[inline]
fn number_is_due(number: u64, every: u64) -> bool {
    number.is_multiple_of(every)
}
