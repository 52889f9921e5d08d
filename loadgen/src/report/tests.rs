use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::*;
use crate::cost::Cost;
use crate::cuts::Cuts;
use crate::plan::{Crowd, CrowdFacts, Policy};

/// The keys outside scripts read, in order.
const KEYS: [&str; 29] = [
    "schema_version",
    "workload",
    "payload_bytes",
    "mode",
    "seconds",
    "messages",
    "messages_per_second",
    "bytes_per_second",
    "cpu_ns_per_message",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p999_ns",
    "max_ns",
    "p50_from_schedule_ns",
    "p99_from_schedule_ns",
    "floor_messages_per_second",
    "floor_p50_ns",
    "ratio_to_floor",
    "lost",
    "duplicated",
    "reordered",
    "corrupt",
    "frames_copied",
    "enters_per_message",
    "allocations_per_message",
    "cuts",
    "cuts_unacked",
    "host",
];

fn round(mover: Mover, traffic: Traffic) -> Round {
    Round {
        mover,
        traffic,
        payload_bytes: 64,
        mode: Mode::Spin,
        pod: false,
        connections: 1,
        rate_per_second: None,
        sample_one_way: false,
        is_cut: false,
        crowd: None,
        warm_up: Duration::from_millis(50),
        measured: Duration::from_secs(1),
    }
}

fn experiment(mover: Mover, traffic: Traffic, beside_floor: bool) -> Experiment {
    Experiment {
        subject: round(mover, traffic),
        rounds: 5,
        beside_floor,
        connect: None,
        cuts: None,
    }
}

fn outcome(messages: u64) -> Outcome {
    Outcome {
        elapsed: Duration::from_secs(2),
        messages,
        lost: 0,
        corrupt: 0,
        cost: Cost {
            cpu_ns: messages * 100,
            allocations: messages,
        },
        latency: None,
        latency_from_schedule: None,
        engine: None,
        crowd: None,
    }
}

fn engine_outcome(messages: u64, facts: u64) -> Outcome {
    let frames_copied = FramesCopied {
        straddled: facts,
        pinned: facts,
        other: facts,
    };
    let engine = EngineFacts {
        duplicated: facts * 2,
        reordered: facts,
        frames_copied,
        enters: messages / 2,
    };
    Outcome {
        lost: facts,
        engine: Some(engine),
        ..outcome(messages)
    }
}

fn with_latency(outcome: Outcome, us: u64) -> Outcome {
    let mut latencies = Latencies::new();
    latencies.record(Duration::from_micros(us));
    Outcome {
        latency: Some(latencies.to_recorded()),
        ..outcome
    }
}

fn host() -> Host {
    Host {
        warnings: Vec::new(),
        ..Host::inspect()
    }
}

/// A stream at 8 M/s beside a floor of 10 M/s, with one message lost.
pub(crate) fn engine_report() -> Report {
    let outcomes = Outcomes {
        subject: vec![
            engine_outcome(20_000_000, 1),
            engine_outcome(16_000_000, 0),
            engine_outcome(10_000_000, 0),
        ],
        floor: vec![outcome(20_000_000); 3],
        cuts: None,
    };
    Report::new(
        &experiment(Mover::Engine, Traffic::Stream, true),
        &outcomes,
        host(),
    )
    .unwrap()
}

/// The keys of a JSON object as they stand in its text.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn keys(report: &Report) -> Vec<String> {
    let text = serde_json::to_string(report).unwrap();
    assert!(!text.contains('\n'), "one object per line");
    serde_json::from_str::<Keys>(&text).unwrap().0
}

#[test]
fn every_report_has_the_contract_s_keys_in_order() {
    assert_eq!(keys(&engine_report()), KEYS);
    let floor = Outcomes {
        subject: vec![outcome(5)],
        floor: Vec::new(),
        cuts: None,
    };
    for traffic in [Traffic::Stream, Traffic::Echo, Traffic::Mesh] {
        let experiment = experiment(Mover::Floor, traffic, false);
        assert_eq!(
            keys(&Report::new(&experiment, &floor, host()).unwrap()),
            KEYS
        );
    }
}

