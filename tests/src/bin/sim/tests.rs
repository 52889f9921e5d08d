//! What the program promises: its lines, and its exit codes.

use super::*;

fn said(line: &str) -> (Vec<String>, u8) {
    let words = format!("sim {line}");
    let arguments = Arguments::try_parse_from(words.split(' ')).expect("a good line");
    let (said, code) = run(&arguments);
    (said.lines().map(str::to_owned).collect(), code)
}

/// The part of a verdict that does not depend on time.
fn verdict(lines: &[String]) -> String {
    let last = lines.last().expect("a verdict");
    let (verdict, _) = last.split_once(" seconds=").expect("its time");
    verdict.to_owned()
}

#[test]
fn a_verdict_depends_neither_on_jobs_nor_on_time() {
    let (one, code) = said("--seeds 12 --first 7 --jobs 1");
    let (three, _) = said("--seeds 12 --first 7 --jobs 3");
    assert_eq!((verdict(&one), code), (verdict(&three), 0));
    assert_eq!(one[..one.len() - 1], three[..three.len() - 1]);
    assert!(
        one[0].starts_with("fault partition injected="),
        "{}",
        one[0]
    );
    assert!(
        one.last()
            .unwrap()
            .starts_with("verdict pass seeds=12 violations=0 faults_min=")
    );
    let (other, _) = said("--seeds 12 --first 8");
    assert_ne!(verdict(&other), verdict(&one));
}

#[test]
fn a_canary_is_found_with_a_line_that_shows_it_again() {
    let (lines, code) = said("--seeds 5 --canary lose --nodes 3..4 --only crash,delay");
    assert_eq!(code, 1);
    assert!(
        lines[0].starts_with("violation seed=0 invariant=ledger at_ms="),
        "{lines:?}"
    );
    let replay = lines[1]
        .strip_prefix("replay: sim ")
        .expect("a line to run");
    assert!(
        replay.ends_with("--only crash,delay --canary lose"),
        "{replay}"
    );
    let (again, code) = said(replay);
    assert_eq!((&again[..2], code), (&lines[..2], 1));
}

#[test]
fn a_cluster_whose_sides_each_go_on_is_found() {
    let (lines, code) = said("--seeds 60 --canary keep-yourself");
    assert_eq!(code, 1);
    let severed = |line: &String| line.contains(" invariant=severed ");
    assert!(lines.iter().any(severed), "{lines:?}");
    let strategies = |line: &&String| line.starts_with("strategy ");
    let strategies: Vec<&String> = lines.iter().filter(strategies).collect();
    let [only] = strategies[..] else {
        panic!("{strategies:?}");
    };
    let kept = only.strip_prefix("strategy keep-yourself kept=");
    let kept = kept.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(kept.is_some_and(|kept| kept > 0), "{only}");
}

#[test]
fn every_canary_is_found_and_named_and_nothing_else_is_listed() {
    let (names, code) = said("--list");
    let classes = Class::ALL.map(|it| format!("fault {it}"));
    let canaries = Canary::ALL.map(|it| format!("canary {}", it.label()));
    assert!(
        names.iter().eq(classes.iter().chain(&canaries)),
        "{names:?}"
    );
    assert_eq!(code, 0);
    for canary in Canary::ALL.iter().filter(|it| **it != Canary::KeepYourself) {
        let (lines, code) = said(&format!("--seeds 2 --canary {}", canary.label()));
        assert_eq!(code, 1);
        let found = format!(" invariant={} ", canary.found_by());
        assert!(lines[0].contains(&found), "{lines:?}");
    }
}

#[test]
fn what_users_of_pubsub_did_is_said() {
    let (lines, code) = said("--replay 1 --nodes 4 --cores 2");
    assert_eq!(code, 0);
    let exercises = lines.iter().filter(|it| it.starts_with("exercise "));
    let exercises: Vec<&String> = exercises.collect();
    let published = exercises.iter().find(|it| it.contains(" published count="));
    assert!(
        published.is_some_and(|it| it.ends_with(" seeds=1 share=1.000")),
        "{lines:?}"
    );
    let (lines, _) = said("--replay 2 --nodes 4 --cores 2");
    assert!(!lines.iter().any(|it| it.starts_with("exercise ")));
}

#[test]
fn what_clusters_decided_is_said_by_strategy() {
    let (lines, code) = said("--seeds 1 --first 1 --nodes 5 --cores 1 --only partition");
    let strategies: Vec<&String> = lines
        .iter()
        .filter(|it| it.starts_with("strategy "))
        .collect();
    assert_eq!((strategies.len(), code), (1, 0), "{lines:?}");
    let [_, name, counts @ ..] = &strategies[0].split(' ').collect::<Vec<_>>()[..] else {
        panic!("{strategies:?}");
    };
    let known = [
        "keep-majority",
        "static-quorum",
        "lease-majority",
        "down-all",
    ];
    assert!(known.contains(name), "{name}");
    let keys: Vec<&str> = counts
        .iter()
        .filter_map(|it| Some(it.split_once('=')?.0))
        .collect();
    assert_eq!(keys, ["kept", "downed_self", "down_all"]);
}

#[test]
fn what_is_said_as_json_is_an_object_per_line() {
    let (lines, code) = said("--replay 3 --nodes 2..3 --cores 1 --json");
    assert_eq!(code, 0);
    for line in &lines {
        assert!(
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap()
                .is_object()
        );
    }
    assert!(lines.last().unwrap().contains("\"verdict\":\"pass\""));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    for line in [
        "",
        "--seeds x",
        "--seeds 1 --nodes 5..3",
        "--seeds 0",
        "--seeds 1 --only storm",
        "--seeds 1 --canary sparrow",
        "--seeds 1 --trace file",
        "--seeds 1 --replay 1",
    ] {
        let words = format!("sim {line}");
        let refused = Arguments::try_parse_from(words.trim().split(' '));
        assert_eq!(
            refused.map_err(|it| it.exit_code()).err(),
            Some(2),
            "{line}"
        );
    }
    for line in [
        "--seeds 1 --nodes 1",
        "--seeds 1 --nodes 3..1025",
        "--seeds 1 --cores 257",
    ] {
        assert_eq!(said(line), (Vec::new(), 2), "{line}");
    }
}
