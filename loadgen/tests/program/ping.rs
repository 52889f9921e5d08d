//! Pings beside a stream of large messages.

use super::{figure, report, run};

#[test]
fn pings_are_measured_idle_and_beside_a_stream_of_which_nothing_is_lost() {
    let report = report("ping --seconds 0.2 --mode park --json");
    assert_eq!(
        (&report["workload"], &report["mode"]),
        (&"ping".into(), &"park".into())
    );
    for key in [
        "idle_p50_us",
        "idle_p99_us",
        "bulk_p50_us",
        "bulk_p99_us",
        "ratio_p99",
    ] {
        assert!(figure(&report, key) > 0.0, "{key}: {report}");
    }
    assert!(figure(&report, "rounds") >= 5.0, "{report}");
    assert!(figure(&report, "bulk_messages") > 0.0, "{report}");
    assert!(figure(&report, "bulk_bytes_per_second") > 0.0, "{report}");
    for key in ["lost", "corrupt", "duplicated"] {
        assert_eq!(figure(&report, key), 0.0, "{key}: {report}");
    }
    assert_eq!(figure(&report, "bulk_bytes"), f64::from(1 << 20));
}

#[test]
fn a_size_that_takes_the_ordinary_lane_is_a_usage_error() {
    assert_eq!(run("ping --bulk 1000").status.code(), Some(2));
}