#[test]
fn a_stream_s_figures_are_medians_and_its_faults_sums() {
    let report = engine_report();
    assert_eq!(report.workload, "stream");
    assert_eq!((report.seconds, report.messages), (6.0, 46_000_000));
    assert_eq!(report.messages_per_second, 8e6);
    assert_eq!(report.bytes_per_second, 8e6 * 64.0);
    assert_eq!(report.cpu_ns_per_message, Some(100.0));
    assert_eq!(report.enters_per_message, Some(0.5));
    assert_eq!(report.allocations_per_message, Some(1.0));
    assert_eq!(report.floor_messages_per_second, Some(1e7));
    assert_eq!(report.ratio_to_floor, Some(0.8));
    assert_eq!(
        (report.p50_ns, report.floor_p50_ns, report.cuts),
        (None, None, None)
    );
    assert_eq!(
        (report.lost, report.duplicated, report.reordered),
        (1, Some(2), Some(1))
    );
    assert_eq!(
        report.frames_copied,
        Some(FramesCopied {
            straddled: 1,
            pinned: 1,
            other: 1
        })
    );
    assert!(!report.is_clean());
}

#[test]
fn an_echo_is_held_against_the_floor_s_round_trip() {
    let outcomes = Outcomes {
        subject: [6, 9, 7]
            .map(|us| with_latency(engine_outcome(1000, 0), us))
            .to_vec(),
        floor: [5, 4, 5].map(|us| with_latency(outcome(1000), us)).to_vec(),
        cuts: None,
    };
    let experiment = experiment(Mover::Engine, Traffic::Echo, true);
    let report = Report::new(&experiment, &outcomes, host()).unwrap();
    let p50 = report.p50_ns.unwrap();
    let floor = report.floor_p50_ns.unwrap();
    assert!(p50.abs_diff(7_000) < 10, "{p50}");
    assert!(floor.abs_diff(5_000) < 10, "{floor}");
    assert_eq!(report.ratio_to_floor, Some(p50 as f64 / floor as f64));
    assert!(report.max_ns.unwrap().abs_diff(9_000) < 10);
    assert_eq!(report.floor_messages_per_second, None);
    assert!(report.is_clean());
}

#[test]
fn a_floor_of_its_own_is_its_floor_and_has_no_ratio() {
    let outcomes = Outcomes {
        subject: vec![outcome(20)],
        floor: Vec::new(),
        cuts: None,
    };
    let experiment = experiment(Mover::Floor, Traffic::Stream, false);
    let report = Report::new(&experiment, &outcomes, host()).unwrap();
    assert_eq!(report.workload, "floor_stream");
    assert_eq!(report.floor_messages_per_second, Some(10.0));
    assert_eq!((report.ratio_to_floor, report.duplicated), (None, None));
    assert_eq!(
        (report.frames_copied, report.enters_per_message),
        (None, None)
    );
}

#[test]
fn a_mesh_is_held_against_the_floor_s_rate_and_shows_its_latency() {
    let outcomes = Outcomes {
        subject: vec![with_latency(outcome(10), 2)],
        floor: vec![with_latency(outcome(20), 1)],
        cuts: None,
    };
    let beside = experiment(Mover::Engine, Traffic::Mesh, true);
    let report = Report::new(&beside, &outcomes, host()).unwrap();
    assert_eq!(report.workload, "mesh");
    assert_eq!(report.floor_messages_per_second, Some(10.0));
    assert_eq!(report.ratio_to_floor, Some(0.5));
    assert_eq!(
        (report.p50_ns, report.floor_p50_ns),
        (Some(2000), Some(1000))
    );
    let alone = experiment(Mover::Floor, Traffic::Mesh, false);
    let report = Report::new(&alone, &outcomes, host()).unwrap();
    assert_eq!(report.workload, "floor_mesh");
    assert_eq!(report.floor_messages_per_second, Some(5.0));
    assert_eq!(
        (report.p50_ns, report.floor_p50_ns),
        (Some(2000), Some(2000))
    );
}

