//! An actor that says what its process counted, for a test in another process.

use std::alloc::System;

use ringmesh::{Actor, Cx, Handler, Msg, message, protocol, wire};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The name under which [`Inspector`] is spawned.
pub const INSPECTOR: &str = "inspector";

/// The allocator of a process that can be inspected: the system's, with counters.
pub static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Asks for an [`Inspection`].
#[message(id = "tests.Inspect", v = 1, reply = Inspection)]
#[derive(Clone, Debug)]
pub struct Inspect;

/// What a process counted, up to the handler of the question.
#[message(id = "tests.Inspection", v = 1)]
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Bytes allocated since the start, whether freed or not.
    pub allocated_bytes: u64,
    /// Bytes allocated and not freed.
    pub live_bytes: u64,
    /// See [`Counters::received`](ringmesh::Counters::received).
    pub received: u64,
    /// See [`Counters::delivered`](ringmesh::Counters::delivered).
    pub delivered: u64,
    /// See [`Counters::dead_received`](ringmesh::Counters::dead_received).
    pub dead_received: u64,
    /// See [`Counters::waiting`](ringmesh::Counters::waiting).
    pub waiting: u64,
    /// See [`Counters::parks`](ringmesh::Counters::parks).
    pub parks: u64,
    /// See [`Counters::links`](ringmesh::Counters::links).
    pub links: u64,
    /// See [`Counters::accepted`](ringmesh::Counters::accepted).
    pub accepted: u64,
    /// See [`Counters::closed_for_fault`](ringmesh::Counters::closed_for_fault).
    pub closed_for_fault: u64,
    /// See [`Counters::replies_overloaded`](ringmesh::Counters::replies_overloaded).
    pub replies_overloaded: u64,
    /// See [`Counters::frames_copied_pinned`](ringmesh::Counters::frames_copied_pinned).
    pub frames_copied_pinned: u64,
    /// See [`Node::close_reasons`](ringmesh::Node::close_reasons).
    pub closes: Vec<Closes>,
}

/// How often connections were closed for one reason.
#[wire]
#[derive(Clone, Debug)]
pub struct Closes {
    /// The reason's name.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl Inspection {
    /// How often connections were closed for the reason of this name.
    pub fn closed_for(&self, reason: &str) -> u64 {
        let found = self.closes.iter().find(|closes| closes.reason == reason);
        found.map_or(0, |closes| closes.count)
    }
}

protocol! {
    /// Answers about its process.
    pub InspectorApi = "tests.inspector" { Inspect }
}

/// Answers about its process.
#[derive(Debug, Default)]
pub struct Inspector;

impl Actor for Inspector {
    type Api = InspectorApi;
}

impl Handler<Inspect> for Inspector {
    fn handle(&mut self, _: Msg<Inspect>, cx: &mut Cx<'_, Self>) -> Inspection {
        let memory = ALLOCATOR.stats();
        let node = cx.node();
        let counters = node.counters();
        let reasons = node.close_reasons().into_iter();
        let closes = reasons.map(|(reason, count)| Closes {
            reason: reason.to_owned(),
            count,
        });
        Inspection {
            allocated_bytes: memory.bytes_allocated as u64,
            live_bytes: (memory.bytes_allocated - memory.bytes_deallocated) as u64,
            received: counters.received,
            delivered: counters.delivered,
            dead_received: counters.dead_received,
            waiting: counters.waiting,
            parks: counters.parks,
            links: counters.links,
            accepted: counters.accepted,
            closed_for_fault: counters.closed_for_fault,
            replies_overloaded: counters.replies_overloaded,
            frames_copied_pinned: counters.frames_copied_pinned,
            closes: closes.collect(),
        }
    }
}
