//! One message at a time between two actors, each of which sends it back: what a single message
//! costs from handler to handler.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::CoreId;
use ringmesh::prelude::*;

use super::message::{Ball, Flights, Over, PlayerApi, Serve};
use crate::latency::Latencies;
use crate::pattern;

/// Sends each ball back to the other player. The one who serves also takes the time: half of a
/// round trip, for the way there is the way back.
#[derive(Debug)]
pub(super) struct Player {
    other: Option<Ref<PlayerApi>>,
    served: Option<Instant>,
    flights: Latencies,
}

impl Player {
    /// A player who gets to know the other when it serves, or by its first ball.
    pub(super) fn new(other: Option<Ref<PlayerApi>>) -> Self {
        Self {
            other,
            served: None,
            flights: Latencies::new(),
        }
    }

    #[inline]
    fn hit(&mut self, number: u64, body: &'static [u8]) {
        let body = Bytes::from_static(body);
        let sent = self
            .other
            .map(|other| other.try_tell(Ball { number, body }));
        // One ball is under way, so there is room; it is refused when the node stops.
        if let Some(Err(_)) = sent {
            self.other = None;
        }
    }
}

impl Actor for Player {
    type Api = PlayerApi;
}

impl Handler<Serve> for Player {
    fn handle(&mut self, serve: Msg<Serve>, _: &mut Cx<'_, Self>) {
        self.other = Some(serve.to.get());
        self.served = Some(Instant::now());
        self.hit(0, pattern::first(serve.body_bytes.to_native() as usize));
    }
}

impl Handler<Ball> for Player {
    #[inline]
    fn handle(&mut self, ball: Msg<Ball>, _: &mut Cx<'_, Self>) {
        if let Some(served) = &mut self.served {
            let back = Instant::now();
            self.flights.record((back - *served) / 2);
            *served = back;
        }
        let body = pattern::first(ball.body.len());
        self.hit(ball.number.to_native() + 1, body);
    }
}

impl Handler<Over> for Player {
    fn handle(&mut self, _: Msg<Over>, _: &mut Cx<'_, Self>) -> Flights {
        self.other = None;
        let recorded = self.flights.to_recorded().into_bytes().into();
        Flights { recorded }
    }
}

/// Plays for `duration` between this core and `there`, and gives back the times of the flights.
pub(super) async fn rally(
    node: &Node,
    there: CoreId,
    body_bytes: u32,
    duration: Duration,
) -> Result<Bytes, super::WorkloadError> {
    let here = node.spawn(Player::new(None))?;
    let to = node
        .spawn_on(there, move || Player::new(Some(here)))
        .await?;
    here.tell(Serve { to, body_bytes }).await?;
    node.sleep(duration).await;
    let flights = here.ask(Over).await?;
    node.stop(&here);
    node.stop(&to);
    Ok(Bytes::copy_from_slice(&flights.recorded))
}