#[test]
fn pub_sub_has_keys_of_its_own_and_counts_deliveries() {
    let crowd = Crowd {
        subscribers: 4,
        nodes: 2,
        cores: 1,
        groups: 0,
        slow: 0,
        policy: Policy::DropOldest,
    };
    assert_eq!((crowd.deliveries(), crowd.mode(1)), (4, Mode::Park));
    let grouped = Crowd { groups: 3, ..crowd };
    assert_eq!((grouped.deliveries(), grouped.mode(2)), (3, Mode::Spin));
    let subject = Round {
        crowd: Some(crowd),
        ..round(Mover::Engine, Traffic::PubSub)
    };
    let experiment = Experiment {
        subject,
        ..experiment(Mover::Engine, Traffic::PubSub, true)
    };
    let mut skew = Latencies::new();
    skew.record(Duration::from_micros(5));
    let facts = CrowdFacts {
        publishes: 1_000,
        frames: 1_500,
        expected: 4_000,
        dropped: 10,
        skew: skew.to_recorded(),
    };
    let one = Outcome {
        crowd: Some(facts),
        ..engine_outcome(3_990, 0)
    };
    let outcomes = Outcomes {
        subject: vec![one; 3],
        floor: vec![outcome(7_980); 3],
        cuts: None,
    };
    let report = Report::new(&experiment, &outcomes, host()).unwrap();
    let own = [
        "subscribers",
        "nodes",
        "groups",
        "publishes",
        "frames_per_publish",
        "deliveries_expected",
        "dropped_by_policy",
        "skew_p50_ns",
        "skew_p99_ns",
    ];
    let (host_key, others) = KEYS.split_last().unwrap();
    assert_eq!(keys(&report), [others, &own, &[*host_key]].concat());
    assert_eq!(report.workload, "pubsub");
    assert_eq!(report.messages_per_second, 3_990.0 / 2.0);
    assert_eq!(report.ratio_to_floor, Some(0.5));
    let crowd = report.crowd.unwrap();
    assert_eq!(
        (crowd.publishes, crowd.deliveries_expected),
        (3_000, 12_000)
    );
    assert_eq!(
        (crowd.frames_per_publish, crowd.dropped_by_policy),
        (1.5, 30)
    );
    assert!(crowd.skew_p50_ns.is_some_and(|it| it.abs_diff(5_000) < 10));
}

#[test]
fn without_a_floor_its_keys_are_null() {
    let outcomes = Outcomes {
        subject: vec![engine_outcome(20, 0)],
        floor: Vec::new(),
        cuts: None,
    };
    for traffic in [Traffic::Stream, Traffic::Echo, Traffic::Mesh] {
        let experiment = experiment(Mover::Engine, traffic, false);
        let report = Report::new(&experiment, &outcomes, host()).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        for key in [
            "floor_messages_per_second",
            "floor_p50_ns",
            "ratio_to_floor",
        ] {
            assert!(json[key].is_null(), "{key} of {}", traffic.name());
        }
    }
}

#[test]
fn an_unsteady_floor_is_a_warning() {
    let outcomes = Outcomes {
        subject: vec![engine_outcome(20, 0)],
        floor: vec![outcome(10), outcome(20), outcome(20)],
        cuts: None,
    };
    let experiment = experiment(Mover::Engine, Traffic::Stream, true);
    let report = Report::new(&experiment, &outcomes, host()).unwrap();
    assert_eq!(report.host.warnings.len(), 1);
    assert!(
        report.host.warnings[0].contains("50 %"),
        "{:?}",
        report.host.warnings
    );
}

#[test]
fn cuts_are_told_and_missing_ones_are_a_warning() {
    let outcomes = Outcomes {
        subject: vec![engine_outcome(20, 0)],
        floor: Vec::new(),
        cuts: Some(Cuts {
            made: 9,
            unacked: 8,
        }),
    };
    for (wanted, warnings) in [(9, 0), (10, 1)] {
        let experiment = Experiment {
            cuts: Some(wanted),
            ..experiment(Mover::Engine, Traffic::Stream, false)
        };
        let report = Report::new(&experiment, &outcomes, host()).expect("histograms");
        assert_eq!((report.cuts, report.cuts_unacked), (Some(9), Some(8)));
        assert_eq!(report.host.warnings.len(), warnings);
    }
}
