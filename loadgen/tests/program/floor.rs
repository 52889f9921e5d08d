//! The floor by itself.

use super::{figure, report};

#[test]
fn the_floor_streams_between_two_processes() {
    for mode in ["spin", "hybrid", "park"] {
        let report = report(&format!(
            "floor stream --size 64 --seconds 0.2 --mode {mode} --json"
        ));
        assert_eq!(report["workload"], "floor_stream");
        assert_eq!(report["mode"], mode);
        assert_eq!(report["payload_bytes"], 64);
        let seconds = figure(&report, "seconds");
        assert!(seconds >= 0.2, "{seconds}");
        assert!(figure(&report, "messages") > 1000.0, "{report}");
        assert_eq!(
            (&report["lost"], &report["corrupt"]),
            (&0.into(), &0.into())
        );
        assert!(figure(&report, "cpu_ns_per_message") > 0.0);
        assert!(report["p50_ns"].is_null());
        assert_eq!(
            report["floor_messages_per_second"],
            report["messages_per_second"]
        );
        let allocations = figure(&report, "allocations_per_message");
        assert!(allocations < 0.01, "{allocations} allocations per record");
    }
}

#[test]
fn the_floor_carries_records_between_two_cores_and_times_one_alone() {
    for size in [16, 64, 262_128] {
        let report = report(&format!("floor mesh --size {size} --seconds 0.2 --json"));
        assert_eq!(report["workload"], "floor_mesh");
        assert_eq!(report["payload_bytes"], size);
        assert!(figure(&report, "messages") > 0.0, "{report}");
        assert_eq!(
            (&report["lost"], &report["corrupt"]),
            (&0.into(), &0.into())
        );
        let ladder = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
        let ladder = ladder.map(|key| figure(&report, key));
        assert!(ladder[0] > 0.0 && ladder.is_sorted(), "{ladder:?}");
        assert_eq!(report["floor_p50_ns"], report["p50_ns"]);
        let rate = &report["messages_per_second"];
        assert_eq!(&report["floor_messages_per_second"], rate);
    }
}

#[test]
fn the_floor_carries_records_larger_than_its_batch() {
    let report = report("floor stream --size 262128 --seconds 0.2 --json");
    assert!(figure(&report, "messages") > 0.0, "{report}");
    assert_eq!(report["lost"], 0);
}

#[test]
fn the_floor_echoes_between_two_processes() {
    for (mode, size) in [("spin", 64), ("park", 64), ("park", 65_536)] {
        let line = format!("floor echo --size {size} --seconds 0.2 --mode {mode} --json");
        let report = report(&line);
        assert_eq!(report["workload"], "floor_echo");
        let figure = |key: &str| {
            report[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key}: {report}"))
        };
        let ladder = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(figure);
        assert!(ladder[0] > 0 && ladder.is_sorted(), "{ladder:?}");
        assert_eq!(report["floor_p50_ns"], report["p50_ns"]);
        assert!(report["floor_messages_per_second"].is_null());
    }
}
