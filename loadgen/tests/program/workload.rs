//! The engine's workloads, between two processes and against a serving node.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use super::{Running, figure, loadgen, report};

/// What every clean run of the engine says.
fn assert_clean(report: &Value) {
    for key in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(report[key], 0, "{key}: {report}");
    }
    assert!(figure(report, "messages") > 100.0, "{report}");
    assert!(figure(report, "cpu_ns_per_message") > 0.0, "{report}");
    assert!(figure(report, "enters_per_message") > 0.0, "{report}");
    assert!(figure(report, "allocations_per_message") >= 0.0, "{report}");
    for cause in ["straddled", "pinned", "other"] {
        assert!(report["frames_copied"][cause].is_u64(), "{cause}: {report}");
    }
    assert!(report["cuts"].is_null());
}

#[test]
fn a_stream_is_held_against_the_floor_of_the_same_run() {
    for line in [
        "stream --size 64 --seconds 0.3 --json",
        "stream --size 64 --seconds 0.3 --pod --mode hybrid --json",
        "stream --size 16 --seconds 0.3 --mode park --json",
        "stream --size 65536 --seconds 0.3 --json",
    ] {
        let report = report(line);
        assert_clean(&report);
        assert_eq!(report["workload"], "stream");
        let ratio =
            figure(&report, "messages_per_second") / figure(&report, "floor_messages_per_second");
        assert!(
            (figure(&report, "ratio_to_floor") - ratio).abs() < 1e-9,
            "{report}"
        );
        assert!(
            report["floor_p50_ns"].is_null() && report["p50_ns"].is_null(),
            "{report}"
        );
    }
}

#[test]
fn a_stream_goes_over_several_connections_at_once() {
    let line = "stream --size 64 --seconds 0.3 --mode park --connections 3 --json";
    assert_clean(&report(line));
}

#[test]
fn a_mesh_is_held_against_a_bare_ring_and_times_one_message_alone() {
    let report = report("mesh --size 64 --seconds 0.3 --json");
    assert_eq!(report["workload"], "mesh");
    for key in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(report[key], 0, "{key}: {report}");
    }
    assert!(figure(&report, "messages") > 100.0, "{report}");
    for key in ["ratio_to_floor", "floor_p50_ns", "p50_ns"] {
        assert!(figure(&report, key) > 0.0, "{key}: {report}");
    }
}

#[test]
fn the_largest_size_passes() {
    for workload in ["stream", "echo"] {
        let report = report(&format!("{workload} --size 262128 --seconds 0.3 --json"));
        assert_clean_but_few(&report);
    }
}

fn assert_clean_but_few(report: &Value) {
    assert!(figure(report, "messages") > 0.0, "{report}");
    assert_eq!(
        (&report["lost"], &report["corrupt"]),
        (&0.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn an_echo_has_percentiles_and_a_ratio() {
    for mode in ["spin", "park"] {
        let report = report(&format!(
            "echo --size 64 --seconds 0.3 --mode {mode} --json"
        ));
        assert_clean(&report);
        let ladder = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
        let ladder = ladder.map(|key| figure(&report, key));
        assert!(ladder[0] > 0.0 && ladder.is_sorted(), "{ladder:?}");
        let ratio = ladder[0] / figure(&report, "floor_p50_ns");
        assert!(
            (figure(&report, "ratio_to_floor") - ratio).abs() < 1e-9,
            "{report}"
        );
        assert!(
            report["p50_from_schedule_ns"].is_null(),
            "closed loop: {report}"
        );
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let report = report("echo --size 64 --seconds 1 --mode park --rate 2000 --json");
    assert_clean(&report);
    // Five rounds of a fifth of a second.
    assert_eq!(report["messages"], 2000);
    let from_send = figure(&report, "p50_ns");
    let from_schedule = figure(&report, "p50_from_schedule_ns");
    assert!(from_schedule >= from_send, "{report}");
    assert!(
        figure(&report, "p99_from_schedule_ns") >= from_schedule,
        "{report}"
    );
}

#[test]
fn percentiles_go_into_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for workload in ["echo", "stream"] {
        let path = folder.path().join(workload);
        let line = format!(
            "{workload} --size 64 --seconds 0.3 --json --hgrm {}",
            path.display()
        );
        let report = report(&line);
        assert!(figure(&report, "p50_ns") > 0.0, "{report}");
        let text = std::fs::read_to_string(path).expect("the file");
        assert!(text.trim_start().starts_with("Value"), "{text}");
        assert!(text.contains("#[Max"), "{text}");
    }
}

#[test]
fn a_serving_node_serves_until_sigterm() {
    let (mut node, address) =
        Running::listening(&mut loadgen("serve --bind 127.0.0.1:0 --mode park"));
    for line in [
        "stream --size 64 --seconds 0.3",
        "echo --size 64 --seconds 0.3 --mode park",
    ] {
        let report = report(&format!("{line} --json --connect {address}"));
        assert_clean(&report);
        for key in [
            "floor_messages_per_second",
            "floor_p50_ns",
            "ratio_to_floor",
        ] {
            assert!(report[key].is_null(), "{key}: {report}");
        }
    }
    node.send_signal(Signal::TERM);
    assert_eq!(node.ends().status.code(), Some(0));
}

#[test]
fn a_taken_port_is_one_line_and_1() {
    let (mut node, address) =
        Running::listening(&mut loadgen("serve --bind 127.0.0.1:0 --mode park"));
    let output = super::run(&format!("serve --bind {address}"));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
    node.send_signal(Signal::TERM);
    assert!(node.ends().status.success());
}

#[test]
fn a_serving_node_that_dies_is_reported() {
    let (mut node, address) =
        Running::listening(&mut loadgen("serve --bind 127.0.0.1:0 --mode park"));
    let line = format!("echo --size 64 --seconds 60 --mode park --json --connect {address}");
    let mut run = Running::start(loadgen(&line).stdin(Stdio::null()).stderr(Stdio::piped()));
    super::death::wait_for_measuring(&mut run, 1);
    node.send_signal(Signal::KILL);
    let output = run.ends();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(!output.stderr.is_empty());
    assert!(!node.ends().status.success());
}
