//! A frame's way through the wire code, by size of its payload.
//!
//! `encode` copies a payload into a frame and seals it, `seal` adds the checksum alone, `parse`
//! finds and verifies a frame. `link` is all of it with the accounts of a link: a message is pushed
//! into a slab, and every 256 KiB the slabs are gathered, parsed, granted and given back.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use ringmesh_proto::frame::body::{DefineTarget, DefineType};
use ringmesh_proto::frame::{Head, Parse, encode, parse, seal};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{FRAME_BYTES_ORDINARY, HEADER_BYTES, WINDOW_BYTES};
use ringmesh_proto::link::{Defined, Inbound, Outbound, SendHead, Target};
use ringmesh_proto::message::{MessageId, MessageType};
use ringmesh_proto::piece::Piece;
use ringmesh_proto::slab_pool::SlabPool;

const PAYLOAD_BYTES: [usize; 3] = [64, 1024, 65_536];

/// What a core puts on a link before it gathers.
const BATCH_BYTES: usize = 256 << 10;

const HEAD: Head = Head {
    kind: Kind::Tell,
    type_number: 1,
    target_number: 1,
    extension: None,
};

/// Sealed frames behind one another, taken in turn: no step finds only the frame it just left.
struct Frames {
    bytes: Vec<u8>,
    frame_bytes: usize,
    at: usize,
}

impl Frames {
    fn new(payload: &[u8]) -> Self {
        let frame_bytes = HEADER_BYTES + payload.len();
        let mut bytes = vec![0; BATCH_BYTES / frame_bytes * frame_bytes];
        for place in bytes.chunks_exact_mut(frame_bytes) {
            encode(place, &HEAD, payload);
        }
        Self {
            bytes,
            frame_bytes,
            at: 0,
        }
    }

    fn next(&mut self) -> &mut [u8] {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let start = self.at;
        self.at += self.frame_bytes;
        &mut self.bytes[start..self.at]
    }
}

/// Both ends of a link, without anything in between.
struct Ends {
    outbound: Outbound,
    inbound: Inbound,
    slabs: SlabPool,
    slices: Vec<Piece>,
}

impl Ends {
    fn new() -> Self {
        let limit = u64::from(WINDOW_BYTES);
        Self {
            outbound: Outbound::new(FRAME_BYTES_ORDINARY, limit, WINDOW_BYTES),
            inbound: Inbound::new(WINDOW_BYTES),
            slabs: SlabPool::new(2 * WINDOW_BYTES as usize, FRAME_BYTES_ORDINARY),
            slices: Vec::new(),
        }
    }

    fn push(&mut self, payload: &[u8]) {
        let head = SendHead::Tell {
            message: &MESSAGE,
            target: TARGET,
        };
        let pushed = self.outbound.push(&mut self.slabs, head, payload);
        black_box(pushed.expect("a batch fits the window"));
        if self.outbound.in_flight_bytes() >= BATCH_BYTES as u64 {
            self.carry_across();
        }
    }

    fn carry_across(&mut self) {
        while self.outbound.gather(BATCH_BYTES, &mut self.slices) > 0 {
            self.slices
                .iter()
                .for_each(|slice| receive(&mut self.inbound, slice));
            self.slices.clear();
            self.outbound.handle_sent();
        }
        let grant = self.inbound.poll_grant(true).expect("a batch came in");
        let freed = self.outbound.handle_grant(grant, &mut self.slabs);
        black_box(freed.expect("what was sent was granted"));
    }
}

const MESSAGE: MessageType = MessageType {
    id: MessageId::from_u64(1),
    version: 1,
    fingerprint: 2,
};

const TARGET: Target = Target {
    slot: 3,
    generation: 4,
};

/// What a receiving core does with the bytes before it dispatches them.
fn receive(inbound: &mut Inbound, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Ok(Parse::Complete(frame)) = parse(bytes, FRAME_BYTES_ORDINARY) else {
            panic!("slabs hold whole frames");
        };
        let accepted = inbound.accept(frame.wire_bytes);
        accepted.expect("the sender keeps to its credit");
        match frame.header.kind {
            Kind::DefineType => {
                let definition = DefineType::parse(&frame).expect("it was just encoded");
                inbound.define_type(&definition).expect("it is the first");
            }
            Kind::DefineTarget => {
                let definition = DefineTarget::parse(&frame).expect("it was just encoded");
                assert_eq!(inbound.define_target(&definition), Ok(Defined::New));
            }
            _ => {
                black_box(inbound.target(frame.header.target_number)).expect("it was defined");
                black_box(frame.payload);
            }
        }
        bytes = &bytes[frame.wire_bytes..];
    }
}

fn steps(group: &mut BenchmarkGroup<'_, WallTime>, payload: &[u8]) {
    let payload_bytes = payload.len();
    let mut frames = Frames::new(payload);
    group.bench_function(BenchmarkId::new("encode", payload_bytes), |bencher| {
        bencher.iter(|| encode(frames.next(), black_box(&HEAD), black_box(payload)));
    });
    group.bench_function(BenchmarkId::new("seal", payload_bytes), |bencher| {
        bencher.iter(|| seal(black_box(frames.next())));
    });
    group.bench_function(BenchmarkId::new("parse", payload_bytes), |bencher| {
        bencher.iter(|| parse(black_box(frames.next()), FRAME_BYTES_ORDINARY).is_ok());
    });
    let mut ends = Ends::new();
    group.bench_function(BenchmarkId::new("link", payload_bytes), |bencher| {
        bencher.iter(|| ends.push(black_box(payload)));
    });
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    for payload_bytes in PAYLOAD_BYTES {
        let payload: Vec<u8> = (0..payload_bytes).map(|index| index as u8).collect();
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        steps(&mut group, &payload);
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
