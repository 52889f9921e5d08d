//! Streams whose connection is cut on purpose.

use serde_json::Value;

use super::{figure, run};

#[test]
fn a_stream_outlives_its_cuts_and_loses_nothing() {
    const CUTS: u64 = 5;
    let line = format!("stream --size 256 --seconds 2 --mode park --cuts {CUTS} --json");
    let output = run(&line);
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(report["workload"], "stream");
    assert!(figure(&report, "messages") > 100.0, "{report}");
    for key in ["ratio_to_floor", "floor_messages_per_second"] {
        assert!(report[key].is_null(), "{key}: {report}");
    }
    let count = |key: &str| report[key].as_u64().expect("a count");
    let made = count("cuts");
    assert!((1..=CUTS).contains(&made), "{report}");
    assert_eq!(count("cuts_unacked"), made, "{report}");
    for key in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(report[key], 0, "{key}: {report}");
    }
    assert_eq!(output.status.code(), Some(0), "{report}");
}
