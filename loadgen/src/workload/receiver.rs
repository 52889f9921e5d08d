//! The receiving actors: ordinary handlers that read each message in place and check it.

use bytes::Bytes;
use ringmesh::prelude::*;

use super::message::{
    Begin, Begun, Counts, EchoApi, Finish, Numbered, Ping, Pod32, Pod64, Pod128, Pod256, Pod1024,
    Pod4096, Probe, Record, SinkApi,
};
use super::sequence::Sequence;
use super::{NodeMeter, monotonic_ns};
use crate::latency::Latencies;
use crate::pattern;

/// What both actors keep of a measured interval.
#[derive(Debug, Default)]
struct Interval {
    sequence: Sequence,
    corrupt: u64,
    /// `None` before the first [`Begin`].
    meter: Option<NodeMeter>,
}

impl Interval {
    fn begin<A: Actor>(&mut self, cx: &Cx<'_, A>) -> Begun {
        *self = Self {
            meter: Some(NodeMeter::start(&cx.node())),
            ..Self::default()
        };
        Begun
    }

    fn counts<A: Actor>(&self, cx: &Cx<'_, A>, one_way: Bytes) -> Counts {
        let meter = self
            .meter
            .as_ref()
            .map(|meter| meter.so_far(&cx.node()))
            .unwrap_or_default();
        Counts {
            arrived: self.sequence.arrived(),
            duplicated: self.sequence.duplicated(),
            reordered: self.sequence.reordered(),
            corrupt: self.corrupt,
            cpu_ns: meter.cost.cpu_ns,
            allocations: meter.cost.allocations,
            enters: meter.enters,
            straddled: meter.frames_copied.straddled,
            pinned: meter.frames_copied.pinned,
            other: meter.frames_copied.other,
            one_way,
        }
    }
}

/// Takes a stream: checks each number and the first bytes of each body.
#[derive(Debug)]
pub(super) struct Sink {
    interval: Interval,
    one_way: Latencies,
}

impl Sink {
    pub(super) fn new() -> Self {
        Self {
            interval: Interval::default(),
            one_way: Latencies::new(),
        }
    }

    #[inline]
    fn take<M: Numbered>(&mut self, message: &Msg<M>) {
        self.interval.sequence.arrive(M::number(message));
        self.interval.corrupt += u64::from(!pattern::begins(M::body(message)));
    }
}

impl Actor for Sink {
    type Api = SinkApi;
}

/// A handler per message of a stream; all of them take it.
macro_rules! take {
    ($($message:ident)*) => {$(
        impl Handler<$message> for Sink {
            #[inline]
            fn handle(&mut self, message: Msg<$message>, _: &mut Cx<'_, Self>) {
                self.take(&message);
            }
        }
    )*};
}

take! { Record Pod32 Pod64 Pod128 Pod256 Pod1024 Pod4096 }

impl Handler<Probe> for Sink {
    fn handle(&mut self, probe: Msg<Probe>, _: &mut Cx<'_, Self>) {
        let elapsed_ns = monotonic_ns().saturating_sub(probe.sent_ns.to_native());
        self.one_way
            .record(std::time::Duration::from_nanos(elapsed_ns));
    }
}

impl Handler<Begin> for Sink {
    fn handle(&mut self, _: Msg<Begin>, cx: &mut Cx<'_, Self>) -> Begun {
        self.one_way.clear();
        self.interval.begin(cx)
    }
}

impl Handler<Finish> for Sink {
    fn handle(&mut self, _: Msg<Finish>, cx: &mut Cx<'_, Self>) -> Counts {
        let counts = self.interval.counts(cx, Bytes::new());
        let sampled = self.one_way.count() > 0;
        let one_way = sampled.then(|| self.one_way.to_recorded().into_bytes().into());
        Counts {
            one_way: one_way.unwrap_or_default(),
            ..counts
        }
    }
}

/// Answers each ping with the same bytes.
#[derive(Debug, Default)]
pub(super) struct Echo {
    interval: Interval,
}

impl Actor for Echo {
    type Api = EchoApi;
}

impl Handler<Ping> for Echo {
    #[inline]
    fn handle(&mut self, ping: Msg<Ping>, _: &mut Cx<'_, Self>) -> Ping {
        let number = ping.number.to_native();
        self.interval.sequence.arrive(number);
        // Every byte is compared, so the static copy that goes back is the payload that came, and
        // the answer needs no memory of its own. A damaged one comes back empty.
        let whole = pattern::is_whole(&ping.body);
        self.interval.corrupt += u64::from(!whole);
        let body = if whole {
            pattern::first(ping.body.len())
        } else {
            &[]
        };
        Ping {
            number,
            body: Bytes::from_static(body),
        }
    }
}

impl Handler<Begin> for Echo {
    fn handle(&mut self, _: Msg<Begin>, cx: &mut Cx<'_, Self>) -> Begun {
        self.interval.begin(cx)
    }
}

impl Handler<Finish> for Echo {
    fn handle(&mut self, _: Msg<Finish>, cx: &mut Cx<'_, Self>) -> Counts {
        self.interval.counts(cx, Bytes::new())
    }
}
