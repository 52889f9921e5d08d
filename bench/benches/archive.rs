//! Encoding one message into a slab's tail, and validating and reading one where it lies.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use ringmesh::message::Archived;
use ringmesh::{Message, message};
use ringmesh_proto::archive::{access, encode, measure};

/// Plain numbers, 64 bytes.
#[message(id = "bench.Pod", v = 1, pod)]
struct Pod {
    sequence: u64,
    sent_ns: u64,
    price: i64,
    quantity: u32,
    venue: u32,
    rest: [u64; 4],
}

/// Nothing out of line either, 64 bytes, but not every bit pattern is valid.
#[message(id = "bench.Flat", v = 1)]
struct Flat {
    sequence: u64,
    sent_ns: u64,
    price: i64,
    side: Side,
    live: bool,
    limit: Option<u64>,
    quantity: u32,
    venue: [u8; 17],
}

#[ringmesh::wire]
enum Side {
    Buy,
    #[allow(dead_code)] // The tag is what is measured.
    Sell,
}

/// Two strings out of line and a vector of small ones.
#[message(id = "bench.Rich", v = 1)]
struct Rich {
    sequence: u64,
    account: String,
    comment: Option<String>,
    tags: Vec<String>,
    levels: Vec<u32>,
}

fn pod() -> Pod {
    Pod {
        sequence: 7,
        sent_ns: 1 << 40,
        price: -5,
        quantity: 100,
        venue: 3,
        rest: [1, 2, 3, 4],
    }
}

fn flat() -> Flat {
    Flat {
        sequence: 7,
        sent_ns: 1 << 40,
        price: -5,
        side: Side::Buy,
        live: true,
        limit: Some(12),
        quantity: 100,
        venue: *b"a venue of london",
    }
}

fn rich() -> Rich {
    Rich {
        sequence: 7,
        account: "an account with a longer name".into(),
        comment: Some("something somebody wanted to say".into()),
        tags: vec!["red".into(), "urgent".into(), "not quite so short".into()],
        levels: vec![1, 2, 3, 4, 5, 6, 7, 8],
    }
}

/// Measures one message; `read` looks at the fields a handler would.
fn shape<M: Message>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    value: &M,
    read: fn(&Archived<M>) -> u64,
) {
    // One byte off, as most frames arrive.
    let mut buffer = vec![0_u8; 1 + measure(value).expect("measurable")];
    let archive = &mut buffer[1..];
    encode(value, archive).expect("measured");
    group.bench_function(format!("encode/{name}"), |bencher| {
        let mut slab = vec![0_u8; 64 << 10];
        bencher.iter(|| encode(black_box(value), black_box(&mut slab[1..])));
    });
    group.bench_function(format!("access/{name}"), |bencher| {
        bencher.iter(|| access::<M>(black_box(archive)).is_ok());
    });
    group.bench_function(format!("access_and_read/{name}"), |bencher| {
        bencher.iter(|| access::<M>(black_box(archive)).map(read));
    });
}

fn archive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("archive");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    shape(&mut group, "pod", &pod(), |pod| {
        pod.sequence.to_native() + pod.rest[3].to_native()
    });
    shape(&mut group, "flat", &flat(), |flat| {
        flat.sequence.to_native() + flat.limit.as_ref().map_or(0, |limit| limit.to_native())
    });
    shape(&mut group, "rich", &rich(), |rich| {
        rich.sequence.to_native() + (rich.account.len() + rich.tags[2].len()) as u64
    });
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
