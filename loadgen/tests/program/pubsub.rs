//! One publisher and many subscribers, on several nodes.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::death::wait_for_measuring;
use super::{Running, figure, loadgen, report};

/// What every clean run says, whatever was dropped by policy.
fn assert_clean(report: &Value) {
    assert_eq!(report["workload"], "pubsub");
    for key in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(report[key], 0, "{key}: {report}");
    }
    let count = |key: &str| report[key].as_u64().expect("a count");
    assert!(count("messages") > 0 && count("publishes") > 0, "{report}");
    let settled = count("messages") + count("dropped_by_policy");
    assert_eq!(settled, count("deliveries_expected"), "{report}");
    for key in [
        "ratio_to_floor",
        "floor_messages_per_second",
        "cpu_ns_per_message",
    ] {
        assert!(figure(report, key) > 0.0, "{key}: {report}");
    }
    for key in ["p50_ns", "floor_p50_ns", "cuts"] {
        assert!(report[key].is_null(), "{key}: {report}");
    }
}

#[test]
fn each_other_node_gets_one_frame_for_each_publish() {
    for (line, subscribers, nodes) in [("", 64, 2), ("--subscribers 5 --nodes 3", 5, 3)] {
        let report = report(&format!("pubsub --size 128 --seconds 0.5 {line} --json"));
        assert_clean(&report);
        assert_eq!(
            (&report["subscribers"], &report["nodes"], &report["groups"]),
            (&subscribers.into(), &nodes.into(), &0.into()),
        );
        assert_eq!(figure(&report, "frames_per_publish"), f64::from(nodes - 1));
        let expected = figure(&report, "publishes") * f64::from(subscribers);
        assert_eq!(figure(&report, "deliveries_expected"), expected);
        let skew = ["skew_p50_ns", "skew_p99_ns"].map(|key| figure(&report, key));
        assert!(skew.is_sorted() && skew[1] > 0.0, "{report}");
    }
}

#[test]
fn of_each_group_one_gets_a_message() {
    let line = "pubsub --subscribers 12 --nodes 2 --groups 3 --size 64 --seconds 0.3 --json";
    let report = report(line);
    assert_clean(&report);
    assert_eq!(report["groups"], 3);
    let expected = figure(&report, "publishes") * 3.0;
    assert_eq!(figure(&report, "deliveries_expected"), expected);
}

#[test]
fn what_the_slow_do_not_get_is_dropped_by_policy_and_not_lost() {
    for policy in ["drop-oldest", "drop-newest"] {
        let report = report(&format!(
            "pubsub --subscribers 4 --nodes 1 --slow 1 --policy {policy} --seconds 0.5 --json"
        ));
        assert_clean(&report);
        assert!(figure(&report, "dropped_by_policy") > 0.0, "{report}");
        assert_eq!(figure(&report, "frames_per_publish"), 0.0);
    }
}

#[test]
fn a_subscriber_that_is_waited_for_slows_the_others_and_loses_nothing() {
    for nodes in [1, 2] {
        let report = report(&format!(
            "pubsub --subscribers 4 --nodes {nodes} --slow 1 --policy wait --seconds 0.5 --json"
        ));
        assert_clean(&report);
        assert_eq!(report["dropped_by_policy"], 0, "{report}");
    }
}

#[test]
fn a_node_that_dies_is_reported() {
    let mut command = loadgen("pubsub --nodes 3 --subscribers 6 --seconds 100 --json");
    let mut run = Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped()));
    let processes = wait_for_measuring(&mut run, 3);
    let (pid, _) = processes
        .iter()
        .find(|(_, plan)| plan["number"] == 0)
        .expect("one publishes");
    let pid = Pid::from_raw(*pid).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it lives");
    let output = run.ends();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "figures of a broken run");
    assert!(stderr.contains("the sender died: signal: 9"), "{stderr}");
}
