//! The checksum of a frame, by size of its payload.
//!
//! A frame's CRC covers 12 bytes of header and then the payload, in two updates: that is `frame`.
//! `payload` is one update over the payload alone, what the library could do at best. Their
//! difference is what the header costs. Short inputs are bound by latency, long ones by bandwidth.

use std::hint::black_box;

use crc32fast::Hasher;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The bytes of a header that its CRC covers.
const COVERED_HEADER_BYTES: usize = 12;

/// From the smallest message of the load generator to one that fills a large frame.
const PAYLOAD_BYTES: [usize; 8] = [16, 32, 64, 128, 256, 1024, 4096, 65_536];

fn crc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc");
    for payload_bytes in PAYLOAD_BYTES {
        let payload: Vec<u8> = (0..payload_bytes).map(|index| index as u8).collect();
        let header = [7; COVERED_HEADER_BYTES];
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        group.bench_with_input(
            BenchmarkId::new("frame", payload_bytes),
            &payload,
            |b, payload| {
                b.iter(|| {
                    let mut hasher = Hasher::new();
                    hasher.update(black_box(&header));
                    hasher.update(black_box(payload));
                    hasher.finalize()
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("payload", payload_bytes),
            &payload,
            |b, payload| {
                b.iter(|| crc32fast::hash(black_box(payload)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, crc);
criterion_main!(benches);
